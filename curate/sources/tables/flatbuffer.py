"""Read the tables of a FlatBuffer, in which Arrow files keep their metadata.

Source of the layout: "FlatBuffers Internals" of the documentation of FlatBuffers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FlatTable:
    """A table of a FlatBuffer. Damaged data raise `ValueError` or `struct.error`, and are never read elsewhere.

    Fields are numbered as in their schema (.fbs), from 0.
    """

    data: bytes
    position: int

    @classmethod
    def root(cls, data: bytes) -> FlatTable:
        """Return the outermost table.

        >>> FlatTable.root(bytes.fromhex("0c000000 0600 0800 0400 0000 08000000 07000000")).number(0, "i")
        7
        """
        return cls(data, *_unpack(data, 0, "I"))

    def number(self, field: int, code: str) -> int:
        """Return a field that is a number, 0 if it is absent; `code` is its type as in the module `struct`."""
        place = self._place(field)
        return int(_unpack(self.data, place, code)[0]) if place else 0

    def table(self, field: int) -> FlatTable | None:
        """Return a field that is a table, None if it is absent."""
        place = self._place(field)
        return FlatTable(self.data, place + _unpack(self.data, place, "I")[0]) if place else None

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """Return a field that is a vector of structs of two 64-bit integers; empty if it is absent."""
        values = self._vector(field, 2)
        return list(zip(values[::2], values[1::2], strict=True))

    def numbers(self, field: int) -> tuple[int, ...]:
        """Return a field that is a vector of 64-bit integers; empty if it is absent."""
        return self._vector(field, 1)

    def _vector(self, field: int, width: int) -> tuple[int, ...]:
        place = self._place(field)
        if not place:
            return ()
        start = place + _unpack(self.data, place, "I")[0]
        (count,) = _unpack(self.data, start, "I")
        if count * width * 8 > len(self.data):
            raise ValueError("a vector is longer than its buffer")
        return _unpack(self.data, start + 4, f"{count * width}q")

    def _place(self, field: int) -> int:
        """The position of a field's value; 0 if it is absent."""
        vtable = self.position - _unpack(self.data, self.position, "i")[0]
        (vtable_bytes,) = _unpack(self.data, vtable, "H")
        entry = 4 + 2 * field
        offset = _unpack(self.data, vtable + entry, "H")[0] if entry < vtable_bytes else 0
        return self.position + offset if offset else 0


def _unpack(data: bytes, position: int, code: str) -> tuple[Any, ...]:
    """Unpack little-endian values at a position; a negative one would be counted from the end."""
    if position < 0:
        raise ValueError("a position before the buffer")
    return struct.unpack_from(f"<{code}", data, position)
