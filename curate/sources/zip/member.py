"""Read one member of a ZIP at its position, without the ZIP's directory.

Source of the layout: APPNOTE.TXT 6.3 of PKWARE, sections 4.3.7 (local header), 4.3.9 (data descriptor), 5.8 (LZMA).
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Protocol

from curate.errors import BrokenZip, PhotoError, UnsupportedFormat

ENCRYPTED = 0x1
"""Bit of the flags."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
"""Of compression, that can be read."""
_HAS_DESCRIPTOR = 0x8
"""Bit of the flags: checksum and sizes follow the data, because the ZIP was written as a stream."""
_HEADER = struct.Struct("<4s5H3I2H")
_DESCRIPTOR_MAGIC = b"PK\7\x08"
_EXTRA_BYTES = 4096
"""What is read beyond the wanted bytes, for header and name."""
_DECOMPRESSION_ERRORS = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)

ReadRange = Callable[[int, int], bytes]
"""Returns the bytes of the ZIP from one position to another; fewer at its end."""


class _Decompressor(Protocol):
    """What the decompressors of bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class ZipMember:
    """Reads a member's bytes in order, in memory for the wanted bytes and about as many compressed ones.

    Args:
        read_range: reads the ZIP.
        offset: position of the member's local header.
        size: its uncompressed size in bytes. Never more are decompressed.

    Raises:
        PhotoError: no member is at this position, or it is encrypted or compressed by an unknown method.
    """

    def __init__(self, read_range: ReadRange, offset: int, size: int) -> None:
        self._read_range, self._offset, self._size = read_range, offset, size
        self._position: int | None = None
        """Where the next compressed bytes begin; None before the header was read."""
        self._decompressor: _Decompressor
        self._pending = b""
        """Compressed bytes that were read, but not decompressed."""
        self._done, self._crc = 0, 0
        self._expected_crc: int | None = None

    def read(self, count: int) -> bytes:
        """The next bytes, decompressed; fewer than `count` only at the end of the member.

        Raises:
            PhotoError: the member is damaged.
        """
        count = min(count, self._size - self._done)
        parts = []
        if self._position is None:
            self._start(count)
        while count:
            part = self._decompress(count)
            if not part and not self._fill(count):
                raise self._broken("its data end too early")
            parts.append(part)
            count -= len(part)
            self._done += len(part)
            self._crc = zlib.crc32(part, self._crc)
        return b"".join(parts)

    def check(self) -> None:
        """Check the end and the checksum of the data, after all of them have been read.

        Raises:
            PhotoError: the member has more data than its size, or its checksum is wrong.
        """
        while self._expected_crc is None and not self._decompressor.eof:
            if self._decompress(1):
                raise self._broken("it has more data than the ZIP's directory says")
            if not self._fill(0):
                if self._method == zipfile.ZIP_LZMA:
                    return  # LZMA may have no mark of its end, and then it is not known where the checksum is
                raise self._broken("its data do not end")
        checksums = [self._expected_crc] if self._expected_crc is not None else self._read_descriptor()
        if self._crc not in checksums:
            raise self._broken("the checksum (CRC) of its data is wrong")

    def _start(self, count: int) -> None:
        """Read the local header, and with it as many compressed bytes as `count` bytes may need."""
        data = self._read_range(self._offset, self._offset + _input_bytes(count))
        if len(data) < _HEADER.size or not data.startswith(b"PK\3\4"):
            raise self._broken("no member begins there")
        _, _, flags, method, _, _, crc, _, _, name_bytes, extra_bytes = _HEADER.unpack_from(data)
        if error := method_error(method, flags):
            raise error
        self._method = method
        start = _HEADER.size + name_bytes + extra_bytes
        self._position = self._offset + max(start, len(data))
        self._pending = data[start:]
        self._expected_crc = None if flags & _HAS_DESCRIPTOR else crc
        self._input_left = self._size + self._size // 8 + (1 << 16) - len(self._pending)
        if method == zipfile.ZIP_LZMA and len(self._pending) < 9:
            self._fill(9)
        try:
            self._decompressor = _make_decompressor(method, self._pending, self._size)
        except _DECOMPRESSION_ERRORS as exc:
            raise self._broken(str(exc)) from exc
        if method == zipfile.ZIP_LZMA:
            self._pending = self._pending[9:]

    def _decompress(self, count: int) -> bytes:
        """At most `count` bytes, at least one; none if more compressed bytes are needed or the data end."""
        if self._decompressor.eof:
            return b""
        data, self._pending = self._pending, b""
        try:
            return self._decompressor.decompress(data, count)
        except _DECOMPRESSION_ERRORS as exc:
            raise self._broken(str(exc)) from exc

    def _fill(self, count: int) -> bool:
        """Read more compressed bytes; False if there are none, or more than the size can need."""
        if self._position is None or self._input_left <= 0:
            return False
        data = self._read_range(self._position, self._position + min(_input_bytes(count), self._input_left))
        self._position += len(data)
        self._input_left -= len(data)
        self._pending += data
        return bool(data)

    def _read_descriptor(self) -> list[int]:
        """The checksums that may be meant by what follows the data: with and without the optional signature."""
        rest = self._decompressor.unused_data + self._pending
        if len(rest) < 8 and self._position is not None:
            rest += self._read_range(self._position, self._position + 8)
        starts = (4, 0) if rest.startswith(_DESCRIPTOR_MAGIC) else (0,)
        return [int.from_bytes(rest[start : start + 4], "little") for start in starts]

    def _broken(self, reason: str) -> BrokenZip:
        return BrokenZip(f"the member at byte {self._offset} of the ZIP is damaged: {reason}: copy the ZIP again")


def _input_bytes(count: int) -> int:
    """How many bytes to read at once for a number of decompressed ones."""
    return count + count // 256 + _EXTRA_BYTES


def method_error(method: int, flags: int) -> PhotoError | None:
    """The error of a member that is encrypted or compressed by an unknown method; None if it can be read."""
    if flags & ENCRYPTED:
        return UnsupportedFormat("it is encrypted: unpack the ZIP with its password, and scan the folder")
    if method not in METHODS:
        return UnsupportedFormat(f"it is compressed by method {method}: unpack the ZIP, and scan the folder")
    return None


def _make_decompressor(method: int, start: bytes, size: int) -> _Decompressor:
    """A decompressor.

    Args:
        method: of APPNOTE.TXT, section 4.4.5.
        start: the first compressed bytes; LZMA has its properties in the first nine.
        size: of the member, uncompressed.
    """
    if method == zipfile.ZIP_STORED:
        return _Stored(size)
    if method == zipfile.ZIP_DEFLATED:
        return _Inflate()
    if method == zipfile.ZIP_BZIP2:
        return bz2.BZ2Decompressor()
    _, properties_bytes, properties, dictionary = struct.unpack_from("<HHBI", start.ljust(9, b"\0"))
    if properties_bytes != 5 or properties >= 225:
        raise ValueError("bad properties of LZMA")
    position_bits, rest = divmod(properties, 45)
    bits, context_bits = divmod(rest, 9)
    options = {"id": lzma.FILTER_LZMA1, "lc": context_bits, "lp": bits, "pb": position_bits}
    # A dictionary that is larger than the member is useless, but would be allocated.
    options["dict_size"] = max(4096, min(dictionary, size))
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[options])


class _Stored:
    """Bytes that are not compressed."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.unused_data = b""

    @property
    def eof(self) -> bool:
        return not self._left

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        data = self.unused_data + data
        count = min(self._left, max_length)
        self._left -= min(count, len(data))
        self.unused_data = data[count:]
        return data[:count]


class _Inflate:
    """zlib's decompressor, which keeps what it has not used, as those of bz2 and lzma do."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
