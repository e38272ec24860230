"""Runs that start from the weights of a checkpoint (`--init`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from curate.errors import CheckpointError, UsageError
from train import checkpoint
from train.lineage import describe_parent
from train.recipe import Recipe
from train.trainer.fabric import DeviceConfig
from train.trainer.start import check_same_parent, start_training

Manifests = Callable[..., Path]
RECIPE = Recipe(image_size=32, channels=2, batch_size=2, lr=1e-3, max_steps=4, ema=0.8)
PARENT_SPLITS = ("train", "train", "train", "val", "val")


class Stopped(Exception):  # noqa: N818
    """Ends a run, as a crash does."""


def start(
    path: Path,
    run_dir: Path,
    init: Path | None = None,
    *,
    recipe: Recipe = RECIPE,
    given: Sequence[str] = (),
    stop_at: int = 0,
    resume: bool = False,
) -> list[str]:
    """Train, up to a step, and return the printed lines."""
    lines: list[str] = []

    def progress(step: int, _total: int) -> None:
        if step == stop_at:
            raise Stopped

    start_training(
        path,
        run_dir,
        recipe,
        DeviceConfig("cpu", "32-true", 0),
        set_by_user=given,
        init=init,
        resume=resume,
        say=lines.append,
        progress=progress,
    )
    return lines


def events(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run_dir / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def best(run_dir: Path) -> checkpoint.Checkpoint:
    return checkpoint.load(run_dir, weights_only=True)


@pytest.fixture(scope="module")
def parent(clean_manifest_in: Manifests, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run with EMA and BatchNorm; its manifest is in the folder above."""
    place = tmp_path_factory.mktemp("parent")
    start(clean_manifest_in(place, PARENT_SPLITS), place / "run")
    return place / "run"


def test_step_0_scores_as_the_parents_best_step_on_the_same_photos(parent: Path, tmp_path: Path) -> None:
    run, wanted = tmp_path / "run", replace(RECIPE, channels=8, ema=0.9, seed=5, batch_size=1, max_steps=2)
    start(parent.parent / "clean.parquet", run, parent, recipe=wanted, given=["seed"])
    known = best(parent).metadata
    (theirs,) = [event for event in events(parent, "validation") if event["step"] == known.best_step]
    ours = events(run, "validation")[0]
    assert ours["step"] == 0
    assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
    assert ours["ratio"] == pytest.approx(theirs["ratio"], abs=1e-5)
    assert ours["colorfulness_share"] == pytest.approx(theirs["colorfulness_share"], abs=1e-5)
    assert [event["step"] for event in events(run, "step")] == [1, 2]
    last = checkpoint.load(run / "last.safetensors")
    assert last.metadata.recipe == replace(wanted, channels=2)
    assert (last.metadata.step, last.metadata.averaged_steps) == (2, 2)
    (counts,) = {int(value) for name, value in last.tensors.items() if name.endswith("/step")}
    assert counts == 2  # of AdamW, which started again

    first = last.metadata.parent
    assert first
    assert (first.path, first.step, first.parent) == (str(parent / "best.safetensors"), known.step, None)
    assert first.sha256 == hashlib.sha256((parent / "best.safetensors").read_bytes()).hexdigest()
    assert (first.manifest_sha256, first.photos_sha256) == (known.manifest_sha256, known.photos_sha256)
    assert first.held_out == {}
    assert f"{first.path}, step {first.step} (sha256 " in (run / "run.html").read_text("utf-8")
    assert describe_parent(last, pq.read_table(run / "photos.parquet"))[0].parent == first


def test_weights_in_float16_are_trained_in_float32(parent: Path, tmp_path: Path) -> None:
    source, half = best(parent), tmp_path / "half.safetensors"
    weights = {f"model/{name}": value for name, value in source.tensors_under("model").items()}
    smaller = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    checkpoint.save(half, smaller, source.metadata)
    start(parent.parent / "clean.parquet", tmp_path / "run", half, recipe=replace(RECIPE, max_steps=1))
    (first, second) = (events(folder, "validation") for folder in (tmp_path / "run", parent))
    assert first[0]["loss"] == pytest.approx(min(second, key=lambda entry: entry["score"])["loss"], abs=1e-3)
    assert {value.dtype for value in best(tmp_path / "run").tensors.values()} == {torch.float32, torch.int64}


