"""Read text files that a user wrote, also as Windows writes them, and find names in both Unicode normal forms."""

from __future__ import annotations

import codecs
import os
import unicodedata
from pathlib import Path

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def text_encoding(start: bytes, *, guess: bool = True) -> tuple[str, int]:
    r"""Return the encoding of a text file from its first bytes, and the length of its byte order mark.

    Windows writes such marks, and UTF-16 in which ASCII characters have a zero byte. A file without them is UTF-8.

    Args:
        start: at least the first four bytes, or the whole file.
        guess: recognize UTF-16 without a mark by its zero bytes.

    >>> text_encoding(b"\xff\xfea\0"), text_encoding(b"a\0.\0"), text_encoding(b"a.jpg")
    (('utf-16-le', 2), ('utf-16-le', 0), ('utf-8', 0))
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    zeros = [byte == 0 for byte in start[:4]]
    if guess and zeros == [False, True, False, True]:
        return "utf-16-le", 0
    if guess and zeros == [True, False, True, False]:
        return "utf-16-be", 0
    return "utf-8", 0


def read_text(path: Path) -> str:
    """Read a text file that a user wrote: UTF-8, or UTF-16 and UTF-32 as `text_encoding` recognizes them.

    Raises:
        OSError: it can't be read.
        UnicodeError: it has another encoding; the message names the line and says what to do.
    """
    data = path.read_bytes()
    encoding, mark = text_encoding(data)
    try:
        return data[mark:].decode(encoding)
    except UnicodeDecodeError as exc:
        raise UnicodeError(wrong_encoding(exc)) from exc


def wrong_encoding(exc: UnicodeDecodeError, lines_before: int = 0) -> str:
    """Return the message for text that can't be decoded, which names the line.

    Args:
        exc: the error of the decoder.
        lines_before: complete lines before the text that was decoded.
    """
    line = lines_before + 1 + exc.object[: exc.start].decode(exc.encoding, "replace").count("\n")
    return f"line {line} is not {exc.encoding.upper()} text: save it as UTF-8"


def find_path(path: str) -> str:
    """Return a path as its file is named on disk, where that differs only in the Unicode normal form (NFC or NFD).

    macOS decomposes names (NFD), most other systems and editors compose them (NFC).

    Returns:
        The path itself if it exists, or if no file or more than one is named so.
    """
    if path.isascii() or os.path.lexists(path):
        return path
    found = os.sep if os.path.isabs(path) else ""
    for part in path.strip(os.sep).split(os.sep):
        names = dict.fromkeys((part, unicodedata.normalize("NFC", part), unicodedata.normalize("NFD", part)))
        existing = [name for name in names if os.path.lexists(os.path.join(found, name))]
        if not existing or (len(existing) > 1 and part not in existing):
            return path
        found = os.path.join(found, existing[0])
    return found
