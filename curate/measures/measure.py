"""Compute all measures of a photo: every manifest column that comes from pixels.

Measuring has two halves. `summarize_pixels` reads all pixels once and keeps the colorfulness and two small sets of
pixels. `measure_batch` computes the other measures from these, for many photos at a time, because that is faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.measures.appearance import Appearance, measure_appearances
from curate.measures.borders import Borders, crop_inside, find_box, measure_borders
from curate.measures.colorfulness import Moments, colorfulness_level, iter_blocks, mask_block
from curate.measures.edits import Edits, count_dividers, measure_edits, measure_seams, measure_strokes
from curate.measures.kind.classify import KindMeasure, classify_kinds
from curate.measures.names import SMALL_NETWORKS, Networks
from curate.measures.perceptual_hash import compute_fingerprint
from curate.measures.tone.classify import ToneMeasure, classify_tones

SMALL_SIDE_PX = 160
"""Longest side of the small copy, from which tone, sharpness and fingerprint are measured."""

SAMPLE_PIXELS = 4000
"""About this many pixels of the full-size photo are sampled for chroma, saturation, hue, lightness and clipping."""

MAX_BLOCK_HALVINGS = 3
"""Blocks of rows are halved at most this often. The number of rows is a multiple of 2**3; more rows would not fit into
the processor's cache."""


@dataclass(frozen=True, slots=True)
class Measures:
    """All measures of one photo."""

    colorfulness: float
    """Metric M3 of Hasler and Süsstrunk (2003), 0..297.7; see `curate.colorfulness`."""
    colorfulness_level: str
    """The paper's name for it: not, slightly, moderately, averagely, quite, highly or extremely (colorful)."""
    appearance: Appearance
    """Chroma, saturation, hue, lightness, clipping and sharpness."""
    tone: ToneMeasure
    """Whether the photo is color, grayscale, sepia or toned, with the numbers behind the class."""
    kind: KindMeasure
    """Whether the picture is a photo or a graphic, with the numbers behind the class."""
    fingerprint: str
    """Perceptual hash, 128 bits as 32 hex digits; see `curate.measures.perceptual_hash.compute_fingerprint`."""
    borders: Borders
    """Uniform bands at the sides, and the colorfulness inside of them."""
    edits: Edits
    """Selective color, clipped saturation, dividers and seams of collages, strokes of captions, blurred chroma."""


@dataclass(frozen=True, slots=True)
class PixelSummary:
    """What is kept of a photo's pixels: its colorfulness, and the pixels that the other measures need."""

    colorfulness: float
    """Metric M3 of all visible pixels."""
    small: NDArray[np.uint8]
    """(h, w, 3) uint8 sRGB, see `make_small_copy`."""
    visible: NDArray[np.bool_] | None
    """(h, w) bool, which pixels of `small` are mostly visible; None if all are."""
    sample: NDArray[np.uint8]
    """(h, w, 3) uint8 sRGB, see `sample_pixels`."""
    borders: Borders
    """See `measure_borders`."""
    divider_count: int
    """See `count_dividers`."""
    seam_share: float
    """See `measure_seams`."""
    stroke_density: float
    """See `measure_strokes`."""
    large: NDArray[np.uint8]
    """(2h, 2w, 3) uint8 sRGB: the copy from which `small` was made by halving, without invisible pixels; `small` itself
    if the photo is that small."""


def measure_pixels(
    pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None = None, *, networks: Networks = SMALL_NETWORKS
) -> Measures:
    """Compute all measures of one photo.

    Args:
        pixels: (H, W, 3) uint8, sRGB, red first, upright, transparency composited on white: the `pixels` of
            `curate.decode`. Use the full size, because colorfulness depends on the resolution.
        visible: (H, W) bool; pixels where it is False are not measured. None measures all pixels.
        networks: how the networks are evaluated, as `curate scan --tone-network large --kind-network large`.

    Returns:
        Colorfulness, appearance, tone, kind, fingerprint, borders and edits. The numbers are those that a scan
        writes to a manifest (docs/reference/measures.md has the definition, unit, range and source of each).

    Raises:
        ValueError: no pixel is visible.

    >>> red = np.zeros((2, 2, 3), np.uint8); red[..., 0] = 255
    >>> measures = measure_pixels(red)
    >>> round(measures.colorfulness, 2), measures.colorfulness_level, round(measures.appearance.chroma_mean, 1)
    (85.53, 'highly', 104.6)
    """
    return measure_batch([summarize_pixels(pixels, visible)], networks)[0]