def test_channels_norm_and_encoder_must_agree(parent: Path, clean_manifest: Manifests, tmp_path: Path) -> None:
    wanted = replace(RECIPE, image_size=64)
    for change in ({"channels": 4}, {"norm": "group"}, {"encoder": "efficientnet-lite0"}):
        ((name, value),) = change.items()
        with pytest.raises(
            UsageError, match=rf"^--{name} {value} differs from the .* of .*best\.safetensors"
        ) as caught:
            start(clean_manifest(), tmp_path / "other", parent, recipe=replace(wanted, **change), given=[name])
        assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="doesn't exist"):
        start(clean_manifest(), tmp_path / "other", tmp_path / "nowhere")
    assert not (tmp_path / "other").exists()


def test_held_out_photos_that_the_parent_was_trained_on_are_named(
    parent: Path, clean_manifest: Manifests, tmp_path: Path
) -> None:
    # the parent was trained on photos 0 to 2: 1 is now in the validation split, 0 and 2 in the test split
    manifest = clean_manifest(("test", "val", "test", "val", "train"))
    lines = start(manifest, tmp_path / "run", parent, recipe=replace(RECIPE, max_steps=1))
    (warning,) = [line for line in lines if line.startswith("!")]
    assert warning.startswith(
        f"! {parent / 'best.safetensors'} was trained on 1 of split 'val' and 2 of split 'test', for example "
        "p00.png, p01.png, p02.png: scores on these are too good"
    )
    about = best(tmp_path / "run").metadata.parent
    assert about
    assert about.held_out == {"val": 1, "test": 2}
    assert "trained on 1 of split val and 2 of split test" in (tmp_path / "run" / "run.html").read_text("utf-8")


def test_a_checkpoint_without_its_list_of_photos_is_used_with_a_warning(
    checkpoint_file: Manifests, clean_manifest: Manifests, tmp_path: Path
) -> None:
    manifest, run, file = clean_manifest(("train", "val")), tmp_path / "run", checkpoint_file()
    lines = start(manifest, run, file.parent, recipe=replace(RECIPE, max_steps=1))
    (warning,) = [line for line in lines if line.startswith("!")]
    assert "are unknown" in warning
    assert "'val' and 'test' may be among them" in warning
    about = best(run).metadata.parent
    assert about
    assert about.held_out is None
    file.unlink()
    file.parent.rmdir()
    check_same_parent(about, file)  # gone, but the same path
    check_same_parent(about, file.parent)
    with pytest.raises(UsageError, match="leave out --init"):
        check_same_parent(about, tmp_path / "parent-run2")


def test_resume_needs_no_init_refuses_another_one_and_gives_the_same_weights(
    parent: Path, clean_manifest: Manifests, checkpoint_file: Manifests, tmp_path: Path
) -> None:
    manifest, whole, run = clean_manifest(("train",) * 3 + ("val",)), tmp_path / "whole", tmp_path / "stopped"
    start(manifest, whole, parent)
    with pytest.raises(Stopped):
        start(manifest, run, parent, stop_at=1)  # before its first checkpoint of a step
    other = checkpoint_file()
    with pytest.raises(UsageError, match=r"is not the checkpoint that this run started from .*: leave out --init"):
        start(manifest, run, other, resume=True)
    start(manifest, run, resume=True)
    ours, theirs = (checkpoint.load(folder / "last.safetensors").tensors for folder in (whole, run))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert events(whole, "validation") == events(run, "validation")
    assert best(whole).metadata.parent == best(run).metadata.parent
    check_same_parent(best(run).metadata.parent, parent)
    with pytest.raises(UsageError, match="started with new weights"):
        start(parent.parent / "clean.parquet", parent, other, resume=True)
