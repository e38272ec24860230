"""Read the headers of a tar: also of several tars joined into one file, and of what is whole of a damaged one."""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from curate.sources.compression import DecompressedStream

BLOCK_BYTES = 512
_CHUNK_BYTES = 1 << 20
_MAX_EXTENSION_BYTES = 64 << 20
"""Long names and pax headers above this size count as damage: tarfile reads them into memory."""
_EXTENSION_TYPES = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_CHECKSUM = slice(148, 156)
"""Where a header has its checksum, in octal digits, zero bytes and spaces."""
_PLAIN_FILE = re.compile(
    rb".{100}(?:[0-7]{6}[0-7 ]\0){3}([0-7]{11})[ \0][0-7]{11}[ \0]([0-7]{6})\0 [0\0]"
    rb".{172}(?:\0{16}|(?:[0-7]{6}[0-7 ]\0){2}).{167}",
    re.DOTALL,
)
"""The header of a regular file as most programs write it: name; mode, user, group; size; time; checksum; type; link and
owner; device; prefix."""
_DAMAGE_ERRORS = (tarfile.TarError, ValueError, IndexError, KeyError, OverflowError)
"""What tarfile raises for damaged headers."""


class SeekableStream(Protocol):
    """What is read of a tar."""

    def read(self, count: int, /) -> bytes:
        """The next bytes."""

    def seek(self, position: int, /) -> int:
        """Go to a position."""

    def tell(self) -> int:
        """The position of the next byte."""


