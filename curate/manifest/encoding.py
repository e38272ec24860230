"""File names as text: an Arrow string can't hold every name that a file system can."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_NOT_TEXT = re.compile(r"[\udc80-\udcff]")


def escape(path: str) -> str:
    r"""A file's path as manifest text: `/` between parts, bytes that are no UTF-8 as `\xNN`, a backslash as `\x5c`.

    >>> escape("caf\udce9/a\\b.jpg")
    'caf\\xe9/a\\x5cb.jpg'
    """
    if os.sep == "\\":
        path = path.replace("\\", "/")
    if "\\" in path:
        path = path.replace("\\", r"\x5c")
    return _NOT_TEXT.sub(lambda byte: rf"\x{ord(byte[0]) - 0xDC00:02x}", path)


def unescape(text: str) -> str:
    r"""The path that `escape` was given, as `open` takes it.

    >>> unescape("caf\\xe9") == "caf\udce9"
    True
    """

    def byte(match: re.Match[str]) -> str:
        value = int(match[1], 16)
        return chr(value) if value < 0x80 else chr(0xDC00 + value)

    return re.sub(r"\\x([0-9a-f]{2})", byte, text) if "\\" in text else text


_NIBBLES = np.full(256, 255, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdefABCDEF", np.uint8)] = [*range(16), *range(10, 16)]


def hex_bytes(column: Any, count: int) -> NDArray[np.uint8]:
    """The first bytes that each hex text of an Arrow column says.

    Args:
        column: text without nulls.
        count: bytes wanted of each, so twice as many digits.

    Returns:
        (rows, count) uint8.

    Raises:
        ValueError: a text is shorter, or isn't hex.

    >>> hex_bytes(pa.array(["0aff", "10008"]), 2).tolist()
    [[10, 255], [16, 0]]
    """
    digits = pc.utf8_slice_codeunits(column.cast(pa.string()), 0, 2 * count).cast(pa.binary())
    if isinstance(digits, pa.ChunkedArray):
        digits = digits.combine_chunks()
    if not pc.all(pc.equal(pc.binary_length(digits), 2 * count), skip_nulls=False, min_count=0).as_py():
        raise ValueError(f"fewer than {2 * count} hex digits")
    text = np.frombuffer(digits.cast(pa.binary(2 * count)).buffers()[1], np.uint8)
    nibbles = _NIBBLES[text].reshape(len(digits), 2 * count)
    if np.any(nibbles > 15):
        raise ValueError("a letter that is no hex digit")
    return np.asarray(nibbles[:, ::2] << 4 | nibbles[:, 1::2], np.uint8)


def hash_words(column: Any, bits: int) -> NDArray[np.unsignedinteger[Any]]:
    """The number that the first 16, 32 or 64 bits of each hex text are; see `hex_bytes`.

    >>> hash_words(pa.array(["0000000a", "ffffffff"]), 32).tolist()
    [10, 4294967295]
    """
    big_endian = np.ascontiguousarray(hex_bytes(column, bits // 8)).view(f">u{bits // 8}")
    return big_endian.ravel().astype(f"u{bits // 8}")
