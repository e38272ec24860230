"""Runs that start and resume with their own list of photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from curate import manifest
from curate.errors import CheckpointError, ManifestError
from train import checkpoint
from train.lineage import training_photos
from train.recipe import Recipe
from train.trainer.fabric import DeviceConfig
from train.trainer.start import start_training

Manifests = Callable[..., Path]
RECIPE = Recipe(image_size=32, channels=2, batch_size=2, lr=1e-3, max_steps=4)


class Stopped(Exception):  # noqa: N818
    """Ends a run, as a crash does."""


def start(
    path: Path, run_dir: Path, *, stop_at: int = 0, resume: bool = False, skip_changed: bool = False
) -> list[str]:
    """Train, up to a step, and return the printed lines."""
    lines: list[str] = []

    def progress(step: int, _total: int) -> None:
        if step == stop_at:
            raise Stopped

    start_training(
        path,
        run_dir,
        RECIPE,
        DeviceConfig("cpu", "32-true", 0),
        set_by_user=(),
        resume=resume,
        skip_changed=skip_changed,
        say=lines.append,
        progress=progress,
    )
    return lines


def stopped_run(path: Path, run_dir: Path) -> None:
    with pytest.raises(Stopped):
        start(path, run_dir, stop_at=3)


def paths(run_dir: Path) -> list[str]:
    listed: list[str] = training_photos(checkpoint.load(run_dir))["path"].to_pylist()
    return listed


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = (checkpoint.load(folder / "last.safetensors").tensors for folder in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_resumes_with_its_own_photos_after_the_manifest_was_overwritten(
    clean_manifest: Manifests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.trainer.state.CHECKPOINT_STEPS", 1)
    monkeypatch.setattr("train.trainer.state.CHECKPOINT_TIME_SHARE", float("inf"))
    path = clean_manifest(("train", "train", "train", "val"))
    whole, run_dir = tmp_path / "whole", tmp_path / "stopped"
    start(path, whole)
    stopped_run(path, run_dir)
    clean_manifest(("train", "train", "val", "val", "train"))  # p02 in another split, p04 is new
    lines = start(path, run_dir, resume=True)
    assert lines[0] == (
        f"{path} has changed since the run started (2 photos new or changed, 1 gone or changed): the run continues "
        f"with its own list, {run_dir / 'photos.parquet'}"
    )
    assert same_weights(whole, run_dir)
    assert paths(run_dir) == ["p00.png", "p01.png", "p02.png"]
    assert checkpoint.load(whole).metadata.manifest_sha256 == checkpoint.load(run_dir).metadata.manifest_sha256
    path.unlink()
    assert "can't be read any more" in start(path, run_dir, resume=True)[0]
    assert paths(run_dir) == ["p00.png", "p01.png", "p02.png"]


def test_another_manifest_and_another_list_are_refused(
    clean_manifest: Manifests, clean_manifest_in: Manifests, tmp_path: Path
) -> None:
    path, run_dir = clean_manifest(), tmp_path / "run"
    start(path, run_dir)
    (tmp_path / "elsewhere").mkdir()
    other = clean_manifest_in(tmp_path / "elsewhere", ("train", "val"))
    with pytest.raises(CheckpointError, match="another manifest"):
        start(other, run_dir, resume=True)
    with pytest.raises(ManifestError, match=r"none\.parquet doesn't exist"):
        start(tmp_path / "none.parquet", run_dir, resume=True)
    start(other, tmp_path / "other")
    (tmp_path / "other" / "photos.parquet").rename(run_dir / "photos.parquet")
    with pytest.raises(CheckpointError, match=r"is not the list of photos|another manifest"):
        start(other, run_dir, resume=True)


def test_a_run_without_its_own_list_resumes_as_before(clean_manifest: Manifests, tmp_path: Path) -> None:
    path, run_dir = clean_manifest(), tmp_path / "run"
    start(path, run_dir)
    (run_dir / "photos.parquet").unlink()
    start(path, run_dir, resume=True)
    assert len(paths(run_dir)) == 4
    clean_manifest(("train", "val"))
    with pytest.raises(CheckpointError, match="another manifest"):
        start(path, run_dir, resume=True)


def test_changed_photos_that_are_left_out_are_not_listed(clean_manifest: Manifests, tmp_path: Path) -> None:
    path, run_dir = clean_manifest(), tmp_path / "run"
    (tmp_path / "photos" / "p01.png").write_bytes(b"another photo")
    with pytest.raises(ManifestError, match=r"p01\.png: run `curate scan`.*--skip-changed"):
        start(path, run_dir)
    start(path, run_dir, skip_changed=True)
    assert paths(run_dir) == ["p00.png", "p02.png", "p03.png"]
    (tmp_path / "photos" / "p03.png").write_bytes(b"another photo, later")
    with pytest.raises(ManifestError, match=r"p03\.png: bring them back, or"):
        start(path, run_dir, resume=True)
    start(path, run_dir, resume=True, skip_changed=True)
    assert paths(run_dir) == ["p00.png", "p02.png", "p03.png"]  # the run began with it
    (run_dir / "photos.parquet").unlink()
    with pytest.raises(ManifestError, match=r"give photos\.parquet with sha256"):
        paths(run_dir)
    with pytest.raises(CheckpointError, match="is not the list of photos"):
        start(path, run_dir, resume=True, skip_changed=True)


def test_the_list_names_the_manifest_that_it_was_made_from(clean_manifest: Manifests, tmp_path: Path) -> None:
    path = clean_manifest(("train", "val", "test"))
    start(path, tmp_path / "run")
    read = manifest.read_manifest(tmp_path / "run" / "photos.parquet")
    assert read.lineage
    assert (read.lineage.kind, read.lineage.parent_sha256) == ("run", manifest.digest(path))
    assert read.table["split"].to_pylist() == ["train", "val"]
