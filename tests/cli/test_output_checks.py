"""Commands check before long work that their output can be written, and the check leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.numpy import save_file

import curate.cli
import train.cli
from curate import manifest
from curate.manifest import DECISION_FIELDS, SCAN_SCHEMA, Lineage
from train.checkpoint_file import METADATA_KEY

COMMANDS = (
    "curate report M -o OUT/page.html",
    "train fit M --run-dir OUT/run --device cpu",
    "train evaluate CHECKPOINT M --html OUT/page.html",
    "train colorize CHECKPOINT PHOTO -o OUT/colored",
)
OUTPUT_OPTIONS = {"report": "-o", "fit": "--run-dir", "evaluate": "--html", "colorize": "-o"}


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, str]:
    """Paths of a photo, its manifest, a checkpoint without content, and a file, below which nothing can be written."""
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "file").touch()
    save_file({}, tmp_path / "checkpoint.safetensors", {METADATA_KEY: "{}"})
    row = {"source": str(tmp_path), "path": "a.png", "sha256": "0" * 64, "tone": "color", "colorfulness": 30.0}
    table = pa.Table.from_pylist([row | {"split": "train"}], pa.schema([*SCAN_SCHEMA, *DECISION_FIELDS]))
    manifest.write_manifest(tmp_path / "m.parquet", table, Lineage("clean", "", {}))
    names = {"M": "m.parquet", "CHECKPOINT": "checkpoint.safetensors", "PHOTO": "a.png"}
    return {word: str(tmp_path / name) for word, name in names.items()} | {"OUT": str(tmp_path / "file")}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_cannot_be_written_is_the_first_error(command: str, paths: dict[str, str]) -> None:
    name, *words = (paths.get(word, word.replace("OUT", paths["OUT"])) for word in command.split())
    before = sorted(Path(paths["OUT"]).parent.iterdir())
    result = CliRunner().invoke(curate.cli.main if name == "curate" else train.cli.main, words)
    assert result.exit_code == 1
    assert "can't be written: Not a directory: choose another " in result.stderr
    assert result.stderr.endswith(f"with {OUTPUT_OPTIONS[words[0]]}\n")
    assert sorted(Path(paths["OUT"]).parent.iterdir()) == before


def test_a_scan_works_with_streams_without_a_file_descriptor(paths: dict[str, str], tmp_path: Path) -> None:
    words = ["scan", paths["PHOTO"], "--engine", "serial", "-o", str(tmp_path / "scan.parquet")]
    result = CliRunner().invoke(curate.cli.main, words)
    assert result.exit_code == 0, result.output
    assert "1 photo: 1 measured, 0 failed" in result.stdout


def test_an_output_that_is_a_link_to_itself_is_a_one_line_error(paths: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for main, command, option in (
        (train.cli.main, "fit", "--run-dir"),
        (curate.cli.main, "filter", "-o"),
        (curate.cli.main, "merge", "-o"),
        (curate.cli.main, "report", "-o"),
    ):
        result = CliRunner().invoke(main, [command, paths["M"], option, str(tmp_path / "loop")])
        assert isinstance(result.exception, SystemExit), command
        assert result.stderr.count("\n") == 1, command
        assert (tmp_path / "loop").is_symlink()
