"""A manifest's photos, resized once, into shards that a trainer maps. Kill it, run it again, and it finishes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg
from numpy.typing import NDArray

from curate import manifest
from curate.errors import TRANSIENT_KINDS, ManifestError, OutputError, PhotoError
from curate.executors.engines import ENGINES, EngineName
from curate.executors.retry import Progress, run_groups, run_isolated, with_watchdog
from curate.files import locked_output_dir, write_errors, write_failed_csv
from curate.image.decode import MAX_ASPECT_RATIO, decode, memory_errors
from curate.manifest import Lineage, Manifest
from curate.packing.shards import MANIFEST_NAME, PACK_COLUMNS, Packed, read_errors, read_places, shard_path, write_shard
from curate.sources.reader import KEY_COLUMNS, PhotoRef, photo_refs

DECODED_SIDES = 2
"""A JPEG is decoded no smaller than so many times the packed short side."""

Encoding = Literal["raw", "jpeg"]


@dataclass(frozen=True, slots=True)
class PackOptions:
    """How to pack; the first three decide what lies in the shards."""

    size_px: int = 288
    """Of the short side; smaller photos stay as they are."""
    encoding: Encoding = "raw"
    quality: int = 95
    """Of JPEGs, which are stored at 4:4:4."""
    workers: int | None = None
    """Processes that decode; None is one a core, of the whole cluster where the engine has one."""
    timeout_s: float = 60.0
    overwrite: bool = False
    """Replace another pack."""
    engine: EngineName = "processes"
    """Where photos are packed."""

    def recorded(self) -> dict[str, Any]:
        """What the pack's lineage keeps."""
        quality = {"quality": self.quality} if self.encoding == "jpeg" else {}
        return {"size_px": self.size_px, "encoding": self.encoding, **quality}


def pack_photo(photo: PhotoRef, options: PackOptions) -> Packed:
    """Read, decode and shrink one photo; with the reason if it can't be."""
    try:
        with memory_errors("shrinking it"):
            pixels = shrunk(photo.read(), options.size_px)
    except PhotoError as exc:
        return Packed(photo.sha256, error=str(exc))
    height, width = pixels.shape[:2]
    data = pixels.tobytes()
    if options.encoding == "jpeg":
        data = simplejpeg.encode_jpeg(pixels, quality=options.quality, colorspace="RGB", colorsubsampling="444")
    return Packed(photo.sha256, width, height, data)


