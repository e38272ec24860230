"""Write the rows of a manifest as a list of paths, or as a CSV table, for other tools."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Literal

from curate import manifest
from curate.errors import ManifestError, OutputError, UsageError
from curate.files import commit, exists, is_same, write_errors
from curate.locations import Location, RemotePath
from curate.manifest import unescape
from curate.sources import has_container_name, photo_location

ListKind = Literal["csv", "txt"]
CSV_COLUMNS = ("width", "height", "colorfulness", "tone", "split", "reject_reasons", "error")
"""Columns of a table if none are chosen, as far as the manifest has them."""


def export_list(
    manifest_path: Location, out: Location, kind: ListKind, *, columns: Sequence[str] = (), null: bool = False
) -> tuple[int, int]:
    """Write one line per row of a manifest, also of rows with an error; the file is written whole or not at all.

    Args:
        manifest_path: any manifest.
        out: the file; an older one is replaced if its name ends in `.csv` or `.txt`, like `kind`.
        kind: `txt`: the path or URL of each photo that is a file of its own, as `curate scan --from-file` reads it;
            `csv`: a table with the column `location`, the path or URL as manifest text, and `columns`.
        columns: of the manifest, for `csv`; none is CSV_COLUMNS.
        null: end the paths of `txt` with NUL bytes instead of newlines.

    Returns:
        Number of lines, and of rows that `txt` leaves out: containers, and photos in them.

    Raises:
        ManifestError: the manifest can't be read, has no rows or no such column, or has no photo that can be listed.
        UsageError: `out` is the manifest or another kind of file, or an argument is for the other kind.
        OutputError: `out` can't be written, or a name has a newline and `null` is not set.
    """
    if (columns and kind != "csv") or (null and kind != "txt"):
        raise UsageError(
            "--column is for --to csv and parquet, and -0 for --to txt: leave it out, or choose the other format"
        )
    chosen = tuple(dict.fromkeys(columns)) or CSV_COLUMNS
    read = manifest.read_manifest(
        manifest_path,
        required=manifest.KEY_COLUMNS,
        columns=(*manifest.KEY_COLUMNS, "tar_offset", "sha256", *(chosen if kind == "csv" else ())),
    )
    if not read.table.num_rows:
        raise ManifestError(manifest.no_photos_message(read))
    for name in columns:
        if name not in read.table.column_names:
            raise ManifestError(f"{manifest_path} has no column {name!r}: choose from those of `curate inspect`")
    with write_errors(out, OutputError, "-o"):
        _check_out(manifest_path, out, kind)
    rows = (row for batch in read.table.to_batches(max_chunksize=1024) for row in batch.to_pylist())
    with _open_draft(out) as file:
        if kind == "csv":
            _write_table(file, rows, [name for name in chosen if name in read.table.column_names])
            return read.table.num_rows, 0
        lines = 0
        for row in filter(_is_own_file, rows):
            file.write(_path_line(row, null=null))
            lines += 1
        if not lines:
            raise ManifestError(
                f"all photos of {manifest_path} are in tars, ZIPs or Parquet or Arrow files, and a list of paths can "
                "only name files: use --to csv, or --to copy"
            )
    return lines, read.table.num_rows - lines


def _check_out(manifest_path: Location, out: Location, kind: ListKind) -> None:
    if is_same(manifest_path, out):
        raise UsageError(f"{out} is the manifest itself: choose another file with -o")
    if exists(out) and not str(out).lower().endswith(f".{kind}"):
        raise UsageError(f"{out} already exists and is not named .{kind}: choose another file with -o")


@contextmanager
def _open_draft(out: Location) -> Iterator[BinaryIO]:
    """A file that gets its name when the block ends without an error."""
    with write_errors(out, OutputError, "-o"):
        if not isinstance(out, RemotePath):
            out.parent.mkdir(parents=True, exist_ok=True)
        folder = None if isinstance(out, RemotePath) else out.parent
        with TemporaryDirectory(prefix=".vividset-", dir=folder) as scratch:
            draft = Path(scratch, "draft")
            with open(draft, "wb") as file:
                yield file
            commit(draft, out)


def _is_own_file(row: dict[str, Any]) -> bool:
    """Whether a row is a file, and not a tar, a ZIP or something in one."""
    if row.get("tar_offset") is not None:
        return False
    return row.get("sha256") is not None or not any(map(has_container_name, row["path"].split("/")))


def _path_line(row: dict[str, Any], *, null: bool) -> bytes:
    """The path or URL of a photo as the operating system spells it, with its end."""
    location = os.fsencode(unescape(photo_location(row["source"], row["path"])))
    if not null and (b"\n" in location or location.endswith(b"\r")):
        raise OutputError(
            f"the name {photo_location(row['source'], row['path'])!r} has a line break, so a list of lines can't hold "
            "it: use -0, and read the list with -0"
        )
    return location + (b"\0" if null else b"\n")


def _write_table(file: BinaryIO, rows: Iterator[dict[str, Any]], columns: Sequence[str]) -> None:
    table = csv.writer(_Utf8(file))
    table.writerow(["location", *columns])
    for row in rows:
        values = (row[name] for name in columns)
        texts = ["; ".join(map(_item_text, value)) if isinstance(value, list) else value for value in values]
        table.writerow([photo_location(row["source"], row["path"]), *texts])


def _item_text(item: Any) -> str:
    """One item of a list; of a sidecar the path."""
    return str(item.get("path", item)) if isinstance(item, dict) else str(item)


class _Utf8:
    """Writes text to a binary file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write the text as UTF-8."""
        return self._file.write(text.encode("utf-8", "surrogateescape"))
