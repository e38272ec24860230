"""Manifests to disk, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import ManifestError
from curate.files import write_errors
from curate.manifest.lineage import Lineage
from curate.manifest.schema import FEW_VALUES


def write(path: Path, table: pa.Table, lineage: Lineage) -> None:
    """Write a manifest, whole or not at all."""
    make_folder(path)
    with writer(path, table.schema) as out:
        out.write_table(table)
        out.add_key_value_metadata(replace(lineage, rows=table.num_rows).encoded())


def make_folder(path: Path) -> None:
    """Make the folder that a file is to lie in."""
    with write_errors(path, ManifestError, "-o"):
        path.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def writer(path: Path, schema: pa.Schema, *, lasting: bool = True) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file in pieces; it appears under its name only when the block ends well.

    Args:
        path: the file.
        schema: of all pieces.
        lasting: False saves waiting for the disk once more, and a power cut may lose the file; never half of it.

    Raises:
        ManifestError: the disk says no.
    """
    with writers([path], schema, lasting=lasting) as (out,):
        yield out


@contextmanager
def writers(paths: Sequence[Path], schema: pa.Schema, *, lasting: bool = True) -> Iterator[list[pq.ParquetWriter]]:
    """Write Parquet files of one schema side by side; they appear under their names when all of them are whole.

    Raises:
        ManifestError: the disk says no.
    """
    plain = schema.remove_metadata()
    few = [name for name in FEW_VALUES if name in schema.names]
    with write_errors(paths[0], ManifestError, "-o"), ExitStack() as held:
        drafts = [held.enter_context(_draft_of(path, alone=lasting)) for path in paths]
        with ExitStack() as files:
            sinks = [files.enter_context(pa.OSFile(os.fsencode(draft), "wb")) for draft in drafts]
            yield [
                files.enter_context(pq.ParquetWriter(sink, plain, compression="zstd", use_dictionary=few))
                for sink in sinks
            ]
        for draft, path in zip(drafts, paths, strict=True):
            settle(draft, path, lasting=lasting)


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


def settle(draft: Path, path: Path, *, lasting: bool = True) -> None:
    """Give a finished draft its name, so that a crash leaves the old file or the new one, whole."""
    with open(draft, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(draft, path)
    if lasting:
        sync_folder(path.parent)


def write_whole(data: bytes | memoryview, path: Path) -> None:
    """Write a file whole or not at all; nothing is left beside it, even by Ctrl-C.

    Raises:
        OSError: the disk says no.
    """
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]  # short, however long the file's own name
    draft = path.with_name(f".{name}.draft")
    try:
        draft.write_bytes(data)
        settle(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Find out before long work, leaving nothing, whether a file could be written to a path and its missing folders.

    Raises:
        OSError: the disk says no.
    """
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    with tempfile.TemporaryFile(dir=folder):
        pass


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
