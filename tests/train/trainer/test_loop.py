"""`run_training` on tiny runs: files of a run, resuming, options of the recipe, bad photos, lack of memory."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from PIL import Image
from torch import Tensor

from curate import manifest
from curate.errors import CheckpointError, TrainingError, UsageError
from curate.files import sha256_of
from curate.manifest import Lineage
from train import checkpoint
from train.data import dataset
from train.data.loader import CropLoader
from train.data.sampler import StepSampler, sequential_batches
from train.models.colorspace import split_lab
from train.models.losses import ColorizationWeightedLoss
from train.models.unet import ColorUNet
from train.recipe import Augment, Recipe
from train.trainer import loop
from train.trainer.callbacks import FitResult
from train.trainer.fabric import DeviceConfig
from train.trainer.logger import RunLogger
from train.trainer.loop import run_training
from train.trainer.state import TrainState, find_checkpoint, one_cycle_schedule
from train.trainer.step import is_out_of_memory

Manifests = Callable[..., Path]
Train = Callable[..., FitResult]
LONG = Recipe(image_size=32, channels=2, epochs=4, batch_size=2, lr=1e-3, seed=11, ema=0.8, clip_grad=0.5)
CPU = DeviceConfig("cpu", "32-true", 0)


def quiet(_line: str) -> None:
    """Print nothing."""


def events(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    """The events of a kind in the log, without the field that depends on the clock."""
    lines = (run_dir / "log.jsonl").read_text(encoding="utf-8").splitlines()
    found = [entry for entry in map(json.loads, lines) if entry["event"] == kind]
    return [{key: value for key, value in entry.items() if key != "wait_share"} for entry in found]


def identical(first: Path, second: Path) -> bool:
    """Whether two runs are bit for bit the same: tensors of both checkpoints, steps and validations of the log."""
    for name in ("last.safetensors", "best.safetensors"):
        ours, theirs = checkpoint.load(first / name).tensors, checkpoint.load(second / name).tensors
        if ours.keys() != theirs.keys() or not all(torch.equal(ours[key], theirs[key]) for key in ours):
            return False
    return events(first, "step") == events(second, "step") and events(first, "validation") == events(
        second, "validation"
    )


def test_one_cycle_takes_any_number_of_steps_and_any_warmup_and_leaves_the_betas_alone() -> None:
    lengths = [(0.1, steps) for steps in range(1, 41)]
    for warmup, total_steps in (*lengths, (0.0, 20), (0.5, 2), (0.2, 5), (0.99, 100), (0.001, 1000)):
        adamw = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=5e-5, betas=(0.9, 0.999))
        schedule = one_cycle_schedule(adamw, Recipe(warmup=warmup), total_steps)
        for _ in range(total_steps):
            assert 0 < schedule.get_last_lr()[0] <= 5e-5 * (1 + 1e-9), (warmup, total_steps)
            assert adamw.param_groups[0]["betas"] == (0.9, 0.999)
            adamw.step()
            schedule.step()


def test_one_cycle_peaks_at_lr_after_the_warmup() -> None:
    adamw = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = one_cycle_schedule(adamw, Recipe(lr=1e-3, warmup=0.1), 500)
    rates = []
    for _ in range(500):
        rates.append(schedule.get_last_lr()[0])
        adamw.step()
        schedule.step()
    assert max(rates) == pytest.approx(1e-3, rel=1e-6)
    assert rates.index(max(rates)) == 49
    assert rates[0] < 1e-4
    assert rates[-1] < 1e-6


def test_a_run_writes_checkpoints_log_plot_and_samples_and_leaves_no_drafts(
    clean_manifest: Manifests, train_on: Train
) -> None:
    path = clean_manifest(("train",) * 4 + ("val",))
    outcome = train_on(path, epochs=2)
    names = {entry.name for entry in outcome.run_dir.iterdir()}
    assert names == {
        *("best.safetensors", "last.safetensors", "log.jsonl", "loss.png", "run.html", "samples.png", "samples"),
        "tensorboard",  # because it is installed here
    }
    (board,) = (outcome.run_dir / "tensorboard").iterdir()
    assert all(tag in board.read_bytes() for tag in (b"loss/neutral", b"val/colorfulness"))
    assert outcome.steps == len(events(outcome.run_dir, "step")) == 4
    for name in ("loss.png", "samples.png"):
        with Image.open(outcome.run_dir / name) as picture:
            assert min(picture.size) > 32
    last = checkpoint.load(outcome.run_dir / "last.safetensors").metadata
    assert (last.step, last.recipe.channels) == (4, 2)
    assert last.manifest_sha256 == dataset.load_datasets(path).manifest_sha256
    assert last.manifest_path == str(path)


def test_the_first_step_costs_what_the_neutral_prediction_costs(clean_manifest: Manifests, train_on: Train) -> None:
    path = clean_manifest()
    outcome = train_on(path, seed=5, max_steps=1)
    crops = CropLoader(dataset.load_datasets(path).train, 32, 5)
    (draws,) = StepSampler(4, 2, 5, 0, 1)
    _, target = split_lab(crops.load_batch(draws).rgb)
    (first,) = events(outcome.run_dir, "step")
    assert first["loss"] == pytest.approx(float(ColorizationWeightedLoss()(torch.zeros_like(target), target)), rel=1e-6)


def test_baselines_are_measured_and_printed_before_the_first_step(clean_manifest: Manifests, train_on: Train) -> None:
    path, console = clean_manifest(), list[str]()
    outcome = train_on(path, say=console.append, max_steps=1)
    crops = CropLoader(dataset.load_datasets(path).train, 32, 0)
    (draws,) = sequential_batches(crops.photos, 4)
    _, target = split_lab(crops.load_batch(draws).rgb)
    ab = target.double().numpy()
    weight = 0.5 + np.clip((50 * np.hypot(ab[:, :1], ab[:, 1:]) - 20) / 55, 0, 1)
    (start,) = events(outcome.run_dir, "start")
    assert start["neutral_loss"] == pytest.approx((weight * ab**2).mean(), rel=0.02)
    assert start["mean_color_loss"] < start["neutral_loss"]
    baseline = next(
        index for index, line in enumerate(console) if line.startswith("baseline  loss of predicting neutral gray")
    )
    assert f"{start['neutral_loss']:.4f}" in console[baseline]
    first_step = next(index for index, line in enumerate(console) if line.startswith("step 1/1"))
    assert baseline < first_step
    assert "  1.00 of neutral  " in console[first_step]  # the output layer starts at zero: gray, whatever the batch


def test_each_epoch_is_validated_and_the_lowest_score_is_the_best(clean_manifest: Manifests, train_on: Train) -> None:
    run_dir = train_on(clean_manifest(("train",) * 4 + ("val",) * 2), epochs=3).run_dir
    validations = events(run_dir, "validation")
    assert [entry["step"] for entry in validations] == [2, 4, 6]
    assert all(entry["photos"] == 2 for entry in validations)
    assert checkpoint.load(run_dir / "best.safetensors").metadata.best_score == min(
        entry["score"] for entry in validations
    )


def test_without_validation_photos_best_equals_last_and_a_line_says_so(
    clean_manifest: Manifests, train_on: Train
) -> None:
    console: list[str] = []
    run_dir = train_on(clean_manifest(), say=console.append).run_dir
    best, last = (checkpoint.load(run_dir / f"{name}.safetensors").tensors_under("model") for name in ("best", "last"))
    assert best.keys() == last.keys()
    assert all(torch.equal(best[name], last[name]) for name in best)
    assert any(line.startswith("no photos for validation") and "same weights as last" in line for line in console)


def test_fewer_photos_than_a_batch_are_enough(clean_manifest: Manifests, train_on: Train) -> None:
    assert train_on(clean_manifest(("train",)), batch_size=16, epochs=2).steps == 2


def test_four_photos_can_be_memorised(clean_manifest: Manifests, train_on: Train) -> None:
    outcome = train_on(clean_manifest(), epochs=1000, max_steps=150, batch_size=4, channels=8, lr=3e-3)
    last = [entry["ratio"] for entry in events(outcome.run_dir, "step")[-20:]]
    assert sum(last) / len(last) < 0.5
    assert outcome.healthy


def test_film_changes_what_the_network_sees_but_not_baselines_targets_or_order(
    clean_manifest: Manifests, train_on: Train
) -> None:
    path = clean_manifest(("train",) * 4 + ("val",))
    plain, old = (train_on(path, augment, augment=augment).run_dir for augment in ("none", "film"))
    starts, steps, validations = (
        [events(run_dir, kind) for run_dir in (plain, old)] for kind in ("start", "step", "validation")
    )
    assert starts[0][0]["neutral_loss"] == starts[1][0]["neutral_loss"]
    assert starts[0][0]["mean_color_loss"] == starts[1][0]["mean_color_loss"]
    assert [entry["neutral"] for entry in steps[0]] == [entry["neutral"] for entry in steps[1]]
    assert steps[0][0]["loss"] == steps[1][0]["loss"]  # the output layer starts at zero: gray, whatever the input
    assert steps[0][-1]["loss"] != steps[1][-1]["loss"]
    assert validations[0] != validations[1]
    assert checkpoint.load(old / "last.safetensors").metadata.recipe.augment == "film"
    page = (old / "run.html").read_text()
    assert "augment film" in page
    assert "What the network sees" in page
    assert "What the network sees" not in (plain / "run.html").read_text()


@pytest.mark.parametrize(
    ("augment", "stops"),
    [("none", {1: signal.SIGINT, 3: signal.SIGTERM, 7: signal.SIGINT}), ("film", {4: signal.SIGINT})],
)
def test_a_run_that_is_stopped_and_resumed_ends_like_an_uninterrupted_one(
    clean_manifest: Manifests,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    augment: Augment,
    stops: dict[int, signal.Signals],
) -> None:
    recipe = replace(LONG, augment=augment)
    monkeypatch.setattr("train.trainer.logger.PRINT_INTERVAL_S", 0.0)
    found = dataset.load_datasets(clean_manifest(("train",) * 5 + ("val",) * 2))
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    run_training(found, recipe, CPU, whole, say=quiet)
    console: list[str] = []

    def stop(line: str) -> None:
        console.append(line)
        step = line.removeprefix("step ").partition("/12")[0].strip()
        if line.startswith("step ") and step.isdecimal() and int(step) in stops:
            signal.raise_signal(stops[int(step)])

    before = None
    for stop_at, number in stops.items():
        handler = signal.getsignal(number)
        with pytest.raises(KeyboardInterrupt):
            run_training(found, recipe, CPU, stopped, resume_from=before, say=stop)
        assert signal.getsignal(number) is handler
        before = find_checkpoint(stopped, found)
        assert before
        assert (before.metadata.step, before.metadata.recipe) == (stop_at, recipe)
    run_training(found, recipe, CPU, stopped, resume_from=before, say=console.append)
    assert [f"resumed at step {step}" in console for step in stops] == [True] * len(stops)
    assert identical(whole, stopped)


def test_a_killed_and_resumed_run_ends_like_an_uninterrupted_one(clean_manifest: Manifests, tmp_path: Path) -> None:
    path = clean_manifest(("train",) * 5 + ("val",))
    found = dataset.load_datasets(path)
    recipe = replace(LONG, epochs=24)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    options = "--image-size 32 --channels 2 --epochs 24 --batch-size 2 --lr 1e-3 --seed 11 --device cpu --workers 1"
    options += " --ema 0.8 --clip-grad 0.5"
    command = [sys.executable, "-m", "train", "fit", str(path), "--run-dir", str(killed), *options.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        until = time.monotonic() + 300
        while not (killed / "last.safetensors").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(0.1)
        process.kill()
        said, _ = process.communicate(timeout=300)  # returns when no reader process holds the pipe any more
    assert process.returncode == -signal.SIGKILL, said
    assert "Traceback" not in said
    assert "Warning" not in said
    before = find_checkpoint(killed, found)
    assert before
    assert 0 < before.metadata.step < recipe.total_steps(5)
    assert before.metadata.recipe == recipe
    run_training(found, recipe, CPU, killed, resume_from=before, say=quiet)
    whole.mkdir()
    run_training(found, recipe, CPU, whole, say=quiet)
    assert identical(whole, killed)


def test_best_has_the_step_of_its_weights(
    clean_manifest: Manifests, train_on: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.trainer.callbacks.checkpoint_due", lambda run, epoch_ends: run.step == run.total_steps)
    train_on(clean_manifest(("train",) * 4 + ("val",)), epochs=9, max_steps=5, batch_size=2)
    about = checkpoint.load(tmp_path / "run" / "best.safetensors").metadata
    validations = events(tmp_path / "run", "validation")
    best = min(validations, key=lambda entry: entry["score"])
    assert about.step == best["step"]
    assert about.auto_strength == best["auto_strength"]
    last = checkpoint.load(tmp_path / "run" / "last.safetensors").metadata
    assert last.auto_strength == validations[-1]["auto_strength"]
    for entry in validations:  # a factor below 1 or above 1 costs loss, unless it corrects an error
        assert 0 < entry["auto_strength"] <= 2
        assert entry["auto_ratio"] == pytest.approx(entry["ratio"], abs=0.5)


def test_weights_that_were_not_validated_have_no_automatic_strength(
    clean_manifest: Manifests, train_on: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.trainer.callbacks.checkpoint_due", lambda run, epoch_ends: run.step == 1)
    run_dir = train_on(clean_manifest(("train",) * 4 + ("val",)), epochs=1, batch_size=2).run_dir
    last = checkpoint.load(run_dir / "last.safetensors").metadata
    assert (last.step, last.auto_strength) == (1, None)


def test_find_checkpoint_is_none_without_one_and_refuses_another_manifest(
    clean_manifest: Manifests, train_on: Train, tmp_path: Path
) -> None:
    found = dataset.load_datasets(clean_manifest())
    assert find_checkpoint(tmp_path, found) is None
    run_dir = train_on(found.manifest_path, max_steps=1).run_dir
    with pytest.raises(CheckpointError, match="another manifest"):
        find_checkpoint(run_dir, replace(found, manifest_sha256="0" * 64))


@pytest.fixture
def nan_on_gray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the loss NaN if one photo of a batch is all gray."""
    true_loss = ColorizationWeightedLoss.forward

    def forward(self: ColorizationWeightedLoss, predicted: Tensor, target: Tensor) -> Tensor:
        gray = target.abs().amax(dim=(1, 2, 3)).min() < 0.05
        return true_loss(self, predicted, target) * (float("nan") if gray and predicted.requires_grad else 1)

    monkeypatch.setattr(ColorizationWeightedLoss, "forward", forward)


