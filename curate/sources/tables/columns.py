"""Find the columns of a Parquet or Arrow file that hold images as bytes."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curate.errors import BrokenTable, OutOfMemory, PhotoError, SourceError, UnsupportedFormat
from curate.image.formats import SNIFF_BYTES, looks_like_photo
from curate.manifest import escape
from curate.sources.names import has_photo_name, parse_row_path
from curate.text import describe_error

SAMPLE_VALUES, SAMPLE_ROWS = 16, 1024
"""The values of a column that are looked at to find out whether they are images: how many, in how many first rows."""
MAX_EXAMPLES = 5
"""Files without images that a scan names."""
PACK_SHARD_COLUMNS = ("sha256", "width_px", "height_px", "pixels", "error")
"""The first columns of a shard of `curate pack`, whose pixels are no photos to scan."""

Value = bytes | dict[str, Any] | None
"""A value of an image column: the bytes of an image, or a struct of bytes and path."""
_DAMAGE_ERRORS = (
    *(pa.ArrowException, OSError, ValueError, LookupError, OverflowError, TypeError),
    struct.error,
)
"""What pyarrow, and the readers of Parquet and Arrow files, raise for damaged files."""
ReadValues = Callable[["ImageColumn"], Iterable[Value]]
"""Reads the first values of a column."""


@dataclass(frozen=True, slots=True)
class ImageColumn:
    """A column that may hold images: binary, or a struct with a binary field `bytes`."""

    name: str
    number: int
    """Its place among the columns that may hold images, from 0."""
    is_struct: bool


def binary_columns(schema: pa.Schema) -> tuple[ImageColumn, ...]:
    """Return the columns that may hold images by their type alone, in the order of the schema.

    Raises:
        UnsupportedFormat: two of them have the same name.

    >>> schema = pa.schema([("id", pa.int64()), ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))])
    >>> binary_columns(schema)
    (ImageColumn(name='image', number=0, is_struct=True),)
    """
    found = [(field.name, pa.types.is_struct(field.type)) for field in schema if _may_hold_images(field.type)]
    names = [name for name, _ in found]
    if double := next((name for name in names if schema.names.count(name) > 1), None):
        raise UnsupportedFormat(f"it has two columns {double!r}: rename one of them")
    return tuple(ImageColumn(name, number, is_struct) for number, (name, is_struct) in enumerate(found))


def image_columns(schema: pa.Schema, read_values: ReadValues) -> tuple[ImageColumn, ...]:
    """Return the columns that hold images: by the `Image` feature of Hugging Face, or by the first values.

    Args:
        schema: of the file.
        read_values: called for the columns whose type leaves it open.

    Raises:
        PhotoError: the values can't be read.
    """
    if is_own_table(schema):
        return ()
    features = _huggingface_features(schema)
    return tuple(
        column
        for column in binary_columns(schema)
        if (features[column.name] == "Image" if column.name in features else _are_images(read_values(column)))
    )


@dataclass(slots=True)
class ColumnChoice:
    """Which columns of Parquet and Arrow files are listed, and what a listing found."""

    names: tuple[str, ...] = ()
    """Names of columns; without any, all that hold images."""
    found: set[str] = field(default_factory=set)
    """Those of the names that a file has."""
    tables_without_images: int = 0
    """Number of files below folders that were passed over, because no column holds images."""
    examples: list[str] = field(default_factory=list)
    """The locations of the first MAX_EXAMPLES of them."""

    def choose(self, location: str, schema: pa.Schema, read_values: ReadValues) -> tuple[ImageColumn, ...]:
        """Return the columns of a file to list; none if no column holds images.

        Args:
            location: of the file, for the message.
            schema: of the file.
            read_values: as for `image_columns`.

        Raises:
            SourceError: columns hold images, but not those that were named.
            PhotoError: the values can't be read.
        """
        named = [column for column in binary_columns(schema) if column.name in self.names]
        self.found.update(column.name for column in named)
        if named and not is_own_table(schema):
            return tuple(named)
        columns = image_columns(schema, read_values)
        if columns and self.names:
            raise SourceError(
                f"{location} has no column of images called {' or '.join(map(repr, self.names))}, but "
                f"{', '.join(repr(column.name) for column in columns)} (its columns: {describe_columns(schema)}): "
                "correct --image-column, or leave it out for all columns of images"
            )
        return columns

    def pass_over(self, location: str) -> None:
        """Count a file without images."""
        self.tables_without_images += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(location)

    def excludes(self, location: str) -> bool:
        """Whether a photo is in a column that is not listed."""
        row = parse_row_path(location)
        return (
            bool(self.names)
            and row is not None
            and row.column is not None
            and row.column not in map(escape, self.names)
        )

    def check_found(self) -> None:
        """Check, after a listing of everything, that each name is a column of some file.

        Raises:
            SourceError: one is not.
        """
        if missing := [name for name in self.names if name not in self.found]:
            raise SourceError(
                f"no Parquet or Arrow file here has a column of images called {missing[0]!r}: correct --image-column, "
                "or leave it out for all columns of images"
            )


def is_own_table(schema: pa.Schema) -> bool:
    """Whether a file is a manifest or a shard of a pack of vividset."""
    has_lineage = any(key.startswith(b"vividset.") for key in schema.metadata or ())
    return has_lineage or tuple(schema.names[: len(PACK_SHARD_COLUMNS)]) == PACK_SHARD_COLUMNS


def describe_columns(schema: pa.Schema) -> str:
    """Return the names of a file's columns for a message; at most twenty.

    >>> describe_columns(pa.schema([("url", pa.string()), ("width", pa.int32())]))
    'url, width'
    """
    names: Sequence[str] = schema.names
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return (", ".join(names[:20]) + more) if names else "none"


def check_names(schema: pa.Schema) -> None:
    """Check that the names of all columns, and of the fields in them, are UTF-8.

    Raises:
        UnicodeDecodeError: one is not, because the file is damaged.
    """
    names, kinds = list(schema.names), list(schema.types)  # pyarrow decodes the names here
    while kinds:
        kind = kinds.pop()
        inner = [kind.field(number) for number in range(kind.num_fields)]
        names += [part.name for part in inner]
        kinds += [part.type for part in inner]


def take_rows(table: pa.Table, rows: Sequence[int]) -> list[pa.Table]:
    """Return some rows of a table, in several parts; pyarrow's `take` does not know all types.

    Args:
        table: some columns of a file.
        rows: numbers of rows of the table.
    """
    starts = [place for place, row in enumerate(rows) if not place or row != rows[place - 1] + 1]
    return [table.slice(rows[start], end - start) for start, end in itertools.pairwise([*starts, len(rows)])]


def _may_hold_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        number = kind.get_field_index("bytes")
        return number >= 0 and _is_binary(kind.field(number).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _huggingface_features(schema: pa.Schema) -> dict[str, str]:
    """The type of each feature that the library `datasets` has recorded, by column: `Image`, `Audio`, `Value`..."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: feature["_type"] for name, feature in features.items() if "_type" in feature}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def to_value(scalar: pa.Scalar) -> Value:
    """Convert a value of an image column. A path that is not UTF-8, as in a damaged file, is left out."""
    try:
        value: Value = scalar.as_py()
    except UnicodeDecodeError:
        value = {"bytes": scalar["bytes"].as_py(), "path": None}
    return value


def _are_images(values: Iterable[Value]) -> bool:
    """Whether some of the first values are images, or, without any bytes, paths of images."""
    named = False
    for value in itertools.islice((value for value in values if value), SAMPLE_VALUES):
        data = value.get("bytes") if isinstance(value, dict) else value
        if data and looks_like_photo(data[:SNIFF_BYTES]):
            return True
        named = named or (isinstance(value, dict) and not data and has_photo_name(str(value.get("path"))))
    return named


@contextmanager
def damage_errors(what: str) -> Iterator[None]:
    """Raise PhotoError for the exceptions of a damaged file; an error of the disk or the network stays as it is.

    Args:
        what: what is known about the damage: `it is cut off`.
    """
    try:
        yield
    except PhotoError:
        raise
    except MemoryError as exc:
        raise OutOfMemory(f"{what}, or its values are larger than the memory: write it with smaller ones") from exc
    except _DAMAGE_ERRORS as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise
        text = describe_error(exc)
        if "crypt" in text.lower():
            raise UnsupportedFormat("it is an encrypted Parquet file: decrypt it, and scan that") from exc
        raise BrokenTable(f"{what} ({text}): copy it again, then scan again") from exc
