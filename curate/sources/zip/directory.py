"""Read the central directory of a ZIP, some entries at a time, so that memory does not grow with their number.

Source of the layout: APPNOTE.TXT 6.3 of PKWARE, sections 4.3.12 (directory), 4.3.14 to 4.3.16 (its end), 4.5.3 (ZIP64).
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from curate.sources.zip.plain_entries import ENTRY_MAGIC, IN_EXTRA, MAX_VERSION, PlainEntries, find_plain_entries

END_RECORD_BYTES, MAX_COMMENT_BYTES = 22, 65_535
END_RECORD_MAGIC = b"PK\5\6"
_END_RECORD = struct.Struct("<4s4H2LH")
_END_RECORD_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4sx2Bx2H8x2L3H4x2L")
"""Without the time, the checksum and other fields that are not used here."""
_CHUNK_BYTES = 1 << 19
_MAX_ENTRY_BYTES = _ENTRY.size + 3 * 65_535
UTF8_NAME = 0x800
"""Bit of the flags."""
_ZIP64_EXTRA = 1


class ZipEntry(NamedTuple):
    """One entry of a central directory; the names of the fields are those of `zipfile.ZipInfo`."""

    filename: str
    create_system: int
    flag_bits: int
    compress_type: int
    compress_size: int
    file_size: int
    header_offset: int
    external_attr: int


class ZipDirectory:
    """The central directory of a ZIP, which can be read several times.

    Args:
        stream: the ZIP, seekable.
        size: its size in bytes.

    Raises:
        BadZipFile: there is no valid end of a directory.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._size = stream, size
        end = _find_end(stream, size)
        stream.seek(end)
        record = _END_RECORD.unpack(stream.read(_END_RECORD.size))
        self._bytes, offset = record[5], record[6]
        if (found := _read_end_64(stream, end)) is not None:
            end, self._bytes, offset = found
        self.start = end - self._bytes
        """Where the directory begins."""
        self._shift = self.start - offset
        """Bytes before the ZIP, like a program that unpacks it."""
        if self.start < 0 or self._shift < 0:
            raise zipfile.BadZipFile("bad position of the directory")

    def __iter__(self) -> Iterator[ZipEntry]:
        """Yield the entries one at a time; raises as `batches`."""
        for entries in self.batches(plain=False):
            if isinstance(entries, ZipEntry):
                yield entries

    def batches(self, *, plain: bool = True) -> Iterator[ZipEntry | PlainEntries]:
        """Yield the entries: plain ones together, if `plain` is true, and all others one at a time.

        Raises:
            BadZipFile: the directory is damaged.
            NotImplementedError: an entry needs a newer version of ZIP.
        """
        position, end = self.start, self.start + self._bytes
        data = b""
        while position < end or data:
            if position < end:
                self._stream.seek(position)
                chunk = self._stream.read(min(_CHUNK_BYTES, end - position))
                if not chunk:
                    raise zipfile.BadZipFile("the directory is cut off")
                position += len(chunk)
                data += chunk
            at = 0
            for run in find_plain_entries(data, self._shift, self._size) if plain else ():
                while at < run.start:
                    entry, at = self._parse(data, at)
                    yield entry
                yield run
                at = run.end
            last = len(data) - (_MAX_ENTRY_BYTES if position < end else 0)
            while at < last:
                entry, at = self._parse(data, at)
                yield entry
            data = data[at:]

    def _parse(self, data: bytes, at: int) -> tuple[ZipEntry, int]:
        """The entry at a position of the data, and the position of the next."""
        if len(data) - at < _ENTRY.size:
            raise zipfile.BadZipFile("bad entry of the directory")
        fields = _ENTRY.unpack_from(data, at)
        magic, system, version, flags, method, compressed, size = fields[:7]
        name_bytes, extra_bytes, comment_bytes, attributes, offset = fields[7:]
        if magic != ENTRY_MAGIC:
            raise zipfile.BadZipFile("bad entry of the directory")
        if version > MAX_VERSION:
            raise NotImplementedError(f"zip file version {version / 10:.1f}")
        start = at + _ENTRY.size
        after = start + name_bytes + extra_bytes + comment_bytes
        if after > len(data):
            raise zipfile.BadZipFile("the directory is cut off")
        name = data[start : start + name_bytes]
        if IN_EXTRA in (compressed, size, offset):
            extra = data[start + name_bytes : start + name_bytes + extra_bytes]
            size, compressed, offset = _read_extra_64(extra, size, compressed, offset)
        if name.isascii():
            text = name.decode("ascii")
        else:
            text = name.decode("utf-8", "surrogateescape") if flags & UTF8_NAME else name.decode("cp437")
        if "\0" in text:
            text = text.partition("\0")[0]
        return ZipEntry(text, system, flags, method, compressed, size, offset + self._shift, attributes), after


def _find_end(stream: BinaryIO, size: int) -> int:
    """The position of the end record."""
    start = max(0, size - END_RECORD_BYTES - MAX_COMMENT_BYTES)
    stream.seek(start)
    tail = stream.read(size - start)
    at = tail.rfind(END_RECORD_MAGIC, 0, len(tail) - END_RECORD_BYTES + len(END_RECORD_MAGIC))
    if at < 0:
        raise zipfile.BadZipFile("no end record")
    return start + at


def _read_end_64(stream: BinaryIO, end: int) -> tuple[int, int, int] | None:
    """Where the directory ends, its size, and its position in the ZIP, by the records of ZIP64; None without them."""
    if end < _LOCATOR_64.size + _END_RECORD_64.size:
        return None
    stream.seek(end - _LOCATOR_64.size - _END_RECORD_64.size)
    data = stream.read(_LOCATOR_64.size + _END_RECORD_64.size)
    magic, _, _, disks = _LOCATOR_64.unpack_from(data, _END_RECORD_64.size)
    if magic != b"PK\6\7":
        return None
    if disks != 1:
        raise zipfile.BadZipFile("a part of a split ZIP")
    record = _END_RECORD_64.unpack_from(data)
    if record[0] != b"PK\6\6":
        return None
    return end - _LOCATOR_64.size - _END_RECORD_64.size, record[8], record[9]


def _read_extra_64(extra: bytes, size: int, compressed: int, offset: int) -> tuple[int, int, int]:
    """The values of an entry that are in its extra field of ZIP64, because they need more than 32 bits."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if length > len(extra) - 4:
            raise zipfile.BadZipFile("bad extra field")
        if kind == _ZIP64_EXTRA:
            values = struct.unpack_from(f"<{length // 8}Q", extra, 4)
            numbers = iter(values)
            try:
                size = next(numbers) if size == IN_EXTRA else size
                compressed = next(numbers) if compressed == IN_EXTRA else compressed
                offset = next(numbers) if offset == IN_EXTRA else offset
            except StopIteration as exc:
                raise zipfile.BadZipFile("bad extra field of ZIP64") from exc
            break
        extra = extra[4 + length :]
    return size, compressed, offset
