"""Rows of an earlier scan under the names that this one gives them: of a folder, say, that is in a source by now."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate.manifest import ROWS_A_GROUP, SCAN_SCHEMA, opened, writer
from curate.rows import in_groups, in_order, sort, with_names
from curate.sources import Sources

Place = tuple[str, str]
"""A source, and the path in it that is to go before others: empty, or with a slash at its end."""


def as_named_now(known: Path, folder: Path, now: Sources) -> Path:
    """A file of known rows whose sources are called, and whose rows are sorted, as in this scan's listing.

    Args:
        known: rows in the order of a listing.
        folder: where to write the file, if it has to be another one.
        now: what this scan is of.

    Returns:
        The same file where all is called as it was.

    Raises:
        ManifestError: the disk says no.
    """
    names = {source: now.name_now(source) for source in _sources(known)}
    places = {source: place for source, place in names.items() if place and place != (source, "")}
    parts = {source: inside for source, place in names.items() if not place and (inside := now.parts_of(source))}
    if not places and not parts:
        return known
    target = folder / f"moved-{known.name}"
    renamed = (sort(with_names(_renamed(_apart(table, parts), places))) for table in _tables(known))
    runs = list(_sorted_runs(renamed, target))
    with writer(target, SCAN_SCHEMA, lasting=False) as out:
        for table in in_groups(in_order(runs)):
            out.write_table(table)
    for run in runs:
        run.unlink()
    return target


def _sources(known: Path) -> set[str]:
    batches = opened(known, pre_buffer=False, read_dictionary=["source"]).iter_batches(columns=["source"])
    return {source for batch in batches for source in batch.column(0).unique().to_pylist()}


def _tables(known: Path) -> Iterator[pa.Table]:
    """Its rows, some at a time; a column that an older version didn't write is null."""
    for batch in opened(known, pre_buffer=False).iter_batches(ROWS_A_GROUP):
        columns = [
            batch[field.name].cast(field.type)
            if field.name in batch.schema.names
            else pa.nulls(batch.num_rows, field.type)
            for field in SCAN_SCHEMA
        ]
        yield pa.table(columns, schema=SCAN_SCHEMA)


def _apart(table: pa.Table, parts: Mapping[str, Mapping[str, str]]) -> pa.Table:
    """Rows of sources of which only some folders are scanned now, these as sources of their own."""
    for source, inside in parts.items():
        for way, root in inside.items():
            path = table["path"]
            is_in = pc.and_(pc.equal(table["source"], source), pc.starts_with(path, way))
            named = pc.if_else(is_in, root, table["source"])
            table = table.set_column(0, SCAN_SCHEMA.field("source"), named)
            below = pc.if_else(is_in, pc.utf8_slice_codeunits(path, len(way)), path)
            table = table.set_column(1, SCAN_SCHEMA.field("path"), below)
    return table


def _renamed(table: pa.Table, places: Mapping[str, Place]) -> pa.Table:
    coded = table["source"].combine_chunks().dictionary_encode()
    sources, folders = zip(*(places.get(source, (source, "")) for source in coded.dictionary.to_pylist()), strict=True)
    paths = pc.binary_join_element_wise(pa.array(folders).take(coded.indices), table["path"], "")
    table = table.set_column(0, SCAN_SCHEMA.field("source"), pa.array(sources).take(coded.indices))
    return table.set_column(1, SCAN_SCHEMA.field("path"), paths)


def _sorted_runs(tables: Iterable[pa.Table], beside: Path) -> Iterator[Path]:
    """Files that are sorted each, of tables that are; one a source, mostly."""
    for number, run in itertools.groupby(tables, _Runs().number_of):
        path = beside.with_name(f"{beside.stem}-{number:04d}.parquet")
        with writer(path, SCAN_SCHEMA, lasting=False) as out:
            for table in run:
                out.write_table(table.select(SCAN_SCHEMA.names))
        yield path


class _Runs:
    """Counts in how many runs sorted tables come that go on where the one before ended."""

    def __init__(self) -> None:
        self._number = 0
        self._last = ("", "")

    def number_of(self, table: pa.Table) -> int:
        first, last = ((table["source"][row].as_py(), table["names"][row].as_py()) for row in (0, -1))
        self._number += first < self._last
        self._last = last
        return self._number
