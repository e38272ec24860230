"""Is it a colour photo, or a monochrome one: gray, sepia, or toned in another hue?

A toned monochrome is a photo whose colour is a function of its lightness (the toning), plus something smooth over the
picture (fading, stains, the scanner's light), plus a minority of foreign pixels (a mount, a caption). So that much is
explained away, robustly, and what is left is looked at. What fading and ageing leave lies along one direction of hue;
true colour has several, so the spread *across* the main direction (the minor axis) says most.

Three rules, in this order:

1. `grayscale`: hardly any chroma anywhere (mean and 99th percentile).
2. toned: one ratio R : G : B throughout a photo with a range of brightness, which is what toning by a matrix leaves;
   or a logistic regression on the features below, with weights learned from labelled photos (`tone_weights`). No
   feature knows an absolute hue.
3. A toned photo is `sepia` if its mean hue lies at 40 to 100 degrees, brown to yellow; otherwise `toned`.

How well it does, and what it gets wrong: docs/results/tone.md. How the weights were learned: benchmarks/tone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.measures import tone_weights

Tone = Literal["color", "grayscale", "sepia", "toned"]
TONES: tuple[Tone, ...] = ("color", "grayscale", "sepia", "toned")

GRAY_CHROMA_MEAN = 3.0
GRAY_CHROMA_P99 = 4.5
"""Gray stored as RGB, with JPEG's chroma noise and a faint cast, stays below both (CIELAB units)."""
SEPIA_HUE_DEG = (40.0, 100.0)
ONE_RATIO_LEVELS = 5.0
"""90 % of the cells of a matrix-toned photo lie within so many levels of 255 of one ratio R : G : B."""
ONE_RATIO_BRIGHTNESS_SPREAD = 15.0
"""Levels of 255; a plain blue sky has one ratio too, but hardly a range of brightness."""

LIGHTNESS_BINS = 32
GRID_COLUMNS, GRID_ROWS = 40, 32
"""Nearly all is measured on so few cells, where JPEG's chroma noise has averaged out."""
REGIONS: Mapping[str, tuple[slice, slice]] = {
    "all": (slice(0, 32), slice(0, 40)),
    "mid": (slice(5, 27), slice(6, 34)),  # the central 70 % of each side: a mount seldom reaches it
    "core": (slice(8, 24), slice(10, 30)),  # the central 50 %
}

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ToneMeasure:
    """The verdict and the numbers it was drawn from, so that another line can be drawn."""

    tone: Tone
    tone_score: float
    """Log odds of toned against colour, less the threshold: above 0 is toned (or gray), below is colour."""
    tone_confidence: float
    """How far from the line, 0.5 (on it) to 1: review the photos near 0.5."""
    tone_chroma: float
    """Mean CIELAB chroma of the grid's cells."""
    tone_chroma_p99: float
    """99th percentile of the same."""
    tone_residual: float
    """RMS distance of (a, b) from the mean of its lightness bin, 32 bins: 0 for any toning, however coloured."""
    tone_ratio_residual: float
    """90th percentile of the distance from one ratio R : G : B, in levels of 255."""
    tone_hue_deg: float
    """Hue of the mean colour, 0..360 degrees; sepia lies at 40..100."""


def tone(small: NDArray[np.uint8]) -> ToneMeasure:
    """Judge a photo's tone.

    Args:
        small: (h, w, 3) uint8 sRGB, a small copy as `curate.measures.small_copy` makes it.
    """
    found = features(small)
    gray = max(found["all_chroma_ab"] / GRAY_CHROMA_MEAN, found["all_chroma_p99_ab"] / GRAY_CHROMA_P99)
    score = log_odds(found)
    one_ratio = (
        found["ratio_p90_levels"] < ONE_RATIO_LEVELS
        and found["brightness_spread_levels"] >= ONE_RATIO_BRIGHTNESS_SPREAD
    )
    verdict: Tone = "color"
    confidence = 1 / (1 + math.exp(-min(abs(score), 50)))
    if gray <= 1:
        verdict, confidence = "grayscale", 1 - gray / 2
    elif score > 0 or one_ratio:
        verdict = "sepia" if SEPIA_HUE_DEG[0] <= found["all_hue_deg"] <= SEPIA_HUE_DEG[1] else "toned"
        confidence = confidence if score > 0 else 0.5
    return ToneMeasure(
        tone=verdict,
        tone_score=score,
        tone_confidence=confidence,
        tone_chroma=found["all_chroma_ab"],
        tone_chroma_p99=found["all_chroma_p99_ab"],
        tone_residual=found["all_bin_rms_ab"],
        tone_ratio_residual=found["ratio_p90_levels"],
        tone_hue_deg=found["all_hue_deg"],
    )


