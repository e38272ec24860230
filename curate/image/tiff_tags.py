"""Read the tags of a TIFF or BigTIFF: its header, and one page at a time (TIFF 6.0, section 2)."""

from __future__ import annotations

import struct
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADERS = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
"""Byte order and whether it is a BigTIFF, by the first bytes of a file."""
TIFF_MAGIC = tuple(_HEADERS)
"""First bytes of TIFF and BigTIFF."""
FRACTION = 5
"""Field type of fractions, which are two numbers each."""
NUMBER_TYPES = {1: "u1", 3: "u2", 4: "u4", FRACTION: "u4", 7: "u1", 13: "u4", 16: "u8", 18: "u8"}
"""numpy's types of the field types that are read."""
_MAX_TAGS = 4096


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """The header of a TIFF."""

    order: str
    """`<` or `>`: little or big-endian."""
    is_big: bool
    """Whether it is a BigTIFF, with offsets of eight bytes."""

    @classmethod
    def read(cls, data: bytes) -> TiffHeader | None:
        """The header; None if the file is not a TIFF."""
        fields = _HEADERS.get(data[:4])
        return None if fields is None else cls(*fields)

    @property
    def pointer_format(self) -> str:
        """The format of an offset, for `struct`."""
        return self.order + ("Q" if self.is_big else "I")

    @property
    def pointer_at(self) -> int:
        """Where the offset of the first page is stored, in bytes from the start of the file."""
        return 8 if self.is_big else 4

    def first_page(self, data: bytes) -> int:
        """The offset of the first page; 0 if the file ends before it."""
        return self._read_pointer(data, self.pointer_at)

    def read_page(
        self, data: bytes, offset: int, wanted: Container[int] | None = None, max_values: int | None = None
    ) -> tuple[dict[int, NDArray[Any]], int]:
        """Read the numeric tags of one page.

        Args:
            data: the file's bytes.
            offset: of the page, in bytes.
            wanted: read only these tags; None reads all.
            max_values: read at most this many numbers of a tag; None reads all.

        Returns:
            The value of each tag, (n,) unsigned integers, or (n, 2) for fractions; and the offset of the next page, 0
            if there is none.

        Raises:
            ValueError: the page or a value is outside the file.
        """
        count_bytes, entry_bytes, inline_bytes = (8, 20, 8) if self.is_big else (2, 12, 4)
        tags: dict[int, NDArray[Any]] = {}
        try:
            (count,) = struct.unpack_from(self.order + ("Q" if self.is_big else "H"), data, offset)
            start = offset + count_bytes
            for at in range(start, start + entry_bytes * min(count, _MAX_TAGS), entry_bytes):
                tag, kind, length = struct.unpack_from(self.order + ("HHQ" if self.is_big else "HHI"), data, at)
                if kind not in NUMBER_TYPES or (wanted is not None and tag not in wanted):
                    continue
                stored = np.dtype(self.order + NUMBER_TYPES[kind])
                length *= 2 if kind == FRACTION else 1
                value_at = at + entry_bytes - inline_bytes
                if length * stored.itemsize > inline_bytes:
                    (value_at,) = struct.unpack_from(self.pointer_format, data, value_at)
                value = np.frombuffer(data, stored, length if max_values is None else min(length, max_values), value_at)
                tags[tag] = value.reshape(-1, 2) if kind == FRACTION else value
        except (struct.error, OverflowError) as exc:
            raise ValueError("the tags are outside the file") from exc
        return tags, self._read_pointer(data, start + entry_bytes * count)

    def _read_pointer(self, data: bytes, at: int) -> int:
        """An offset that is stored in the file; 0 if the file ends before it."""
        end = at + struct.calcsize(self.pointer_format)
        return int(struct.unpack(self.pointer_format, data[at:end])[0]) if end <= len(data) else 0
