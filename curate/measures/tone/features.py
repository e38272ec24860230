"""Compute the statistics that tell a toned monochrome photo from a color photo, on the small copies of many photos.

In a toned monochrome photo, color is a function of lightness (the toning), plus something smooth over the picture
(fading, stains, the scanner's light), plus a minority of foreign pixels (a mount, a caption). The features fit these
parts robustly and measure what remains. Fading and aging leave colors along one direction of hue, true color has
several, so the spread across the main direction (the minor axis) is the most telling.

Arrays hold n photos along their first axis, and nothing is summed across it: the other photos of a batch must not
change a photo's numbers, or a resumed scan would write other rows than an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

LIGHTNESS_BINS = 32
LAB_NOISE_AB = 0.15
"""OpenCV's float32 CIELAB gives grays a chroma of up to 0.14."""
GRID_COLUMNS, GRID_ROWS = 40, 32
"""Size of the grid of cells on which nearly all features are measured. JPEG chroma noise averages out in a cell."""
REGIONS: Mapping[str, tuple[slice, slice]] = {  # rows and columns of the grid
    "all": (slice(0, 32), slice(0, 40)),
    "mid": (slice(5, 27), slice(6, 34)),  # the central 70 % of each side; a mount rarely extends into it
    "core": (slice(8, 24), slice(10, 30)),  # the central 50 %
}

RIDGE = 2e-3
"""Strength of the regularization of least-squares fits, relative to the number of cells."""

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Grids:
    """The cells of several photos: GRID_ROWS x GRID_COLUMNS means of their small copies."""

    rgb: Floats
    """(n, 3, rows, columns) sRGB, 0..255."""
    lab: Floats
    """(n, 3, rows, columns) CIELAB: L* 0..100, a*, b*."""


def make_grids(smalls: Sequence[NDArray[np.uint8]]) -> Grids:
    """Compute the cells of n small copies, (h, w, 3) uint8 sRGB each."""
    size = (GRID_COLUMNS, GRID_ROWS)
    rgb = np.concatenate([cv2.resize(small, size, interpolation=cv2.INTER_AREA) for small in smalls]).astype(np.float32)
    return Grids(_planes(rgb), _planes(cv2.cvtColor(rgb * np.float32(1 / 255), cv2.COLOR_RGB2LAB)))


def compute_features(smalls: Sequence[NDArray[np.uint8]], grids: Grids | None = None) -> dict[str, NDArray[np.float64]]:
    """Compute all features of several photos. Names end in the unit: `_ab` CIELAB, `_levels` of 255, `_deg` degrees.

    Args:
        smalls: n small copies, (h, w, 3) uint8 sRGB each.
        grids: from `make_grids(smalls)`, if they are known; None computes them.

    Returns:
        (n,) float64 by name:

        - `noise_ab`: chroma noise: RMS difference of neighboring pixels, without what follows lightness
        - `ratio_p70_levels`, `ratio_p90_levels`: percentiles of the distance from one ratio R : G : B;
          `brightness_spread_levels`: standard deviation of the brightness of the same cells
        - `..._chroma_ab`: mean chroma; `all_chroma_p99_ab` its 99th percentile
        - `..._major_ab`: spread of (a, b) along their main axis
        - `all_curve_p90_ab`: 90th percentile of the residual of a quadratic in lightness
        - `..._bin_minor_ab`, `all_bin_rms_ab`: minor axis and RMS of the residual of the means of 32
          lightness bins
        - `..._smooth_...`: of the residual of lightness and a smooth field over the picture: percentiles, RMS, and the
          minor axis without the worst 15 % of cells (`kept`)
        - `core_across_p75_ab`: 75th percentile of chroma across the mean hue
        - `all_hue_deg`: hue of the mean color, 0 if that is gray; not a regression input, it only separates sepia from
          toned
    """
    grids = grids or make_grids(smalls)
    lab = grids.lab.copy()
    lab[:, 0] *= 2.55
    features: dict[str, NDArray[Any]] = {"noise_ab": _noise_feature(smalls)}
    cells = grids.rgb.reshape(len(smalls), 3, -1)
    features |= _ratio_features(_unclipped(smalls), cells)
    for name, (rows, columns) in REGIONS.items():
        cells = np.ascontiguousarray(lab[:, :, rows, columns]).reshape(len(smalls), 3, -1)
        features |= _region_features(name, cells[:, 0], cells[:, 1:])
    return {name: values.astype(np.float64) for name, values in features.items()}


def _planes(grids: NDArray[Any]) -> Floats:
    """(n * rows, columns, 3), the grids one below the other, to (n, 3, rows, columns)."""
    planes: Floats = np.stack([plane.reshape(-1, GRID_ROWS, GRID_COLUMNS) for plane in cv2.split(grids)], axis=1)
    return planes


def _noise_feature(smalls: Sequence[NDArray[np.uint8]]) -> Floats:
    """(n,) chroma noise of small copies."""
    residual = _remove_slope(np.stack([_step_moments(small) for small in smalls]))
    noise: Floats = np.sqrt(np.maximum(residual[:, 0, 0] + residual[:, 1, 1], 0))
    return noise


