"""Copy the photos of compressed tars into files where each can be read at its position, for work in another order.

Each tar is read once. A copy is the uncompressed tar without what is not needed: a sparse file, in which everything has
its position in the tar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.errors import NoPermission, PhotoError, ReadFailed, Vanished
from curate.files import commit, make_drafts_folder
from curate.locations import Location
from curate.sources.names import TAR_IN_PATH, file_location
from curate.sources.tar.headers import BLOCK_BYTES
from curate.sources.tar.stream import copy_path, is_compressed_tar, keep_streams_open, read_member


@dataclass(frozen=True, slots=True)
class TarCopy:
    """The copy of one tar, which a worker makes."""

    tar: str
    """Path or URL of the tar."""
    target: Path
    parts: tuple[tuple[int, int], ...]
    """Position in the uncompressed tar, and size, of each part to copy, in the order of the tar."""
    photos: range
    """One number for each photo, for the progress."""


class TarCopies:
    """The copies of all compressed tars in which photos of a manifest, and files beside them, are.

    Args:
        rows: of a manifest; `bytes`, `tar_offset` and `sidecars` are used if present.
        out: the output folder. The copies are in it, or on this machine if it is a URL.
    """

    def __init__(self, rows: pa.Table, out: Location) -> None:
        self._rows, self._folder = rows, make_drafts_folder(out)
        self._offsets = _int_column(rows, "tar_offset")
        tars, numbers = _tars(rows, self._offsets)
        self._compressed = {number: tar for number, tar in enumerate(tars) if is_compressed_tar(tar)}
        self._numbers = numbers
        self.photos = int(np.isin(numbers, list(self._compressed)).sum())
        """Number of photos in compressed tars."""

    def __bool__(self) -> bool:
        return bool(self._compressed)

    def unfinished(self) -> Iterator[TarCopy]:
        """The copies that don't exist yet."""
        if not self._compressed:
            return
        numbers, starts, sizes = map(np.concatenate, zip(self._photo_parts(), self._sidecar_parts(), strict=True))
        order = np.lexsort((starts, numbers))
        numbers, starts, sizes = numbers[order], starts[order], sizes[order]
        for number, tar in self._compressed.items():
            target = copy_path(self._folder, tar)
            if not target.exists():
                first, last = np.searchsorted(numbers, [number, number + 1]).tolist()
                parts = dict.fromkeys(zip(starts[first:last].tolist(), sizes[first:last].tolist(), strict=True))
                yield TarCopy(tar, target, tuple(parts), range(int((self._numbers == number).sum())))

    def remove(self) -> None:
        """Delete the copies."""
        for tar in self._compressed.values():
            copy_path(self._folder, tar).unlink(missing_ok=True)

    def _photo_parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Number of the tar, position and size of each photo."""
        sizes = _int_column(self._rows, "bytes")
        chosen = (self._numbers >= 0) & (sizes > 0)
        return self._numbers[chosen], self._offsets[chosen], sizes[chosen]

    def _sidecar_parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The same of each file beside a photo, with its header, by which `read_sidecar` checks it."""
        empty = np.empty(0, np.int64)
        if "sidecars" not in self._rows.column_names:
            return empty, empty, empty
        sidecars = self._rows["sidecars"].combine_chunks()
        numbers = self._numbers[pc.list_parent_indices(sidecars).to_numpy()]
        files = pc.list_flatten(sidecars)
        offsets, sizes = (pc.fill_null(files.field(name), -1).to_numpy() for name in ("offset", "bytes"))
        chosen = (numbers >= 0) & (offsets >= BLOCK_BYTES) & (sizes >= 0)
        return numbers[chosen], offsets[chosen] - BLOCK_BYTES, sizes[chosen] + BLOCK_BYTES


def copy_tar(copy: TarCopy, beat: Callable[[], None] = lambda: None) -> None:
    """Write the copy of a tar, whole or not at all.

    What can't be read is left out: its bytes are zero. If the tar can't be read, nothing is written.

    Args:
        copy: what to copy.
        beat: called at least once per MiB, to show that there is progress.

    Raises:
        OSError: the file can't be written.
    """
    draft = copy.target.with_name(f"{copy.target.name}.draft")
    with open(draft, "wb") as file, keep_streams_open(beat):
        for start, size in copy.parts:
            try:
                data = read_member(copy.tar, start, size)
            except (Vanished, NoPermission, ReadFailed):
                draft.unlink()
                return
            except PhotoError:
                continue
            file.seek(start)
            file.write(data)
        file.truncate(max((start + size for start, size in copy.parts), default=0))
    commit(draft, copy.target)


def find_compressed_tar(rows: pa.Table) -> str | None:
    """The path or URL of the first compressed tar in which a photo of a manifest's rows is; None if there is none."""
    tars, _ = _tars(rows, _int_column(rows, "tar_offset"))
    return next(filter(is_compressed_tar, tars), None)


def _tars(rows: pa.Table, offsets: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int64]]:
    """The tars of rows, compressed or not, and the number of that of each row; -1 for other rows."""
    tars = pc.struct_field(pc.extract_regex(rows["path"], TAR_IN_PATH), "tar")
    tars = pc.if_else(pa.array(offsets >= 0), tars, None)
    keys = pc.binary_join_element_wise(rows["source"], tars, "\0").combine_chunks().dictionary_encode()
    numbers: NDArray[np.int64] = pc.fill_null(keys.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return [file_location(*key.split("\0")) for key in keys.dictionary.to_pylist()], numbers


def _int_column(rows: pa.Table, name: str) -> NDArray[np.int64]:
    """A column of integers, -1 for nulls and if the table lacks it."""
    if name not in rows.column_names:
        return np.full(rows.num_rows, -1, np.int64)
    column: NDArray[np.int64] = pc.fill_null(rows[name].cast(pa.int64()), -1).to_numpy()
    return column
