"""List the members of a tar with the positions of their bytes, so that each member can be read without the rest."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from curate.errors import BrokenTar, UnsupportedFormat
from curate.manifest import escape
from curate.sources.entry import ListedPhoto, as_photo_error, modified_ns

COMPRESSED_TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
COMPRESSED_TAR = "a compressed tar can't be read member by member: uncompress it to .tar"
"""The reason why a compressed tar is not listed, and what to do."""
_BLOCK_BYTES = 512


def is_compressed_tar(path: str) -> bool:
    """Whether a name ends like that of a compressed tar, in upper or lower case."""
    return path.lower().endswith(COMPRESSED_TAR_SUFFIXES)


def list_members(source: str, path: str, file: str, status: os.stat_result) -> Iterator[ListedPhoto]:
    """List a tar's members in their order in the file, and the tar itself, with an error, if it is cut off or damaged.

    Args:
        source: the tar's source, as manifest text.
        path: the tar's path below the source, as manifest text.
        file: its path for the operating system.
        status: its size, and its time, which is also that of its members.
    """
    try:
        with open(file, "rb") as stream:
            yield from list_stream_members(source, path, stream, status.st_size, modified_ns(status))
    except OSError as exc:
        yield ListedPhoto(source, path, None, None, str(as_photo_error(exc, "the tar can't be read")))


def list_stream_members(
    source: str, path: str, stream: BinaryIO, size: int, modified_ns: int | None
) -> Iterator[ListedPhoto]:
    """List the members of a tar from a seekable stream; see `list_members`.

    Args:
        source: the tar's source, as manifest text.
        path: the tar's path below the source, as manifest text.
        stream: the tar.
        size: its size in bytes.
        modified_ns: its time of change, in nanoseconds since 1970; None if it is unknown.
    """
    end, complete = 0, False
    try:
        with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8") as tar:
            while (member := tar.next()) is not None and (end := member.offset_data + member.size) <= size:
                tar.members = []  # type: ignore[attr-defined]  # or tarfile keeps every member in memory
                if member.isfile():
                    yield _from_member(source, path, member, modified_ns)
            complete = member is None and _ends_with_zero_block(tar, stream)
    except (tarfile.TarError, ValueError, IndexError, KeyError, OverflowError):
        pass
    if not complete:
        text = f"cut off or damaged before byte {min(end, size)}" if end else "damaged, compressed or not a tar"
        yield ListedPhoto(source, path, None, None, str(BrokenTar(f"{text}: copy it again, then scan again")))


def _from_member(source: str, path: str, member: tarfile.TarInfo, modified_ns: int | None) -> ListedPhoto:
    """The entry of a regular member."""
    name = f"{path}/{escape(member.name.removeprefix('./'))}".replace("\0", r"\x00")
    if member.issparse():
        return ListedPhoto(
            source, name, None, None, str(UnsupportedFormat("a sparse member is not supported: unpack the tar"))
        )
    return ListedPhoto(source, name, member.size, modified_ns, offset=member.offset_data)


def _ends_with_zero_block(tar: tarfile.TarFile, stream: BinaryIO) -> bool:
    """Whether the reader stopped at the zero block that ends a tar; it also stops, without an error, at damage."""
    stream.seek(tar.offset)
    return stream.read(_BLOCK_BYTES) == bytes(_BLOCK_BYTES)
