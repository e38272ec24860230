"""Scan photos into a manifest, filter, merge, read and inspect manifests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Unpack

import pyarrow as pa

import curate.filtering.filter
import curate.manifest
import curate.scanning.merge
import curate.scanning.scan
from curate.api.arguments import StrPath, call_text, choose_filter_options, choose_options, path_texts
from curate.api.bounds import Bounds
from curate.executors.engines import EngineName
from curate.executors.retry import Progress
from curate.filtering.filter import FilterSummary
from curate.filtering.options import DEFAULT_PRESET, FilterOptions
from curate.image.decode import MAX_PIXELS
from curate.locations import Location, check_local_name, parse_location
from curate.manifest import Lineage, Manifest
from curate.manifest.reader import Ancestor, trace_lineage
from curate.scanning.scan import ScanOptions
from curate.scanning.scorer import ScoreOptions
from curate.scanning.summary import ScanSummary
from curate.sources import ALL_SHARDS, ShardSpec


def scan_photos(
    paths: StrPath | Sequence[StrPath],
    out: StrPath,
    *,
    from_files: StrPath | Sequence[StrPath] = (),
    null: bool = False,
    workers: int | None = None,
    engine: EngineName = "processes",
    timeout_s: float = 60.0,
    max_pixels: int = MAX_PIXELS,
    fidelity: Literal["exact", "fast"] = "exact",
    tone_network: Literal["small", "large"] = "small",
    kind_network: Literal["small", "large"] = "small",
    shard: str | None = None,
    retry_errors: bool = False,
    overwrite: bool = False,
    forget: StrPath | Sequence[StrPath] = (),
    prune: bool = False,
    exclude: str | Sequence[str] = (),
    image_columns: str | Sequence[str] = (),
    options: ScanOptions | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> ScanSummary:
    """Measure every photo below `paths` and write one manifest row per photo.

    Photos that `out` already contains unchanged are not measured again, and what an interrupted scan finished is kept.
    A photo that cannot be read becomes a row with the reason; it never stops the scan.

    Args:
        paths: one or many folders, photos, tars, ZIPs, Parquet and Arrow files with images, or URLs of such.
        out: manifest to write or update, a Parquet file; a path or URL.
        from_files: one or many text files with one path per line; `-` is standard input.
        null: paths in these files end in NUL bytes instead of line ends.
        workers: processes that decode, 1 or more; None is one per available core.
        engine: `processes` on this machine, `serial` in this process, or `ray` on a Ray cluster.
        timeout_s: seconds after which decoding one photo is given up.
        max_pixels: larger photos become errors and are not decoded.
        fidelity: `exact`, or `fast`: JPEGs are decoded at a quarter of their size, and M is 1 to 2 lower.
        tone_network: `large` evaluates the network at 224 px, not 96 px, for photos whose tone is in doubt.
        kind_network: `large` evaluates a second network for all but the clearest photos; finds more graphics, slower.
        shard: `I/N`: measure part I of N only; join the parts with `merge_manifests`.
        retry_errors: measure unchanged photos again that failed before.
        overwrite: measure everything again and replace `out`.
        forget: one or many paths; rows below them leave the manifest unless this scan finds their photos.
        prune: rows whose photos are missing now leave the manifest.
        exclude: one or many patterns of files and folders to skip, as in .gitignore: `*.gif`, `previews/`, `a/**/b`.
        image_columns: one or many columns of Parquet and Arrow files to scan; none is all columns of images.
        options: all settings above as one object, instead of single arguments.
        progress: called with the number of photos done and of all photos to measure.
        command: text that the manifest records as what made it; None records this call.

    Returns:
        Counts: `photos`, `scored`, `measured_now`, `missing`, and Counters `errors` (by kind), `tones` and `levels`.

    Raises:
        SourceError: a path cannot be listed.
        ScanError: there is no photo, or another scan writes `out`.
        ManifestError: `out` is something else, or cannot be written.
        UsageError: an argument has no meaning.

    Example:
        >>> summary = curate.scan_photos("photos", "scan.parquet", workers=4)  # doctest: +SKIP
        >>> summary.photos, summary.scored, summary.errors  # doctest: +SKIP
        (1000, 998, Counter({'BrokenPhoto': 2}))
    """
    for path in path_texts(paths):
        check_local_name(path, existing=True)
    chosen = ScanOptions(
        workers=workers,
        score=ScoreOptions(max_pixels, fidelity, tone_network, kind_network),
        timeout_s=timeout_s,
        retry_errors=retry_errors,
        overwrite=overwrite,
        from_files=path_texts(from_files),
        null=null,
        engine=engine,
        shard=ShardSpec.parse(shard) if shard else ALL_SHARDS,
        forget=path_texts(forget),
        prune=prune,
        exclude=(exclude,) if isinstance(exclude, str) else tuple(exclude),
        image_columns=(image_columns,) if isinstance(image_columns, str) else tuple(image_columns),
    )
    chosen = choose_options(options, chosen, ScanOptions())
    command = call_text(command, "scan_photos", paths, out)
    return curate.scanning.scan.scan_photos(
        path_texts(paths), parse_location(out), chosen, command=command, progress=progress
    )


def filter_manifest(
    scan: StrPath,
    out: StrPath,
    *,
    preset: StrPath = DEFAULT_PRESET,
    keep_tone: str | Sequence[str] = (),
    keep_kind: str | Sequence[str] = (),
    keep_machine_made: bool | None = None,
    min_side: int | None = None,
    max_aspect: float | None = None,
    where: str | None = None,
    join: StrPath | None = None,
    on: Literal["sha256", "path"] | None = None,
    join_column: str | Sequence[str] = (),
    min_column: Mapping[str, float] | None = None,
    max_column: Mapping[str, float] | None = None,
    reject_list: StrPath | Sequence[StrPath] = (),
    keep_list: StrPath | Sequence[StrPath] = (),
    keep_top: str | Sequence[str] = (),
    duplicates: Literal["keep", "together", "drop-exact", "drop-near"] | None = None,
    balance: int | None = None,
    split: str | None = None,
    dry_run: bool = False,
    options: FilterOptions | None = None,
    command: str | None = None,
    **bounds: Unpack[Bounds],
) -> FilterSummary:
    """Select photos by the measures of a scan, and write the manifests of kept and of rejected photos.

    Gray, sepia and toned photos are rejected unless `keep_tone` names them, graphics unless `keep_kind` does. Every
    rejected photo keeps all its reasons. An argument that is None keeps the preset's value; without a preset's value,
    that rule is off.

    Args:
        scan: manifest of `scan_photos`; a path or URL.
        out: manifest of the kept photos, a path or URL; `rejected.parquet` goes beside it, or `X.rejected.parquet`
            beside `X.parquet`.
        preset: `colorization` (min_colorfulness=20 and nothing else), `strict`, or a TOML file with such settings.
        keep_tone: one or many of `grayscale`, `sepia`, `toned` that are not rejected.
        keep_kind: `graphic`, so that drawings, maps, screenshots and the like are not rejected.
        keep_machine_made: True doesn't reject photos whose metadata says that a program made them or their colors.
        min_side: reject photos with a shorter short side, px.
        max_aspect: reject photos whose long side is more than this many times the short side.
        where: an SQL condition over the columns; photos for which it is not true are rejected. Needs duckdb.
        join: a table whose columns are added to those of the scan: Parquet, CSV or JSON lines; a path or URL.
        on: the column by which the table has the photos, `sha256` (the default) or `path`.
        join_column: one or many columns to add; empty adds all.
        min_column, max_column: lowest and highest value of any column with numbers, like `{"pwatermark": 0.5}`; photos
            without a value are rejected.
        reject_list: one or many text files of photos to reject: one path or sha256 per line.
        keep_list: one or many such files of photos to keep whatever their measures are, if they can be read and are in
            no reject list.
        keep_top: one or many shares of the readable photos to keep, `90%` by colorfulness or `sharpness:90%`; each
            takes the place of the measure's lowest value.
        duplicates: keep copies, keep them together in one split, or drop all but the best of exact or near copies.
        balance: keep this many photos, spread over hues and colorfulness.
        split: percent of train/val/test; 90/5/5 by default.
        dry_run: decide and count, but write nothing.
        options: all rules as one object, instead of a preset and single arguments.
        command: text that the manifests record as what made them; None records this call.
        bounds: lowest and highest values of columns, such as `min_colorfulness=20`, which is in the default preset, or
            `max_border_share=0.05`; `Bounds` has all names.

    Returns:
        Counts and paths: `kept`, `rejected`, `kept_path`, `rejected_path`, `rejected_by_rule`, `splits`, `waived`
        (photos that only the keep list keeps), `lists` (entries of each list that match no photo) and `joined` (photos
        that the table of `join` has).

    Raises:
        ManifestError: the scan cannot be read, or an output cannot be written or would replace something else.
        UsageError: arguments contradict each other, a value has no meaning, or a list or the table of `join` can't be
            used.

    Example:
        >>> kept = curate.filter_manifest("scan.parquet", "clean.parquet", min_side=256)  # doctest: +SKIP
        >>> kept.kept, kept.rejected, kept.rejected_path  # doctest: +SKIP
        (871, 129, PosixPath('rejected.parquet'))
    """
    # This must be the first statement: locals() are then the arguments.
    chosen = choose_filter_options(locals(), bounds, options)
    command = call_text(command, "filter_manifest", scan, out)
    return curate.filtering.filter.filter_manifest(
        parse_location(scan), parse_location(out), chosen, command=command, dry_run=dry_run
    )


def merge_manifests(
    parts: StrPath | Sequence[StrPath], out: StrPath, *, overwrite: bool = False, command: str | None = None
) -> Lineage:
    """Join the parts of a scan that was divided with `shard` into one manifest, as one scan would have written it.

    Args:
        parts: one or many manifests of `scan_photos(..., shard="I/N")`, or folders of them.
        out: manifest to write; a path or URL.
        overwrite: replace `out`, whatever it is.
        command: text that the manifest records as what made it; None records this call.

    Returns:
        The lineage of the written manifest; `rows` is its number of photos.

    Raises:
        ManifestError: a part is missing, given twice, unreadable or of another scan; or `out` exists, or cannot be
            written.

    Example:
        >>> curate.merge_manifests(["1.parquet", "2.parquet"], "scan.parquet").rows  # doctest: +SKIP
        1000
    """
    command = call_text(command, "merge_manifests", parts, out)
    return curate.scanning.merge.merge_manifests(
        list(map(parse_location, path_texts(parts))), parse_location(out), command=command, overwrite=overwrite
    )


def read_manifest(manifest: StrPath, *, columns: Sequence[str] | None = None) -> Manifest:
    """Read a manifest and what made it.

    Args:
        manifest: a Parquet file, or a folder of Parquet parts; a path or URL.
        columns: read only these columns, as far as they exist; None reads all.

    Returns:
        `table` (a pyarrow Table, one row per photo), `lineage` (None if unknown), `sha256` of the file, and `path`.

    Raises:
        ManifestError: missing, not a manifest, or written by a newer version.

    Example:
        >>> curate.read_manifest("clean.parquet").table.to_pandas()["colorfulness"].median()  # doctest: +SKIP
        39.2
    """
    return curate.manifest.read_manifest(parse_location(manifest), columns=None if columns is None else tuple(columns))


@dataclass(frozen=True, slots=True)
class ManifestInfo:
    """What a manifest contains and what made it."""

    path: Location
    rows: int
    sha256: str
    """Of the file."""
    schema: pa.Schema
    """Column names and types."""
    counts: dict[str, Counter[str]]
    """Rows by `split`, by `tone` and by `kind`; rows without one count as an empty text."""
    ancestors: Sequence[Ancestor]
    """The manifest itself, the one that it was made from, and so on back to the scan."""

    @property
    def lineage(self) -> Lineage | None:
        """What made the manifest; None if unknown."""
        return self.ancestors[0].lineage


def inspect_manifest(manifest: StrPath) -> ManifestInfo:
    """Return what a manifest contains, what made it, and where it comes from, without loading its rows.

    Args:
        manifest: a Parquet file, or a folder of Parquet parts; a path or URL.

    Returns:
        `rows`, `counts` by split, tone and kind, `schema`, `sha256`, `lineage`, and the `ancestors` back to the scan.

    Raises:
        ManifestError: missing, not a manifest, or written by a newer version.

    Example:
        >>> curate.inspect_manifest("clean.parquet").counts["split"]  # doctest: +SKIP
        Counter({'train': 784, 'val': 44, 'test': 43})
    """
    path = parse_location(manifest)
    chain = trace_lineage(path)
    schema, _ = curate.manifest.read_schema_and_lineage(path)
    counts = curate.manifest.count_values(path, ("split", "tone", "kind"))
    return ManifestInfo(path, counts["split"].total(), curate.manifest.digest(path), schema, counts, chain)
