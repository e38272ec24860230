"""A checkpoint as an ONNX model for photos of any size, checked against torch before it is kept."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from curate.errors import TrainingError, UsageError
from curate.files import check_writable, write_atomic, write_errors

MOST_DIFFERENCE = 1e-3
"""In ab/50, so a twentieth of a unit of a or b."""
MARK = "vividset.checkpoint_sha256"
SPEAKS = "input: CIELAB L*/50 - 1 as (N, 1, H, W) float32; output: a*, b* in units of 50 as (N, 2, H, W)"


def export(network: nn.Module, target: Path, size_px: int, lineage: dict[str, str]) -> float:
    """Write a network as ONNX, whole or not at all; batch, height and width stay open.

    Args:
        network: lightness to ab; exported in eval mode, and left in the mode that it came in.
        target: the .onnx file; one that we made before is replaced.
        size_px: a size that it works at, to trace and to check with.
        lineage: kept in the model's metadata.

    Returns:
        The largest absolute difference from torch over several sizes and batches, in ab/50.

    Raises:
        UsageError: the extra isn't installed, or something else is at the target.
        TrainingError: onnxruntime computes something else than torch.
    """
    _check_free(target)
    onnx = _need_extra()
    with _evaluating(network):
        model = onnx.shape_inference.infer_shapes(_traced(network, size_px))
        for name, value in {**lineage, "vividset.speaks": SPEAKS}.items():
            model.metadata_props.add(key=name, value=value)
        data: bytes = model.SerializeToString()
        difference = _difference(network, data, size_px)
    if not difference <= MOST_DIFFERENCE:
        raise TrainingError(
            f"onnxruntime differs from torch by {difference:.2g} in ab/50: nothing was written; try other versions of "
            "torch and onnxruntime"
        )
    with write_errors(target, UsageError, "-o"):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(data, target)
    return difference


def _need_extra() -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401  # asked for before the work, not after
        import onnxscript  # noqa: F401
    except ImportError as missing:
        raise UsageError(f"train export needs {missing.name}: pip install 'vividset[onnx]'") from missing
    return onnx


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def _traced(network: nn.Module, size_px: int) -> Any:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells everybody that torchvision isn't here
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter uses what torch deprecates
        program = torch.onnx.export(
            network,
            (torch.zeros(2, 1, size_px, size_px + 16),),
            input_names=["lightness"],
            output_names=["ab"],
            dynamic_shapes=({0: "photos", 2: "height", 3: "width"},),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise TrainingError("torch gave no ONNX program: try another version of torch")
    return program.model_proto


def _difference(network: nn.Module, data: bytes, size_px: int) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    chance = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch, height, width in ((1, size_px, size_px), (2, size_px + 16, size_px), (1, size_px + 5, 2 * size_px + 3)):
        lightness = torch.rand(batch, 1, height, width, generator=chance) * 2 - 1
        (ours,) = session.run(["ab"], {"lightness": lightness.numpy()})
        with torch.no_grad():
            theirs = network(lightness).numpy()
        worst = max(worst, float(np.abs(ours - theirs).max()))
    return worst


def _check_free(target: Path) -> None:
    try:
        ours = not os.path.lexists(target) or (target.is_file() and MARK.encode() in target.read_bytes())
    except OSError:
        ours = False
    if not ours:
        raise UsageError(f"{target} is in the way and no model of `train export`: choose another name with -o")
    with write_errors(target, UsageError, "-o"):
        check_writable(target)
