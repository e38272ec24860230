"""What can't be written is found out before long work, and nothing is left of finding out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from PIL import Image

import curate.cli
import train.cli
from curate import manifest
from curate.files import check_writable
from curate.manifest import DECISION_FIELDS, SCAN_SCHEMA, Lineage

LATE = (
    "curate report M -o OUT/page.html",
    "train fit M --run-dir OUT/run --device cpu",
    "train evaluate NONE M --html OUT/page.html",
    "train colorize NONE PHOTO -o OUT/colored",
)
SAID = {"report": "-o", "fit": "--run-dir", "evaluate": "--html", "colorize": "-o"}


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """A photo, its manifest, a checkpoint that doesn't exist, and a place below a file, where nobody can write."""
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "file").touch()
    row = {"source": str(tmp_path), "path": "a.png", "sha256": "0" * 64, "tone": "color", "colorfulness": 30.0}
    table = pa.Table.from_pylist([row | {"split": "train"}], pa.schema([*SCAN_SCHEMA, *DECISION_FIELDS]))
    manifest.write_manifest(tmp_path / "m.parquet", table, Lineage("clean", "", {}))
    names = {"M": "m.parquet", "NONE": "none.safetensors", "PHOTO": "a.png"}
    return {word: str(tmp_path / name) for word, name in names.items()} | {"OUT": str(tmp_path / "file")}


@pytest.mark.parametrize("command", LATE)
def test_an_output_that_cannot_be_written_is_said_first(command: str, places: dict[str, str]) -> None:
    name, *words = (places.get(word, word.replace("OUT", places["OUT"])) for word in command.split())
    before = sorted(Path(places["OUT"]).parent.iterdir())
    result = CliRunner().invoke(curate.cli.main if name == "curate" else train.cli.main, words)
    assert result.exit_code in (1, 2)
    assert "can't be written: Not a directory: choose another " in result.stderr
    assert result.stderr.endswith(f"with {SAID[words[0]]}\n")
    assert sorted(Path(places["OUT"]).parent.iterdir()) == before


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "deep" / "file")
    assert not list(tmp_path.iterdir())


def test_a_scan_needs_no_descriptor_behind_its_streams(places: dict[str, str], tmp_path: Path) -> None:
    words = ["scan", places["PHOTO"], "--engine", "serial", "-o", str(tmp_path / "scan.parquet")]
    result = CliRunner().invoke(curate.cli.main, words)
    assert result.exit_code == 0, result.output
    assert "1 photo: 1 measured" in result.stdout


def test_an_output_that_is_a_link_to_itself_is_one_line(places: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for main, command, option in (
        (train.cli.main, "fit", "--run-dir"),
        (curate.cli.main, "filter", "-o"),
        (curate.cli.main, "merge", "-o"),
        (curate.cli.main, "report", "-o"),
    ):
        result = CliRunner().invoke(main, [command, places["M"], option, str(tmp_path / "loop")])
        assert isinstance(result.exception, SystemExit), command
        assert result.stderr.count("\n") == 1, command
        assert (tmp_path / "loop").is_symlink()
