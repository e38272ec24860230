"""Finds and checks the file of a checkpoint without torch, so that commands object to a wrong path at once.

The text `ready` names the weights that come with the package. A local file or folder of that name is `./ready`.
"""

from __future__ import annotations

import os
from pathlib import Path

from curate.errors import CheckpointError
from curate.files import check_readable
from curate.locations import PathText, local_path
from curate.text import advise, describe_error

METADATA_KEY = "vividset"
"""Key of the metadata in the header of a safetensors file."""


READY = "ready"
READY_FILE = Path(__file__).parent / "ready_weights" / "ready.safetensors"
"""The ready weights; MODEL_CARD.md beside them says what they were trained on. A build may lack them."""


def locate(checkpoint: PathText) -> Path:
    """Return the path of a checkpoint that is given as an argument.

    Args:
        checkpoint: a path, or the text `ready`, which means the weights that come with the package. A `pathlib.Path` is
            always a path.

    Raises:
        CheckpointError: it is `ready`, and this build has no ready weights.
        UsageError: it is a URL.
    """
    if checkpoint != READY:
        return local_path(checkpoint)
    if not READY_FILE.exists():
        other = f"; ./{READY} means the file or folder of that name here" if os.path.lexists(READY) else ""
        raise CheckpointError(
            f"this build of vividset has no ready weights: train your own with `train fit`, and give its folder{other}"
        )
    return READY_FILE


def find_file(path: Path) -> Path:
    """Return the file of a checkpoint that is given as a `.safetensors` file or as a run's folder.

    For a folder, this is its best.safetensors. A run that was stopped before its first validation has only
    last.safetensors, which is then returned for the folder and for best.safetensors.
    """
    best = path / "best.safetensors" if path.is_dir() else path
    last = best.with_name("last.safetensors")
    return last if best.name == "best.safetensors" and last.exists() and not best.exists() else best


def read_metadata(path: Path) -> str:
    """Return the JSON text of the metadata of a checkpoint's file.

    Raises:
        CheckpointError: the file is missing or unreadable, or isn't a vividset checkpoint.
    """
    from safetensors import SafetensorError, safe_open  # here, so that --help doesn't wait for it

    try:
        check_readable(path)
    except FileNotFoundError as exc:
        raise CheckpointError(f"{path} doesn't exist: give RUN/best.safetensors of a run of `train fit`") from exc
    except OSError as exc:
        advice = advise(exc) or "give a checkpoint of `train fit`"
        raise CheckpointError(f"{path} can't be read: {describe_error(exc)}: {advice}") from exc
    try:
        with safe_open(path, framework="numpy") as file:
            text: str | None = (file.metadata() or {}).get(METADATA_KEY)
    except (OSError, SafetensorError) as exc:
        raise CheckpointError(
            f"{path} can't be read ({exc}): the file is incomplete or not a checkpoint of `train fit`"
        ) from exc
    if text is None:
        raise CheckpointError(f"{path} was not made by vividset: give a checkpoint of `train fit`")
    return text