def log_odds(found: Mapping[str, float]) -> float:
    """The regression: weights on standardised log(1 + feature), clipped to ±4, and on a few products of two."""
    standardised = {
        name: min(max((math.log1p(found[name]) - mean) / deviation, -4.0), 4.0)
        for name, (mean, deviation, _) in tone_weights.FEATURES.items()
    }
    alone = sum(weight * standardised[name] for name, (_, _, weight) in tone_weights.FEATURES.items())
    pairs = tone_weights.PRODUCTS.items()
    return tone_weights.BIAS + alone + sum(weight * standardised[i] * standardised[j] for (i, j), weight in pairs)


def features(small: NDArray[np.uint8]) -> dict[str, float]:
    """Everything that a verdict is drawn from. Chromas are in CIELAB units (`_ab`), brightness in levels of 255.

    Args:
        small: (h, w, 3) uint8 sRGB.

    Returns:
        By name:

        - `noise_ab`: chroma noise, differences of neighbouring pixels less what follows lightness
        - `detail_p50_ab`: median of what a slope on lightness leaves of the detail, cells less their 5 × 5 mean
        - `ratio_p70_levels`, `ratio_p90_levels`: percentiles of the distance from one ratio R : G : B;
          `brightness_spread_levels`: standard deviation of the brightness of the same cells
        - `..._chroma_ab`: mean chroma; `all_chroma_p99_ab` its 99th percentile
        - `..._major_ab`: spread of (a, b) along their main axis
        - `all_curve_p90_ab`: 90th percentile of what a quadratic in lightness leaves
        - `..._bin_minor_ab`, `all_bin_rms_ab`: minor axis and RMS of what the means of 32 lightness bins leave
        - `..._smooth_...`: of what lightness and a smooth field over the picture leave: the minor axis (and RMS)
          without the worst 15 % of cells (`kept`), percentiles, RMS
        - `core_across_p75_ab`: 75th percentile of chroma across the mean hue
        - `tile_minor_ab`: median over 4 × 4 tiles of the minor axis of what a line in lightness leaves
        - `all_hue_deg`: hue of the mean colour; only names what was found toned
    """
    grid = _resized(small, GRID_COLUMNS, GRID_ROWS)
    lab = np.asarray(cv2.cvtColor(grid.astype(np.float32) * np.float32(1 / 255), cv2.COLOR_RGB2LAB), np.float32)
    lab[..., 0] *= 2.55
    found = {"noise_ab": _noise(small), "detail_p50_ab": _detail(lab)}
    found |= _ratio(small, np.ascontiguousarray(grid.reshape(-1, 3).T, np.float32))
    for name, region in REGIONS.items():
        planes = np.ascontiguousarray(lab[region].reshape(-1, 3).T)
        found |= _region(name, planes[0], planes[1:])
    found["tile_minor_ab"] = _tiles(lab)
    return {name: float(value) for name, value in found.items()}


def _resized(image: NDArray[Any], columns: int, rows: int) -> NDArray[Any]:
    return cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)


def _noise(small: NDArray[np.uint8]) -> float:
    lab = cv2.cvtColor(np.ascontiguousarray(small[::4]), cv2.COLOR_RGB2LAB).astype(np.float32)
    if lab.shape[1] < 2:
        return 0.0
    steps = (lab[:, 1:] - lab[:, :-1]).reshape(-1, 3)
    moments = steps.T @ steps / len(steps)
    slope = moments[0, 1:] / (moments[0, 0] + 4)
    left = moments[1, 1] + moments[2, 2] - 2 * (slope @ moments[0, 1:]) + (slope @ slope) * moments[0, 0]
    return math.sqrt(max(float(left), 0.0))


