"""`train evaluate` says if the network was trained on the photos."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from curate.manifest import digest
from train import checkpoint
from train.cli import main
from train.lineage import describe_parent
from train.trainer.callbacks import FitResult

Manifest = Callable[..., Path]


def evaluate(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["evaluate", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def run(clean_manifest: Manifest, train_on: Callable[..., FitResult]) -> Path:
    """A run on three of five photos."""
    return train_on(clean_manifest(["train", "train", "train", "val", "test"]), max_steps=1).run_dir


@pytest.mark.parametrize(
    ("split", "known", "said"),
    [
        ("train", 3, "Warning: the network was trained on all 3 photos"),
        ("all", 3, "Warning: the network was trained on 3 of the 5 photos"),
        ("val", 0, ""),
        ("test", 0, ""),
    ],
)
def test_photos_of_the_training_are_counted_and_named(
    run: Path, tmp_path: Path, split: str, known: int, said: str
) -> None:
    page = tmp_path / "page.html"
    result = evaluate(run, tmp_path / "clean.parquet", "--split", split, "--html", page)
    assert ("Warning" in result.stdout) == ("Warning" in page.read_text(encoding="utf-8")) == bool(said)
    assert said in result.stdout.splitlines()[1]
    facts = json.loads(evaluate(run, tmp_path / "clean.parquet", "--split", split, "--json").stdout)
    assert facts["protocol"]["training_photos"] == known


def test_they_are_found_in_another_manifest_and_with_a_limit(run: Path, tmp_path: Path) -> None:
    rows = pq.read_table(tmp_path / "clean.parquet")
    other = tmp_path / "other.parquet"
    pq.write_table(rows.set_column(rows.column_names.index("split"), "split", [["test"] * 5]), other)
    facts = json.loads(evaluate(run, other, "--json", "--limit", "3").stdout)
    assert facts["protocol"]["training_photos"] == 2  # evenly spread: photos 0, 2 and 4; 0 to 2 are training photos
    assert "trained on 3 of the 5 photos" in evaluate(run, other).stdout


def test_without_the_list_of_training_photos_a_split_that_may_have_some_is_named(
    checkpoint_file: Manifest, clean_manifest: Manifest
) -> None:
    manifest = clean_manifest(["train", "test"])
    for split, warned in (("train", True), ("all", True), ("test", False)):
        said = evaluate(checkpoint_file(), manifest, "--split", split).stdout
        assert ("may have photos that the network was trained on" in said) == warned


def test_training_photos_of_the_parent_count_too(run: Path, clean_manifest_in: Manifest, tmp_path: Path) -> None:
    """The parent was trained on photos 0, 1 and 2, the checkpoint itself on photo 2."""
    (tmp_path / "second").mkdir()
    manifest = clean_manifest_in(tmp_path / "second", ["test", "val", "train", "test"])
    source = checkpoint.load(run, weights_only=True)
    parent, _, _ = describe_parent(source, pq.read_table(manifest))
    about = replace(source.metadata, manifest_path=str(manifest), manifest_sha256=digest(manifest), parent=parent)
    checkpoint.save(tmp_path / "child.safetensors", source.tensors, about)
    facts = json.loads(evaluate(tmp_path / "child.safetensors", manifest, "--split", "all", "--json").stdout)
    assert (facts["protocol"]["training_photos"], facts["protocol"]["parents_known"]) == (3, True)
    assert "trained on 1 of the 2 photos" in evaluate(tmp_path / "child.safetensors", manifest).stdout
    (tmp_path / "clean.parquet").unlink()
    said = evaluate(tmp_path / "child.safetensors", manifest).stdout
    assert "split test may have photos that the checkpoint from which this run started (--init) was trained on" in said
