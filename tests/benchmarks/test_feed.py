"""The benchmarks of loading photos and of a training step run on tiny inputs and print their results."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import skimage
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_loading_is_compared_with_other_loaders(tmp_path: Path) -> None:
    for number in range(8):
        piece = Image.open(Path(skimage.__file__).parent / "data" / "coffee.png").crop((number * 20, 0, 400, 320))
        piece.resize((90, 72)).save(tmp_path / f"{number}.jpg", quality=95)
    command = [sys.executable, str(BENCHMARKS / "feed.py"), str(tmp_path), "--size", "64", "--rounds", "1"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert re.search(r"8 JPEGs, 64 px crops .* ratio \d+\.\d\d .*CIEDE2000 .* mean \d", output)
    rates = re.findall(r"^ *([\d,]+) photos a CPU second   (\w+)", output, re.MULTILINE)
    assert {loader for _, loader in rates} == {"raw", "JPEG", "WebDataset", "ImageFolder"}
    assert all(float(rate.replace(",", "")) > 0 for rate, _ in rates)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a benchmark in this process, which has imported torch, and return what it printed."""

    def run(name: str, arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments.split()])
        runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_variants_of_a_step_are_compared_with_plain_float32(
    printed: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.backends.cudnn.allow_tf32", False)  # restores the setting that the benchmark changes
    lines = printed("step.py", "--channels 2 --size 32 --batch 2 --steps 1 --rounds 1").splitlines()
    assert re.match(r" +[\d.]+ photos/s   ratio  1\.00   float32 eager$", lines[0])
    assert [line.rpartition("   ")[2] for line in lines[1:]] == [
        "channels_last",
        "channels_last + fused",
        "channels_last + bf16",
        "channels_last + bf16 + fused",
    ]


def test_memory_is_printed_for_originals_and_packs(printed: Callable[..., str]) -> None:
    output = printed("feed_memory.py", "--rows 200 --workers 1 --steps 40")
    assert re.findall(r"^(\w+): 200 rows, 1 workers, 640 photos: [\d,]+, [\d,]+, [\d,]+ MB", output, re.MULTILINE) == [
        "originals",
        "pack",
    ]
