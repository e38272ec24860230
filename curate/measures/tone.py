"""Is it a colour photo, or a monochrome one: gray, sepia, or toned in another hue?

A toned monochrome is a photo whose colour is a function of its lightness (the toning), plus something smooth over the
picture (fading, stains, the scanner's light), plus a minority of foreign pixels (a mount, a caption). So that much is
explained away, over the whole picture, over its middle and in small windows, and what is left is looked at. What fading
and ageing leave lies along one direction of hue; true colour has several, so the spread *across* the main direction
(the minor axis) says most, and percentiles say more than means, because stains and captions are local.

Three rules, in this order:

1. `grayscale`: hardly any chroma anywhere (mean and 99th percentile).
2. toned: one ratio R : G : B throughout a photo with a range of brightness, which is what toning by a matrix leaves;
   or a small network on the features below, with weights learned from labelled photos (`tone_weights`). No feature
   knows an absolute hue.
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

from curate.measures.tone_weights import CLIP, FEATURES, HIDDEN, HIDDEN_BIAS, OUTPUT, OUTPUT_BIAS

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

GRID_COLUMNS, GRID_ROWS = 40, 32
"""Nearly all is measured on so few cells, where JPEG's chroma noise has averaged out."""
REGIONS: Mapping[str, tuple[slice, slice]] = {
    "": (slice(0, 32), slice(0, 40)),
    "mid_": (slice(6, 26), slice(8, 32)),  # the central 60 % of each side: a mount seldom reaches it
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
    """RMS distance of (a, b) from the best cubic curve in lightness: near 0 for any even toning, however coloured."""
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
    gray = max(found["chroma_ab"] / GRAY_CHROMA_MEAN, found["chroma_p99_ab"] / GRAY_CHROMA_P99)
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
        verdict = "sepia" if SEPIA_HUE_DEG[0] <= found["tone_hue_deg"] <= SEPIA_HUE_DEG[1] else "toned"
        confidence = confidence if score > 0 else 0.5
    return ToneMeasure(
        tone=verdict,
        tone_score=score,
        tone_confidence=confidence,
        tone_chroma=found["chroma_ab"],
        tone_chroma_p99=found["chroma_p99_ab"],
        tone_residual=found["curve_rms_ab"],
        tone_ratio_residual=found["ratio_p90_levels"],
        tone_hue_deg=found["tone_hue_deg"],
    )


def log_odds(found: Mapping[str, float]) -> float:
    """The network: log(1 + feature), standardised and clipped, one layer of tanh, less the threshold."""
    inputs = np.clip(
        (np.log1p(np.array([found[name] for name in FEATURES], np.float32)) - _MEAN) / _DEVIATION, -CLIP, CLIP
    )
    return float(np.tanh(inputs @ _HIDDEN + _HIDDEN_BIAS) @ _OUTPUT) + OUTPUT_BIAS


def features(small: NDArray[np.uint8]) -> dict[str, float]:
    """Everything that a verdict is drawn from. Chromas are in CIELAB units (`_ab`), brightness in levels of 255.

    Args:
        small: (h, w, 3) uint8 sRGB.

    Returns:
        By name; `mid_` is of the central 60 % of each side, all else of the whole picture:

        - `noise_ab`: chroma noise, differences of neighbouring pixels less what follows lightness
        - `ratio_p70_levels`, `ratio_p90_levels`: percentiles of the distance from one ratio R : G : B;
          `brightness_spread_levels`: standard deviation of the brightness of the same cells
        - `local5_...`, `local9_...`: of what lightness leaves unexplained in windows of 5 and 9 cells, percentiles of
          the minor axis (`minor`) and of the total spread (`total`)
        - `detail_...`: of the detail (cells less their 5 x 5 mean), what a slope on lightness leaves, which may vary
          with lightness and place: percentiles; `detail_all_minor_ab`: the minor axis of the detail itself
        - `smooth_...`: of what lightness and a smooth field leave (fitted robustly): minor and major axis, of the best
          85 % (`kept`), of blocks of 4 x 4 cells, where noise has averaged out (`block`), percentiles
        - `curve_...`: of what a cubic in lightness alone leaves: percentiles, RMS, minor axis
        - `minor_ab`, `mid_major_ab`: axes of (a, b) about their mean; `lightness_spread`: standard deviation of L
        - `chroma_ab`, `chroma_p99_ab`, `mid_chroma_p50_ab`: mean and percentiles of chroma
        - `across_p75_ab`, `mid_across_p75_ab`: 75th percentile of chroma across the median hue
        - `tone_hue_deg`: hue of the mean colour; only names what was found toned
    """
    grid = np.asarray(cv2.resize(small, (GRID_COLUMNS, GRID_ROWS), interpolation=cv2.INTER_AREA), np.float32)
    lab = np.asarray(cv2.cvtColor(grid * np.float32(1 / 255), cv2.COLOR_RGB2LAB), np.float32)
    found = {"noise_ab": _noise(small)}
    found |= _ratio(small, np.ascontiguousarray(grid.reshape(-1, 3).T))
    means = _local(lab, 5, found)
    _local(lab, 9, found)
    for name, region in REGIONS.items():
        planes = _rows(lab[region])
        tonal = planes[0] * np.float32(0.02) - 1
        _region(name, planes, tonal, found)
        if not name:
            _detail(_rows(lab - means), tonal, found)
    return {name: float(value) for name, value in found.items()}


def _rows(part: Floats) -> Floats:
    """(n, 3) or (rows, columns, 3) as (3, n)."""
    return np.ascontiguousarray(part.reshape(-1, 3).T)


def _noise(small: NDArray[np.uint8]) -> float:
    lab = cv2.cvtColor(np.ascontiguousarray(small[::4]), cv2.COLOR_RGB2LAB).astype(np.float32)
    if lab.shape[1] < 2:
        return 0.0
    steps = (lab[:, 1:] - lab[:, :-1]).reshape(-1, 3)
    moments = steps.T @ steps / len(steps)
    slope = moments[0, 1:] / (moments[0, 0] + 4)
    left = moments[1, 1] + moments[2, 2] - 2 * (slope @ moments[0, 1:]) + (slope @ slope) * moments[0, 0]
    return math.sqrt(max(float(left), 0.0))


def _ratio(small: NDArray[np.uint8], cells: Floats) -> dict[str, float]:
    """How far the (3, n) R, G, B of the grid's cells lie from one ratio.

    Toning by a matrix keeps the ratio, and averaging pixels keeps it too, until a channel clips: so cells with a
    clipped pixel in or beside them are left out, and those too dark to have a ratio.
    """
    red, green, blue = cv2.split(small)
    brightest = cv2.dilate(cv2.max(cv2.max(red, green), blue), np.ones((5, 5), np.uint8))
    unclipped = cv2.resize(brightest, (GRID_COLUMNS, GRID_ROWS), interpolation=cv2.INTER_NEAREST).ravel() < 245
    top = _highest(cells)
    chosen = cells[:, unclipped & (top > 20) & (top < 225)]
    if 10 * chosen.shape[1] < cells.shape[1]:
        chosen = cells[:, (top > 20) & (top < 200)]
    if 10 * chosen.shape[1] < cells.shape[1]:
        chosen = cells
    brightness = (chosen[0] + chosen[1] + chosen[2]) * np.float32(1 / 3)
    ratio = chosen @ brightness / (brightness @ brightness + np.float32(1e-6))
    rank = len(brightness) * 7 // 10
    for _ in range(2):  # fit again without the worst 30 %
        error = _highest(np.abs(chosen - ratio[:, None] * brightness))
        kept = error <= np.partition(error, rank)[rank]
        ratio = chosen[:, kept] @ brightness[kept] / (brightness[kept] @ brightness[kept] + np.float32(1e-6))
    left = chosen - ratio[:, None] * brightness
    ordered = np.sqrt(np.sort(left[0] ** 2 + left[1] ** 2 + left[2] ** 2))
    return {
        "ratio_p70_levels": ordered[len(ordered) * 7 // 10],
        "ratio_p90_levels": ordered[len(ordered) * 9 // 10],
        "brightness_spread_levels": float(brightness.std()),
    }


def _highest(planes: Floats) -> Floats:
    """(n,) maximum of three (n,) planes."""
    top: Floats = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
    return top


def _local(lab: Floats, cells: int, found: dict[str, float]) -> Floats:
    """Adds what lightness leaves unexplained in windows of so many cells; gives their (rows, columns, 3) means."""
    products = np.concatenate([lab, lab * lab, lab[..., :1] * lab[..., 1:], lab[..., 1:2] * lab[..., 2:]], axis=2)
    means = np.asarray(cv2.blur(products, (cells, cells)), np.float32)
    light, a, b, light2, a2, b2, light_a, light_b, ab = np.ascontiguousarray(means.transpose(2, 0, 1))
    spread, follows_a, follows_b = light2 - light * light + 2, light_a - light * a, light_b - light * b
    left_a, left_b = a2 - a * a - follows_a * follows_a / spread, b2 - b * b - follows_b * follows_b / spread
    total = left_a + left_b
    minor = total / 2 - np.sqrt((left_a - left_b) ** 2 / 4 + (ab - a * b - follows_a * follows_b / spread) ** 2)
    _percentiles(f"local{cells}_minor", minor, (25, 50, 75, 90) if cells == 5 else (25, 50, 90), found)
    if cells == 5:
        _percentiles("local5_total", total, (50,), found)
        _percentiles("mid_local5_minor", minor[REGIONS["mid_"]], (25, 50), found)
    return means[..., :3]


def _detail(detail: Floats, tonal: Floats, found: dict[str, float]) -> None:
    """The (3, n) detail of L, a, b of the whole picture, whose lightness is (n,) tonal, -1..1."""
    lightness, ab = detail[0], detail[1:]
    x, y, field = _FIELDS[""]
    power = float(lightness @ lightness) / len(lightness)
    left = _residual(np.stack([field[0], tonal, tonal * tonal, x, y]) * lightness, ab, 1e-3 * max(1.0, power))
    found["detail_all_minor_ab"] = _axes(ab)[0]
    _percentiles("detail", left[0] ** 2 + left[1] ** 2, (50, 90), found)


def _region(name: str, planes: Floats, tonal: Floats, found: dict[str, float]) -> None:
    """The statistics of the (3, n) L, a, b of a region, its lightness also as (n,) tonal, -1..1."""
    ab = planes[1:]
    chroma = np.sqrt(ab[0] ** 2 + ab[1] ** 2)
    mean, median = ab.mean(axis=1), np.array([_nth(ab[0], 50), _nth(ab[1], 50)])
    along = median / (math.hypot(*median) + 1e-6)
    _percentiles(f"{name}across", (ab[1] * along[0] - ab[0] * along[1]) ** 2, (75,), found)
    curve = _residual(np.stack([_FIELDS[name][2][0], tonal, tonal * tonal, tonal * tonal * tonal]), ab)
    axes, rest = _axes(ab - mean[:, None]), _axes(curve)
    if name:
        found |= {"mid_major_ab": axes[1], "mid_curve_minor_ab": rest[0], "mid_curve_rms_ab": math.hypot(*rest)}
        found["mid_chroma_p50_ab"] = _nth(chroma, 50)
    else:
        found |= {"minor_ab": axes[0], "curve_rms_ab": math.hypot(*rest), "lightness_spread": float(planes[0].std())}
        found |= {"chroma_ab": float(chroma.mean()), "chroma_p99_ab": _nth(chroma, 99)}
        found["tone_hue_deg"] = math.degrees(math.atan2(mean[1], mean[0])) % 360
        _percentiles("curve", curve[0] ** 2 + curve[1] ** 2, (50, 75, 90), found)
    _smooth(name, tonal, ab, found)


def _smooth(name: str, tonal: Floats, ab: Floats, found: dict[str, float]) -> None:
    """What lightness and a smooth field over the region leave, fitted again without the worst fifth of the cells."""
    x, y, field = _FIELDS[name]
    basis = np.concatenate([field, tonal * np.stack([field[0], tonal, tonal * tonal, x, y, field[3], field[4]])])
    left = _residual(basis, ab)
    squares = left[0] ** 2 + left[1] ** 2
    left = _residual(basis, ab, weights=(squares <= _nth(squares, 80)).astype(np.float32))
    squares = left[0] ** 2 + left[1] ** 2
    rows, columns = (part.stop - part.start for part in REGIONS[name])
    blocks = _resized(left.T.reshape(rows, columns, 2), columns // 4, rows // 4).reshape(-1, 2).T
    minor, major = _axes(left)
    found[f"{name}smooth_minor_ab"] = minor
    found[f"{name}smooth_kept_minor_ab"] = _axes(left[:, squares <= _nth(squares, 85)])[0]
    found[f"{name}smooth_block_major_ab"] = _axes(blocks)[1]
    _percentiles(f"{name}smooth", squares, (97,) if name else (90,), found)
    if name:
        found["mid_smooth_major_ab"] = major
    else:
        _percentiles("smooth_block", blocks[0] ** 2 + blocks[1] ** 2, (50,), found)


def _residual(basis: Floats, ab: Floats, ridge: float = 2e-3, weights: Floats | None = None) -> Floats:
    """What a slightly ridged (weighted) least-squares fit of (2, n) a, b on (k, n) basis rows leaves."""
    weighted = basis if weights is None else basis * weights
    gram = weighted @ basis.T
    gram.flat[:: len(gram) + 1] += ridge * (basis.shape[1] if weights is None else float(weights.sum()))
    _, fitted = cv2.solve(gram, weighted @ ab.T, flags=cv2.DECOMP_CHOLESKY)
    left: Floats = ab - fitted.T @ basis
    return left


def _axes(ab: Floats) -> tuple[float, float]:
    """Standard deviations about zero of a (2, n) cloud along its minor and its major axis."""
    (aa, mixed), (_, bb) = (ab @ ab.T).tolist()
    middle, reach = (aa + bb) / 2, math.hypot((aa - bb) / 2, mixed)
    return math.sqrt(max(middle - reach, 0.0) / ab.shape[1]), math.sqrt((middle + reach) / ab.shape[1])


def _nth(values: Floats, percent: int) -> float:
    rank = len(values) * percent // 100
    return float(np.partition(values, rank)[rank])


def _percentiles(name: str, squares: Floats, percents: tuple[int, ...], found: dict[str, float]) -> None:
    """Adds the roots of percentiles of squared chromas, as `..._p50_ab`."""
    ranks = [squares.size * percent // 100 for percent in percents]
    ordered = np.sort(squares, axis=None)
    for percent, rank in zip(percents, ranks, strict=True):
        found[f"{name}_p{percent}_ab"] = math.sqrt(max(float(ordered[rank]), 0.0))


def _resized(image: NDArray[Any], columns: int, rows: int) -> NDArray[Any]:
    return cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)


def _field(region: tuple[slice, slice]) -> tuple[Floats, Floats, Floats]:
    """x, y and the rows 1, x, y, x², y², xy of a region, with x and y in −1..1 over the whole grid."""
    rows, columns = np.mgrid[-1 : 1 : GRID_ROWS * 1j, -1 : 1 : GRID_COLUMNS * 1j].astype(np.float32)
    x, y = columns[region].ravel(), rows[region].ravel()
    return x, y, np.stack([np.ones_like(x), x, y, x * x, y * y, x * y])


_FIELDS = {name: _field(region) for name, region in REGIONS.items()}
_MEAN, _DEVIATION = np.array(list(FEATURES.values()), np.float32).reshape(-1, 2).T
_HIDDEN, _HIDDEN_BIAS, _OUTPUT = (np.array(table, np.float32) for table in (HIDDEN, HIDDEN_BIAS, OUTPUT))
