"""Write manifests whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import ManifestError
from curate.files import commit, write_errors
from curate.locations import Location, RemotePath
from curate.manifest.lineage import Lineage
from curate.manifest.schema import DICTIONARY_COLUMNS


def write_manifest(path: Location, table: pa.Table, lineage: Lineage) -> None:
    """Write a table and its lineage as a manifest, whole or not at all; missing folders are made.

    Raises:
        ManifestError: the system refuses to write it.
    """
    make_parent_dir(path)
    with open_writer(path, table.schema) as out:
        out.write_table(table)
        out.add_key_value_metadata(replace(lineage, rows=table.num_rows).to_metadata())


def make_parent_dir(path: Location) -> None:
    """Make the folder of a file that will be written. For a URL, writing it makes the folder.

    Raises:
        ManifestError: the system refuses to make it.
    """
    if isinstance(path, RemotePath):
        return
    with write_errors(path, ManifestError, "-o"):
        path.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def open_writer(path: Location, schema: pa.Schema, *, durable: bool = True) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file in pieces; it gets its name only when the block ends without an error.

    Args:
        path: the file.
        schema: of all pieces.
        durable: as for `curate.files.commit`.

    Raises:
        ManifestError: the system refuses to write it, or another process is writing it.
    """
    with open_writers([path], schema, durable=durable) as (out,):
        yield out


@contextmanager
def open_writers(
    paths: Sequence[Location], schema: pa.Schema, *, durable: bool = True
) -> Iterator[list[pq.ParquetWriter]]:
    """Write Parquet files of one schema at the same time; they get their names only when all of them are whole.

    Raises:
        ManifestError: the system refuses to write one, or another process is writing it.
    """
    bare_schema = schema.remove_metadata()
    dictionary = [name for name in DICTIONARY_COLUMNS if name in schema.names]
    with write_errors(paths[0], ManifestError, "-o"), ExitStack() as locks:
        drafts = [locks.enter_context(_open_draft(path, exclusive=durable)) for path in paths]
        with ExitStack() as files:
            sinks = [files.enter_context(pa.OSFile(os.fsencode(draft), "wb")) for draft in drafts]
            yield [
                files.enter_context(pq.ParquetWriter(sink, bare_schema, compression="zstd", use_dictionary=dictionary))
                for sink in sinks
            ]
        for draft, path in zip(drafts, paths, strict=True):
            with write_errors(path, ManifestError, "-o"):
                commit(draft, path, durable=durable)


@contextmanager
def _open_draft(path: Location, *, exclusive: bool) -> Iterator[Path]:
    """Give the path of a draft, and remove the draft if the block fails.

    Args:
        path: the final file; the draft for a URL is in a temporary folder of this machine.
        exclusive: lock the draft, so that no other process writes the same one, where the system supports it.
    """
    if isinstance(path, RemotePath):
        with TemporaryDirectory(prefix="vividset-") as folder:
            yield Path(folder, "draft.parquet")
        return
    draft = path.with_name(f".{path.name}.draft")
    with ExitStack() as lock:
        if exclusive and sys.platform != "win32":
            _lock(lock.enter_context(open(draft, "ab")), path)
        try:
            yield draft
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def _lock(draft: BinaryIO, path: Location) -> None:
    import fcntl  # not on Windows

    try:
        fcntl.flock(draft, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise ManifestError(f"another run is writing {path}: wait for it, or choose another output with -o") from exc
    except OSError:  # the file system has no locks
        return
