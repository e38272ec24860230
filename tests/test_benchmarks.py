"""Every bench runs tiny, so that it can't rot."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "some"
    folder.mkdir()
    y, x = np.mgrid[0:300, 0:400]
    photo = Image.fromarray(np.stack([x * 0.6, y * 0.8, 255 - x * 0.6], axis=-1).astype(np.uint8))
    photo.save(folder / "plain.jpg", quality=90)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"tmp!").replace(b"bXYZ", b"rXYZ").replace(b"tmp!", b"bXYZ")
    photo.save(folder / "profile.jpg", quality=90, icc_profile=swapped)
    return folder


def run(script: str, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / script, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_scan_prints_all_ratios(folder: Path) -> None:
    said = run("scan.py", str(folder), "--rounds", "1")
    assert "some: 1 photos" in said
    assert "some, other profiles: 1 photos" in said
    assert said.count("--fidelity fast") == 2
    assert "a second worker: " in said


def test_fidelity_prints_how_far_fast_is_off(folder: Path) -> None:
    assert "2 photos; M fast less M exact" in run("fidelity.py", str(folder))


def test_fuzz_prints_what_became_of_each_format() -> None:
    said = run("fuzz.py", "--mutants", "1", "--memory-gb", "8")
    assert said.count("; slowest ") == 26
    assert "peak memory" in said


def test_cleanvision_must_be_installed_somewhere(folder: Path) -> None:
    said = run("against_cleanvision.py", sys.executable, str(folder), status=1)
    assert "install it there with pip" in said


def test_feeding_is_compared_with_others(tmp_path: Path) -> None:
    for number in range(8):
        colors = np.random.default_rng(number).integers(0, 256, (5, 7, 3), np.uint8)
        Image.fromarray(colors).resize((90, 72)).save(tmp_path / f"{number}.jpg", quality=95)
    said = run("feed.py", str(tmp_path), "--size", "64", "--rounds", "1")
    assert re.search(r"8 JPEGs, 64 px crops .* ratio \d+\.\d\d .*CIEDE2000 .* mean \d", said)
    rates = re.findall(r"^ *([\d,]+) photos a CPU second   (\w+)", said, re.MULTILINE)
    assert {who for _, who in rates} == {"raw", "JPEG", "WebDataset", "ImageFolder"}
    assert all(float(rate.replace(",", "")) > 0 for rate, _ in rates)
