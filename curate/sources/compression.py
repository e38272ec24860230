"""Read compressed data front to back: gzip, bzip2, xz and zstd, with limits against decompression bombs."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, Protocol

import pyarrow as pa

from curate.errors import BrokenTar, FileTooLarge, PhotoError

Codec = Literal["gzip", "bzip2", "xz", "zstd"]
HEAD_BYTES = 8
"""Bytes that `find_codec` needs."""
BOMB_BYTES, BOMB_RATIO = 1 << 26, 200
"""Data that are larger than both, in bytes and in multiples of their compressed size, are refused: no photos are."""
CHUNK_BYTES = 1 << 20
"""Bytes that are decompressed at a time."""
WINDOW_BYTES = 4 << 20
"""Decompressed bytes that are kept, to seek back to."""
_INPUT_BYTES = 1 << 18
_PIECE_BYTES = 1 << 16
"""Bytes of one call of a decompressor; what a call returns is lost if it reaches damage."""
_XZ_MEMORY_BYTES = 1 << 28
"""Files that need more memory to be decompressed are refused; `xz -9` needs 65 MiB."""
_DECOMPRESSION_ERRORS = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)
_MAGIC: Mapping[bytes, Codec] = MappingProxyType(
    {b"\x1f\x8b\x08": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
)
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
"""Bytes 1 to 3 of a frame without data, as pzstd writes it first; byte 0 is 0x50 to 0x5f."""


class ByteSource(Protocol):
    """A file that is read front to back."""

    def read(self, count: int, /) -> bytes:
        """The next bytes; none at the end."""


class _Decompressor(Protocol):
    """What the decompressors of zlib (see `_Gunzip`), bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def find_codec(head: bytes) -> Codec | None:
    """How data are compressed, by their first HEAD_BYTES bytes; None if they are not.

    >>> find_codec(bytes.fromhex("1f8b080000000000")), find_codec(b"photo.jp")
    ('gzip', None)
    """
    if head[1:4] == _ZSTD_SKIPPABLE and head[0] >> 4 == 5:
        return "zstd"
    return next((codec for magic, codec in _MAGIC.items() if head.startswith(magic)), None)


class DecompressedStream:
    """The decompressed bytes of a file; seeks forward by reading, and back by WINDOW_BYTES at most.

    Damage, a bomb, and an error of the file end the stream: `error` is set then, and what was read before is valid.

    Args:
        file: the compressed file, at its start. It may raise a PhotoError.
        codec: how it is compressed.
        beat: called after each chunk, to show that there is progress.
    """

    def __init__(self, file: ByteSource, codec: Codec, beat: Callable[[], None] = lambda: None) -> None:
        self._input = _CountedInput(file)
        self._chunks = _join(_read_zstd(self._input) if codec == "zstd" else _read_members(self._input, codec))
        self._beat = beat
        self._window: deque[tuple[int, bytes]] = deque()
        """Chunks and their positions."""
        self._position = 0
        self.end = 0
        """Decompressed bytes so far; after the end was reached, the size."""
        self.error: PhotoError | None = None
        """Why the stream ends before its end; None at the true end, and before."""

    @property
    def earliest(self) -> int:
        """The first position that can still be read."""
        return self._window[0][0] if self._window else self.end

    def tell(self) -> int:
        """The position of the next byte."""
        return self._position

    def seek(self, position: int) -> int:
        """Go to a position; one before the window becomes the start of the window."""
        self._position = max(position, self.earliest)
        return self._position

    def read(self, count: int) -> bytes:
        """At most `count` bytes; fewer only at the end of the stream."""
        while self.end < self._position and self._pull():
            pass
        parts, left = [], count
        for start, chunk in tuple(self._window):
            if left and start <= self._position < start + len(chunk):
                parts.append(chunk[self._position - start : self._position - start + left])
                self._advance(parts[-1])
                left -= len(parts[-1])
        while left and self._position == self.end and self._pull():
            parts.append(self._window[-1][1][:left])
            self._advance(parts[-1])
            left -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _advance(self, part: bytes) -> None:
        self._position += len(part)

    def _pull(self) -> bool:
        """Decompress the next chunk; False at the end."""
        if self.error is not None:
            return False
        try:
            chunk = next(self._chunks, b"")
            if self.end + len(chunk) > max(BOMB_BYTES, BOMB_RATIO * self._input.count):
                raise FileTooLarge(
                    f"{self._input.count} bytes unpack to more than {self.end}, as in a decompression bomb: unpack it "
                    "if you trust it, and scan the folder"
                )
        except PhotoError as exc:
            self.error = exc
            return False
        if not chunk:
            return False
        self._window.append((self.end, chunk))
        self.end += len(chunk)
        while self._window[0][0] + len(self._window[0][1]) < self.end - WINDOW_BYTES:
            self._window.popleft()
        self._beat()
        return True


