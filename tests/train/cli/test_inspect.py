"""`train inspect`: how a checkpoint was made, and its training photos."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from curate.manifest import digest
from train.cli import main
from train.cli.inspect import photo_lines
from train.trainer.callbacks import FitResult

Manifest = Callable[..., Path]


@pytest.fixture
def run(clean_manifest: Manifest, train_on: Callable[..., FitResult], tmp_path: Path) -> Path:
    """A run on three of four photos."""
    train_on(clean_manifest(["train", "val", "train", "train"]), max_steps=1)
    return tmp_path / "run"


def inspect(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def test_the_training_photos_are_listed_as_sha256sum_reads_them(run: Path, tmp_path: Path) -> None:
    result = inspect(run, "--photos")
    assert result.exit_code == 0, result.output
    files = [tmp_path / "photos" / f"p0{number}.png" for number in (0, 2, 3)]
    assert result.stdout.splitlines() == [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}" for file in files]
    subprocess.run(["sha256sum", "--check", "--strict"], input=result.stdout, text=True, check=True)


def test_a_line_break_in_a_name_is_written_as_sha256sum_reads_it(tmp_path: Path) -> None:
    place = tmp_path / "of two\nlines.png"
    place.write_bytes(b"photo")
    row = {"source": str(tmp_path), "path": place.name, "sha256": hashlib.sha256(b"photo").hexdigest()}
    (line,) = photo_lines(pa.Table.from_pylist([row]))
    subprocess.run(["sha256sum", "--check", "--strict"], input=line + "\n", text=True, check=True)


def test_the_summary_has_the_hashes_of_checkpoint_and_manifest(run: Path, tmp_path: Path) -> None:
    result = inspect(run)
    assert result.exit_code == 0, result.output
    assert f"sha256 {hashlib.sha256((run / 'best.safetensors').read_bytes()).hexdigest()}" in result.stdout
    manifest = tmp_path / "clean.parquet"
    assert f"trained on {manifest}, sha256 {digest(manifest)}" in result.stdout
    assert "photos     3: --photos lists them" in result.stdout


def test_another_manifest_is_refused_and_a_moved_one_found(run: Path, clean_manifest: Manifest, tmp_path: Path) -> None:
    moved = (tmp_path / "clean.parquet").rename(tmp_path / "moved.parquet")
    gone = inspect(run, "--photos")
    assert gone.exit_code == 1
    assert "doesn't exist: give the one with sha256" in gone.stderr
    assert "photos     can't be listed" in inspect(run).stdout
    assert len(inspect(run, "--photos", "--manifest", moved).stdout.splitlines()) == 3
    clean_manifest(["train"])
    other = inspect(run, "--photos")
    assert other.exit_code == 1
    assert "has changed" in other.stderr


def test_a_run_without_best_uses_its_last_checkpoint_and_says_so(run: Path) -> None:
    (run / "best.safetensors").unlink()
    for given in (run, run / "best.safetensors"):
        result = inspect(given)
        assert result.exit_code == 0
        assert "has no best.safetensors: it was stopped before its first validation" in result.stderr
        assert result.stdout.startswith(f"{run / 'last.safetensors'}: ColorUNet, step 1")
    assert not inspect(run / "last.safetensors").stderr


def test_photos_of_the_parents_are_listed_too_or_said_to_be_unknown(
    clean_manifest_in: Manifest, tmp_path: Path
) -> None:
    """The parent was trained on photos 0 and 1, the run on 0, 2 and 3, which is what the line of `fit` says."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = clean_manifest_in(tmp_path / "first", ["train", "train", "val"])
    second = clean_manifest_in(tmp_path / "second", ["train", "val", "train", "train"])
    parent, child = tmp_path / "parent", tmp_path / "child"
    quick = ("--image-size", "32", "--batch-size", "2", "--max-steps", "1", "--device", "cpu", "--workers", "0")
    fit = ["fit", str(first), "--run-dir", str(parent), "--channels", "2", *quick]
    assert CliRunner().invoke(main, fit).exit_code == 0
    result = CliRunner().invoke(main, ["fit", str(second), "--run-dir", str(child), "--init", str(parent), *quick])
    assert result.exit_code == 0, result.output
    assert f"! {parent / 'best.safetensors'} was trained on 1 of split 'val', for example p01.png: " in result.stdout
    names = ["second/photos/p00.png", "second/photos/p02.png", "second/photos/p03.png"]
    names += ["first/photos/p00.png", "first/photos/p01.png"]
    listed = inspect(child, "--photos").stdout.splitlines()
    assert [line.partition("  ")[2] for line in listed] == [str(tmp_path / name) for name in names]
    said = inspect(child).stdout
    assert f"started    from {parent / 'best.safetensors'}, step 1, sha256 " in said
    assert f"which was trained on {first}, sha256 {digest(first)}" in said
    assert "parents'   2 photos: --photos lists them too" in said
    (parent / "photos.parquet").rename(tmp_path / "moved.parquet")
    assert inspect(child, "--photos").stdout.splitlines() == listed
    (child / "parent-photos.parquet").unlink()
    assert sorted(inspect(child, "--photos").stdout.splitlines()) == sorted(listed)  # from the parent's manifest
    first.unlink()
    gone = inspect(child, "--photos")
    assert (gone.exit_code, len(gone.stdout.splitlines())) == (1, 3)
    assert f"the training photos of {parent / 'best.safetensors'}" in gone.stderr
    assert "unknown" in inspect(child).stdout