def _detail(lab: Floats) -> float:
    light, *ab = np.ascontiguousarray((lab - cv2.blur(lab, (5, 5))).reshape(-1, 3).T)
    tonal = lab[..., 0].ravel() / np.float32(127.5) - 1
    slopes = np.concatenate([_FIELDS["all"][:3], [tonal, tonal * tonal]]) * light
    left = _residual(slopes, np.stack(ab), ridge=max(1.0, float(light @ light) / light.size) / 2000)
    return math.sqrt(_percentiles(left[0] ** 2 + left[1] ** 2, 50)[0])


def _ratio(small: NDArray[np.uint8], cells: Floats) -> dict[str, float]:
    """How far the (3, n) R, G, B of the grid's cells lie from one ratio.

    Toning by a matrix keeps the ratio, and averaging pixels keeps it too, until a channel clips: so cells with a
    clipped pixel in or beside them are left out, and those too dark to have a ratio.
    """
    red, green, blue = cv2.split(small)
    brightest = cv2.dilate(cv2.max(cv2.max(red, green), blue), np.ones((5, 5), np.uint8))
    unclipped = cv2.resize(brightest, (GRID_COLUMNS, GRID_ROWS), interpolation=cv2.INTER_NEAREST).ravel() < 245
    top = _highest(cells)
    tries = (unclipped & (top > 20) & (top < 225), (top > 20) & (top < 200), np.ones_like(unclipped))
    chosen = next(found for mask in tries if 10 * (found := cells[:, mask]).shape[1] >= cells.shape[1])
    brightness = (chosen[0] + chosen[1] + chosen[2]) * np.float32(1 / 3)
    ratio = chosen @ brightness / (brightness @ brightness + np.float32(1e-6))
    rank = len(brightness) * 7 // 10
    for _ in range(2):  # fit again without the worst 30 %
        error = _highest(np.abs(chosen - ratio[:, None] * brightness))
        kept = error <= np.partition(error, rank)[rank]
        ratio = chosen[:, kept] @ brightness[kept] / (brightness[kept] @ brightness[kept] + np.float32(1e-6))
    left = chosen - ratio[:, None] * brightness
    p70, p90 = _percentiles(left[0] ** 2 + left[1] ** 2 + left[2] ** 2, 70, 90)
    return {
        "ratio_p70_levels": math.sqrt(p70),
        "ratio_p90_levels": math.sqrt(p90),
        "brightness_spread_levels": float(brightness.std()),
    }


def _highest(planes: Floats) -> Floats:
    """(n,) maximum of three (n,) planes."""
    top: Floats = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
    return top


def _region(name: str, lightness: Floats, ab: Floats) -> dict[str, float]:
    """The statistics of one region: (n,) lightness 0..255 and (2, n) a, b."""
    squares_ab, mean = ab[0] ** 2 + ab[1] ** 2, ab.mean(axis=1)
    tonal = lightness * np.float32(1 / 127.5) - 1
    basis = np.concatenate([_FIELDS[name], tonal * _FIELDS[name][:3], (tonal * tonal)[None]])
    left = _residual(basis, ab)
    squares = left[0] ** 2 + left[1] ** 2
    p85, p90, p98 = _percentiles(squares, 85, 90, 98)
    kept = _axes(left[:, squares <= p85])
    found = {"smooth_kept_minor_ab": kept[0]}
    if name != "core":
        binned = _axes(_less_bin_means(lightness, ab))
        found |= {"bin_minor_ab": binned[0], "major_ab": _axes(ab - mean[:, None])[1]}
    if name != "mid":
        found["chroma_ab"] = float(np.sqrt(squares_ab).mean())
    if name != "all":
        found["smooth_rms_ab"] = math.sqrt(float(squares.mean()))
    if name == "all":
        curve = _residual(basis[[0, 6, 9]], ab)
        found |= {
            "chroma_p99_ab": math.sqrt(_percentiles(squares_ab, 99)[0]),
            "curve_p90_ab": math.sqrt(_percentiles(curve[0] ** 2 + curve[1] ** 2, 90)[0]),
            "bin_rms_ab": math.hypot(*binned),
            "smooth_kept_rms_ab": math.hypot(*kept),
            "smooth_p90_ab": math.sqrt(p90),
            "hue_deg": math.degrees(math.atan2(mean[1], mean[0])) % 360,
        }
    elif name == "mid":
        found["smooth_p98_ab"] = math.sqrt(p98)
    else:
        along = mean / (math.hypot(*mean) + 1e-6)
        across = (ab[1] * along[0] - ab[0] * along[1]) ** 2
        found["across_p75_ab"] = math.sqrt(_percentiles(across, 75)[0])
    return {f"{name}_{column}": value for column, value in found.items()}