def flatten(photo: Path, color: tuple[int, int, int]) -> None:
    """Replace a photo by one colour, also in its manifest."""
    Image.new("RGB", (48, 40), color).save(photo)
    path = photo.parent.parent / "clean.parquet"
    table = manifest.read_manifest(path).table
    for name, value in (("bytes", photo.stat().st_size), ("sha256", sha256_of(photo))):
        at = table.schema.get_field_index(name)
        column = pc.if_else(pc.equal(table["path"], photo.name), value, table[name])
        table = table.set_column(at, table.schema.field(at), column)
    manifest.write_manifest(path, table, Lineage("clean", "curate filter", {}))


@pytest.mark.usefixtures("nan_on_gray")
def test_a_photo_with_a_nan_loss_is_named_and_its_step_skipped(clean_manifest: Manifests, train_on: Train) -> None:
    path, console = clean_manifest(), list[str]()
    flatten(path.parent / "photos" / "p02.png", (90, 90, 90))
    outcome = train_on(path, say=console.append, ema=0.9)
    skipped = events(outcome.run_dir, "lost step")
    assert [entry["photos"] for entry in skipped] == [["p02.png"]] * 2  # once an epoch
    assert (
        sum(line.startswith("! skipped step") and line.endswith("is NaN or infinite for p02.png") for line in console)
        == 2
    )
    kept = checkpoint.load(outcome.run_dir / "last.safetensors")
    assert all(tensor.isfinite().all() for tensor in kept.tensors.values())
    steps = events(outcome.run_dir, "step")
    assert [entry["step"] for entry in steps if entry["loss"] is None] == [entry["step"] for entry in skipped]


