"""Measure, decode or explain one photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Unpack

import numpy as np
from numpy.typing import NDArray

import curate.explain
from curate.api.arguments import StrPath, choose_filter_options
from curate.api.bounds import Bounds
from curate.explain import Explanation
from curate.filtering.options import DEFAULT_PRESET, FilterOptions
from curate.image.decode import MAX_PIXELS, memory_errors
from curate.locations import local_path, parse_location
from curate.measures.measure import Measures, measure_pixels
from curate.process_settings import one_opencv_thread
from curate.sources.photo_input import PhotoInput, load_photo

SCAN_MANIFEST = Path("manifests/scan.parquet")
"""Default output of `curate scan`."""


def measure(photo: PhotoInput, *, max_pixels: int = MAX_PIXELS) -> Measures:
    """Measure one photo: colorfulness, tone, appearance and fingerprint, as a row of `scan_photos` has them.

    Args:
        photo: a path or URL; the bytes of a file; a PIL image, whose EXIF orientation and color profile are applied;
            or an (H, W, 3) uint8 array, sRGB, red first, upright.
        max_pixels: larger photos are an error and are not decoded.

    Returns:
        `colorfulness` (M, 0 to 297.7), `colorfulness_level` (the paper's word), `tone` (with `tone.tone`: color,
        grayscale, sepia or toned), `appearance` and `fingerprint`. Fully transparent pixels do not count.

    Raises:
        PhotoError: the photo cannot be used; the class says why, like `Vanished`, `BrokenPhoto` or `TooManyPixels`.
        TypeError: `photo` is none of these types.
        UsageError: an array of another shape or dtype.

    Example:
        >>> curate.measure("photo.jpg").colorfulness  # doctest: +SKIP
        41.3
    """
    with one_opencv_thread, memory_errors("measuring it"):
        decoded = load_photo(photo, max_pixels=max_pixels)
        return measure_pixels(decoded.pixels, decoded.visible)


def decode(photo: PhotoInput, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode one photo as a viewer shows it: upright, in sRGB, transparent parts on white.

    Args:
        photo: a path or URL, the bytes of a file, a PIL image, or an array, as for `measure`.
        max_pixels: larger photos are an error and are not decoded.

    Returns:
        (H, W, 3) uint8 sRGB, red first.

    Raises:
        PhotoError: the photo cannot be used; the class says why.
        TypeError: `photo` is none of these types.
        UsageError: an array of another shape or dtype.

    Example:
        >>> curate.colorfulness(curate.decode("photo.jpg"), variant="absolute")  # doctest: +SKIP
        38.0
    """
    with one_opencv_thread:
        return load_photo(photo, max_pixels=max_pixels).pixels


def explain_photo(
    photo: StrPath,
    *,
    scan: StrPath = SCAN_MANIFEST,
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
    options: FilterOptions | None = None,
    **bounds: Unpack[Bounds],
) -> Explanation:
    """Measure one photo, scanned or not, and return whether a filter would keep it, and why not.

    Rules that compare photos with each other (`keep_top`, `duplicates`, `balance`) are left out.

    Args:
        photo: path of the photo; in a container as in the manifest, like `photos.zip/cat.jpg`.
        scan: manifest in which a photo is looked up that does not exist any more, or is in a container; it need not
            exist.
        preset, keep_tone, keep_kind, keep_machine_made, min_side, max_aspect, where, join, on, join_column, min_column,
            max_column, reject_list, keep_list, bounds: as in `filter_manifest`.
        options: all rules as one object, like the `options` of a `filter_manifest` result.

    Returns:
        `reasons`: why the photo would be rejected, empty if it would be kept; `waived`: reasons that a keep list sets
        aside; `row`: its measures by column name.

    Raises:
        SourceError: the photo does not exist and is not in the scan.
        ManifestError: `photo` is a folder, a tar, a ZIP or a manifest.
        UsageError: arguments contradict each other, or a value has no meaning.

    Example:
        >>> curate.explain_photo("old-photo.jpg").reasons  # doctest: +SKIP
        ('tone is sepia',)
    """
    # This must be the first statement: locals() are then the arguments.
    chosen = choose_filter_options(locals(), bounds, options).without_dataset_rules()
    path, manifest = local_path(photo), parse_location(scan)
    row = curate.explain.find_scanned_row(path, manifest)
    if row is not None:
        return curate.explain.explain_row(row, chosen)
    with one_opencv_thread:
        return curate.explain.explain_file(path, chosen, manifest)
