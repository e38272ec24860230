"""Parse many entries of a ZIP's directory together, if they are regular files as most programs write them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.sources.compression import BOMB_BYTES, BOMB_RATIO
from curate.sources.names import CONTAINER_SUFFIXES
from curate.sources.zip.member import ENCRYPTED, METHODS

ENTRY_MAGIC = b"PK\1\2"
LOCAL_HEADER_BYTES = 30
MAX_VERSION = 63
"""Of the format, which an entry may need (6.3)."""
IN_EXTRA = 0xFFFFFFFF
"""A number that is in the extra field instead."""
MODE_SYSTEMS = (3, 19)
"""Unix and macOS, whose entries have the kind of file in their attributes (APPNOTE.TXT 4.4.2)."""
_ENTRY_BYTES = 46
_FIELDS = np.dtype(
    {
        "names": [
            *("system", "version", "flags", "method", "compressed", "size"),
            *("name", "extra", "comment", "attributes", "offset"),
        ],
        "formats": ["u1", "u1", "<u2", "<u2", "<u4", "<u4", "<u2", "<u2", "<u2", "<u4", "<u4"],
        "offsets": [5, 6, 8, 10, 20, 24, 28, 30, 32, 38, 42],
        "itemsize": _ENTRY_BYTES,
    }
)
"""What is used of the fixed part of an entry (4.3.12)."""
_CONTAINER_ENDS = frozenset(
    "".join(end) for suffix in CONTAINER_SUFFIXES for end in product(*({c, c.upper()} for c in suffix[-4:]))
)
"""The last four characters of the names of containers, in upper or lower case."""


class PlainEntries(NamedTuple):
    """Consecutive entries of a directory: regular files that can be read, as far as the directory shows."""

    start: int
    """Position of the first of them in the data."""
    end: int
    names: list[str]
    sizes: list[int]
    """Uncompressed, in bytes."""
    offsets: list[int]
    """Positions of the local headers in the file."""


def find_plain_entries(data: bytes, shift: int, zip_bytes: int) -> Iterator[PlainEntries]:
    """Yield the plain entries of a piece of a directory; all others must be parsed one at a time.

    An entry is plain if `ZipDirectory` accepts it, `list_zip_members` has no error for it, and its name is its path.
    The last entry of the data is never plain, because what follows it is not known.

    Args:
        data: begins with an entry.
        shift: bytes before the ZIP in its file.
        zip_bytes: size of the file.
    """
    starts, fields = _find_entries(data)
    compressed, size, offset = (fields[name].astype(np.int64) for name in ("compressed", "size", "offset"))
    kinds = (fields["attributes"] >> 16) & stat.S_IFMT(0xFFFF)
    plain = (fields["version"] <= MAX_VERSION) & (fields["flags"] & ENCRYPTED == 0) & np.isin(fields["method"], METHODS)
    plain &= ~np.isin(fields["system"], MODE_SYSTEMS) | (kinds == 0) | (kinds == stat.S_IFREG)
    plain &= np.maximum(np.maximum(compressed, size), offset) < IN_EXTRA
    plain &= offset + shift <= zip_bytes - LOCAL_HEADER_BYTES - compressed
    plain &= size <= np.maximum(BOMB_BYTES, BOMB_RATIO * compressed)
    name_ends = starts + _ENTRY_BYTES + fields["name"]
    text = data.decode("latin-1")
    names = [text[start:end] for start, end in zip((starts + _ENTRY_BYTES).tolist(), name_ends.tolist(), strict=True)]
    plain &= _has_plain_names(data, starts + _ENTRY_BYTES, name_ends, names)
    ends = name_ends + fields["extra"] + fields["comment"]
    edges = np.flatnonzero(np.diff(plain, prepend=False, append=False)).tolist()
    for first, after in zip(edges[::2], edges[1::2], strict=True):
        run = slice(first, after)
        yield PlainEntries(
            int(starts[first]), int(ends[after - 1]), names[run], size[run].tolist(), (offset[run] + shift).tolist()
        )


def _has_plain_names(
    data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], names: list[str]
) -> NDArray[np.bool_]:
    """Whether each name is printable ASCII without a backslash, and neither a folder's, a container's nor hidden."""
    characters = np.frombuffer(data, np.uint8)
    plain: NDArray[np.bool_] = (ends > starts) & (characters[starts] != ord(".")) & (characters[ends - 1] != ord("/"))
    if not _is_plain_text("".join(names)):
        plain &= np.fromiter(map(_is_plain_text, names), bool, len(names))
    if not _CONTAINER_ENDS.isdisjoint({name[-4:] for name in names}):
        plain &= np.fromiter((name[-4:] not in _CONTAINER_ENDS for name in names), bool, len(names))
    return plain


def _is_plain_text(text: str) -> bool:
    return text.isascii() and text.isprintable() and "\\" not in text


def _find_entries(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """Positions and fields of the first entries of the data, as long as each ends where the next one begins."""
    before, *pieces = data.split(ENTRY_MAGIC)
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces)) + len(ENTRY_MAGIC)
    starts = np.cumsum(lengths) - lengths
    starts = starts[starts + _ENTRY_BYTES <= len(data)] if not before else starts[:0]
    rows = np.frombuffer(data, np.uint8)[starts[:, np.newaxis] + np.arange(_ENTRY_BYTES)]
    fields = rows.view(_FIELDS).ravel()
    ends = starts + _ENTRY_BYTES + fields["name"] + fields["extra"] + fields["comment"]
    count = int(np.append(ends[:-1] == starts[1:], False).argmin())
    return starts[:count], fields[:count]
