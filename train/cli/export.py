"""`train export`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from curate.cli.common import PATH


@click.command(short_help="Write a checkpoint's network as an ONNX model.")
@click.argument("checkpoint_path", type=PATH, metavar="CHECKPOINT")
@click.option("-o", "--out", type=PATH, required=True, help="The .onnx file.")
def export(checkpoint_path: Path, out: Path) -> None:
    """Write a CHECKPOINT's network as an ONNX model for any batch, height and width.

    It is compared with torch in onnxruntime before it is kept. Needs vividset[onnx].
    """
    from curate.files import sha256_of
    from train import checkpoint
    from train.inference.onnx_export import MARK, SPEAKS
    from train.inference.onnx_export import export as write

    source = checkpoint.load(checkpoint_path, weights_only=True)
    about = source.metadata
    lineage = {
        MARK: sha256_of(source.path),
        "vividset.manifest_sha256": about.manifest_sha256,
        "vividset.model": about.model,
        "vividset.recipe": json.dumps(asdict(about.recipe)),
        "vividset.version": about.tool_version,
    }
    difference = write(source.network(), out, about.recipe.image_size, lineage)
    click.echo(f"written: {out}, at most {difference:.1e} (in ab/50) from torch")
    click.echo(SPEAKS)
