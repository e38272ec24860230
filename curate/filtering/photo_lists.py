"""Lists of photos that a filter rejects or keeps whatever their measures are: text files of paths and of sha256."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.files import check_readable
from curate.locations import check_local_name
from curate.manifest import escape
from curate.sources.remote import absolute_location
from curate.text import describe_error
from curate.unicode import text_encoding

_HASH_LINE = re.compile(r"\\?([0-9a-fA-F]{64})(?:[ \t].*)?")
"""A content hash, alone or with a name after it, as `sha256sum` and the report write it."""
_NOT_UTF8 = re.compile(r"[\udc80-\udcff]")
"""Python's surrogates for bytes that are not UTF-8."""


@dataclass(frozen=True, slots=True)
class ListFile:
    """A list file as the lineage records it."""

    path: str
    """Absolute, as manifest text."""
    sha256: str


@dataclass(frozen=True, slots=True)
class _Lookup:
    """The values of one kind that entries have, to be found in a column."""

    values: pa.Array
    """Different texts."""
    owners: pa.Array
    """For each value, the list of the numbers of its entries."""
    found: NDArray[np.bool_]
    """(values,) whether a row had it; `find` sets it."""

    @classmethod
    def from_dict(cls, entries: dict[str, list[int]]) -> _Lookup:
        owners = pa.array(list(entries.values()), pa.list_(pa.int64()))
        return cls(pa.array(list(entries), pa.string()), owners, np.zeros(len(entries), np.bool_))

    def find(self, column: pa.Array) -> NDArray[np.bool_]:
        """Return (rows,) whether the text is one of the values."""
        if not len(self.values):
            return np.zeros(len(column), np.bool_)
        numbers = pc.fill_null(pc.index_in(column, value_set=self.values, skip_nulls=True), -1).to_numpy()
        self.found[numbers[numbers >= 0]] = True
        return np.asarray(numbers >= 0, np.bool_)


@dataclass(frozen=True, slots=True)
class PhotoList:
    """The entries of list files, and which of them rows of a scan had so far."""

    files: tuple[ListFile, ...] = ()
    entries: tuple[str, ...] = ()
    """The lines without repetitions, comments and empty lines."""
    _hashes: _Lookup = field(default_factory=lambda: _Lookup.from_dict({}))
    _paths: _Lookup = field(default_factory=lambda: _Lookup.from_dict({}))
    _locations: _Lookup = field(default_factory=lambda: _Lookup.from_dict({}))

    @classmethod
    def read(cls, paths: Sequence[str], option: str) -> PhotoList:
        """Read list files.

        Each line is a photo: its sha256, alone or followed by a name, which is ignored; its column `path`; or its
        absolute path, its path from the current folder, or its URL. Lines that begin with `#` are comments. A path is
        also found without blanks and quotation marks around it.

        Args:
            paths: the files.
            option: of `curate filter`, for messages.

        Raises:
            UsageError: a file can't be read or is not text.
        """
        contents = [_read_file(path, option) for path in paths]
        texts = [_decode(data, path) for path, data in zip(paths, contents, strict=True)]
        entries = dict.fromkeys(line for text in texts for line in _split_lines(text))
        files = tuple(
            ListFile(escape(os.path.abspath(path)), hashlib.sha256(data).hexdigest())
            for path, data in zip(paths, contents, strict=True)
        )
        hashes: dict[str, list[int]] = {}
        names: dict[str, list[int]] = {}
        locations: dict[str, list[int]] = {}
        for number, entry in enumerate(entries):
            bare = entry.strip().strip("\"'")  # some programs and editors add these
            if match := _HASH_LINE.fullmatch(bare):
                hashes.setdefault(match[1].lower(), []).append(number)
                continue
            for name in {entry, bare} - {""}:
                spelled = set() if _NOT_UTF8.search(name) else {name}  # perhaps with the manifest's own escapes
                for text in _normal_forms(spelled | {escape(name), escape(os.path.normpath(name))}):
                    names.setdefault(text, []).append(number)
                for text in _normal_forms(spelled | {escape(absolute_location(name))}):
                    locations.setdefault(text, []).append(number)
        return cls(files, tuple(entries), *map(_Lookup.from_dict, (hashes, names, locations)))

    def columns(self) -> set[str]:
        """Return the columns that `find` reads."""
        return {"source", "path", "sha256"} if self.entries else set()

    def find(self, table: pa.Table) -> NDArray[np.bool_]:
        """Return (rows,) whether the list names the photo, and remember which entries were found."""
        if not self.entries:
            return np.zeros(table.num_rows, np.bool_)
        source, path, sha256 = (table[name].cast(pa.string()).combine_chunks() for name in ("source", "path", "sha256"))
        locations = pc.binary_join_element_wise(pc.utf8_rtrim(source, "/"), path, "/")
        return self._hashes.find(sha256) | self._paths.find(path) | self._locations.find(locations)

    def unmatched(self) -> list[str]:
        """Return the entries that no row had so far."""
        found = np.zeros(len(self.entries), np.bool_)
        for lookup in (self._hashes, self._paths, self._locations):
            found[lookup.owners.filter(pa.array(lookup.found)).flatten().to_numpy()] = True
        return [self.entries[number] for number in np.flatnonzero(~found)]


def _read_file(path: str, option: str) -> bytes:
    try:
        check_local_name(path, existing=True)
        check_readable(Path(path))
        data = Path(path).read_bytes()
    except (OSError, ValueError) as exc:
        raise UsageError(
            f"the list {path} can't be read: {describe_error(exc)}: name a text file of paths or sha256 with {option}"
        ) from exc
    return data


def _decode(data: bytes, path: str) -> str:
    """Return the text of a list file, in UTF-8 or as Windows writes it; other bytes are those of a name."""
    encoding, mark = text_encoding(data)
    text = data[mark:].decode(encoding, "surrogateescape" if encoding == "utf-8" else "replace")
    if "\0" in text:
        raise UsageError(f"the list {path} is not a text file: write one path or sha256 per line, in UTF-8")
    return text


def _normal_forms(names: set[str]) -> set[str]:
    """Return names with their Unicode normal forms: macOS decomposes the names of files, most editors compose them."""
    return names | {unicodedata.normalize(form, name) for name in names for form in ("NFC", "NFD")}


def _split_lines(text: str) -> Iterator[str]:
    """Yield the entries of a list file."""
    for line in text.split("\n"):
        entry = line.removesuffix("\r")
        if entry.strip() and not entry.startswith("#"):
            yield entry