class _CountedInput:
    """Counts the compressed bytes; `pyarrow.PythonFile` needs `closed` and `close`."""

    closed = False

    def __init__(self, file: ByteSource) -> None:
        self._file = file
        self.count = 0

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        self.count += len(data)
        return data

    def close(self) -> None:
        """Do nothing: the file belongs to the caller."""

    def damaged(self, reason: str) -> BrokenTar:
        """The error for damage near the present position."""
        return BrokenTar(f"damaged before byte {self.count} ({reason}): copy it again, then scan again")


def _join(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join pieces to chunks of about CHUNK_BYTES; what is before an error is yielded before it is raised."""
    parts: list[bytes] = []
    size = 0
    error = None
    while error is None:
        try:
            piece = next(pieces, b"")
        except PhotoError as exc:
            piece, error = b"", exc
        if piece:
            parts.append(piece)
            size += len(piece)
        if parts and (size >= CHUNK_BYTES or not piece):
            yield b"".join(parts)
            parts, size = [], 0
        if not piece and error is None:
            return
    raise error


def _read_zstd(file: _CountedInput) -> Iterator[bytes]:
    """Decompress one or several frames."""
    stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
    try:
        while piece := stream.read(_PIECE_BYTES):
            yield piece
    except OSError as exc:
        if "Truncated" in str(exc):
            raise _cut_off(file) from exc
        raise file.damaged(str(exc)) from exc


def _read_members(file: _CountedInput, codec: Codec) -> Iterator[bytes]:
    """Decompress one or several members of gzip, bzip2 or xz; zero bytes may follow them, as tapes have them."""
    pending = file.read(_INPUT_BYTES)
    while pending:
        if find_codec(pending[:HEAD_BYTES].ljust(HEAD_BYTES, b"\0")) != codec:
            raise file.damaged("other data follow the compressed data")
        decompressor = _make_decompressor(codec)
        while not decompressor.eof:
            if not pending and decompressor.needs_input and not (pending := file.read(_INPUT_BYTES)):
                raise _cut_off(file)
            try:
                piece = decompressor.decompress(pending, _PIECE_BYTES)
            except _DECOMPRESSION_ERRORS as exc:
                raise file.damaged(str(exc)) from exc
            except MemoryError as exc:
                raise file.damaged("it needs too much memory") from exc
            pending = b""
            if piece:
                yield piece
        pending = decompressor.unused_data.lstrip(b"\0")
        while not pending and (more := file.read(_INPUT_BYTES)):
            pending = more.lstrip(b"\0")
        if pending and len(pending) < HEAD_BYTES:
            pending += file.read(_INPUT_BYTES)


def _cut_off(file: _CountedInput) -> BrokenTar:
    return BrokenTar(f"cut off at byte {file.count}, within its compressed data: copy it again, then scan again")


def _make_decompressor(codec: Codec) -> _Decompressor:
    if codec == "gzip":
        return _Gunzip()
    if codec == "bzip2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)


class _Gunzip:
    """zlib's decompressor of one gzip member, with the interface of those of bz2 and lzma."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        before = self._zlib.copy()
        try:
            return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        except zlib.error:
            self._zlib = before
            if found := self._decompress_to_damage(data, max_length):
                return found
            raise

    def _decompress_to_damage(self, data: bytes, max_length: int) -> bytes:
        """What can be decompressed before damage: zlib returns nothing of a call that reaches it."""
        found = b""
        for step in (4096, 64, 1):
            while len(found) < max_length:
                before = self._zlib.copy()
                try:
                    part = self._zlib.decompress(self._zlib.unconsumed_tail + data, min(step, max_length - len(found)))
                except zlib.error:
                    self._zlib = before
                    break
                data = b""
                found += part
                if not part:
                    break
        return found