def _step_moments(small: NDArray[np.uint8]) -> Floats:
    """(3, 3) second moments of the differences in L, a, b between neighbors in every fourth row."""
    lab = cv2.cvtColor(np.ascontiguousarray(small[::4]), cv2.COLOR_RGB2LAB)
    planes = np.stack(cv2.split(lab)).astype(np.float32)
    steps = (planes[..., 1:] - planes[..., :-1]).reshape(3, -1)
    moments: Floats = np.vecdot(steps[:, None], steps) / np.float32(max(1, steps.shape[1]))
    return moments


def _remove_slope(moments: Floats) -> Floats:
    """(..., 2, 2) second moments of a, b without what is linear in lightness, from (..., 3, 3) of lightness, a, b."""
    light, cross = moments[..., :1, :1], moments[..., :1, 1:]
    slope = cross / (light + 4)
    shared = slope.swapaxes(-1, -2) * cross
    residual: Floats = moments[..., 1:, 1:] - shared - shared.swapaxes(-1, -2) + slope.swapaxes(-1, -2) * slope * light
    return residual


def _unclipped(smalls: Sequence[NDArray[np.uint8]]) -> Bools:
    """(n, cells) bool: whether no channel is clipped in the middle of a cell or near it."""
    size = (GRID_COLUMNS, GRID_ROWS)
    brightest = [cv2.resize(cv2.dilate(small, _NEIGHBOURS), size, interpolation=cv2.INTER_NEAREST) for small in smalls]
    unclipped: Bools = _planes(np.concatenate(brightest)).max(axis=1) < 245
    return unclipped.reshape(len(smalls), -1)


def _ratio_features(unclipped: Bools, cells: Floats) -> dict[str, Floats]:
    """Measure how far R, G, B, (n, 3, cells), are from one ratio.

    Toning by a matrix gives all pixels one ratio, and averaging pixels keeps it, unless a channel clips. So cells with
    a clipped pixel in or near them are excluded, and cells that are too dark to have a ratio.
    """
    top = cells.max(axis=1)
    candidates = np.stack([unclipped & (top > 20) & (top < 225), (top > 20) & (top < 200), np.ones_like(unclipped)])
    first = (10 * candidates.sum(axis=2) >= top.shape[1]).argmax(axis=0)  # the first that leaves a tenth of all cells
    chosen = candidates[first, np.arange(len(top))]
    brightness = (cells[:, 0] + cells[:, 1] + cells[:, 2]) * np.float32(1 / 3)
    residual = _remove_ratio(cells, brightness, chosen)
    for _ in range(2):  # fit again without the worst 30 % of cells
        error = np.abs(residual).max(axis=1)
        (p70,) = _percentiles(error, 70, of=chosen)
        residual = _remove_ratio(cells, brightness, chosen & (error <= p70[:, None]))
    p70, p90 = _percentiles(_squared_lengths(residual), 70, 90, of=chosen)
    count = chosen.sum(axis=1, dtype=np.float32)
    mean = (brightness * chosen).sum(axis=1) / count
    off = (brightness - mean[:, None]) * chosen
    return {
        "ratio_p70_levels": np.sqrt(p70),
        "ratio_p90_levels": np.sqrt(p90),
        "brightness_spread_levels": np.sqrt((off * off).sum(axis=1) / count),
    }


def _remove_ratio(cells: Floats, brightness: Floats, fitted_to: Bools) -> Floats:
    """(n, 3, cells) minus the ratio to brightness that fits best on the cells of `fitted_to`."""
    weights = (brightness * fitted_to)[:, :, None]
    ratio: Floats = cells @ weights / (brightness[:, None] @ weights + np.float32(1e-6))
    residual: Floats = cells - ratio * brightness[:, None]
    return residual


def _region_features(name: str, lightness: Floats, ab: Floats) -> dict[str, Floats]:
    """The features of one region, from (n, cells) lightness 0..255 and (n, 2, cells) a, b."""
    squares_ab, mean = _squared_lengths(ab), ab.mean(axis=2, keepdims=True)
    tonal = lightness[:, None] * np.float32(1 / 127.5) - 1
    rows = _stack_rows(_FIELDS[name], tonal * _FIELDS[name][:3], tonal * tonal, ab)
    residual = _residual(rows)
    squares = _squared_lengths(residual)
    p85, p90, p98 = _percentiles(squares, 85, 90, 98)
    features: dict[str, Floats] = {}
    if name != "core":
        binned = _axes(_remove_bin_means(lightness, ab))
        features = {"bin_minor_ab": binned[0], "major_ab": _axes(ab - mean)[1]}
    if name != "mid":
        features["chroma_ab"] = np.sqrt(squares_ab).mean(axis=1)
    if name != "all":
        features["smooth_rms_ab"] = np.sqrt(squares.mean(axis=1))
    if name == "all":
        curve = _squared_lengths(_residual(rows[:, [0, 6, 9, 10, 11]]))  # 1, lightness, its square; a, b
        features |= {
            "chroma_p99_ab": np.sqrt(_percentiles(squares_ab, 99)[0]),
            "curve_p90_ab": np.sqrt(_percentiles(curve, 90)[0]),
            "bin_rms_ab": np.hypot(*binned),
            "smooth_p90_ab": np.sqrt(p90),
            "hue_deg": _hue_deg(mean[:, :, 0]),
        }
    elif name == "mid":
        features["smooth_p98_ab"] = np.sqrt(p98)
    else:
        along = mean / (np.hypot(mean[:, :1], mean[:, 1:]) + np.float32(1e-6))
        across = ab[:, 1] * along[:, 0] - ab[:, 0] * along[:, 1]
        features["across_p75_ab"] = np.sqrt(_percentiles(across**2, 75)[0])
        features["smooth_kept_minor_ab"] = _axes(residual, squares <= p85[:, None])[0]
    return {f"{name}_{column}": values for column, values in features.items()}


