"""The command `curate export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from curate.cli import summaries
from curate.cli.common import LOCATION, echo_lines, engine_option, progress_bar, workers_option
from curate.errors import VividsetError
from curate.locations import Location
from curate.text import pluralize

if TYPE_CHECKING:
    from curate.executors.engines import EngineName
    from curate.exporting.lists import ListKind
    from curate.exporting.names import Kind


@click.command(short_help="Copy, link or list the photos of a manifest for another tool.")
@click.argument("manifest", type=LOCATION)
@click.option(
    "-o",
    "--out",
    type=LOCATION,
    required=True,
    help="Output folder, or its URL: new, empty, or with an unfinished export of the same manifest. For txt and csv a "
    "file.",
)
@click.option(
    "--to",
    "kind",
    type=click.Choice(["webdataset", "imagefolder", "parquet", "copy", "links", "hardlinks", "txt", "csv"]),
    required=True,
    help="Format of the output.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    help="A column of the manifest for --to csv and parquet. Can be given several times.  [default: size, colorfulness "
    "and tone; for csv also split, reasons and error, for parquet also sha256]",
)
@click.option("-0", "--null", is_flag=True, help="Paths of --to txt end with a NUL byte, as `xargs -0` reads them.")
@click.option(
    "--shard-size",
    "shard_mb",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    metavar="MB",
    help="Size of a file of --to parquet, in millions of bytes of photos.",
)
@workers_option("Number of worker processes; with --engine ray, number of parallel tasks.")
@engine_option()
def export(
    manifest: Location,
    out: Location,
    kind: Kind | ListKind,
    columns: tuple[str, ...],
    null: bool,
    shard_mb: int,
    workers: int | None,
    engine: EngineName,
) -> None:
    """Copy or link the photos of MANIFEST, unchanged, into a folder for another tool, or list them.

    \b
    webdataset   tar files of 1,000 photos for each split; each photo has its manifest row as .vividset.json
    imagefolder  one folder for each split, with metadata.jsonl, for Hugging Face
                 `datasets.load_dataset("imagefolder", data_dir=...)`
    parquet      files with the photos, the files beside them and measures as columns, for Hugging Face
                 `datasets.load_dataset`, the Hub and polars
    copy, links, hardlinks
                 copies of the photos, or links to them, in the same folders as the originals
    txt          a file with one path or URL per line, for `curate scan --from-file` and `xargs`
    csv          a table with the path or URL of each photo, and columns of the manifest

    Captions, labels and other files beside a photo (cat.txt, cat.json for cat.jpg), and its row in a metadata.csv,
    metadata.jsonl or metadata.parquet, go with it. Characters that some file systems can't store are replaced in file
    names. Photos and files beside them that can't be exported are listed in failed.csv. If the export is interrupted,
    run the same command again to continue.
    """
    from curate.api.outputs import export_photos

    with progress_bar("photos") as progress:
        summary = export_photos(
            manifest,
            out,
            kind,
            columns=columns,
            null=null,
            shard_mb=shard_mb,
            workers=workers,
            engine=engine,
            progress=progress,
        )
    echo_lines(summaries.export_summary(summary, out))
    if not summary.photos:
        raise VividsetError(
            f"no photo could be exported ({pluralize(len(summary.failed), 'photo')} failed): see the reasons above"
        )
