"""Compare the full-size colours of `train colorize` with simpler methods, on real photos.

    python benchmarks/fullsize.py FOLDER [--side 256]

1. Upsampling: a* and b* of the photo, reduced to the size of the network, are used as the prediction of a perfect
   network. Printed is the mean distance in a*b* to the original after upsampling, over all pixels and over the tenth of
   the pixels where a* changes most (edges).
2. Gamut: the chroma is multiplied by 1.5. Printed is the change of lightness and hue where the result is outside sRGB.
3. Speed: CPU seconds for 24 megapixels.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import PhotoError
from curate.image.decode import decode_bytes
from train.inference.gamut import lightness, to_srgb
from train.inference.upsample import RADIUS_PX, SMOOTHING, fit_coefficients, upsample_rows

Floats = NDArray[np.float32]
TALLEST_PX = 2000


def main() -> None:
    """Print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=256)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    errors, changes = [], []
    for photo in sorted(options.folder.iterdir()):
        try:
            pixels = decode_bytes(photo.read_bytes()).pixels
        except PhotoError:
            continue
        pixels = pixels[:: -(-pixels.shape[0] // TALLEST_PX), :: -(-pixels.shape[0] // TALLEST_PX)]
        errors.append(upsampling_distances(np.ascontiguousarray(pixels), options.side))
        changes.append(out_of_gamut_changes(pixels))
    for method, (everywhere, edges) in zip(
        ("bilinear", "guided filter", "vividset"), np.mean(errors, axis=0), strict=True
    ):
        print(
            f"upsampled from {options.side} px, {len(errors)} photos: "
            f"{method:14} {everywhere:.2f}, at edges {edges:.2f}"
        )
    for method, (light, hue) in zip(("channels clipped", "vividset"), np.nanmean(changes, axis=0), strict=True):
        print(f"outside sRGB: {method:17} L* off by {light:.2f}, hue by {hue:.1f} degrees")
    large = np.asarray(cv2.resize(pixels, (6000, 4000)), np.uint8)
    print(f"24 megapixels: {cpu_s(large, options.side):.2f} s of CPU on one core")


def reduced_lab(pixels: NDArray[np.uint8], side: int) -> tuple[Floats, Floats]:
    """L* (h, w) and ab (h, w, 2) of a copy whose short side is `side` px."""
    scale = side / min(pixels.shape[:2])
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    lab = lab_of(np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8))
    return np.ascontiguousarray(lab[..., 0]), np.ascontiguousarray(lab[..., 1:])


def lab_of(pixels: NDArray[np.uint8]) -> Floats:
    """(H, W, 3) uint8 sRGB to CIELAB."""
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)


def upsampling_distances(pixels: NDArray[np.uint8], side: int) -> list[tuple[float, float]]:
    """Mean distance to the original (everywhere, at edges) for each upsampling method."""
    height, width = pixels.shape[:2]
    truth = lab_of(pixels)
    light, ab = reduced_lab(pixels, side)
    smoothed = cv2.GaussianBlur(truth[..., 1], (0, 0), 1)
    change = cv2.magnitude(cv2.Sobel(smoothed, -1, 1, 0), cv2.Sobel(smoothed, -1, 0, 1))
    edges = change > np.quantile(change, 0.9)
    predictions = (
        cv2.resize(ab, (width, height), interpolation=cv2.INTER_LINEAR),
        upsample_rows(guided_filter_coefficients(light, ab), 0, truth[..., 0], height),
        upsample_rows(fit_coefficients(light, ab), 0, truth[..., 0], height),
    )
    distances = [np.hypot(*np.moveaxis(predicted - truth[..., 1:], -1, 0)) for predicted in predictions]
    return [(float(distance.mean()), float(distance[edges].mean())) for distance in distances]


def guided_filter_coefficients(light: Floats, ab: Floats) -> Floats:
    """Coefficients of the guided filter as He and Sun define it: slopes and offsets are averaged."""
    window = (2 * RADIUS_PX + 1,) * 2
    mean_light, mean_ab = cv2.blur(light, window), cv2.blur(ab, window)
    variance = cv2.blur(light * light, window) - mean_light * mean_light
    covariance = cv2.blur(ab * light[..., None], window) - mean_ab * mean_light[..., None]
    slope = covariance / (variance + SMOOTHING)[..., None]
    coefficients = np.concatenate([slope, mean_ab - slope * mean_light[..., None]], axis=-1)
    return np.asarray(cv2.blur(coefficients, window), np.float32)


def out_of_gamut_changes(pixels: NDArray[np.uint8]) -> list[tuple[float, float]]:
    """Change of L* and of hue (degrees) for each method, where 1.5 times the chroma is outside sRGB; else NaN."""
    lab = lab_of(pixels) * np.array([1, 1.5, 1.5], np.float32)
    clipped = (np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 1) * 255).round().astype(np.uint8)
    kept = to_srgb(np.ascontiguousarray(lab[..., 0]), np.ascontiguousarray(lab[..., 1:]))
    outside = (np.hypot(*np.moveaxis(lab_of(kept)[..., 1:] - lab[..., 1:], -1, 0)) > 5) & (lab[..., 0] < 99)
    if not outside.any():
        return [(np.nan, np.nan)] * 2
    return [mean_change(lab_of(result)[outside], lab[outside]) for result in (clipped, kept)]


def mean_change(result: Floats, wanted: Floats) -> tuple[float, float]:
    """Mean absolute change of L* and of hue in degrees, for two (N, 3) arrays of CIELAB."""
    turn = np.degrees(np.arctan2(result[:, 2], result[:, 1]) - np.arctan2(wanted[:, 2], wanted[:, 1]))
    return float(np.abs(result[:, 0] - wanted[:, 0]).mean()), float(np.abs((turn + 180) % 360 - 180).mean())


def cpu_s(pixels: NDArray[np.uint8], side: int) -> float:
    """CPU seconds of lightness, upsampling and conversion to sRGB."""
    small = fit_coefficients(*reduced_lab(pixels, side))
    start_s = time.process_time()
    rows = max(1, 100_000 // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        light = lightness(pixels[top : top + rows])
        to_srgb(light, upsample_rows(small, top, light, len(pixels)))
    return time.process_time() - start_s


if __name__ == "__main__":
    main()
