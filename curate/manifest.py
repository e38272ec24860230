"""The Parquet files between the stages: schema, lineage, whole-or-nothing reading and writing.

A manifest is one Parquet file, one row a photo, sorted as listed. Its key-value metadata (`vividset.*`) says what made
it; a manifest that another program saved without that metadata still reads, with its lineage unknown.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import __version__
from curate.errors import ManifestError

SCHEMA_VERSION = 2
SCORER_VERSION = 4
"""Changes whenever any number of a scan would: rows of another scorer are measured again."""
METRIC = "hasler-susstrunk-2003-m3-signed"

KEY = (pa.field("source", pa.string(), nullable=False), pa.field("path", pa.string(), nullable=False))
KEY_NAMES = tuple(column.name for column in KEY)
FILE = (
    pa.field("tar_offset", pa.int64()),
    pa.field("bytes", pa.int64()),
    pa.field("modified_ns", pa.int64()),
    pa.field("sha256", pa.string()),
)
HEADER = (
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("format", pa.string()),
    pa.field("mode", pa.string()),
    pa.field("orientation", pa.int8()),
    pa.field("icc_profile", pa.string()),
)
MEASURES = (
    pa.field("colorfulness", pa.float64()),
    pa.field("colorfulness_level", pa.string()),
    pa.field("chroma_mean", pa.float32()),
    pa.field("saturation_mean", pa.float32()),
    pa.field("hue_entropy_bits", pa.float32()),
    pa.field("hue_peak_deg", pa.float32()),
    pa.field("neutral_share", pa.float32()),
    pa.field("lightness_mean", pa.float32()),
    pa.field("dark_clipped_share", pa.float32()),
    pa.field("bright_clipped_share", pa.float32()),
    pa.field("sharpness", pa.float32()),
    pa.field("tone", pa.string()),
    pa.field("tone_score", pa.float32()),
    pa.field("tone_confidence", pa.float32()),
    pa.field("tone_chroma", pa.float32()),
    pa.field("tone_chroma_p99", pa.float32()),
    pa.field("tone_residual", pa.float32()),
    pa.field("tone_ratio_residual", pa.float32()),
    pa.field("tone_hue_deg", pa.float32()),
    pa.field("fingerprint", pa.string()),
)
SCAN_SCHEMA = pa.schema([*KEY, *FILE, *HEADER, *MEASURES, pa.field("error", pa.string())])
DECISION = (pa.field("split", pa.string()), pa.field("reject_reasons", pa.list_(pa.string())))
ALL_COLUMNS = pa.schema([*SCAN_SCHEMA, *DECISION])

ROWS_A_GROUP = 1 << 16
"""Of a manifest and of a batch; a reader holds one row group at a time."""

_FEW_VALUES = [
    "source",
    "width",
    "height",
    "format",
    "mode",
    "orientation",
    "icc_profile",
    "colorfulness_level",
    "tone",
]
_FEW_VALUES += ["error", "split"]
"""Columns worth a dictionary; trying one on hashes and measures doubles the time that writing takes."""

_PREFIX = "vividset."


@dataclass(frozen=True, slots=True)
class Lineage:
    """What made a manifest; kept as text in the Parquet file's key-value metadata."""

    kind: str
    """`scan`, `clean`, `rejected`, `pack`; or `part`, `listing` inside a scan's work folder."""
    command: str
    """The command as it was typed."""
    options: Mapping[str, Any]
    """Every option in force, defaults included."""
    parent_sha256: str | None = None
    """The manifest that this one was made from; None for a scan."""
    parent_path: str | None = None
    ancestors: Sequence[Mapping[str, str]] = ()
    """All manifests above this one, nearest first: kind, path and sha256, so that the chain is known without them."""
    rows: int | None = None
    """Row count when written."""
    metric: str = METRIC
    """The colourfulness variant of the `colorfulness` column; `-fast` after it if photos were not decoded whole."""
    schema_version: int = SCHEMA_VERSION
    tool_version: str = __version__
    scorer_version: int = SCORER_VERSION
    counts: Mapping[str, int] = field(default_factory=dict)
    """Further counts that add up to something: scanned, kept, rejected, passed over."""

    def encoded(self) -> dict[str, str]:
        """As Parquet key-value metadata."""
        return {_PREFIX + key: json.dumps(value) for key, value in asdict(self).items()}

    @classmethod
    def decoded(cls, metadata: Mapping[bytes, bytes] | None) -> Lineage | None:
        """From Parquet key-value metadata; None if there is none of ours.

        Raises:
            ValueError: the metadata is ours but can't be understood.
        """
        ours = {k.decode(): v for k, v in (metadata or {}).items() if k.startswith(_PREFIX.encode())}
        if not ours:
            return None
        fields = {key.removeprefix(_PREFIX): json.loads(value) for key, value in ours.items()}
        known = {name: fields[name] for name in cls.__dataclass_fields__ if name in fields}
        if not {"kind", "command", "options"} <= known.keys():
            raise ValueError("the vividset metadata is incomplete")
        return cls(**known | {"ancestors": tuple(known.get("ancestors", ()))})


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest in memory."""

    path: Path
    table: pa.Table
    lineage: Lineage | None
    """None: lineage unknown (another program saved the file)."""
    sha256: str
    """Of the file's bytes."""


