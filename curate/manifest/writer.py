"""Manifests to disk, whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import ManifestError
from curate.files import commit, write_errors
from curate.manifest.lineage import Lineage
from curate.manifest.schema import DICTIONARY_COLUMNS


def write_manifest(path: Path, table: pa.Table, lineage: Lineage) -> None:
    """Write a manifest, whole or not at all."""
    make_parent_dir(path)
    with open_writer(path, table.schema) as out:
        out.write_table(table)
        out.add_key_value_metadata(replace(lineage, rows=table.num_rows).to_metadata())


def make_parent_dir(path: Path) -> None:
    """Make the folder that a file is to lie in."""
    with write_errors(path, ManifestError, "-o"):
        path.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def open_writer(path: Path, schema: pa.Schema, *, lasting: bool = True) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file in pieces; it appears under its name only when the block ends well.

    Args:
        path: the file.
        schema: of all pieces.
        lasting: False saves waiting for the disk once more, and a power cut may lose the file; never half of it.

    Raises:
        ManifestError: the disk says no.
    """
    with open_writers([path], schema, lasting=lasting) as (out,):
        yield out


@contextmanager
def open_writers(paths: Sequence[Path], schema: pa.Schema, *, lasting: bool = True) -> Iterator[list[pq.ParquetWriter]]:
    """Write Parquet files of one schema side by side; they appear under their names when all of them are whole.

    Raises:
        ManifestError: the disk says no.
    """
    plain = schema.remove_metadata()
    few = [name for name in DICTIONARY_COLUMNS if name in schema.names]
    with write_errors(paths[0], ManifestError, "-o"), ExitStack() as held:
        drafts = [held.enter_context(_draft_of(path, alone=lasting)) for path in paths]
        with ExitStack() as files:
            sinks = [files.enter_context(pa.OSFile(os.fsencode(draft), "wb")) for draft in drafts]
            yield [
                files.enter_context(pq.ParquetWriter(sink, plain, compression="zstd", use_dictionary=few))
                for sink in sinks
            ]
        for draft, path in zip(drafts, paths, strict=True):
            commit(draft, path, lasting=lasting)


@contextmanager
def _draft_of(path: Path, *, alone: bool) -> Iterator[Path]:
    """Where to write a file until it is whole; gone if that fails.

    Args:
        path: the file.
        alone: let no other process write the same draft, where the system can.
    """
    draft = path.with_name(f".{path.name}.draft")
    with ExitStack() as lock:
        if alone and sys.platform != "win32":
            _lock(lock.enter_context(open(draft, "ab")), path)
        try:
            yield draft
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def _lock(draft: BinaryIO, path: Path) -> None:
    import fcntl

    try:
        fcntl.flock(draft, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise ManifestError(f"another run is writing {path}: wait for it, or choose another output with -o") from exc
    except OSError:  # the file system knows no locks
        return