def shrunk(data: bytes, size_px: int) -> NDArray[np.uint8]:
    """A photo as `decode` sees it, with a short side of `size_px`, or its own if that is less.

    Returns:
        (H, W, 3) uint8 sRGB, contiguous; the long side is at most `MAX_ASPECT_RATIO` short ones.

    Raises:
        PhotoError: it can't be decoded.
    """
    pixels = decode(data, short_side_px=DECODED_SIDES * size_px).pixels
    for axis in (0, 1):
        longest = MAX_ASPECT_RATIO * min(pixels.shape[:2])
        first = max(0, pixels.shape[axis] - longest) // 2
        pixels = pixels[first : first + longest] if axis == 0 else pixels[:, first : first + longest]
    height, width = pixels.shape[:2]
    scale = size_px / min(height, width)
    if scale < 1:
        target = (max(size_px, round(width * scale)), max(size_px, round(height * scale)))
        pixels = np.asarray(cv2.resize(pixels, target, interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(pixels)


SHARD_PHOTOS = 512


@dataclass(frozen=True, slots=True)
class Slice:
    """The photos of one shard."""

    index: int
    photos: tuple[PhotoRef, ...]


@dataclass(slots=True)
class PackSummary:
    """What a finished pack holds."""

    photos: int = 0
    packed_now: int = 0
    bytes: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason."""


def pack_photos(
    manifest_path: Path, out: Path, options: PackOptions, *, command: str = "", progress: Progress | None = None
) -> PackSummary:
    """Resize the photos of a manifest into the folder `out`: shards, `manifest.parquet`, `failed.csv` if any failed.

    Photos lie in the order of their sha256, so that every shard is a fair sample and a trainer can read whole shards
    one after another. Shards that an interrupted run finished are kept.

    Args:
        manifest_path: any manifest; rows with an error are left out.
        out: a new folder, or one that holds this pack or a part of it.
        options: see `PackOptions`.
        command: kept in the lineage.
        progress: told now and then how many photos are packed, of how many.

    Raises:
        ManifestError: the manifest can't be read, or holds no photo.
        OutputError: `out` holds something else, is locked or can't be written, or a source is lost.
    """
    read = manifest.read_manifest(manifest_path, required=KEY_COLUMNS)
    table = _in_packed_order(read)
    with locked_output_dir(out, {"manifest": read.sha256, **options.recorded()}, overwrite=options.overwrite):
        to_do = [shard for shard in range(_shards(table)) if not _finished(shard_path(out, shard))]
        packed_now = _pack_shards(out, options, table, to_do, progress)
        summary = PackSummary(packed_now=packed_now)
        rows = _packed_rows(out, table, summary)
        if rows.num_rows and (to_do or not _holds(out / MANIFEST_NAME, rows)):
            write_failed_csv(out, summary.failed)
            manifest.write_manifest(out / MANIFEST_NAME, rows, _lineage(read, options, command, summary))
    return summary


def _holds(path: Path, rows: pa.Table) -> bool:
    """Whether a manifest is there and right: written again it would have another sha256, which runs know it by."""
    try:
        return bool(manifest.read_manifest(path).table.equals(rows))
    except ManifestError:
        return False


def _in_packed_order(read: Manifest) -> pa.Table:
    table = read.table.drop_columns([name for name in read.table.column_names if name.startswith("pack_")])
    if "error" in table.column_names:
        table = table.filter(pc.is_null(table["error"]))
    table = table.filter(pc.is_valid(table["sha256"]))
    if not table.num_rows:
        raise ManifestError(manifest.no_photos_message(read))
    return table.sort_by([("sha256", "ascending"), ("source", "ascending"), ("path", "ascending")])


def _shards(table: pa.Table) -> int:
    return -(-int(table.num_rows) // SHARD_PHOTOS)


def _slice(table: pa.Table, shard: int) -> Slice:
    return Slice(shard, tuple(photo_refs(table.slice(shard * SHARD_PHOTOS, SHARD_PHOTOS))))


def _finished(path: Path) -> bool:
    """Whether a shard is there, undamaged, and none of its photos failed for a reason that may have passed."""
    if not path.exists():
        return False
    try:
        errors = read_errors(path)
    except (ValueError, OSError, KeyError, pa.ArrowException):
        return False
    return not any(error and error.partition(":")[0] in TRANSIENT_KINDS for error in errors)


def _pack_shards(out: Path, options: PackOptions, table: pa.Table, to_do: list[int], progress: Progress | None) -> int:
    total: int = sum(min(SHARD_PHOTOS, table.num_rows - shard * SHARD_PHOTOS) for shard in to_do)
    run_groups(
        ENGINES[options.engine],
        partial(pack_shard, out, options),
        (_slice(table, shard) for shard in to_do),
        retry_group=partial(_pack_apart, out, options),
        workers=options.workers,
        total=total,
        progress=progress,
    )
    return total


def pack_shard(out: Path, options: PackOptions, shard: Slice) -> None:
    """In a worker: pack one shard. A decoder that hangs takes the process with it."""
    photos = with_watchdog(shard.photos, options.timeout_s)
    with write_errors(out, OutputError, "-o", resumable=True):
        write_shard(shard_path(out, shard.index), (pack_photo(photo, options) for photo in photos))


def _pack_apart(out: Path, options: PackOptions, shard: Slice) -> None:
    function = partial(pack_photo, options=options)
    found = run_isolated(function, shard.photos, workers=options.workers, timeout_s=options.timeout_s)
    packed = [
        Packed(photo.sha256, error=str(each)) if isinstance(each, PhotoError) else each
        for photo, each in zip(shard.photos, found, strict=True)
    ]
    with write_errors(out, OutputError, "-o", resumable=True):
        write_shard(shard_path(out, shard.index), packed)


def _packed_rows(out: Path, table: pa.Table, summary: PackSummary) -> pa.Table:
    """The manifest's rows of all photos that were packed, with where they lie; counts on the way."""
    pieces = []
    for shard in range(_shards(table)):
        path = shard_path(out, shard)
        rows, places = table.slice(shard * SHARD_PHOTOS, SHARD_PHOTOS), read_places(path, shard)
        for column in PACK_COLUMNS:
            rows = rows.append_column(column, places[column.name])
        errors = read_errors(path)
        summary.failed += [(name, why) for name, why in zip(rows["path"].to_pylist(), errors, strict=True) if why]
        pieces.append(rows.filter(pa.array([error is None for error in errors])))
        summary.bytes += os.path.getsize(path)
    packed = pa.concat_tables(pieces)
    summary.photos = packed.num_rows
    return packed


def _lineage(read: Manifest, options: PackOptions, command: str, summary: PackSummary) -> Lineage:
    return Lineage(
        "pack",
        command,
        options.recorded(),
        parent_sha256=read.sha256,
        parent_path=str(read.path.absolute()),
        ancestors=manifest.list_ancestors(read.path, read.sha256, read.lineage),
        counts={"packed": summary.photos, "failed": len(summary.failed)},
    )
