"""Copy the photos of compressed tars into files where each can be read at its position, for work in another order.

Each tar is read once. A copy is the photos one after another, so that their positions follow from their sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.errors import NoPermission, PhotoError, ReadFailed, Vanished
from curate.files import commit, exists, make_drafts_folder, remove
from curate.locations import Location, RemotePath
from curate.sources.entry import TAR_IN_PATH, file_location
from curate.sources.reader import PhotoRef, is_compressed_tar
from curate.sources.tar_stream import keep_streams_open, read_member


@dataclass(frozen=True, slots=True)
class TarCopy:
    """The copy of one tar, which a worker makes."""

    tar: str
    """Path or URL of the tar."""
    target: Location
    photos: tuple[tuple[int, int], ...]
    """Position in the uncompressed tar, and size, of each photo, in the order of the tar."""


class TarCopies:
    """The copies of all compressed tars in which photos of a manifest are.

    The same rows always give the same copies, so that an interrupted run can use those that are finished.

    Args:
        rows: of a manifest, with `source`, `path`, and `bytes`; `tar_offset` is used if present.
        folder: where the copies are written, under names that begin with a dot.
    """

    def __init__(self, rows: pa.Table, folder: Location) -> None:
        self._folder = folder
        offsets, self._sizes = (_int_column(rows, name) for name in ("tar_offset", "bytes"))
        self._tars, self._numbers = _compressed_tars(rows, offsets)
        self._offsets = offsets
        self._order = np.lexsort((offsets, self._numbers))[int((self._numbers < 0).sum()) :]
        """The rows in compressed tars, tar by tar, in the order of the tar."""
        self._positions = np.zeros(len(offsets), np.int64)
        starts = np.searchsorted(self._numbers[self._order], np.arange(len(self._tars) + 1))
        self._starts: list[int] = starts.tolist()
        for start, end in zip(self._starts, self._starts[1:], strict=False):
            in_tar = self._order[start:end]
            self._positions[in_tar] = np.cumsum(self._sizes[in_tar]) - self._sizes[in_tar]

    def __bool__(self) -> bool:
        return bool(self._tars)

    @property
    def photos(self) -> int:
        """Number of photos in compressed tars."""
        return len(self._order)

    def unfinished(self) -> Iterator[TarCopy]:
        """The copies that don't exist yet."""
        for number, tar in enumerate(self._tars):
            in_tar = self._order[self._starts[number] : self._starts[number + 1]]
            if not exists(self._target(number)):
                members = zip(self._offsets[in_tar].tolist(), self._sizes[in_tar].tolist(), strict=True)
                yield TarCopy(tar, self._target(number), tuple(members))

    def refer(self, photo: PhotoRef, row: int) -> PhotoRef:
        """The photo of a row, to be read from a copy if it is in a compressed tar."""
        if self._numbers[row] < 0:
            return photo
        return replace(photo, copy=(str(self._target(int(self._numbers[row]))), int(self._positions[row])))

    def remove(self) -> None:
        """Delete the copies."""
        for number in range(len(self._tars)):
            remove(self._target(number))

    def _target(self, number: int) -> Location:
        return self._folder / f".tar-{number:06d}.copy"


def copy_tar(copy: TarCopy, beat: Callable[[], None] = lambda: None) -> None:
    """Write the copy of a tar, whole or not at all.

    A photo that can't be read is left out: its bytes are zero. If the tar can't be read, nothing is written.

    Args:
        copy: what to copy.
        beat: called at least once per MiB, to show that there is progress.

    Raises:
        OSError: the file can't be written.
    """
    if isinstance(copy.target, RemotePath):
        with TemporaryDirectory(dir=make_drafts_folder(copy.target)) as scratch:
            _write_copy(copy, Path(scratch, "copy"), copy.target, beat)
    else:
        _write_copy(copy, copy.target.with_name(f"{copy.target.name}.draft"), copy.target, beat)


def _write_copy(copy: TarCopy, draft: Path, target: Location, beat: Callable[[], None]) -> None:
    with open(draft, "wb") as file, keep_streams_open(beat):
        data, read_at = b"", -1
        for offset, size in copy.photos:
            start = file.tell()
            try:
                if offset != read_at:  # several photos have the same position if there are links
                    data, read_at = read_member(copy.tar, offset, size), offset
                file.write(data)
            except (Vanished, NoPermission, ReadFailed):
                return
            except PhotoError:
                file.seek(start + size)
        file.truncate()
    commit(draft, target)


def find_compressed_tar(rows: pa.Table) -> str | None:
    """The path or URL of the first compressed tar in which a photo of a manifest's rows is; None if there is none."""
    tars, _ = _tars(rows, _int_column(rows, "tar_offset"))
    return next(filter(is_compressed_tar, tars), None)


def _compressed_tars(rows: pa.Table, offsets: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int64]]:
    """The compressed tars, as paths or URLs, and the number of that of each row; -1 for other rows."""
    locations, numbers = _tars(rows, offsets)
    compressed = [number for number, tar in enumerate(locations) if is_compressed_tar(tar)]
    new_numbers = np.full(len(locations) + 1, -1, np.int64)  # the last one is for rows without a tar
    new_numbers[compressed] = np.arange(len(compressed))
    return [locations[number] for number in compressed], new_numbers[numbers]


def _tars(rows: pa.Table, offsets: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int64]]:
    """The tars of rows, compressed or not, and the number of that of each row; -1 for other rows."""
    tars = pc.struct_field(pc.extract_regex(rows["path"], TAR_IN_PATH), "tar")
    tars = pc.if_else(pa.array(offsets >= 0), tars, None)
    keys = pc.binary_join_element_wise(rows["source"], tars, "\0").combine_chunks().dictionary_encode()
    numbers = pc.fill_null(keys.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return [file_location(*key.split("\0")) for key in keys.dictionary.to_pylist()], numbers


def _int_column(rows: pa.Table, name: str) -> NDArray[np.int64]:
    """A column of integers, -1 for nulls and if the table lacks it."""
    if name not in rows.column_names:
        return np.full(rows.num_rows, -1, np.int64)
    column: NDArray[np.int64] = pc.fill_null(rows[name].cast(pa.int64()), -1).to_numpy()
    return column