class TarHeaders:
    """The headers that `tar --ignore-zeros --list` lists: after an end mark or damage the next header is looked for.

    Args:
        stream: the tar, seekable; or a `DecompressedStream`.
        size: its size in bytes; None if it is not known before its end is reached.
    """

    def __init__(self, stream: SeekableStream, size: int | None) -> None:
        self._stream, self._size = stream, size
        self.count = 0
        """Headers so far."""
        self.archive = 0
        """Number of the tar, in a file of several joined ones, that contains the latest header; counts from 0."""
        self.damaged_at: int | None = None
        """The first byte that is neither of a member nor of an end mark, or where the file ends without an end mark."""
        self.truncated: tarfile.TarInfo | None = None
        """The last member, if the file ends before its data do. It is not one of the headers. None if the size of the
        file was not known."""

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        """Yield the headers in their order in the file."""
        position = 0
        while (start := self._find_header(position)) is not None:
            position = start
            try:
                self._stream.seek(start)
                file = cast("BinaryIO", self._stream)
                with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", tarinfo=_CheckedHeader) as tar:
                    member = tar.next()
                    while member is not None and tar.offset > position:
                        tar.members = []  # type: ignore[attr-defined]  # or tarfile keeps every member in memory
                        if self._size is not None and _data_end(member, tar.offset) > self._size:
                            self.truncated = member
                            self._add_damage(self._size)
                            return
                        position = tar.offset
                        self.count += 1
                        yield member
                        member = self._next_plain_file(tar) or tar.next()
            except RecursionError:  # a chain of headers that all extend the next one: go on where it was given up
                self._add_damage(start)
                position = max(start + BLOCK_BYTES, self._stream.tell() // BLOCK_BYTES * BLOCK_BYTES)
            except _DAMAGE_ERRORS:
                pass
            if position == start:  # a header that tarfile can't use
                self._add_damage(start)
                position += BLOCK_BYTES
            if isinstance(self._stream, DecompressedStream):  # it may have been read further than it can seek back
                position = max(position, -(-self._stream.earliest // BLOCK_BYTES) * BLOCK_BYTES)

    def _next_plain_file(self, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
        """The next header if it is that of a regular file without extensions, as in most tars; else None."""
        if tar.pax_headers:  # they change all headers
            return None
        start = tar.offset
        self._stream.seek(start)
        header = parse_plain_file(self._stream.read(BLOCK_BYTES))
        if header is not None:
            header.offset, header.offset_data = start, start + BLOCK_BYTES
            tar.offset = start + BLOCK_BYTES * (1 + -(-header.size // BLOCK_BYTES))
        return header

    def _find_header(self, position: int) -> int | None:
        """The position of the next header; None at the end of the file."""
        has_end_mark = False
        self._stream.seek(position)
        while chunk := self._stream.read(_CHUNK_BYTES):
            rest = len(chunk) % BLOCK_BYTES
            blocks = np.frombuffer(chunk[: len(chunk) - rest], np.uint8).reshape(-1, BLOCK_BYTES)
            filled = np.asarray(blocks.any(axis=1))
            found = _first_header(blocks, filled)
            skipped = filled[:found]
            has_end_mark |= bool((~skipped).any())
            if skipped.any():
                self._add_damage(position + int(skipped.argmax()) * BLOCK_BYTES)
            if found is not None:
                self.archive += has_end_mark
                return position + found * BLOCK_BYTES
            if any(chunk[len(chunk) - rest :]):
                self._add_damage(position + len(chunk) - rest)
            position += len(chunk)
        if not has_end_mark:
            end = self._stream.end if isinstance(self._stream, DecompressedStream) else self._size
            self._add_damage(position if end is None else end)
        return None

    def _add_damage(self, position: int) -> None:
        self.damaged_at = position if self.damaged_at is None else min(self.damaged_at, position)


class _CheckedHeader(tarfile.TarInfo):
    """A header with a size that tarfile can work with."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _CheckedHeader:
        """Parse a block; a negative or huge size is an invalid header."""
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _EXTENSION_TYPES and header.size > _MAX_EXTENSION_BYTES):
            raise tarfile.HeaderError("bad size")
        return header


def parse_plain_file(block: bytes) -> tarfile.TarInfo | None:
    """The header of a regular file in plain ASCII, as tarfile parses it, in a fraction of the time.

    None for all other blocks, also for valid headers: tarfile decides about those.
    """
    fields = _PLAIN_FILE.match(block)
    if fields is None or not block.isascii():
        return None
    size, checksum = int(fields[1], 8), int(fields[2], 8)
    # The low half of Adler-32 is one more than the sum of the bytes, which is small enough in ASCII (RFC 1950).
    counted = (zlib.adler32(block) & 0xFFFF) - 1 - sum(block[_CHECKSUM]) + 8 * ord(" ")
    name, prefix = block[:100].partition(b"\0")[0], block[345:500].partition(b"\0")[0]
    if counted != checksum or name.endswith(b"/"):
        return None
    header = tarfile.TarInfo((prefix + b"/" + name if prefix else name).decode("ascii"))
    header.size, header.type = size, block[156:157]
    return header


def has_data(member: tarfile.TarInfo) -> bool:
    """Whether data follow a header; directories, devices and links have none, whatever their size says."""
    return member.isreg() or member.type not in tarfile.SUPPORTED_TYPES


def _data_end(member: tarfile.TarInfo, next_header: int) -> int:
    """The position after a member's data. The size of a sparse member includes its holes, which are not stored."""
    if member.issparse():
        return next_header
    return member.offset_data + (member.size if has_data(member) else 0)


def _first_header(blocks: NDArray[np.uint8], filled: NDArray[np.bool_]) -> int | None:
    """The number of the first block that is a header.

    Args:
        blocks: (n, 512).
        filled: (n,) which of them have a byte that is not zero.
    """
    checksums = blocks[:, _CHECKSUM]
    may_be = filled & np.isin(checksums, np.frombuffer(b"01234567 \0", np.uint8)).all(axis=1)
    for number in np.flatnonzero(may_be).tolist():
        try:
            _CheckedHeader.frombuf(blocks[number].tobytes(), "utf-8", "surrogateescape")
        except _DAMAGE_ERRORS:
            continue
        return int(number)
    return None
