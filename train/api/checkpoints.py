"""Load a checkpoint, and export it as an ONNX model."""

from __future__ import annotations

import train.checkpoint
import train.inference.onnx_export
from curate.locations import local_path
from train.api.arguments import StrPath
from train.checkpoint import Checkpoint
from train.checkpoint_file import locate


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
