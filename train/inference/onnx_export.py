"""Export of a checkpoint's network as an ONNX model for photos of any size, compared with torch before it is kept."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from curate.errors import OutputError, TrainingError, UsageError
from curate.files import check_writable, sha256_of, write_atomic, write_errors
from curate.process_settings import ignore_warnings
from curate.text import install_hint
from train.checkpoint import Checkpoint

MAX_DIFFERENCE = 1e-3
"""In ab/50: a twentieth of a unit of a* or b*, which is invisible."""
CHECKPOINT_KEY = "vividset.checkpoint_sha256"
"""Metadata key of every exported model; by it a file is recognized as one that may be replaced."""
INTERFACE = "input: CIELAB L*/50 - 1 as (N, 1, H, W) float32; output: a*, b* in units of 50 as (N, 2, H, W)"
_export_lock = threading.Lock()
"""torch's exporter changes modules of torch while it runs."""


def export_checkpoint(source: Checkpoint, target: Path) -> float:
    """Write a checkpoint's network as ONNX, with what it was made from in the model's metadata; see `export`."""
    metadata = source.metadata
    lineage = {
        CHECKPOINT_KEY: sha256_of(source.path),
        "vividset.manifest_sha256": metadata.manifest_sha256,
        "vividset.model": metadata.model,
        "vividset.recipe": json.dumps(asdict(metadata.recipe)),
        "vividset.version": metadata.tool_version,
    }
    return export(source.network(), target, metadata.recipe.image_size, lineage)


def export(network: nn.Module, target: Path, size_px: int, lineage: dict[str, str]) -> float:
    """Write a network as ONNX, whole or not at all; batch size, height and width are dynamic.

    Args:
        network: lightness to ab; exported in eval mode, and left in the mode it was in.
        target: the .onnx file; an earlier export is replaced.
        size_px: a picture size that the network takes, to trace and to compare with.
        lineage: entries for the model's metadata.

    Returns:
        The largest absolute difference from torch over several sizes and batches, in ab/50.

    Raises:
        UsageError: the ONNX libraries aren't installed, or something else exists at the target.
        OutputError: the target can't be written.
        TrainingError: onnxruntime computes something else than torch.
    """
    _check_target(target)
    onnx = _import_onnx()
    with _eval_mode(network):
        model = onnx.shape_inference.infer_shapes(_trace(network, size_px))
        for name, value in {**lineage, "vividset.speaks": INTERFACE}.items():
            model.metadata_props.add(key=name, value=value)
        data: bytes = model.SerializeToString()
        difference = _largest_difference(network, data, size_px)
    if not difference <= MAX_DIFFERENCE:  # also if it is NaN
        raise TrainingError(
            f"onnxruntime differs from torch by {difference:.2g} in ab/50: nothing was written; try other versions of "
            "torch and onnxruntime"
        )
    with write_errors(target, OutputError, "-o"):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(data, target)
    return difference


def _import_onnx() -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401  # checked before the work, not after
        import onnxscript  # noqa: F401
    except ImportError as missing:
        raise UsageError(f"train export needs {missing.name}: {install_hint('onnx')}") from missing
    return onnx


@contextmanager
def _eval_mode(network: nn.Module) -> Iterator[None]:
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def _trace(network: nn.Module, size_px: int) -> Any:
    """Convert to ONNX by tracing with two pictures that aren't square: so no dimension is taken for a constant."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # else it warns that torchvision isn't installed
    with _export_lock, ignore_warnings:  # torch's exporter uses deprecated functions of torch
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
        raise TrainingError("torch could not convert the network to ONNX: try another version of torch")
    return program.model_proto


def _largest_difference(network: nn.Module, data: bytes, size_px: int) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    rng = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch, height, width in ((1, size_px, size_px), (2, size_px + 16, size_px), (1, size_px + 5, 2 * size_px + 3)):
        lightness = torch.rand(batch, 1, height, width, generator=rng) * 2 - 1
        (result,) = session.run(["ab"], {"lightness": lightness.numpy()})
        with torch.no_grad():
            expected = network(lightness).numpy()
        largest = max(largest, float(np.abs(result - expected).max()))
    return largest


def _check_target(target: Path) -> None:
    try:
        replaceable = not os.path.lexists(target) or (
            target.is_file() and CHECKPOINT_KEY.encode() in target.read_bytes()
        )
    except OSError:
        replaceable = False
    if not replaceable:
        raise UsageError(
            f"{target} already exists and is not a model that `train export` wrote: choose another name with -o"
        )
    with write_errors(target, OutputError, "-o"):
        check_writable(target)
