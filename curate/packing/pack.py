"""Resize the photos of a manifest once and write them into shards that training reads fast.

An interrupted pack continues: shards that are finished are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg
from numpy.typing import NDArray

from curate import manifest
from curate.errors import TRANSIENT_KINDS, ManifestError, OutputError, PhotoError, UsageError
from curate.executors.engines import ENGINES, EngineName, check_engine_options
from curate.executors.retry import ProcessWatchdog, Progress, run_groups, run_isolated, with_watchdog
from curate.files import locked_output_dir, make_drafts_folder, remove, write_errors, write_failed_csv
from curate.image.decode import MAX_ASPECT_RATIO, decode_bytes, memory_errors
from curate.locations import Location
from curate.manifest import Lineage, Manifest
from curate.measures.borders import Shares, crop_borders, side_with_borders
from curate.packing.shards import (
    MANIFEST_NAME,
    PACK_COLUMNS,
    PackedPhoto,
    PackedSidecar,
    read_shards,
    save_shard,
)
from curate.sources.entry import Sidecar
from curate.sources.photo_columns import read_photo_columns
from curate.sources.reader import BORDER_COLUMNS, PHOTO_REF_COLUMNS, PhotoRef, photo_refs, read_in_row_order
from curate.sources.sidecars import read_sidecar, sidecar_suffix
from curate.sources.tar.copies import TarCopies, TarCopy, copy_tar

SHARD_PHOTOS = 512
"""Photos per shard."""
METADATA_COLUMN = "metadata"
"""Column of the manifest of a pack: what metadata files and other columns of the source say about a photo."""
DECODED_SIDES = 2
"""A JPEG may be decoded at a reduced size, but its short side stays at least this many times `size_px`."""

Encoding = Literal["raw", "jpeg"]


@dataclass(frozen=True, slots=True)
class PackOptions:
    """How to pack; `size_px`, `encoding` and `quality` decide the content of the shards."""

    size_px: int = 288
    """Short side of the packed photos. Smaller photos are not enlarged."""
    encoding: Encoding = "raw"
    quality: int = 95
    """JPEG quality, 95..100, for the encoding `jpeg`; chroma is stored at full resolution (4:4:4)."""
    workers: int | None = None
    """Worker processes; None: one per available core, with the engine `ray` of the whole cluster."""
    timeout_s: float = 60.0
    """Maximum time for one photo; a photo that takes longer counts as failed."""
    overwrite: bool = False
    """Replace a pack that was made from another manifest or with other options."""
    engine: EngineName = "processes"
    """Where the work runs: `serial`, `processes` or `ray`."""
    crop_borders: bool = False
    """Pack what is inside of the bands at the sides of a photo, as the scan measured them."""

    def __post_init__(self) -> None:
        check_engine_options(self.engine, self.workers, self.timeout_s)
        if not 32 <= self.size_px <= 4096:
            raise UsageError(f"--size must be 32 to 4096 px, not {self.size_px}")
        if not 95 <= self.quality <= 100:
            raise UsageError(f"--quality must be 95 to 100, not {self.quality}")
        if self.encoding not in get_args(Encoding):
            raise UsageError(
                f"--encoding {self.encoding!r} does not exist: choose from {', '.join(get_args(Encoding))}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The options that decide the content, for the lineage of the pack."""
        quality = {"quality": self.quality} if self.encoding == "jpeg" else {}
        crop = {"crop_borders": True} if self.crop_borders else {}
        return {"size_px": self.size_px, "encoding": self.encoding, **quality, **crop}


