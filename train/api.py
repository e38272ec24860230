"""Public Python API of stage two: one function per command, with the command's options as keyword arguments.

`import train` offers all of them: `train.fit(...)`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal

import train.checkpoint
import train.data.dataset
import train.evaluation.report
import train.health.diagnose
import train.inference.onnx_export
from curate.errors import UsageError
from curate.files import sha256_of
from curate.locations import PathText, RemotePath, local_path, parse_location
from train.checkpoint import Checkpoint
from train.checkpoint_file import locate
from train.data.dataset import Datasets, load_split
from train.data.loader import TIMEOUT_S
from train.evaluation.evaluator import Evaluation, EvaluationResult
from train.evaluation.feature_metrics import Fid, Lpips
from train.evaluation.protocols import Protocol
from train.evaluation.scores import summarize
from train.evaluation.training_photos import count_training_photos
from train.health.diagnose import Diagnosis, read_loss_curve
from train.models.device import choose_device, device_errors
from train.models.losses import ColorizationWeightedLoss
from train.models.strength import Strength, resolve_strength
from train.recipe import Augment, Encoder, Norm, Recipe
from train.trainer.callbacks import FitResult
from train.trainer.fabric import DeviceConfig
from train.trainer.start import check_roots, only_training, start_training

StrPath = PathText
Progress = Callable[[int, int], None]
"""Called now and then with the number of photos done and of all photos."""
_RECIPE = Recipe()


def fit(
    manifest: StrPath,
    *,
    run_dir: StrPath | None = None,
    image_size: int = _RECIPE.image_size,
    channels: int = _RECIPE.channels,
    epochs: int = _RECIPE.epochs,
    batch_size: int = _RECIPE.batch_size,
    accumulate: int = _RECIPE.accumulate,
    devices: int = _RECIPE.devices,
    lr: float = _RECIPE.lr,
    weight_decay: float = _RECIPE.weight_decay,
    beta1: float = _RECIPE.beta1,
    beta2: float = _RECIPE.beta2,
    warmup: float = _RECIPE.warmup,
    norm: Norm = _RECIPE.norm,
    encoder: Encoder = _RECIPE.encoder,
    neutral_weight: float = _RECIPE.neutral_weight,
    saturated_weight: float = _RECIPE.saturated_weight,
    neutral_chroma: float = _RECIPE.neutral_chroma,
    saturated_chroma: float = _RECIPE.saturated_chroma,
    perceptual_weight: float = _RECIPE.perceptual_weight,
    augment: Augment = _RECIPE.augment,
    crop_borders: bool = _RECIPE.crop_borders,
    clip_grad: float | None = _RECIPE.clip_grad,
    ema: float | None = _RECIPE.ema,
    max_steps: int | None = _RECIPE.max_steps,
    seed: int = _RECIPE.seed,
    recipe: Recipe | None = None,
    init: StrPath | None = None,
    encoder_weights: StrPath | None = None,
    on_trouble: Literal["warn", "stop", "rescue"] = "warn",
    resume: bool = False,
    roots: StrPath | Sequence[StrPath] = (),
    skip_changed: bool = False,
    workers: int = 1,
    timeout_s: float = TIMEOUT_S,
    device: str = "auto",
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto",
    compile: bool = False,  # noqa: A002  # the option's name
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
    command: str | None = None,
) -> FitResult:
    """Train a colorizer on the photos of a manifest or a pack.

    The run's folder gets run.html to look at, best.safetensors, last.safetensors, log.jsonl, loss.png and samples.
    Ctrl-C stops after a step with a checkpoint; `resume=True` continues. Not thread-safe: a process trains one network
    at a time, because torch's random numbers and the signal handlers are those of the process.

    Args:
        manifest: a manifest of `curate.filter_manifest`, or the folder of a pack.
        run_dir: folder of the run; None is `runs/NAME OF THE MANIFEST`.
        image_size, channels, epochs, batch_size, accumulate, devices, lr, weight_decay, beta1, beta2, warmup, norm,
            encoder, neutral_weight, saturated_weight, neutral_chroma, saturated_chroma, perceptual_weight, augment,
            crop_borders, clip_grad, ema, max_steps, seed: the hyper-parameters of `Recipe`, explained in
            docs/reference/recipe.md.
        recipe: all hyper-parameters as one object, instead of single arguments.
        init: start from the best weights of this run's folder, or from this checkpoint, to fine-tune or to train
            longer; the text "ready" starts from the weights that come with vividset. channels, norm and encoder are
            then those of the checkpoint; one that is given and differs from both the checkpoint's and the default is an
            error. Optimizer, schedule, steps, seed and average are new.
        encoder_weights: file with the weights of efficientnet-lite0; None takes those of its package.
        on_trouble: when the run goes wrong: `warn` prints it, `stop` also ends it, `rescue` returns to healthy weights
            and continues with a lower rate, smaller batches and a new warm-up. A resumed run keeps its own instead of
            the default.
        resume: continue the run in `run_dir`; it needs no `init`. Hyper-parameters are the run's own; one that is given
            and differs from both the run's and the default is an error.
        roots: one or many folders to look in, if the photos have moved since the scan.
        skip_changed: leave out photos that have changed since the scan; otherwise they are an error.
        workers: processes that read photos, 0 to 64; 0 reads in this process.
        timeout_s: a photo that takes longer to read counts as unreadable.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: as Lightning Fabric names them; `auto` is bf16-mixed on GPUs that multiply it, else 32-true.
        compile: compile the network: a slow first step, faster ones after it.
        say: called with each line of text for the user.
        progress: called after each step with the number of steps done and of all steps. With several devices, `say` and
            `progress` must be functions of a module that can be imported.
        command: text that the checkpoints record as what made them; None records this call.

    Returns:
        `run_dir`, `steps`, `verdict` (one line about the run's health) and `healthy`.

    Raises:
        UsageError: an argument has no meaning, the device does not exist, `run_dir` has a run, another thread trains,
            a hyper-parameter or `init` doesn't fit, or several devices are asked for outside the main thread.
        ManifestError: the manifest cannot be read, has no training photos, or photos are gone or changed.
        TrainingError: losses became NaN or infinite, trouble with `on_trouble="stop"`, or no photo can be read.
        CheckpointError: a checkpoint cannot be read or written.

    Example:
        >>> result = train.fit("clean.parquet", run_dir="runs/clean", image_size=64, channels=8)  # doctest: +SKIP
        >>> result.steps, result.healthy  # doctest: +SKIP
        (500, True)
    """
    arguments = locals()  # only the parameters yet: each field of Recipe is one of them
    chosen = _choose_recipe(recipe, arguments)
    _check("on_trouble", on_trouble, ("warn", "stop", "rescue"))
    if not 0 <= workers <= 64:
        raise UsageError(f"workers must be 0 to 64, not {workers!r}")
    _check_timeout(timeout_s)
    source = parse_location(manifest)
    folder = Path("runs") / source.stem if run_dir is None else local_path(run_dir, "run_dir")
    start = "" if init is None else f", init={str(init)!r}"
    with only_training(chosen.devices):
        return start_training(
            source,
            folder,
            chosen,
            DeviceConfig(device, precision, workers, _path(encoder_weights), compile, timeout_s),
            set_by_user={name for name, value in asdict(chosen).items() if value != getattr(_RECIPE, name)}
            | ({"on_trouble"} if on_trouble != "warn" else set()),
            roots=_roots(roots),
            skip_changed=skip_changed,
            init=None if init is None else locate(init),
            resume=resume,
            on_trouble=on_trouble,
            command=f"train.fit({str(source)!r}, run_dir={str(folder)!r}{start})" if command is None else command,
            say=say,
            progress=progress,
        )


def load_datasets(manifest: StrPath, *, roots: StrPath | Sequence[StrPath] = ()) -> Datasets:
    """Find the training, validation and test photos of a manifest or a pack, and check that they are unchanged.

    Args:
        manifest: a manifest of `curate.filter_manifest`, or the folder of a pack.
        roots: one or many folders to look in, if the photos have moved since the scan.

    Returns:
        `train`, `val` and `test`: photos with `len(...)`, and `read_pixels(index, short_side_px)`, which returns
        (H, W, 3) uint8 sRGB.

    Raises:
        ManifestError: the manifest cannot be read, has no training photos, or photos are gone or changed.

    Example:
        >>> len(train.load_datasets("clean.parquet").train)  # doctest: +SKIP
        784
    """
    return train.data.dataset.load_datasets(parse_location(manifest), _roots(roots))


def load_checkpoint(checkpoint: StrPath, *, weights_only: bool = True) -> Checkpoint:
    """Read a checkpoint, without running any code from it.

    Args:
        checkpoint: a .safetensors file; a run's folder, whose best.safetensors is read, else its last.safetensors; or
            the text "ready", for the weights that come with vividset.
        weights_only: leave out the optimizer's tensors.

    Returns:
        The checkpoint: `network()` is the trained `ColorUNet` in eval mode, `metadata` what it was trained with and on.

    Raises:
        CheckpointError: missing, damaged, not a vividset checkpoint, or of another version.

    Example:
        >>> train.load_checkpoint("runs/clean").metadata.recipe.channels  # doctest: +SKIP
        96
    """
    return train.checkpoint.load(locate(checkpoint), weights_only=weights_only)


def evaluate(
    checkpoint: StrPath,
    manifest: StrPath,
    *,
    split: Literal["test", "val", "train", "all"] = "test",
    image_size: int | None = None,
    limit: int | None = None,
    roots: StrPath | Sequence[StrPath] = (),
    skip_changed: bool = False,
    lpips_weights: StrPath | None = None,
    fid_weights: StrPath | None = None,
    html: StrPath | None = None,
    timeout_s: float = TIMEOUT_S,
    strength: Strength = 1.0,
    device: str = "auto",
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Evaluate a checkpoint on photos of a manifest, compared with a gray and a single-color prediction.

    Args:
        checkpoint: a .safetensors file, or a run's folder.
        manifest: a manifest of `curate.filter_manifest`.
        split: photos to use; `fit` never reads those of `test`.
        image_size: side of the square crops, 32 to 4096 px; None is the size of the training.
        limit: use this many photos, evenly spread; None uses all.
        roots: one or many folders to look in, if the photos have moved since the scan.
        skip_changed: leave out photos that have changed since the scan; otherwise they are an error.
        lpips_weights: TorchScript file vgg16.pt, to measure LPIPS. It runs as a program.
        fid_weights: TorchScript file inception-2015-12-05.pt, to measure FID. It runs as a program.
        html: page to write with the best, median and worst photos.
        timeout_s: a photo that takes longer to read counts as unreadable.
        strength: factor for the chroma of the network's colors, 0 to 4, or `auto`, as for `Colorizer.colorize`.
        device: auto (the first GPU, else the CPU), cpu, cuda, cuda:1 or mps.
        say: called with each line of text for the user.
        progress: called with the number of photos done and of all photos.

    Returns:
        `summary["network"]` with `loss_to_neutral`, `colorfulness`, `psnr_db`, `ssim`, ..., beside
        `summary["neutral gray"]` and `summary["mean color"]`; `photos` with the scores of each photo; `protocol`.

    Raises:
        CheckpointError: the checkpoint cannot be read, or `strength` is `auto` and it has no automatic strength.
        ManifestError: the manifest has no photos of that split, or photos are gone or changed.
        UsageError: an argument has no meaning, or the device does not exist.
        TrainingError: no photo can be read.

    Example:
        >>> result = train.evaluate("runs/clean", "clean.parquet")  # doctest: +SKIP
        >>> result.summary["network"].loss_to_neutral  # doctest: +SKIP
        0.71
    """
    _check_timeout(timeout_s)
    _check("split", split, ("test", "val", "train", "all"))
    page = _path(html)
    if page:
        train.evaluation.report.PAGE.check_path(page)
    chosen, manifest_sha256 = load_split(
        parse_location(manifest), split, _roots(roots), skip_changed=skip_changed, say=say
    )
    source = load_checkpoint(checkpoint)
    recipe = source.metadata.recipe
    size_px = image_size or recipe.image_size
    factor = resolve_strength(strength, source.metadata.auto_strength, source.path)
    device = choose_device(device)
    with device_errors(device):
        network = source.network().to(device)
    lpips = Lpips(local_path(lpips_weights), device) if lpips_weights else None
    fid = Fid(local_path(fid_weights), device) if fid_weights else None
    evaluation = Evaluation(
        network, chosen, size_px, ColorizationWeightedLoss.from_recipe(recipe), device, lpips, fid, timeout_s, factor
    )
    photos = evaluation.run(limit, progress or (lambda done, total: None))
    training_photos, parents_known = count_training_photos(
        source, parse_location(manifest), chosen, [photo.index for photo in photos]
    )
    protocol = Protocol(
        checkpoint=str(source.path),
        checkpoint_sha256=sha256_of(source.path),
        manifest=str(manifest),
        manifest_sha256=manifest_sha256,
        split=split,
        photos=len(photos),
        unreadable=min(limit or len(chosen), len(chosen)) - len(photos),
        size_px=size_px,
        training_photos=training_photos,
        parents_known=parents_known,
        strength=factor,
        lpips_weights_sha256=lpips.features.sha256 if lpips else None,
        fid_weights_sha256=fid.features.sha256 if fid else None,
    )
    summary = summarize(photos, fid.distances() if fid else None)
    if page:
        text = train.evaluation.report.render_page(evaluation.render, protocol, photos, summary)
        train.evaluation.report.PAGE.write(page, text)
    unreadable = {chosen.name(index): reason for index, reason in evaluation.unreadable.items()}
    return EvaluationResult(protocol, photos, summary, unreadable, evaluation.auto_strength())


def diagnose(run: StrPath, *, neutral: float | None = None, means_of: int | None = None) -> Diagnosis:
    """Check whether a training run is healthy, and return what to do if it is not.

    Args:
        run: a run's folder, or a CSV file of any trainer with the columns step,loss.
        neutral: loss of predicting neutral gray, for a CSV file; None takes the mean of its first 10 to 100 losses.
        means_of: each row of the CSV file is the mean of this many steps; None: each row is one step.

    Returns:
        `verdict`, one line, and `findings`, each with kind, step, evidence and remedy; no findings means healthy.

    Raises:
        TrainingError: there is nothing to judge.
        UsageError: an argument has no meaning.

    Example:
        >>> [finding.kind for finding in train.diagnose("runs/clean").findings]  # doctest: +SKIP
        []
    """
    if neutral is not None and not neutral > 0:
        raise UsageError(f"neutral must be a loss above 0, not {neutral!r}")
    if means_of is not None and means_of < 1:
        raise UsageError(f"means_of must be a number of steps, 1 or more, not {means_of!r}")
    return train.health.diagnose.diagnose_curve(read_loss_curve(local_path(run), neutral, means_of))


def export_onnx(checkpoint: StrPath, out: StrPath) -> float:
    """Write a checkpoint's network as an ONNX model for any batch, height and width, checked against torch.

    Input: CIELAB L*/50 - 1 as (N, 1, H, W) float32. Output: a*, b* in units of 50 as (N, 2, H, W).

    Args:
        checkpoint: a .safetensors file, or a run's folder.
        out: the .onnx file; an earlier export is replaced.

    Returns:
        The largest absolute difference from torch, in units of ab/50.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        UsageError: the ONNX libraries are not installed, or `out` is something else.
        TrainingError: onnxruntime computes something else than torch.

    Example:
        >>> train.export_onnx("runs/clean", "colorizer.onnx")  # doctest: +SKIP
        1.2e-06
    """
    return train.inference.onnx_export.export_checkpoint(load_checkpoint(checkpoint), local_path(out))


def _choose_recipe(recipe: Recipe | None, arguments: Mapping[str, Any]) -> Recipe:
    """The recipe of a call, or the one made of its single arguments.

    Raises:
        UsageError: both were given, or a hyper-parameter has no meaning.
    """
    given = Recipe(**{field.name: arguments[field.name] for field in fields(Recipe)})
    if recipe is not None and given != _RECIPE:
        raise UsageError("give recipe=, or single hyper-parameters, but not both")
    return recipe or given


def _check(name: str, value: str, choices: Collection[str]) -> None:
    """Refuse a text that is none of the choices."""
    if value not in choices:
        raise UsageError(f"{name} {value!r} is not understood: choose from {', '.join(choices)}")


def _check_timeout(timeout_s: float) -> None:
    if not timeout_s > 0:
        raise UsageError(f"timeout_s must be more than 0 seconds, not {timeout_s!r}")


def _path(path: StrPath | None) -> Path | None:
    return None if path is None else local_path(path)


def _roots(roots: StrPath | Sequence[StrPath]) -> tuple[Path, ...]:
    """One or many folders; each must exist."""
    return check_roots(
        [local_path(root) for root in ([roots] if isinstance(roots, str | os.PathLike | RemotePath) else roots)]
    )
