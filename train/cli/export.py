"""The command `train export`."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.common import PATH, echo_lines
from train.cli.common import checkpoint_argument, report_missing_best


@click.command(short_help="Write a checkpoint's network as an ONNX model.")
@checkpoint_argument
@click.option("-o", "--out", type=PATH, required=True, help="The .onnx file to write.")
def export(checkpoint_path: Path, out: Path) -> None:
    """Write the network of a CHECKPOINT (a file, a run's folder, or `ready`) as an ONNX model.

    The model takes any batch size, height and width. It is run with onnxruntime and compared with torch before it is
    written. Needs the extra `onnx`.
    """
    import train
    from train.inference.onnx_export import INTERFACE

    report_missing_best(checkpoint_path)
    difference = train.export_onnx(checkpoint_path, out)
    echo_lines([f"written: {out}, differs from torch by at most {difference:.1e} (in ab/50)", INTERFACE])