def measure_color(pixels: NDArray[np.uint8]) -> tuple[float, ToneMeasure]:
    """Compute the colorfulness and the tone of `measure_pixels` only, in half of the time.

    Args:
        pixels: (H, W, 3) uint8 sRGB.
    """
    colorfulness, copies = _measure_and_shrink(pixels, None, _count_halvings(*pixels.shape[:2]), Moments())
    return colorfulness, classify_tones([copies.small], colorfulness=[colorfulness])[0]


def summarize_pixels(
    pixels: NDArray[np.uint8],
    visible: NDArray[np.bool_] | None = None,
    mirrored: tuple[bool, bool] = (False, False),
    *,
    transposed: bool = False,
) -> PixelSummary:
    """Compute what the measures need of a photo's pixels: the half of `measure_pixels` that reads all of them.

    Turning a large photo costs as much as measuring it. So a photo may be given as it is stored; only `small`,
    `sample`, `large` and `borders` then have to be turned, and are the same as those of the upright photo.

    Args:
        pixels: (H, W, 3) uint8 sRGB, as for `measure_pixels`.
        visible: (H, W) bool, or None, as for `measure_pixels`.
        mirrored: whether the last row, and the last column, are the first of the upright photo. Without `visible` only.
        transposed: whether the rows are columns of the upright photo.

    Raises:
        ValueError: no pixel is visible.
    """
    times = _count_halvings(*pixels.shape[:2])
    if not any(mirrored):
        colorfulness, copies = _measure_and_shrink(pixels, visible, times, Moments())
        box = find_box(copies.small)
        borders = measure_borders(pixels, visible, copies.small, box, colorfulness)
        sample, dividers = sample_pixels(pixels, visible), count_dividers(copies.small, box)
        return PixelSummary(
            *(colorfulness, copies.small, copies.visible, sample, borders, dividers),
            *_seams_and_strokes(pixels, borders, transposed),
            copies.large,
        )
    # halving drops odd rows and columns at the end of the upright photo: here, at the start of a mirrored axis
    top, left = _dropped_pixels(pixels, mirrored, times)
    moments = Moments()
    for dropped in (pixels[:top], pixels[top:, :left]):
        if dropped.size:
            moments.add(np.stack([dropped[..., channel] for channel in (0, 2, 1)]), dropped.size // 3)
    colorfulness, copies = _measure_and_shrink(pixels[top:, left:], None, times, moments)
    box = find_box(copies.small)
    borders = measure_borders(pixels, None, copies.small, box, colorfulness, (top, left))
    sample, dividers = _sample_mirrored(pixels, mirrored), count_dividers(copies.small, box)
    return PixelSummary(
        *(colorfulness, copies.small, None, sample, borders, dividers),
        *_seams_and_strokes(pixels, borders, transposed),
        copies.large,
    )


def _dropped_pixels(pixels: NDArray[np.uint8], mirrored: tuple[bool, bool], times: int) -> tuple[int, int]:
    """The rows and columns at the start of a mirrored photo that halving the upright one drops at its end."""
    sides = zip(pixels.shape, mirrored, strict=False)
    top, left = (side % (1 << times) if mirror else 0 for side, mirror in sides)
    return top, left


def _seams_and_strokes(pixels: NDArray[np.uint8], borders: Borders, transposed: bool) -> tuple[float, float]:
    upright = pixels.transpose(1, 0, 2) if transposed else pixels
    return measure_seams(crop_inside(pixels, borders)), measure_strokes(upright)


def measure_batch(summaries: Sequence[PixelSummary], networks: Networks = SMALL_NETWORKS) -> list[Measures]:
    """Compute the measures of several photos from their pixel summaries: the second half of `measure_pixels`.

    The photos do not influence each other's numbers. A batch is faster than single photos, because each step runs for
    all photos while its code and tables are in the processor's cache.

    Args:
        summaries: of the photos.
        networks: how the networks are evaluated.
    """
    lumas = [np.asarray(cv2.cvtColor(summary.small, cv2.COLOR_RGB2GRAY), np.uint8) for summary in summaries]
    smalls = [fill_invisible(summary.small, summary.visible) for summary in summaries]
    samples = [summary.sample for summary in summaries]
    larges, colorfulness = [summary.large for summary in summaries], [summary.colorfulness for summary in summaries]
    tones = classify_tones(smalls, larges, colorfulness, networks.tone)
    kinds = classify_kinds(samples, smalls, larges, lumas, networks.kind)
    appearances = measure_appearances(samples, lumas)
    return [
        Measures(
            colorfulness=summary.colorfulness,
            colorfulness_level=colorfulness_level(summary.colorfulness),
            appearance=appearance,
            tone=tone,
            kind=kind,
            fingerprint=compute_fingerprint(luma),
            borders=summary.borders,
            edits=measure_edits(
                summary.sample,
                summary.small,
                divider_count=summary.divider_count,
                seam_share=summary.seam_share,
                stroke_density=summary.stroke_density,
            ),
        )
        for summary, appearance, tone, kind, luma in zip(summaries, appearances, tones, kinds, lumas, strict=True)
    ]


def make_small_copy(
    pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """Shrink a photo by halving it until its long side is at most SMALL_SIDE_PX.

    Halving averages 2 x 2 pixels; any other factor costs far more. An odd last row or column is dropped at each step.

    Args:
        pixels: (H, W, 3) uint8 sRGB.
        visible: (H, W) bool, or None if all pixels are visible.

    Returns:
        (h, w, 3) uint8, and (h, w) bool: where at least half of the averaged pixels are visible (if no pixel reaches a
        half, the most visible ones); None if `visible` is None.
    """
    halvings = _count_halvings(*pixels.shape[:2])
    if not halvings:
        return pixels, visible
    planes = [np.asarray(plane, np.uint8) for plane in cv2.split(pixels)]
    copies = _shrink(planes, None if visible is None else visible.astype(np.float32), halvings)
    return copies.small, copies.visible


def sample_pixels(pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """Take about SAMPLE_PIXELS visible pixels on a regular grid, or all pixels of a smaller photo.

    Unlike the small copy, the sample has the photo's own values, not averages.

    Args:
        pixels: (H, W, 3) uint8 sRGB.
        visible: (H, W) bool, or None if all pixels are visible.

    Returns:
        (h, w, 3) uint8; (n, 1, 3) uint8, the visible pixels only, if `visible` is given.
    """
    size = _sample_size(pixels, visible)
    sampled = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
    if visible is None:
        return sampled
    sampled_visible = cv2.resize(visible.view(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
    return (sampled[sampled_visible] if sampled_visible.any() else pixels[visible])[:, None]


def _sample_size(pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None) -> tuple[int, int]:
    """Columns and rows of the grid of `sample_pixels`."""
    height, width = pixels.shape[:2]
    count = height * width if visible is None else np.count_nonzero(visible)
    # rarely a whole number, so no position in JPEG blocks is favored
    step = max(1.0, math.sqrt(count / SAMPLE_PIXELS))
    return max(1, int(width / step)), max(1, int(height / step))


def _sample_mirrored(pixels: NDArray[np.uint8], mirrored: tuple[bool, bool]) -> NDArray[np.uint8]:
    """The pixels of `sample_pixels`, on the grid of a photo whose rows or columns are mirrored."""
    chosen = []
    for side, count, mirror in zip(pixels.shape, reversed(_sample_size(pixels, None)), mirrored, strict=False):
        positions = np.arange(side, dtype=np.float32)[None]  # whole numbers are exact up to 16 million
        grid = cv2.resize(positions, (count, 1), interpolation=cv2.INTER_NEAREST_EXACT)[0].astype(np.int64)
        chosen.append(side - 1 - grid[::-1] if mirror else grid)
    return pixels[np.ix_(*chosen)]


class _Copies(NamedTuple):
    """Reduced copies of a photo."""

    small: NDArray[np.uint8]
    """See `make_small_copy`."""
    visible: NDArray[np.bool_] | None
    """(h, w) bool, which pixels of `small` are mostly visible; None if all are."""
    large: NDArray[np.uint8]
    """See `PixelSummary`."""


def _measure_and_shrink(
    pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None, halvings: int, moments: Moments
) -> tuple[float, _Copies]:
    """Colorfulness, of these pixels and those in `moments`, and the copies, in one pass.

    Each block of rows is split into planes, summed and halved while it is in the processor's cache.
    """
    if not halvings:
        for rows, planes in iter_blocks(pixels):
            moments.add(*mask_block(planes, rows, visible))
        return moments.colorfulness(), _Copies(pixels, visible, fill_invisible(pixels, visible))
    height, width = pixels.shape[:2]
    times = min(MAX_BLOCK_HALVINGS, halvings - 1)
    halved = np.empty((3, height >> times, width >> times), np.uint8)
    for rows, planes in iter_blocks(pixels, multiple=1 << times):
        moments.add(*mask_block(planes, rows, visible))
        target = halved[:, rows.start >> times : rows.stop >> times]
        stacked = _halve(planes.reshape(-1, width), times)  # the three planes, one below the other
        target[:] = stacked.reshape(3, -1, width >> times)[:, : target.shape[1]]
    red, blue, green = halved
    visibility = None if visible is None else _halve(visible.astype(np.float32), times)
    return moments.colorfulness(), _shrink([red, green, blue], visibility, halvings - times)


def _shrink(planes: Sequence[NDArray[np.uint8]], visibility: NDArray[np.float32] | None, times: int) -> _Copies:
    """The copies of red, green and blue planes that are halved `times` more times.

    Args:
        planes: three of (H, W) uint8.
        visibility: (H, W) float32, the visible share of each pixel, 0..1; None if all pixels are visible.
        times: how often, 1 or more.
    """
    doubled = [_halve(plane, times - 1) for plane in planes]
    small = np.asarray(cv2.merge([_halve(plane, 1) for plane in doubled]), np.uint8)
    rows, columns = 2 * small.shape[0], 2 * small.shape[1]  # without an odd last row or column
    large = np.asarray(cv2.merge([plane[:rows, :columns] for plane in doubled]), np.uint8)
    if visibility is None:
        return _Copies(small, None, large)
    visibility = _halve(visibility, times - 1)
    large = fill_invisible(large, _is_mostly_visible(visibility[:rows, :columns]))
    return _Copies(small, _is_mostly_visible(_halve(visibility, 1)), large)


def _is_mostly_visible(visibility: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where at least half is visible; where the most is, if no pixel reaches a half."""
    return visibility >= min(0.5, float(visibility.max()))


def _count_halvings(height: int, width: int) -> int:
    """How often a photo of this size has to be halved to become the small copy."""
    if max(height, width) <= SMALL_SIDE_PX or min(height, width) < 2:
        return 0
    return 1 + _count_halvings(height // 2, width // 2)


def _halve(plane: NDArray[Any], times: int) -> NDArray[Any]:
    """(h, w) to (h >> times, w >> times). OpenCV is six times as fast on one plane as on three interleaved ones."""
    for _ in range(times):
        height, width = plane.shape[0] // 2, plane.shape[1] // 2
        plane = cv2.resize(plane[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
    return plane


def fill_invisible(small: NDArray[np.uint8], visible: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Give invisible pixels the mean color of the visible ones, so that they do not influence the tone."""
    if visible is None:
        return small
    filled = small.copy()
    filled[~visible] = small[visible].mean(axis=0).round().astype(np.uint8)
    return filled