@pytest.mark.usefixtures("nan_on_gray")
def test_many_consecutive_nan_steps_end_the_run_and_keep_finite_weights(
    clean_manifest: Manifests, train_on: Train, tmp_path: Path
) -> None:
    path, console = clean_manifest(), list[str]()
    for photo in (path.parent / "photos").iterdir():
        flatten(photo, (90, 90, 90))
    flatten(path.parent / "photos" / "p00.png", (200, 40, 40))
    with pytest.raises(TrainingError, match=r"divergence: 10 consecutive steps had a NaN or infinite loss .*--lr"):
        train_on(path, say=console.append, batch_size=4, epochs=20)
    assert any(
        line.startswith("! divergence at step 1: every loss from there on is NaN or infinite") for line in console
    )
    kept = checkpoint.load(tmp_path / "run" / "last.safetensors")
    assert kept.metadata.step == 10
    assert all(tensor.isfinite().all() for tensor in kept.tensors.values())


def test_photos_of_one_colour_give_finite_losses(clean_manifest: Manifests, train_on: Train) -> None:
    path = clean_manifest(("train",) * 4 + ("val",))
    for name, color in (("p00", (0, 0, 0)), ("p01", (255, 255, 255)), ("p02", (90, 90, 90)), ("p04", (250, 10, 10))):
        flatten(path.parent / "photos" / f"{name}.png", color)
    for norm in ("batch", "group"):
        run_dir = train_on(path, folder=norm, norm=norm, batch_size=1).run_dir
        assert all(entry["loss"] is not None for entry in events(run_dir, "step"))
        assert not events(run_dir, "lost step")


