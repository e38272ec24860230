"""train.load_checkpoint: files and folders of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import train
from curate import errors


def test_a_run_is_loaded_by_its_folder(tmp_path: Path, checkpoint_file: Callable[..., Path]) -> None:
    best = checkpoint_file()
    assert train.load_checkpoint(best.parent).path == best
    last = best.rename(best.with_name("last.safetensors"))
    assert train.load_checkpoint(str(best.parent)).path == last
    with pytest.raises(errors.CheckpointError, match="doesn't exist"):
        train.Colorizer.load(tmp_path / "nowhere")
