"""`train fit`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from curate.cli.common import PATH, typed_command
from curate.errors import CheckpointError, UsageError
from curate.files import write_errors
from train.cli.common import root_option
from train.recipe import Recipe

if TYPE_CHECKING:
    from train.checkpoint import Checkpoint

Command = TypeVar("Command", bound=Callable[..., Any])
_RECIPE = Recipe()


def _recipe_option(name: str, kind: Any, text: str) -> Callable[[Command], Command]:
    default = getattr(_RECIPE, name)
    return click.option(
        f"--{name.replace('_', '-')}", type=kind, default=default, show_default=default is not None, help=text
    )


@click.command(short_help="Train on the photos of a manifest or a pack.")
@click.argument("manifest", type=PATH)
@_recipe_option("epochs", int, "Passes over the training photos.")
@_recipe_option("max_steps", int, "Stop after so many optimizer steps; the learning rate's schedule ends there too.")
@_recipe_option("batch_size", int, "Photos a step.")
@_recipe_option("accumulate", int, "Batches whose gradients are summed into one step: large steps in little memory.")
@_recipe_option("devices", int, "GPUs or CPU processes that share a step, each with a batch of its own.")
@_recipe_option("image_size", int, "Side of the square crops in px.")
@_recipe_option("channels", int, "Width of the network's first level.")
@_recipe_option("norm", click.Choice(["batch", "group"]), "Normalisation layers.")
@_recipe_option(
    "encoder", click.Choice(["plain", "efficientnet-lite0"]), "The U-Net's own, or one that knows ImageNet."
)
@_recipe_option("perceptual_weight", float, "Add so much of how different pictures look to efficientnet-lite0.")
@click.option(
    "--encoder-weights", type=PATH, help="Of efficientnet-lite0, .pth or .safetensors.  [default: vividset[encoder]'s]"
)
@_recipe_option("lr", float, "Peak learning rate.")
@_recipe_option("weight_decay", float, "AdamW's weight decay.")
@_recipe_option("warmup", float, "Share of the steps in which the learning rate climbs.")
@_recipe_option("clip_grad", float, "Scale a step's gradient down to this norm where it is longer.")
@_recipe_option("ema", float, "Use a moving average of the weights with this decay, like 0.999.")
@_recipe_option("seed", int, "Of weights, order, crops and flips.")
@click.option(
    "--run-dir", type=PATH, help="Folder for checkpoints, log and pictures.  [default: runs/NAME OF THE MANIFEST]"
)
@click.option(
    "--on-trouble",
    type=click.Choice(["warn", "stop", "rescue"]),
    default="warn",
    show_default=True,
    help="When the run goes wrong: only say so; save and exit 1; or go back to healthy weights, and on with a lower "
    "rate, smaller batches and a new warm-up.",
)
@click.option("--resume", is_flag=True, help="Go on where the run in --run-dir was stopped or killed.")
@root_option
@click.option(
    "--workers",
    type=click.IntRange(0, 64),
    default=1,
    show_default=True,
    help="Processes that read photos; 0 reads in the trainer's own.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "32-true", "bf16-mixed", "16-mixed"]),
    default="auto",
    show_default=True,
    help="As Lightning Fabric names them; auto is bf16-mixed on GPUs that multiply it, else 32-true.",
)
@click.option("--compile", is_flag=True, help="Compile the network: a slow first step, quicker ones after it.")
def fit(
    manifest: Path,
    run_dir: Path | None,
    resume: bool,
    roots: tuple[Path, ...],
    workers: int,
    device: str,
    precision: str,
    compile: bool,  # noqa: A002  # the option's name
    on_trouble: str,
    encoder_weights: Path | None,
    **hyper_parameters: Any,
) -> None:
    """Train on the photos of MANIFEST, as `curate filter` wrote it, or of a pack's folder.

    Defaults are the documented recipe (see `train recipe`). The run's folder gets run.html to look at,
    best.safetensors, last.safetensors, log.jsonl, loss.png and samples.
    Ctrl-C or SIGTERM stops after a step and keeps it; --resume goes on.
    """
    asked = Recipe(**hyper_parameters)
    folder = run_dir or Path("runs") / manifest.stem
    _check_run_dir(folder, resume)
    import torch

    from train import checkpoint
    from train.data import dataset, packed
    from train.trainer import loop
    from train.trainer.fabric import DeviceConfig
    from train.trainer.state import find_checkpoint

    found = dataset.load_datasets(manifest, roots)
    before = find_checkpoint(folder, found) if resume else None
    recipe = _resumed_recipe(before, asked) if before else asked
    packed.check_size(manifest, found.packed_px, recipe.image_size)
    if before and before.metadata.threads != (threads := torch.get_num_threads()):
        _say(f"this run had {before.metadata.threads} CPU threads and now has {threads}: its last bits will differ")
    machine = DeviceConfig(device, precision, workers, encoder_weights, compile)
    machine.make_fabric(recipe.devices)  # asked for once before anything is written
    with write_errors(folder, CheckpointError, "--run-dir"):
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint.remove_drafts(folder)
    if resume and before is None:
        _say(f"{folder} holds no checkpoint yet: starting fresh")
    try:
        outcome = loop.fit(
            found,
            recipe,
            machine,
            folder,
            resume_from=before,
            on_trouble=before.metadata.on_trouble if before and not _typed("on_trouble") else on_trouble,
            command=typed_command(),
            say=_say,
        )
    except KeyboardInterrupt as exc:
        raise KeyboardInterrupt(_after_interrupt(folder)) from exc
    _say(outcome.verdict)
    _say(f"written: {_written(folder)}")


def _after_interrupt(folder: Path) -> str:
    """What the run's folder holds, and how to go on; drafts of processes that were ended are removed."""
    from train import checkpoint

    checkpoint.remove_drafts(folder)
    if (folder / "last.safetensors").exists():
        return f"{folder} keeps what was learned; give the same command with --resume to go on"
    again = "with --resume" if (folder / "log.jsonl").exists() else "again"
    return f"nothing was learned yet; give the same command {again}"


def _say(line: str) -> None:
    """Print, if anybody still listens: a run outlives its terminal."""
    with suppress(OSError):
        click.echo(line)


def _written(folder: Path) -> str:
    """The run's folder and everything in it, what people open first first."""
    first = ("run.html", "best.safetensors", "last.safetensors", "log.jsonl")
    names = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in sorted(folder.iterdir())]
    return f"{folder}: {', '.join(sorted(names, key=lambda name: first.index(name) if name in first else len(first)))}"


def _typed(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source == click.core.ParameterSource.COMMANDLINE


def _check_run_dir(folder: Path, resume: bool) -> None:
    from curate.files import check_writable

    if not resume and any((folder / name).exists() for name in ("last.safetensors", "log.jsonl")):
        raise UsageError(f"{folder} holds a run: go on with --resume, or choose another folder with --run-dir")
    with write_errors(folder, CheckpointError, "--run-dir"):
        check_writable(folder / "last.safetensors")


def _resumed_recipe(before: Checkpoint, asked: Recipe) -> Recipe:
    """The run's own recipe; options that were typed must agree with it."""
    recipe = before.metadata.recipe
    for name, value, _ in asked.describe():
        if _typed(name) and getattr(recipe, name) != value:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} {value} differs from the run's {getattr(recipe, name)}: leave it out to resume, "
                "or start a new run with another --run-dir"
            )
    return recipe