def read(path: Path, *, need: tuple[str, ...] = (), columns: tuple[str, ...] | None = None) -> Manifest:
    """Read a manifest whole.

    Args:
        path: a Parquet file, or a folder of Parquet parts.
        need: columns that the caller can't do without.
        columns: read only these (those that are there); None reads all.

    Raises:
        ManifestError: missing, no Parquet, written by a newer version, or without a needed column.
    """
    schema, lineage = inspect(path, need=need)
    wanted = None if columns is None else [name for name in columns if name in schema.names]
    with _as_manifest_error(path, "read"):
        table = pa.concat_tables(
            [pq.ParquetFile(part).read(columns=wanted) for part in parts(path)], promote_options="permissive"
        )
        return Manifest(path, table, lineage, sha256_of(path))


def none_to_use(read: Manifest) -> str:
    """Why a manifest has no photo to work on, and what to do."""
    if not read.table.num_rows:
        return f"{read.path} has no rows: filter less strictly, or scan other folders"
    return f"{read.path} holds no photo that could be read: look at its errors, or scan other folders"


def batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """A manifest's rows in order, at most ROWS_A_GROUP at a time; memory doesn't grow with their number.

    Args:
        path: a Parquet file, or a folder of Parquet parts, whose columns are brought to common types.
        columns: read only these; None reads all.

    Raises:
        ManifestError: it can't be read.
    """
    schema, _ = inspect(path)
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    with _as_manifest_error(path, "read"):
        for part in parts(path):
            file = pq.ParquetFile(part, pre_buffer=False)
            there = [name for name in wanted.names if name in file.schema_arrow.names]
            for batch in file.iter_batches(ROWS_A_GROUP, columns=there):
                table = pa.Table.from_batches([batch])
                if table.schema != wanted:
                    table = pa.concat_tables([wanted.empty_table(), table], promote_options="permissive")
                yield table.select(wanted.names)


def inspect(path: Path, *, need: tuple[str, ...] = ()) -> tuple[pa.Schema, Lineage | None]:
    """A manifest's schema and lineage, without its rows.

    Args:
        path: a Parquet file, or a folder of Parquet parts.
        need: columns that the caller can't do without.

    Raises:
        ManifestError: missing, no Parquet, written by a newer version, or a needed column is not as it should be.
    """
    if not path.exists():
        raise ManifestError(
            f"{path} doesn't exist: make it with `curate scan`, then `curate filter`, or name another manifest"
        )
    if not (path.is_file() or path.is_dir()):
        raise ManifestError(f"{path} is no file: name a manifest that `curate` wrote")
    with _as_manifest_error(path, "read"):
        files = [pq.ParquetFile(part) for part in parts(path)]
        schema = pa.unify_schemas([file.schema_arrow for file in files], promote_options="permissive").remove_metadata()
        lineages = [Lineage.decoded(file.metadata.metadata) for file in files]
        unnamed = {name for name in need if name in KEY_NAMES and any(_has_nulls(file, name) for file in files)}
    if unnamed:
        raise ManifestError(
            f"{path} has rows without {' and '.join(sorted(unnamed))}: keep each as `curate scan` wrote it"
        )
    lineage = lineages[0]
    if path.is_dir() and any(part and part.options.get("shard") for part in lineages):
        lineage = joined(parts(path), lineages)
    if lineage and lineage.schema_version > SCHEMA_VERSION:
        raise ManifestError(
            f"{path} was written by vividset {lineage.tool_version} in schema {lineage.schema_version}, "
            f"and this is {__version__} with schema {SCHEMA_VERSION}: upgrade vividset"
        )
    _check_columns(path, schema, need)
    return schema, lineage


