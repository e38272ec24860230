"""A tar's members by where their bytes lie, so that each can be read without its neighbours."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from curate.errors import BrokenTar, UnsupportedFormat
from curate.manifest import escape
from curate.sources.entry import ListedPhoto, as_photo_error

PACKED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
PACKED = "a compressed tar can't be read photo by photo: uncompress it to .tar first"
_BLOCK_BYTES = 512


def is_packed_tar(path: str) -> bool:
    """Whether a name is that of a compressed tar."""
    return path.lower().endswith(PACKED_SUFFIXES)


def members(source: str, path: str, file: str, found: os.stat_result) -> Iterator[ListedPhoto]:
    """A tar's members in the order they lie in, and a row of the tar itself if it is cut off or damaged.

    Args:
        source: the tar's source, as manifest text.
        path: its path below it, as manifest text.
        file: what `open` takes.
        found: its size and time; the time is also its members'.
    """
    try:
        with open(file, "rb") as stream:
            yield from members_of_stream(source, path, stream, found.st_size, found.st_mtime_ns)
    except OSError as exc:
        yield ListedPhoto(source, path, None, None, str(as_photo_error(exc, "the tar can't be read")))


def members_of_stream(
    source: str, path: str, stream: BinaryIO, size: int, modified_ns: int | None
) -> Iterator[ListedPhoto]:
    """The members of a tar that can be sought in."""
    end, whole = 0, False
    try:
        with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8") as tar:
            while (member := tar.next()) is not None and (end := member.offset_data + member.size) <= size:
                tar.members = []  # type: ignore[attr-defined]  # or it would remember each
                if member.isfile():
                    yield _listed(source, path, member, modified_ns)
            whole = member is None and _ends_well(tar, stream)
    except (tarfile.TarError, ValueError, IndexError, KeyError, OverflowError):
        pass
    if not whole:
        text = f"cut off or damaged before byte {min(end, size)}" if end else "damaged, compressed or no tar at all"
        yield ListedPhoto(source, path, None, None, str(BrokenTar(f"{text}: copy it again, then scan again")))


def _listed(source: str, path: str, member: tarfile.TarInfo, modified_ns: int | None) -> ListedPhoto:
    name = f"{path}/{escape(member.name.removeprefix('./'))}".replace("\0", r"\x00")
    if member.issparse():
        return ListedPhoto(source, name, None, None, str(UnsupportedFormat("a sparse member: unpack the tar")))
    return ListedPhoto(source, name, member.size, modified_ns, offset=member.offset_data)


def _ends_well(tar: tarfile.TarFile, stream: BinaryIO) -> bool:
    """Whether the zero block that ends a tar is where the reader stopped; it stops at damage as quietly."""
    stream.seek(tar.offset)
    return stream.read(_BLOCK_BYTES) == bytes(_BLOCK_BYTES)