def _hue_deg(mean_ab: Floats) -> NDArray[Any]:
    """(n,) hue of (n, 2) a, b in degrees; 0 where the chroma is so small that it may be an error of OpenCV's CIELAB."""
    a, b = mean_ab.T.astype(np.float64)
    return np.where(np.hypot(a, b) > LAB_NOISE_AB, np.degrees(np.arctan2(b, a)) % 360, 0.0)


def _stack_rows(fields: Floats, *rows: Floats) -> Floats:
    """(n, k, cells) from (k', cells), which are the same for all photos, and several (n, k'', cells)."""
    return np.concatenate([np.broadcast_to(fields, (len(rows[0]), *fields.shape)), *rows], axis=1)


def _residual(rows: Floats) -> Floats:
    """(n, 2, cells) residuals of a and b in a least-squares fit with a small ridge.

    Args:
        rows: (n, k, cells): the regressors, and after them a and b.
    """
    count, cells = rows.shape[1] - 2, rows.shape[2]
    moments = rows @ rows.swapaxes(1, 2)
    gram = moments[:, :count, :count] + np.eye(count, dtype=np.float32) * np.float32(cells * RIDGE)
    fitted: Floats = np.linalg.solve(gram, moments[:, :count, count:])
    residual: Floats = rows[:, count:] - fitted.swapaxes(1, 2) @ rows[:, :count]
    return residual


def _squared_lengths(planes: Floats) -> Floats:
    """(n, cells) squared length of each cell's (k,) vector, from (n, k, cells)."""
    total: Floats = (planes * planes).sum(axis=1)
    return total


def _axes(ab: Floats, of: Bools | None = None) -> tuple[Floats, Floats]:
    """(n,) RMS of (n, 2, cells) along the minor and the major axis; of the cells in `of` only, if given."""
    count = ab.shape[2]
    if of is not None:
        ab, count = ab * of[:, None], of.sum(axis=1, dtype=np.float32)
    moments = ab @ ab.swapaxes(1, 2)
    aa, mixed, bb = moments[:, 0, 0], moments[:, 0, 1], moments[:, 1, 1]
    middle, reach = (aa + bb) / 2, np.hypot((aa - bb) / 2, mixed)
    return np.sqrt(np.maximum(middle - reach, 0) / count), np.sqrt((middle + reach) / count)


def _remove_bin_means(lightness: Floats, ab: Floats) -> Floats:
    """(n, 2, cells) a, b minus the mean of the cell's lightness bin: what no toning explains, not even split toning."""
    first_bins = np.arange(0, len(ab) * LIGHTNESS_BINS, LIGHTNESS_BINS)[:, None]
    bins = ((lightness * np.float32(LIGHTNESS_BINS / 255.01)).astype(np.intp) + first_bins).ravel()
    count = np.maximum(np.bincount(bins, minlength=len(ab) * LIGHTNESS_BINS), 1)
    means = [(np.bincount(bins, ab[:, k].ravel(), len(count)) / count).astype(np.float32)[bins] for k in range(2)]
    residual: Floats = ab - np.stack([mean.reshape(lightness.shape) for mean in means], axis=1)
    return residual


def _percentiles(values: Floats, *percents: int, of: Bools | None = None) -> list[Floats]:
    """(n,) for each percentile, of (n, cells) values; of the cells in `of` only, if given."""
    if of is None:
        count = np.full(len(values), values.shape[1])
    else:
        values, count = np.where(of, values, np.float32(np.inf)), of.sum(axis=1)
    ordered = np.sort(values, axis=1)  # for so few values faster than np.partition
    return [ordered[np.arange(len(values)), count * percent // 100] for percent in percents]


def _field(region: tuple[slice, slice]) -> Floats:
    """(6, cells): the rows 1, x, y, x², y², xy of a region, with x and y in −1..1 over the whole grid."""
    rows, columns = np.mgrid[-1 : 1 : GRID_ROWS * 1j, -1 : 1 : GRID_COLUMNS * 1j].astype(np.float32)
    x, y = columns[region].ravel(), rows[region].ravel()
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y])


_FIELDS = {name: _field(region) for name, region in REGIONS.items()}
_NEIGHBOURS = np.ones((5, 5), np.uint8)
