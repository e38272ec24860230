"""`train recipe`, `train diagnose` and `train inspect`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli.common import PATH, echo_lines
from curate.errors import ManifestError
from curate.files import sha256_of
from train.recipe import Recipe

if TYPE_CHECKING:
    import pyarrow as pa

    from train.checkpoint import Checkpoint


def inspect_lines(source: Checkpoint) -> Iterator[str]:
    """What a checkpoint says of itself and of the manifests behind it."""
    about = source.metadata
    yield f"{source.path}: {about.model}, step {about.step:,}, sha256 {sha256_of(source.path)}"
    yield f"  made by    vividset {about.tool_version}: {about.command or 'command unknown'}"
    for rescue in about.rescues:
        yield f"  rescued    from {rescue.kind} at step {rescue.found_step:,}, back to {rescue.from_step:,}"
    yield f"  taught by  {about.manifest_path}, sha256 {about.manifest_sha256}"
    for ancestor in about.manifest_ancestors:
        yield f"  made from  {ancestor['path']} ({ancestor['kind']}), sha256 {ancestor['sha256']}"


def listed(table: pa.Table) -> Iterator[str]:
    """A line for each photo, as sha256sum writes them."""
    for batch in table.to_batches():
        for row in batch.to_pylist():
            yield _line(row["sha256"], f"{row['source']}/{row['path']}")


def _line(sha256: str, name: str) -> str:
    if "\n" not in name:
        return f"{sha256}  {name}"
    return "\\{}  {}".format(sha256, name.replace("\\", "\\\\").replace("\n", "\\n"))


@click.command(short_help="Print every documented hyper-parameter with its reason.")
def recipe() -> None:
    """Print the documented recipe: every hyper-parameter with its reason."""
    for name, value, reason in Recipe().describe():
        head = f"{name:<17} {value!s:<8} "
        click.echo(textwrap.fill(reason, 100, initial_indent=head, subsequent_indent=" " * len(head)))


@click.command(short_help="Say whether a training run is healthy, and what to do.")
@click.argument("path", type=PATH, metavar="RUN")
@click.option(
    "--neutral", type=click.FloatRange(0, min_open=True), help="Loss of predicting neutral gray, for a CSV file."
)
@click.option(
    "--means",
    "means_of",
    type=click.IntRange(1, 100_000),
    help="Each row of the CSV file is the mean of N steps.",
    metavar="N",
)
@click.option("--json", "as_json", is_flag=True, help="Print {verdict, findings: [{kind, step, evidence, remedy}]}.")
def diagnose(path: Path, neutral: float | None, means_of: int | None, *, as_json: bool) -> None:
    """Say whether a training run is healthy, and what to do if it isn't.

    RUN is a run's folder, or a CSV file with the columns step,loss of any trainer; without --neutral the mean of its
    first losses, 10 to 100, stands for the neutral prediction. A row is the loss of one step, unless --means says that
    it is a mean. Exits 0 if healthy, 1 if there is trouble.
    """
    from train.health.diagnose import diagnose as judge
    from train.health.diagnose import read_trace

    diagnosis = judge(read_trace(path, neutral, means_of))
    if as_json:
        click.echo(diagnosis.as_json())
    else:
        click.echo(diagnosis.verdict)
        for finding in diagnosis.findings:
            click.echo(f"! {finding}")
    click.get_current_context().exit(1 if diagnosis.findings else 0)


@click.command(short_help="Say what made a checkpoint, and which photos taught it.")
@click.argument("checkpoint_path", type=PATH, metavar="CHECKPOINT")
@click.option("--photos", "as_photos", is_flag=True, help="List the photos that taught it, as sha256sum does.")
@click.option("--manifest", "moved_to", type=PATH, help="Where its manifest lies by now.")
def inspect(checkpoint_path: Path, moved_to: Path | None, *, as_photos: bool) -> None:
    """Say what made a CHECKPOINT (a file, or a run's folder), and which photos taught it.

    The photos are those of the manifest's split `train`; a manifest of another sha256 is refused. A colorized picture
    names its checkpoint and manifest by sha256 in its description.
    """
    from train import checkpoint
    from train.checkpoint import training_photos

    source = checkpoint.load(checkpoint_path, weights_only=True)
    if as_photos:
        echo_lines(listed(training_photos(source.metadata, moved_to)))
        return
    echo_lines(inspect_lines(source))
    try:
        count = training_photos(source.metadata, moved_to).num_rows
    except ManifestError as exc:
        click.echo(f"  photos     can't be listed: {exc}")
    else:
        click.echo(f"  photos     {count:,}: --photos lists them")