@dataclass(slots=True)
class PackSummary:
    """Counts of a finished pack."""

    photos: int = 0
    """Photos in the pack."""
    packed_now: int = 0
    """Photos that this run processed, failed ones included; the others were in the pack already."""
    bytes: int = 0
    """Size of all shards."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of each photo that could not be packed."""
    failed_sidecars: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of each file beside a photo, or of its metadata, that could not be packed with it."""


@dataclass(frozen=True, slots=True)
class ShardInput:
    """The photos of one shard."""

    index: int
    photos: tuple[PhotoRef, ...]


def pack_photos(
    manifest_path: Location, out: Location, options: PackOptions, *, command: str = "", progress: Progress | None = None
) -> PackSummary:
    """Resize the photos of a manifest and write them into the folder `out`.

    The folder gets shards (Arrow files), `manifest.parquet`, and `failed.csv` if any photo failed. Photos are in the
    order of their sha256, so that every shard is a random sample and training can read whole shards one after another.
    Shards that an interrupted run finished are kept. What lies beside a photo is in the shards' column `sidecars`; what
    metadata files say about it is in the manifest's column `metadata`.

    Args:
        manifest_path: any manifest; rows with an error are skipped.
        out: a new or empty folder, or one with this pack or an unfinished part of it.
        options: see `PackOptions`.
        command: the command line, for the lineage.
        progress: called with the number of packed photos and the total.

    Raises:
        ManifestError: the manifest can't be read, or has no photo.
        OutputError: `out` has other content, is locked or can't be written, or a source of photos is gone.
    """
    read = manifest.read_manifest(manifest_path, required=PHOTO_REF_COLUMNS)
    if options.crop_borders and (absent := [name for name in BORDER_COLUMNS if name not in read.table.column_names]):
        raise ManifestError(f"{manifest_path} has no column {absent[0]!r}: run `curate scan` again for --crop-borders")
    table = _sort_readable_rows(read)
    with locked_output_dir(out, {"manifest": read.sha256, **options.to_dict()}, overwrite=options.overwrite):
        shards = read_shards(out, _count_shards(table))
        to_do = [shard for shard in range(_count_shards(table)) if not _is_finished(shards.get(shard))]
        if to_do:
            remove(out / MANIFEST_NAME)  # a pack with a manifest is complete
        copies = TarCopies(table, out)
        packed_now = _pack_shards(out, options, table, to_do, copies, progress)
        summary = PackSummary(packed_now=packed_now)
        rows = _packed_rows(out, _add_metadata(table, summary), summary)
        copies.remove()
        if rows.num_rows and (to_do or not _has_rows(out / MANIFEST_NAME, rows)):
            write_failed_csv(out, [*summary.failed, *summary.failed_sidecars])
            manifest.write_manifest(out / MANIFEST_NAME, rows, _lineage(read, options, command, summary))
    return summary


def _sort_readable_rows(read: Manifest) -> pa.Table:
    """The rows that can be packed, without the columns of an earlier pack, in the order of their sha256."""
    names = read.table.column_names
    table = read.table.drop_columns([name for name in names if name.startswith("pack_") or name == METADATA_COLUMN])
    if "error" in table.column_names:
        table = table.filter(pc.is_null(table["error"]))
    table = table.filter(pc.is_valid(table["sha256"]))
    if not table.num_rows:
        raise ManifestError(manifest.no_photos_message(read))
    return table.sort_by([("sha256", "ascending"), ("source", "ascending"), ("path", "ascending")])


def _count_shards(table: pa.Table) -> int:
    return -(-int(table.num_rows) // SHARD_PHOTOS)


def _is_finished(shard: pa.Table | None) -> bool:
    """Whether a shard exists, and no photo of it failed for a reason that may be temporary."""
    if shard is None:
        return False
    beside = (entry["error"] for entries in shard["sidecar_errors"].to_pylist() for entry in entries or ())
    errors = filter(None, [*shard["error"].to_pylist(), *beside])
    return not any(error.partition(":")[0] in TRANSIENT_KINDS for error in errors)


def _pack_shards(
    out: Location,
    options: PackOptions,
    table: pa.Table,
    to_do: list[int],
    copies: TarCopies,
    progress: Progress | None,
) -> int:
    total: int = sum(min(SHARD_PHOTOS, table.num_rows - shard * SHARD_PHOTOS) for shard in to_do)
    if to_do:
        _copy_tars(out, options, copies, progress)
    run_groups(
        ENGINES[options.engine],
        partial(pack_shard, out, options),
        (ShardInput(shard, tuple(photo_refs(table.slice(shard * SHARD_PHOTOS, SHARD_PHOTOS)))) for shard in to_do),
        retry_group=partial(_pack_isolated, out, options),
        workers=options.workers,
        total=total,
        progress=progress,
    )
    return total


def _copy_tars(out: Location, options: PackOptions, copies: TarCopies, progress: Progress | None) -> None:
    """Copy the photos of compressed tars, so that they can be read in the order of the shards.

    Raises:
        OutputError: a copy can't be written, or a worker died.
    """

    def fail(copy: TarCopy) -> None:
        raise OutputError(f"{copy.tar} can't be read: reading it ended the process: run the same command again")

    run_groups(
        ENGINES[options.engine],
        partial(_copy_tar, out, options),
        copies.unfinished(),
        retry_group=fail,
        workers=options.workers,
        total=copies.photos,
        progress=progress if copies else None,
    )


def _copy_tar(out: Location, options: PackOptions, copy: TarCopy) -> None:
    watchdog = ProcessWatchdog(options.timeout_s)
    watchdog.beat()
    try:
        with write_errors(out, OutputError, "-o", resumable=True):
            copy_tar(copy, watchdog.beat)
    finally:
        watchdog.stop()


def pack_shard(out: Location, options: PackOptions, shard: ShardInput) -> None:
    """Pack one shard, in a worker process; the watchdog ends the process if decoding a photo takes too long."""
    photos = with_watchdog(read_in_row_order(shard.photos), options.timeout_s)
    with write_errors(out, OutputError, "-o", resumable=True):
        copies = make_drafts_folder(out)
        save_shard(out, shard.index, (pack_photo(photo, options, copies) for photo in photos))


def _pack_isolated(out: Location, options: PackOptions, shard: ShardInput) -> None:
    """Pack a shard again whose worker died, with each photo in a process of its own."""
    function = partial(pack_photo, options=options, copies=make_drafts_folder(out))
    results = run_isolated(function, shard.photos, workers=options.workers, timeout_s=options.timeout_s)
    packed = [
        PackedPhoto(photo.sha256, error=str(result)) if isinstance(result, PhotoError) else result
        for photo, result in zip(shard.photos, results, strict=True)
    ]
    with write_errors(out, OutputError, "-o", resumable=True):
        save_shard(out, shard.index, packed)


def pack_photo(photo: PhotoRef, options: PackOptions, copies: Path) -> PackedPhoto:
    """Read, decode and resize one photo; a photo that fails gets its error instead of pixels.

    Args:
        photo: a row of a manifest.
        options: of the pack.
        copies: a folder with copies of compressed tars.
    """
    try:
        with memory_errors("resizing it"):
            borders = photo.borders if options.crop_borders else None
            pixels = resize_photo(photo.read(copies), options.size_px, borders)
    except PhotoError as exc:
        return PackedPhoto(photo.sha256, error=str(exc))
    height, width = pixels.shape[:2]
    data = pixels.tobytes()
    if options.encoding == "jpeg":
        data = simplejpeg.encode_jpeg(pixels, quality=options.quality, colorspace="RGB", colorsubsampling="444")
    sidecars = tuple(_read_sidecar(photo, sidecar, copies) for sidecar in photo.sidecars)
    return PackedPhoto(photo.sha256, width, height, data, sidecars=sidecars)


def _read_sidecar(photo: PhotoRef, sidecar: Sidecar, copies: Path) -> PackedSidecar:
    suffix = sidecar_suffix(photo.path, sidecar.path)
    try:
        return PackedSidecar(suffix, sidecar.path, read_sidecar(photo.source, sidecar, copies))
    except PhotoError as exc:
        return PackedSidecar(suffix, sidecar.path, error=str(exc))


def _add_metadata(table: pa.Table, summary: PackSummary) -> pa.Table:
    """The rows with a column `metadata`: what metadata files say about each photo, if there are any."""
    columns = read_photo_columns(table)
    summary.failed_sidecars += columns.failed
    if not columns.table.num_columns:
        return table
    return table.append_column(METADATA_COLUMN, columns.table.to_struct_array())


def resize_photo(data: bytes, size_px: int, borders: Shares | None = None) -> NDArray[np.uint8]:
    """Decode a photo and reduce its short side to `size_px`; smaller photos keep their size.

    Args:
        data: content of the file.
        size_px: of the result.
        borders: widths of the bands at the left, top, right and bottom to crop, as shares of the photo's width and
            height; None crops nothing.

    Returns:
        (H, W, 3) uint8 sRGB, contiguous. A photo with an aspect ratio over `MAX_ASPECT_RATIO` is cropped to its middle.

    Raises:
        PhotoError: the photo can't be decoded.
    """
    least_px = math.ceil(DECODED_SIDES * size_px)
    pixels = decode_bytes(data, short_side_px=side_with_borders(least_px, borders) if borders else least_px).pixels
    if borders:
        pixels = crop_borders(pixels, borders)
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


def _packed_rows(out: Location, table: pa.Table, summary: PackSummary) -> pa.Table:
    """The manifest rows of the packed photos, with `PACK_COLUMNS`. Also fills in the counts of `summary`."""
    parts = []
    shards = read_shards(out, _count_shards(table))
    for number in range(_count_shards(table)):
        if (shard := shards.get(number)) is None:
            raise OutputError(f"shard {number} of {out} is missing or damaged: run the same command again")
        rows = table.slice(number * SHARD_PHOTOS, SHARD_PHOTOS)
        for column in PACK_COLUMNS:
            rows = rows.append_column(column, shard[column.name])
        errors = shard["error"].to_pylist()
        summary.failed += [(name, error) for name, error in zip(rows["path"].to_pylist(), errors, strict=True) if error]
        beside = (entry for entries in shard["sidecar_errors"].to_pylist() for entry in entries or ())
        summary.failed_sidecars += [(entry["path"], entry["error"]) for entry in beside]
        parts.append(rows.filter(pa.array([error is None for error in errors])))
        summary.bytes += int(shard.schema.metadata[b"bytes"])
    packed = pa.concat_tables(parts)
    summary.photos = packed.num_rows
    return packed


def _has_rows(path: Location, rows: pa.Table) -> bool:
    """Whether a manifest exists with these rows.

    Writing it again would change its sha256, by which checkpoints identify it.
    """
    try:
        return bool(manifest.read_manifest(path).table.equals(rows))
    except ManifestError:
        return False


def _lineage(read: Manifest, options: PackOptions, command: str, summary: PackSummary) -> Lineage:
    return Lineage(
        "pack",
        command,
        options.to_dict(),
        parent_sha256=read.sha256,
        parent_path=str(read.path.absolute()),
        ancestors=manifest.list_ancestors(read.path, read.sha256, read.lineage),
        counts={"packed": summary.photos, "failed": len(summary.failed)},
    )
