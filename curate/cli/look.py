"""`curate explain` and `curate inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from curate import words
from curate.cli.shell import FILE, say


@click.command()
@click.argument("photos", nargs=-1, required=True, type=FILE, metavar="PHOTO...")
@click.option("--min-colorfulness", type=float, default=20.0, show_default=True, help="Reject photos whose M is lower.")
def explain(photos: tuple[Path, ...], min_colorfulness: float) -> None:
    """Score photos, scanned or not, and say whether a filter would keep each, and why not."""
    from curate.criteria import FilterOptions
    from curate.explain import explain as explain_photo

    options = FilterOptions(min_colorfulness)
    for photo in photos:
        say(words.of_explanation(photo, explain_photo(photo, options)))


@click.command()
@click.argument("path", type=FILE, metavar="MANIFEST")
def inspect(path: Path) -> None:
    """Say what a manifest holds, what made it, and where it comes from, back to the scan."""
    from curate import manifest
    from curate.explain import ancestry

    chain = ancestry(path)
    read = manifest.read(path, columns=("split", "tone"))
    say(words.of_table(path, read.table, read.sha256))
    for ancestor in chain:
        say(words.of_ancestor(ancestor))
    schema, _ = manifest.inspect(path)
    click.echo("columns: " + ", ".join(f"{column.name} {column.type}" for column in schema))
