"""What `train colorize` does at full size, against simpler ways, on real photos.

    python benchmarks/fullsize.py FOLDER [--side 256]

The photos' own a and b, shrunk to the network's size, stand for a network that is always right: how far are they from
the truth when they come back to full size (mean distance in a*b*, and over the tenth of the pixels where a* changes
most)? Then with half as much chroma again: how far do lightness and hue move where that leaves sRGB? Last, CPU seconds
for 24 megapixels.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import PhotoError
from curate.image.decode import decode
from train.inference.gamut import lightness, to_srgb
from train.inference.upsample import RADIUS_PX, SMOOTHING, fit_coefficients, upsample_rows

Floats = NDArray[np.float32]
TALLEST_PX = 2000


def main() -> None:
    """Print a line for each question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=256)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    errors, moves = [], []
    for photo in sorted(options.folder.iterdir()):
        try:
            pixels = decode(photo.read_bytes()).pixels
        except PhotoError:
            continue
        pixels = pixels[:: -(-pixels.shape[0] // TALLEST_PX), :: -(-pixels.shape[0] // TALLEST_PX)]
        errors.append(upsampling(np.ascontiguousarray(pixels), options.side))
        moves.append(out_of_gamut(pixels))
    for way, (everywhere, edges) in zip(("bilinear", "guided filter", "ours"), np.mean(errors, axis=0), strict=True):
        print(
            f"upsampled from {options.side} px, {len(errors)} photos: {way:14} {everywhere:.2f}, at edges {edges:.2f}"
        )
    for way, (light, hue) in zip(("channels clipped", "ours"), np.nanmean(moves, axis=0), strict=True):
        print(f"outside sRGB: {way:17} L* off by {light:.2f}, hue by {hue:.1f} degrees")
    print(f"24 megapixels: {seconds(cv2.resize(pixels, (6000, 4000)), options.side):.2f} s of CPU on one core")


def shrunk(pixels: NDArray[np.uint8], side: int) -> tuple[Floats, Floats]:
    """L* and ab of a copy whose short side is `side`."""
    scale = side / min(pixels.shape[:2])
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    lab = lab_of(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    return np.ascontiguousarray(lab[..., 0]), np.ascontiguousarray(lab[..., 1:])


def lab_of(pixels: NDArray[np.uint8]) -> Floats:
    """CIELAB."""
    return cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)


def upsampling(pixels: NDArray[np.uint8], side: int) -> list[tuple[float, float]]:
    """(everywhere, at edges) for each way."""
    height, width = pixels.shape[:2]
    truth = lab_of(pixels)
    light, ab = shrunk(pixels, side)
    calm = cv2.GaussianBlur(truth[..., 1], (0, 0), 1)
    change = cv2.magnitude(cv2.Sobel(calm, -1, 1, 0), cv2.Sobel(calm, -1, 0, 1))
    edges = change > np.quantile(change, 0.9)
    ways = (
        cv2.resize(ab, (width, height), interpolation=cv2.INTER_LINEAR),
        upsample_rows(published(light, ab), 0, truth[..., 0], height),
        upsample_rows(fit_coefficients(light, ab), 0, truth[..., 0], height),
    )
    off = [np.hypot(*np.moveaxis(way - truth[..., 1:], -1, 0)) for way in ways]
    return [(float(far.mean()), float(far[edges].mean())) for far in off]


def published(light: Floats, ab: Floats) -> Floats:
    """Coefficients as He and Sun smooth them, all four."""
    window = (2 * RADIUS_PX + 1,) * 2
    mean_light, mean_ab = cv2.blur(light, window), cv2.blur(ab, window)
    variance = cv2.blur(light * light, window) - mean_light * mean_light
    covariance = cv2.blur(ab * light[..., None], window) - mean_ab * mean_light[..., None]
    slope = covariance / (variance + SMOOTHING)[..., None]
    return cv2.blur(np.concatenate([slope, mean_ab - slope * mean_light[..., None]], axis=-1), window)


def out_of_gamut(pixels: NDArray[np.uint8]) -> list[tuple[float, float]]:
    """(L*, degrees) for each way, where half as much chroma again leaves sRGB; NaN where nowhere."""
    lab = lab_of(pixels) * np.float32([1, 1.5, 1.5])
    clipped = (np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 1) * 255).round().astype(np.uint8)
    kept = to_srgb(np.ascontiguousarray(lab[..., 0]), np.ascontiguousarray(lab[..., 1:]))
    outside = (np.hypot(*np.moveaxis(lab_of(kept)[..., 1:] - lab[..., 1:], -1, 0)) > 5) & (lab[..., 0] < 99)
    if not outside.any():
        return [(np.nan, np.nan)] * 2
    return [moved(lab_of(way)[outside], lab[outside]) for way in (clipped, kept)]


def moved(result: Floats, asked: Floats) -> tuple[float, float]:
    """Mean distance in L*, and in hue, of (N, 3) CIELAB."""
    turn = np.degrees(np.arctan2(result[:, 2], result[:, 1]) - np.arctan2(asked[:, 2], asked[:, 1]))
    return float(np.abs(result[:, 0] - asked[:, 0]).mean()), float(np.abs((turn + 180) % 360 - 180).mean())


def seconds(pixels: NDArray[np.uint8], side: int) -> float:
    """CPU time of lightness, upsampling and the way back to sRGB."""
    small = fit_coefficients(*shrunk(pixels, side))
    began = time.process_time()
    rows = max(1, 100_000 // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        light = lightness(pixels[top : top + rows])
        to_srgb(light, upsample_rows(small, top, light, len(pixels)))
    return time.process_time() - began


if __name__ == "__main__":
    main()