def _has_nulls(file: pq.ParquetFile, name: str) -> bool:
    """Whether any row lacks a value, by what the file's end says of its row groups."""
    if name in file.schema_arrow.names and pa.types.is_null(file.schema_arrow.field(name).type):
        return bool(file.metadata.num_rows)
    groups = (file.metadata.row_group(number).to_dict()["columns"] for number in range(file.num_row_groups))
    columns = (column for group in groups for column in group if column["path_in_schema"] == name)
    return any((column["statistics"] or {}).get("null_count") for column in columns)


def _check_columns(path: Path, schema: pa.Schema, need: tuple[str, ...]) -> None:
    if missing := [name for name in need if name not in schema.names]:
        raise ManifestError(f"{path} has no column {', '.join(repr(name) for name in missing)}: {_advice(missing)}")
    for name in need:
        found, expected = schema.field(name).type, ALL_COLUMNS.field(name).type
        if not pa.types.is_null(found) and _is_text(found) != _is_text(expected):
            belongs = "text belongs" if _is_text(expected) else "numbers belong"
            raise ManifestError(
                f"{path} has {found} in its column {name!r}, where {belongs}: keep it as `curate scan` wrote it"
            )


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def counts(path: Path, columns: Sequence[str]) -> dict[str, Counter[str]]:
    """How many rows hold each text of some columns; rows without one count as `""`.

    Raises:
        ManifestError: it can't be read.
    """
    there = [name for name in columns if name in inspect(path)[0].names]
    found: dict[str, Counter[str]] = {name: Counter() for name in columns}
    for table in batches(path, there):
        for name in columns:
            texts = table[name].cast(pa.string()) if name in there else pa.nulls(table.num_rows, pa.string())
            for entry in pc.value_counts(texts).to_pylist():
                found[name][entry["values"] or ""] += entry["counts"]
    return found


def write(path: Path, table: pa.Table, lineage: Lineage) -> None:
    """Write a manifest, whole or not at all."""
    make_folder(path)
    with writer(path, table.schema) as out:
        out.write_table(table)
        out.add_key_value_metadata(replace(lineage, rows=table.num_rows).encoded())


