"""`curate explain` and `curate inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate import words
from curate.cli.deciding import JUDGING, deciding
from curate.cli.shell import FILE, say


@click.command()
@click.argument("photos", nargs=-1, required=True, type=FILE, metavar="PHOTO...")
@deciding(*JUDGING)
def explain(photos: tuple[Path, ...], settings: dict[str, Any]) -> None:
    """Score photos, scanned or not, and say whether a filter would keep each, and why not.

    Rules of a preset that need other photos to compare with are left out.
    """
    from curate import presets
    from curate.explain import explain as explain_photo

    options = presets.options_of(settings).for_one_photo()
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
