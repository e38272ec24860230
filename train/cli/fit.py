"""The command `train fit`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from curate.cli.common import LOCATION, PATH, echo_lines, typed_command
from curate.locations import Location
from train.checkpoint_file import find_file, read_metadata
from train.cli.common import (
    CHECKPOINT,
    check_manifest,
    read_timeout_option,
    report_missing_best,
    root_option,
    skip_changed_option,
)
from train.recipe import Recipe

Command = TypeVar("Command", bound=Callable[..., Any])
_RECIPE = Recipe()


def _recipe_option(name: str, kind: Any, text: str) -> Callable[[Command], Command]:
    default = getattr(_RECIPE, name)
    return click.option(
        f"--{name.replace('_', '-')}", type=kind, default=default, show_default=default is not None, help=text
    )


@click.command(short_help="Train on the photos of a manifest or a pack.")
@click.argument("manifest", type=LOCATION)
@_recipe_option("epochs", int, "Passes over the training photos.")
@_recipe_option("max_steps", int, "Stop after this many optimizer steps; the learning rate schedule ends there too.")
@_recipe_option("batch_size", int, "Photos per step.")
@_recipe_option("accumulate", int, "Batches whose gradients are summed into one step: large steps in little memory.")
@_recipe_option("devices", int, "GPUs or CPU processes that share a step, each with its own batch.")
@_recipe_option("image_size", int, "Side of the square crops in px.")
@_recipe_option("channels", int, "Channels of the network's first level.")
@_recipe_option("norm", click.Choice(["batch", "group"]), "Type of the normalization layers.")
@_recipe_option(
    "encoder",
    click.Choice(["plain", "efficientnet-lite0"]),
    "Encoder of the U-Net: trained from scratch, or pretrained on ImageNet (needs the extra `encoder`).",
)
@_recipe_option("perceptual_weight", float, "Weight of a perceptual loss, on features of efficientnet-lite0.")
@click.option(
    "--encoder-weights",
    type=PATH,
    help="Weights of efficientnet-lite0, .pth or .safetensors.  [default: those that the extra `encoder` installs]",
)
@_recipe_option(
    "augment",
    click.Choice(["none", "film"]),
    "film shows the network each training photo as an old black-and-white photograph, for colorizing old photographs.",
)
@click.option(
    "--crop-borders",
    is_flag=True,
    help="Train on what is inside of the bands that the scan found: letterboxes, padding, frames.",
)
@_recipe_option("lr", float, "Peak learning rate.")
@_recipe_option("weight_decay", float, "AdamW's weight decay.")
@_recipe_option("warmup", float, "Share of the steps in which the learning rate rises, 0 to 1.")
@_recipe_option("clip_grad", float, "Scale a step's gradient down to this norm if it is larger.")
@_recipe_option("ema", float, "Use an exponential moving average of the weights with this decay, for example 0.999.")
@_recipe_option("seed", int, "Seed of initial weights, photo order, crops, flips and degradation.")
@click.option(
    "--run-dir", type=PATH, help="Folder for checkpoints, log and pictures.  [default: runs/NAME OF THE MANIFEST]"
)
@click.option(
    "--on-trouble",
    type=click.Choice(["warn", "stop", "rescue"]),
    default="warn",
    show_default=True,
    help="If the run goes wrong: warn prints it; stop also saves and exits with 1; rescue returns to earlier, healthy "
    "weights and continues with a lower rate, smaller batches and a new warm-up.",
)
@click.option(
    "--init",
    type=CHECKPOINT,
    help="Start from the best weights of this run's folder, or from this checkpoint, to fine-tune or to train longer; "
    "`ready` starts from the weights that come with vividset. --channels, --norm and --encoder are then those of the "
    "checkpoint.",
    metavar="RUN|CHECKPOINT|ready",
)
@click.option("--resume", is_flag=True, help="Continue the run in --run-dir, which was stopped or killed.")
@root_option
@skip_changed_option
@click.option(
    "--workers",
    type=click.IntRange(0, 64),
    default=1,
    show_default=True,
    help="Processes that read photos; 0 reads in the training process.",
)
@read_timeout_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "32-true", "bf16-mixed", "16-mixed"]),
    default="auto",
    show_default=True,
    help="As Lightning Fabric names them; auto is bf16-mixed on GPUs that support it, else 32-true.",
)
@click.option("--compile", is_flag=True, help="Compile the network: the first step is slow, later ones are faster.")
def fit(
    manifest: Location,
    run_dir: Path | None,
    init: Path | None,
    resume: bool,
    roots: tuple[Path, ...],
    skip_changed: bool,
    workers: int,
    timeout_s: float,
    device: str,
    precision: str,
    compile: bool,  # noqa: A002  # the option's name
    on_trouble: str,
    encoder_weights: Path | None,
    **hyper_parameters: Any,
) -> None:
    """Train on the photos of MANIFEST: a manifest from `curate filter`, or a pack's folder.

    The defaults are the documented recipe (see `train recipe`). The run's folder contains run.html, a page to look at;
    best.safetensors and last.safetensors; log.jsonl; loss.png; and samples. Ctrl-C or SIGTERM stops after the current
    step and saves it; --resume continues.
    """
    recipe = Recipe(**hyper_parameters)
    folder = run_dir or Path("runs") / manifest.stem
    if not resume:  # a resumed run has its own list of photos
        check_manifest(manifest)
        if init:
            read_metadata(find_file(init))
            report_missing_best(init)
    from train.trainer.fabric import DeviceConfig
    from train.trainer.start import start_training

    try:
        result = start_training(
            manifest,
            folder,
            recipe,
            DeviceConfig(device, precision, workers, encoder_weights, compile, timeout_s),
            set_by_user={name for name in (*hyper_parameters, "on_trouble") if _is_typed(name)},
            roots=roots,
            skip_changed=skip_changed,
            init=init,
            resume=resume,
            on_trouble=on_trouble,
            command=typed_command(),
            say=_print_line,
        )
    except KeyboardInterrupt as exc:
        raise KeyboardInterrupt(_interrupt_message(folder)) from exc
    _print_line(result.verdict)
    _print_line(f"written: {_list_outputs(folder)}")


def _is_typed(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source == click.core.ParameterSource.COMMANDLINE


def _print_line(line: str) -> None:
    """Print a line; an error is ignored, because a run may continue after its terminal was closed."""
    with suppress(OSError):
        echo_lines([line])


def _interrupt_message(folder: Path) -> str:
    """Remove drafts of processes that were ended; return what was saved, and how to continue."""
    from train import checkpoint

    checkpoint.remove_drafts(folder)
    if (folder / "last.safetensors").exists():
        return f"the training so far is saved in {folder}; run the same command with --resume to continue"
    how = "with --resume" if (folder / "log.jsonl").exists() else "again"
    return f"no training step was saved yet; run the same command {how}"


def _list_outputs(folder: Path) -> str:
    """Return the run's folder and its entries, most useful ones first."""
    first = ("run.html", "best.safetensors", "last.safetensors", "log.jsonl")
    names = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in sorted(folder.iterdir())]
    return f"{folder}: {', '.join(sorted(names, key=lambda name: first.index(name) if name in first else len(first)))}"
