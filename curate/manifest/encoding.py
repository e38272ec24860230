"""Encode file names as text, which an Arrow string can hold whatever the bytes are; and read numbers from hex text."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_NOT_UTF8 = re.compile(r"[\udc80-\udcff]")
"""Python's surrogates for bytes of a file name that are not UTF-8."""
_NIBBLES = np.full(256, 255, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdefABCDEF", np.uint8)] = [*range(16), *range(10, 16)]
"""Value of each hex digit by its ASCII code; 255 for other characters."""


def escape(path: str) -> str:
    r"""Return a file's path as manifest text: `/` between parts, non-UTF-8 bytes as `\xNN`, a backslash as `\x5c`.

    >>> escape("caf\udce9/a\\b.jpg")
    'caf\\xe9/a\\x5cb.jpg'
    """
    if os.sep == "\\":
        path = path.replace("\\", "/")
    if "\\" in path:
        path = path.replace("\\", r"\x5c")
    return _NOT_UTF8.sub(lambda byte: rf"\x{ord(byte[0]) - 0xDC00:02x}", path)


def unescape(text: str) -> str:
    r"""Return the path that `escape` was given, in the form that `open` accepts.

    >>> unescape("caf\\xe9") == "caf\udce9"
    True
    """

    def to_character(match: re.Match[str]) -> str:
        value = int(match[1], 16)
        return chr(value) if value < 0x80 else chr(0xDC00 + value)  # Python's surrogates for bytes that are not UTF-8

    return re.sub(r"\\x([0-9a-f]{2})", to_character, text) if "\\" in text else text


def hex_to_bytes(column: Any, count: int) -> NDArray[np.uint8]:
    """Return the first bytes of each hex text of an Arrow column.

    Args:
        column: text without nulls.
        count: how many bytes of each text; a byte is two hex digits.

    Returns:
        (rows, count) uint8.

    Raises:
        ValueError: a text is shorter, or is not hex.

    >>> hex_to_bytes(pa.array(["0aff", "10008"]), 2).tolist()
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
        raise ValueError("a character that is not a hex digit")
    return np.asarray(nibbles[:, ::2] << 4 | nibbles[:, 1::2], np.uint8)


def hex_to_uint(column: Any, bits: int) -> NDArray[np.unsignedinteger[Any]]:
    """Return the first 16, 32 or 64 bits of each hex text as an unsigned integer; see `hex_to_bytes`.

    >>> hex_to_uint(pa.array(["0000000a", "ffffffff"]), 32).tolist()
    [10, 4294967295]
    """
    big_endian = np.ascontiguousarray(hex_to_bytes(column, bits // 8)).view(f">u{bits // 8}")
    return big_endian.ravel().astype(f"u{bits // 8}")