def _tiles(lab: Floats) -> float:
    tiles = _resized(lab, GRID_COLUMNS // 2, GRID_ROWS // 2)
    tiles = tiles.reshape(4, GRID_ROWS // 8, 4, GRID_COLUMNS // 8, 3).swapaxes(1, 2).reshape(16, -1, 3)
    tiles = tiles - tiles.mean(axis=1, keepdims=True)
    moments = tiles.swapaxes(1, 2) @ tiles / tiles.shape[1]
    slope, cross = moments[:, 0, 1:] / (moments[:, :1, 0] + 4), moments[:, 0, 1:]
    outer = slope[:, :, None] * slope[:, None] * moments[:, :1, :1]
    left = moments[:, 1:, 1:] - slope[:, :, None] * cross[:, None] - cross[:, :, None] * slope[:, None] + outer
    middle = (left[:, 0, 0] + left[:, 1, 1]) / 2
    reach = np.hypot((left[:, 0, 0] - left[:, 1, 1]) / 2, left[:, 0, 1])
    return math.sqrt(max(float(np.sort(middle - reach)[7]), 0.0))


def _residual(basis: Floats, ab: Floats, ridge: float = 2e-3) -> Floats:
    """What a slightly ridged least-squares fit of (2, n) a, b on (k, n) basis rows leaves."""
    gram = basis @ basis.T
    gram.flat[:: len(gram) + 1] += ridge * basis.shape[1]
    _, fitted = cv2.solve(gram, basis @ ab.T, flags=cv2.DECOMP_CHOLESKY)
    left: Floats = ab - fitted.T @ basis
    return left


def _axes(ab: Floats) -> tuple[float, float]:
    """Standard deviations about zero of a (2, n) cloud along its minor and its major axis."""
    (aa, mixed), (_, bb) = (ab @ ab.T).tolist()
    middle, reach = (aa + bb) / 2, math.hypot((aa - bb) / 2, mixed)
    return math.sqrt(max(middle - reach, 0.0) / ab.shape[1]), math.sqrt((middle + reach) / ab.shape[1])


def _less_bin_means(lightness: Floats, ab: Floats) -> Floats:
    """(2, n) a, b less the mean of the cell's lightness bin: what no toning, split tones included, explains."""
    bins = (lightness * np.float32(LIGHTNESS_BINS / 255.01)).astype(np.intp)
    count = np.maximum(np.bincount(bins, minlength=LIGHTNESS_BINS), 1)
    means = np.stack([np.bincount(bins, plane, LIGHTNESS_BINS) / count for plane in ab]).astype(np.float32)
    left: Floats = ab - means[:, bins]
    return left


def _percentiles(values: Floats, *percents: int) -> list[float]:
    ranks = [len(values) * percent // 100 for percent in percents]
    ordered = np.sort(values)  # quicker than np.partition at several ranks of so few
    return [float(ordered[rank]) for rank in ranks]


def _field(region: tuple[slice, slice]) -> Floats:
    """The rows 1, x, y, x², y², xy of a region, with x and y in −1..1 over the whole grid."""
    rows, columns = np.mgrid[-1 : 1 : GRID_ROWS * 1j, -1 : 1 : GRID_COLUMNS * 1j].astype(np.float32)
    x, y = columns[region].ravel(), rows[region].ravel()
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y])


_FIELDS = {name: _field(region) for name, region in REGIONS.items()}
