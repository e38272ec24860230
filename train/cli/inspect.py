"""The commands `train recipe`, `train diagnose` and `train inspect`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli.common import LOCATION, PATH, echo_data, echo_lines, output_width
from curate.errors import ManifestError
from curate.files import sha256_of
from curate.locations import Location
from curate.text import pluralize
from train.cli.common import checkpoint_argument, report_missing_best
from train.recipe import Recipe

if TYPE_CHECKING:
    import pyarrow as pa

    from train.checkpoint import Checkpoint


def inspect_lines(source: Checkpoint) -> Iterator[str]:
    """Yield what a checkpoint records about itself and about the manifests that it was trained on."""
    about = source.metadata
    yield f"{source.path}: {about.model}, step {about.step:,}, sha256 {sha256_of(source.path)}"
    if (card := source.path.with_name("MODEL_CARD.md")).exists():
        yield f"  model card {card}"
    if about.auto_strength is not None:
        yield f"  strength   auto is {about.auto_strength:g}"
    yield f"  made by    vividset {about.tool_version}: {about.command or 'command unknown'}"
    yield f"  recipe     {about.recipe.describe_changes()}"
    for rescue in about.rescues:
        yield f"  rescued    from {rescue.kind} at step {rescue.found_step:,}, back to {rescue.from_step:,}"
    yield f"  trained on {about.manifest_path}, sha256 {about.manifest_sha256}"
    for ancestor in about.manifest_ancestors:
        yield f"  made from  {ancestor['path']} ({ancestor['kind']}), sha256 {ancestor['sha256']}"
    parent = about.parent
    while parent:
        yield f"  started    from {parent.path}, step {parent.step:,}, sha256 {parent.sha256}"
        yield f"             which was trained on {parent.manifest_path}, sha256 {parent.manifest_sha256}"
        parent = parent.parent


def photo_lines(table: pa.Table) -> Iterator[str]:
    """Yield a line per photo in the format of sha256sum, so that `sha256sum --check` can read them."""
    for batch in table.to_batches():
        for row in batch.to_pylist():
            line = f"{row['sha256']}  {row['source']}/{row['path']}"
            # sha256sum marks a line with escaped characters by a backslash at its start.
            yield "\\" + line.replace("\\", "\\\\").replace("\n", "\\n") if "\n" in line else line


@click.command(short_help="Print every documented hyper-parameter with its reason.")
def recipe() -> None:
    """Print the documented recipe: every hyper-parameter with its reason."""
    for name, value, reason in Recipe().describe():
        head = f"{name:<17} {value!s:<8} "
        click.echo(textwrap.fill(reason, output_width(), initial_indent=head, subsequent_indent=" " * len(head)))


@click.command(short_help="Check whether a training run is healthy, and what to do if not.")
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
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="As JSON: {verdict, findings: [{kind, step, evidence, remedy, documented}]}.",
)
def diagnose(path: Path, neutral: float | None, means_of: int | None, *, as_json: bool) -> None:
    """Check whether a training run is healthy, and print what to do if it isn't.

    RUN is a run's folder, or a CSV file of any trainer with the columns step,loss. Each row is the loss of one step,
    unless --means is given. Without --neutral, the mean of the first 10 to 100 losses is used instead. The exit code
    is 0 if the run is healthy, and 1 if a problem was found.
    """
    import train

    diagnosis = train.diagnose(path, neutral=neutral, means_of=means_of)
    if as_json:
        click.echo(diagnosis.as_json())
    else:
        echo_lines([diagnosis.verdict, *(f"! {finding}" for finding in diagnosis.findings)])
    click.get_current_context().exit(1 if diagnosis.findings else 0)


@click.command(short_help="Print how a checkpoint was made, and on which photos it was trained.")
@checkpoint_argument
@click.option("--photos", "list_photos", is_flag=True, help="List the training photos, in the format of sha256sum.")
@click.option("--manifest", type=LOCATION, help="Path of its training manifest, if that has moved.")
def inspect(checkpoint_path: Path, manifest: Location | None, *, list_photos: bool) -> None:
    """Print how a CHECKPOINT (a file, a run's folder, or `ready`) was made, and on which photos it was trained.

    The training photos are those of split `train` in the run's photos.parquet, or in the manifest if that file is
    missing; a manifest with another sha256 is refused. A photo that could not be read during training is listed, too:
    log.jsonl names it. --photos also lists the training photos of the checkpoints that the run started from (--init),
    and says whose can't be listed. A colorized picture contains the sha256 of its checkpoint and of this manifest in
    its description.
    """
    from train import checkpoint
    from train.lineage import merge_photos, parent_photos, training_photos

    report_missing_best(checkpoint_path)
    source = checkpoint.load(checkpoint_path, weights_only=True)
    if list_photos:
        own, parents = training_photos(source, manifest), parent_photos(source, manifest)
        echo_data(photo_lines(merge_photos([own, parents.table])))
        if parents.missing:
            raise ManifestError(parents.missing[0])
        return
    echo_lines(inspect_lines(source))
    try:
        own = training_photos(source, manifest)
    except ManifestError as exc:
        echo_lines([f"  photos     can't be listed: {exc}"])
    else:
        echo_lines([f"  photos     {own.num_rows:,}: --photos lists them"])
    if source.metadata.parent:
        parents = parent_photos(source, manifest)
        if parents.table.num_rows:
            echo_lines([f"  parents'   {pluralize(parents.table.num_rows, 'photo')}: --photos lists them too"])
        echo_lines(f"  parents'   {line}" for line in parents.missing)