def test_a_failing_run_closes_its_log(
    clean_manifest: Manifests, train_on: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[RunLogger] = []
    close = RunLogger.close

    def record_close(logger: RunLogger) -> None:
        close(logger)
        closed.append(logger)

    def full(_run: TrainState) -> None:
        raise CheckpointError("the disk is full")

    monkeypatch.setattr(RunLogger, "close", record_close)
    monkeypatch.setattr("train.trainer.callbacks.save_checkpoints", full)
    with pytest.raises(CheckpointError):
        train_on(clean_manifest())
    assert closed


def weights_of(run_dir: Path) -> dict[str, Tensor]:
    return checkpoint.load(run_dir / "last.safetensors").tensors_under("model")


def test_two_accumulated_batches_of_two_train_like_a_batch_of_four(clean_manifest: Manifests, train_on: Train) -> None:
    path = clean_manifest(("train",) * 7)
    runs = [
        train_on(path, folder=f"run{batch}", norm="group", batch_size=batch, accumulate=4 // batch, epochs=3).run_dir
        for batch in (4, 2)
    ]
    ours, theirs = ([entry["loss"] for entry in events(run_dir, "step")] for run_dir in runs)
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert ours != theirs  # summed in another order: had it not been two batches, they would be the same


def test_a_gradient_above_clip_grad_is_clipped(clean_manifest: Manifests, train_on: Train) -> None:
    path = clean_manifest()
    free, wide, narrow = (
        weights_of(train_on(path, folder=f"run{clip}", clip_grad=clip).run_dir) for clip in (None, 1e9, 1e-9)
    )
    assert all(torch.equal(free[name], wide[name]) for name in free)
    assert not all(torch.equal(free[name], narrow[name]) for name in free)


def test_the_ema_is_saved_as_best_and_used_for_prediction(clean_manifest: Manifests, train_on: Train) -> None:
    run_dir = train_on(clean_manifest(("train",) * 4 + ("val",)), ema=0.9, epochs=4).run_dir
    last = checkpoint.load(run_dir / "last.safetensors")
    network = last.network().state_dict()
    assert all(torch.equal(network[name], value) for name, value in last.tensors_under("ema").items())
    assert not torch.equal(network["head.weight"], last.tensors_under("model")["head.weight"])
    best = checkpoint.load(run_dir / "best.safetensors")
    assert not best.tensors_under("ema")
    if best.metadata.step == last.metadata.step:
        assert torch.equal(best.tensors_under("model")["head.weight"], network["head.weight"])


def test_out_of_memory_names_a_batch_size_that_fits(
    clean_manifest: Manifests, train_on: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_forward = ColorUNet.forward

    def forward(self: ColorUNet, lightness: Tensor) -> Tensor:
        if lightness.shape[0] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 GiB")
        return true_forward(self, lightness)

    monkeypatch.setattr(ColorUNet, "forward", forward)
    with pytest.raises(TrainingError, match=r"batch of 8 doesn't fit.* 2 does: give --batch-size 2 --accumulate 4"):
        train_on(clean_manifest(("train",) * 8), batch_size=8)


def test_a_damaged_photo_is_named_and_skipped_and_the_rest_is_trained(
    clean_manifest: Manifests, train_on: Train
) -> None:
    path, console = clean_manifest(), list[str]()
    damaged = path.parent / "photos" / "p02.png"
    damaged.write_bytes(damaged.read_bytes()[:100].ljust(damaged.stat().st_size, b"\0"))
    outcome = train_on(path, say=console.append, batch_size=4, epochs=1)
    assert outcome.steps == 1
    assert any(line.startswith("! skipped photo p02.png: ChangedSinceScan") for line in console)
    (error,) = events(outcome.run_dir, "photo error")
    assert error["photo"] == "p02.png"


def test_a_damaged_photo_alone_in_its_batch_does_not_end_the_run(clean_manifest: Manifests, train_on: Train) -> None:
    path = clean_manifest(("train",) * 5)
    (_, (alone,)) = StepSampler(5, 4, 0, 0, 2)
    damaged = path.parent / "photos" / f"p{alone.photo:02d}.png"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    assert (train_on(path, batch_size=4, epochs=2).run_dir / "last.safetensors").exists()


def test_no_readable_photo_at_all_is_a_training_error(clean_manifest: Manifests, train_on: Train) -> None:
    path = clean_manifest()
    for photo in (path.parent / "photos").iterdir():
        photo.write_bytes(bytes(photo.stat().st_size))
    with pytest.raises(TrainingError, match="can be read"):
        train_on(path)


@pytest.mark.parametrize("device", ["abacus", "cuda:first", "tpu", "cuda:99"])
def test_a_missing_device_is_a_usage_error(clean_manifest: Manifests, tmp_path: Path, device: str) -> None:
    with pytest.raises(UsageError, match=f"--device {device}"):
        run_training(
            dataset.load_datasets(clean_manifest()), LONG, DeviceConfig(device, "32-true", 0), tmp_path, say=quiet
        )


def test_the_seed_decides_the_initial_weights(clean_manifest: Manifests, train_on: Train) -> None:
    path = clean_manifest()
    runs = [
        train_on(path, folder=f"run{index}", seed=seed, max_steps=1).run_dir for index, seed in enumerate((1, 1, 2))
    ]
    first, again, other = (checkpoint.load(run).tensors["model/encoder.0.0.weight"] for run in runs)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (errno.ENOSPC, "run can't be written: No space left on device: free some space, then continue with --resume"),
        (errno.EMFILE, "Too many open files: allow more open files with `ulimit -n`, then continue with --resume"),
        (errno.EIO, "Input/output error: check the disk and the connection to it, then continue with --resume"),
        (errno.EXDEV, f"{os.strerror(errno.EXDEV)}: continue with --resume"),
    ],
)
def test_advice_about_a_system_error_names_its_cause(code: int, line: str) -> None:
    with pytest.raises(TrainingError) as caught, loop._describe_system_errors(Path("run")):
        raise OSError(code, os.strerror(code))
    assert str(caught.value) == line


def test_a_full_dev_shm_is_not_a_batch_that_is_too_large() -> None:
    full = RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")
    assert not is_out_of_memory(full)
    assert is_out_of_memory(
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory")
    )


def test_a_full_dev_shm_is_named_and_not_the_folder_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.text.shutil.disk_usage", lambda _path: SimpleNamespace(free=0))
    monkeypatch.setattr("curate.text.os.path.isdir", lambda _path: True)
    line = r"^No space left on device: free some space in /dev/shm, or enlarge it"
    with pytest.raises(TrainingError, match=line), loop._describe_system_errors(Path("run")):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
