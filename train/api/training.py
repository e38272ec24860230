"""Train a colorizer, and load the photos for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal

import train.data.dataset
from curate.errors import UsageError
from curate.locations import local_path, parse_location
from train.api.arguments import Progress, StrPath, check_choice, check_timeout, optional_path, to_roots
from train.checkpoint_file import locate
from train.data.dataset import Datasets
from train.data.loader import TIMEOUT_S
from train.recipe import Augment, Encoder, Norm, Recipe
from train.trainer.callbacks import FitResult
from train.trainer.fabric import DeviceConfig
from train.trainer.start import only_training, start_training

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
            a hyper-parameter or `init` doesn't fit, or several devices are requested outside the main thread.
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
    check_choice("on_trouble", on_trouble, ("warn", "stop", "rescue"))
    if not 0 <= workers <= 64:
        raise UsageError(f"workers must be 0 to 64, not {workers!r}")
    check_timeout(timeout_s)
    source = parse_location(manifest)
    folder = Path("runs") / source.stem if run_dir is None else local_path(run_dir, "run_dir")
    start = "" if init is None else f", init={str(init)!r}"
    with only_training(chosen.devices):
        return start_training(
            source,
            folder,
            chosen,
            DeviceConfig(device, precision, workers, optional_path(encoder_weights), compile, timeout_s),
            set_by_user={name for name, value in asdict(chosen).items() if value != getattr(_RECIPE, name)}
            | ({"on_trouble"} if on_trouble != "warn" else set()),
            roots=to_roots(roots),
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
    return train.data.dataset.load_datasets(parse_location(manifest), to_roots(roots))


def _choose_recipe(recipe: Recipe | None, arguments: Mapping[str, Any]) -> Recipe:
    """The recipe of a call, or the one made of its single arguments.

    Raises:
        UsageError: both were given, or a hyper-parameter has no meaning.
    """
    given = Recipe(**{field.name: arguments[field.name] for field in fields(Recipe)})
    if recipe is not None and given != _RECIPE:
        raise UsageError("give recipe=, or single hyper-parameters, but not both")
    return recipe or given