def make_folder(path: Path) -> None:
    """Make the folder that a file is to lie in."""
    with _as_manifest_error(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def writer(path: Path, schema: pa.Schema, *, lasting: bool = True) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file in pieces; it appears under its name only when the block ends well.

    Args:
        path: the file.
        schema: of all pieces.
        lasting: False saves waiting for the disk once more, and a power cut may lose the file; never half of it.

    Raises:
        ManifestError: the disk says no.
    """
    with writers([path], schema, lasting=lasting) as (out,):
        yield out


@contextmanager
def writers(paths: Sequence[Path], schema: pa.Schema, *, lasting: bool = True) -> Iterator[list[pq.ParquetWriter]]:
    """Write Parquet files of one schema side by side; they appear under their names when all of them are whole.

    Raises:
        ManifestError: the disk says no.
    """
    drafts = [path.with_name(f".{path.name}.draft") for path in paths]
    plain = schema.remove_metadata()
    few = [name for name in _FEW_VALUES if name in schema.names]
    with _as_manifest_error(paths[0], "written"):
        try:
            with ExitStack() as files:
                yield [
                    files.enter_context(pq.ParquetWriter(draft, plain, compression="zstd", use_dictionary=few))
                    for draft in drafts
                ]
            for draft, path in zip(drafts, paths, strict=True):
                settle(draft, path, lasting=lasting)
        except BaseException:
            for draft in drafts:
                draft.unlink(missing_ok=True)
            raise


def settle(draft: Path, path: Path, *, lasting: bool = True) -> None:
    """Give a finished draft its name, so that a crash leaves the old file or the new one, whole."""
    with open(draft, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(draft, path)
    if lasting:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def chain(path: Path, sha256: str, lineage: Lineage | None) -> tuple[Mapping[str, str], ...]:
    """A manifest and all that it comes from, nearest first: kind, path and sha256 of each."""
    kind = lineage.kind if lineage else "lineage unknown"
    here = {"kind": kind, "path": escape(str(path.absolute())), "sha256": sha256}
    return (here, *(lineage.ancestors if lineage else ()))


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file; for a folder of several parts, of the parts' digests in order."""
    if path.is_dir():
        digests = [sha256_of(part) for part in parts(path)]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def parts(path: Path) -> list[Path]:
    """The Parquet files of a manifest: itself, or those in the folder, by name."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.parquet"))
    if not found:
        raise ManifestError(f"{path} is a folder without Parquet parts: name a manifest file")
    return found


def joined(files: Sequence[Path], lineages: Sequence[Lineage | None]) -> Lineage:
    """The lineage of all parts of a divided scan together, which then tells the parts instead of a shard.

    Raises:
        ManifestError: a part is missing, doubled, or of another scan, scorer or options.
    """
    by_shard: dict[str, Path] = {}
    first = lineages[0]
    for file, lineage in zip(files, lineages, strict=True):
        if first is None or lineage is None or not lineage.options.get("shard"):
            raise ManifestError(f"{file} is no part of a divided scan: name what `curate scan --shard` wrote")
        differing = [name for name in ("made_by", "paths", "lists") if lineage.options[name] != first.options[name]]
        shard, count = lineage.options["shard"], lineage.options["shard"].partition("/")[2]
        if differing or count != first.options["shard"].partition("/")[2]:
            what = {"made_by": "scorer or options", "paths": "paths", "lists": "lists"}
            why = what[differing[0]] if differing else "number of parts"
            raise ManifestError(f"{file} and {files[0]} differ in their {why}: scan all parts alike, then merge again")
        if shard in by_shard:
            raise ManifestError(f"{file} and {by_shard[shard]} are both part {shard}: name each part once")
        by_shard[shard] = file
    missing = [number for number in range(1, int(count) + 1) if f"{number}/{count}" not in by_shard]
    if missing:
        raise ManifestError(
            f"of {count} parts {', '.join(map(str, missing[:20]))} {'are' if len(missing) > 1 else 'is'} missing: "
            f"run `curate scan --shard {missing[0]}/{count}`, or name its output too"
        )
    return _sum(files, [lineage for lineage in lineages if lineage])


def _sum(files: Sequence[Path], lineages: Sequence[Lineage]) -> Lineage:
    options = {name: value for name, value in lineages[0].options.items() if name != "shard"}
    counts: Counter[str] = Counter()
    for lineage in lineages:
        counts.update(lineage.counts)
    made_of = [{"path": escape(str(file.absolute()))} for file in files]
    return replace(
        lineages[0],
        options=options | {"parts": made_of},
        rows=sum(lineage.rows or 0 for lineage in lineages),
        counts=dict(counts),
    )


def _advice(missing: list[str]) -> str:
    if {"split", "reject_reasons"} & set(missing):
        return "it is no filtered manifest: run `curate filter` on it first"
    return "it is no vividset manifest: make one with `curate scan` and `curate filter`"


@contextmanager
def _as_manifest_error(path: Path, verb: str) -> Iterator[None]:
    foreign = (OSError, pa.ArrowException) if verb == "written" else (OSError, ValueError, pa.ArrowException)
    try:
        yield
    except foreign as exc:
        why = (
            exc.strerror if isinstance(exc, OSError) and exc.strerror else " ".join(str(exc).split())[:200].rstrip(".")
        )
        full = isinstance(exc, OSError) and "No space left" in str(exc)
        hint = "is it a vividset manifest?"
        if verb == "written":
            hint = "free some space or choose another place with -o" if full else "choose another place with -o"
        raise ManifestError(f"{path} can't be {verb}: {why}: {hint}") from exc
