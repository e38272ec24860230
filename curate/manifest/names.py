"""File names as text: an Arrow string can't hold every name that a file system can."""

from __future__ import annotations

import os
import re

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
