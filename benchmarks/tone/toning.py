"""Make toned monochrome pictures from photos: toning, age, scanners and software.

A change takes (H, W, 3) uint8 sRGB and a random generator and returns (h, w, 3) uint8 sRGB. Chromas are in CIELAB
units, lightness is L 0..100, angles are CIELAB hues in degrees.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.image.decode import decode_bytes

Rgb = NDArray[np.uint8]
Floats = NDArray[np.float32]
Change = Callable[[Rgb, np.random.Generator], Rgb]

SEPIA_MATRIX = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]], np.float32)
"""The matrix that nearly every program calls sepia; its rows are R, G, B."""
CHECKER = np.array(
    [
        *([0, 90, 170], [0, 150, 80], [230, 220, 40], [200, 30, 40]),
        *([200, 50, 130], [240, 240, 240], [120, 120, 120], [20, 20, 20]),
    ],
    np.uint8,
)
"""The patches of a colour checker that lies beside a print."""


def jpeg(rgb: Rgb, quality: int, subsampling: int) -> Rgb:
    """Encode as JPEG and decode; subsampling 0 is 4:4:4, 2 is 4:2:0."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return decode_bytes(file.getvalue()).pixels


def some_jpeg(rgb: Rgb, rng: np.random.Generator, lowest: int = 60) -> Rgb:
    """Encode as a JPEG of quality `lowest` to 95, 4:4:4 or 4:2:0, and decode."""
    return jpeg(rgb, int(rng.integers(lowest, 96)), int(rng.choice([0, 2])))


def to_lab(rgb: Rgb) -> Floats:
    """(H, W, 3) float32 CIELAB, L 0..100."""
    return np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def from_lab(lab: NDArray[Any]) -> Rgb:
    """CIELAB to uint8 sRGB, clipped."""
    return rounded(cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB) * 255)


def rounded(levels: NDArray[Any]) -> Rgb:
    """Levels to uint8, clipped to 0..255."""
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)


def gray(rgb: Rgb) -> NDArray[np.uint8]:
    """(H, W) uint8 luma."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def hue(degrees: float) -> Floats:
    """(2,) unit vector a, b."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


def field(shape: tuple[int, ...], rng: np.random.Generator, cells: int) -> Floats:
    """(H, W) smooth random field in 0..1 for a picture of shape (H, W, ...)."""
    coarse = rng.random((cells + 1, cells + 1)).astype(np.float32)
    fine = cv2.resize(coarse, shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip((fine - fine.min()) / (np.ptp(fine) + 1e-6), 0, 1), np.float32)


def rotate_hue(rgb: Rgb, degrees: float) -> Rgb:
    """Every colour turned about the gray axis of CIELAB."""
    lab = to_lab(rgb)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    lab[..., 1:] = lab[..., 1:] @ np.array([[cos, sin], [-sin, cos]], np.float32)
    return from_lab(lab)


def matrix_sepia(rgb: Rgb, strength: float) -> Rgb:
    """The usual sepia filter, mixed with gray: 0 is gray, 1 the whole matrix, whose lights clip to cream."""
    luma = gray(rgb)[..., None].astype(np.float32)
    return rounded((1 - strength) * luma + strength * (np.repeat(luma, 3, 2) @ SEPIA_MATRIX.T))


def sepia(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """The usual sepia filter at a strength of 0.3 to 1."""
    return matrix_sepia(rgb, rng.uniform(0.3, 1))


def duotone(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """One hue of any angle, its chroma some curve over lightness."""
    lightness = to_lab(rgb)[..., 0]
    chroma, angle = rng.uniform(5, 32), rng.uniform(0, 360)
    lightness = lightness * rng.uniform(0.7, 1) + rng.uniform(0, 10)
    return from_lab(np.dstack([lightness, (chroma * _bath(lightness, rng))[..., None] * hue(angle)]))


def selenium(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Purplish darks, neutral lights."""
    lightness = to_lab(rgb)[..., 0]
    chroma = rng.uniform(4, 14) * np.clip(1 - lightness / rng.uniform(60, 110), 0, 1)
    return from_lab(np.dstack([lightness, chroma[..., None] * hue(rng.uniform(-40, 40))]))


def cyanotype(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Prussian blue to a pale ground, in sRGB."""
    tone = (gray(rgb).astype(np.float32) / 255)[..., None]
    dark = np.array([rng.uniform(0, 40), rng.uniform(20, 70), rng.uniform(60, 120)], np.float32)
    light = np.array([rng.uniform(200, 245), rng.uniform(220, 250), rng.uniform(225, 255)], np.float32)
    return rounded(dark + (light - dark) * tone ** rng.uniform(0.7, 1.3))


def split(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Darks of one hue, lights of another."""
    lightness = to_lab(rgb)[..., 0]
    light = np.clip((lightness / 100 - 0.5) * rng.uniform(1, 2.5) + 0.5, 0, 1)[..., None]
    angle = rng.uniform(0, 360)
    apart = rng.uniform(90, 270)
    ab = (1 - light) * hue(angle) * rng.uniform(6, 22) + light * hue(angle + apart) * rng.uniform(6, 22)
    return from_lab(np.dstack([lightness, ab]))


def fade(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Albumen: low contrast, yellow lights, pinkish-brown darks, paler towards some edges."""
    lightness = to_lab(rgb)[..., 0]
    lightness = rng.uniform(15, 35) + lightness * rng.uniform(0.5, 0.7)
    light = (lightness / 100)[..., None]
    ab = light * hue(rng.uniform(70, 100)) * rng.uniform(12, 30)
    ab = ab + (1 - light) * hue(rng.uniform(30, 70)) * rng.uniform(6, 20)
    paler = field(lightness.shape, rng, 2)
    much = rng.uniform(0.1, 0.5)
    return from_lab(np.dstack([lightness + 12 * much * paler, ab * (1 - much * paler[..., None])]))


def noisy(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Any toning with chroma noise, fine or coarse as in scaled-down scans."""
    lab = to_lab(_any_tone(rgb, rng))
    noise = rng.normal(0, rng.uniform(3, 8), lab[..., 1:].shape).astype(np.float32)
    if rng.random() < 0.5:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 1) * 2, np.float32)
    lab[..., 1:] += noise
    return from_lab(lab)


def vignetted(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Any toning, lighter or darker, paler or stronger, and cast towards the edges."""
    lab = to_lab(_any_tone(rgb, rng))
    rows, columns = np.mgrid[-1 : 1 : lab.shape[0] * 1j, -1 : 1 : lab.shape[1] * 1j].astype(np.float32)
    squares = (columns - rng.uniform(-0.2, 0.2)) ** 2 + (rows - rng.uniform(-0.2, 0.2)) ** 2
    edge = np.clip(squares / rng.uniform(1.2, 2.2), 0, 1)[..., None]
    lab[..., :1] *= 1 - rng.uniform(-0.3, 0.6) * edge
    lab[..., 1:] *= 1 - rng.uniform(-0.6, 0.9) * edge
    lab[..., 1:] += edge * hue(rng.uniform(0, 360)) * rng.uniform(0, 8)
    return from_lab(lab)


def stained(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Any toning with one to three stains, mostly brown, with soft or hard edges."""
    out = _any_tone(rgb, rng).astype(np.float32)
    tint = np.array([rng.uniform(150, 230), rng.uniform(110, 190), rng.uniform(60, 150)], np.float32) / 255
    if rng.random() < 0.3:
        tint = tint[rng.permutation(3)]
    for _ in range(rng.integers(1, 4)):
        cloud = field(out.shape, rng, int(rng.integers(2, 7)))
        line = rng.uniform(0.45, 0.75)
        stain = np.clip((cloud - line) / rng.uniform(0.03, 0.3), 0, 1)[..., None] * rng.uniform(0.15, 0.6)
        out = out * (1 - stain + stain * tint)
    return rounded(out)


def mount(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """A toned (one in five: gray) print on a mount of its own colour, with uneven margins, a little turned."""
    framed = np.dstack([gray(rgb)] * 3) if rng.random() < 0.2 else _any_tone(rgb, rng)
    if rng.random() < 0.3:
        framed = vignetted(rgb, rng)
    height, width = framed.shape[:2]
    top, left, bottom, right = (rng.uniform(0.02, 0.22, 4) * [height, width, height, width]).astype(int)
    size = (height + top + bottom, width + left + right)
    board = np.ones((*size, 3), np.float32) * _board(rng) * (0.92 + 0.16 * field(size, rng, 3)[..., None])
    board += rng.normal(0, 3, (*size, 1))
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-2, 2), 1)
    turn[:, 2] += [left, top]
    laid = cv2.warpAffine(framed, turn, size[::-1])
    covers = cv2.warpAffine(np.full((height, width), 255, np.uint8), turn, size[::-1])[..., None] / 255.0
    out = board * (1 - covers) + laid * covers
    if rng.random() < 0.35:
        _scanner_bed(out, rng)
    return rounded(out)


def caption(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Any toning with a caption strip, a stamp or a colour checker over 2 to 8 % of it."""
    out = _any_tone(rgb, rng).copy()
    (_strip, _stamp, _checker)[rng.integers(3)](out, rng)
    return out


def tinted(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Hand-tinted: the true colour, paled and smoothed, over part of a toned print. Neither toned nor colour."""
    lab = to_lab(_any_tone(rgb, rng))
    colour = cv2.GaussianBlur(to_lab(rgb)[..., 1:], (0, 0), 5)
    where = (np.clip((field(lab.shape, rng, 4) - 0.5) / 0.15, 0, 1) * rng.uniform(0.4, 0.9))[..., None]
    lab[..., 1:] = lab[..., 1:] * (1 - where) + colour * where
    return from_lab(lab)


def strong(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """A strong tone as on old cards: a curve for each channel, so the hue turns with lightness; half fade unevenly."""
    order = np.arange(3) if rng.random() < 0.65 else rng.permutation(3)
    dark = rng.uniform(0, 0.25) * np.sort(rng.random(3))[::-1][order]
    light = 1 - rng.random() * np.sort(rng.uniform(0, 0.45, 3))[order]
    gammas = np.sort(rng.uniform(0.45, 2.2, 3))[order]
    curves = dark + (light - dark) * _developed(rng)[:, None] ** gammas
    out = curves.astype(np.float32)[gray(rgb)]
    if rng.random() < 0.5:
        paler = rng.uniform(0.1, 0.6) * field(out.shape, rng, int(rng.integers(1, 4)))[..., None]
        out = out * (1 - paler) + paler * out.mean(axis=2, keepdims=True)
    return rounded(out * 255)


TONING: Mapping[str, Change] = {
    change.__name__: change
    for change in (sepia, duotone, selenium, cyanotype, split, fade, noisy, vignetted, stained, mount, caption, strong)
}


def _any_tone(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    return (sepia, duotone, duotone, selenium, cyanotype, split, fade)[rng.integers(7)](rgb, rng)


def _bath(lightness: Floats, rng: np.random.Generator) -> Floats:
    """How much chroma a toning bath leaves at a lightness, 0..1: one of five curves."""
    tone = lightness / 100
    arch = 4 * tone * (1 - tone)
    curves = (arch, 1 - tone * 0.8, 0.2 + 0.8 * tone, np.sqrt(np.clip(arch, 0, 1)), np.ones_like(tone) * 0.9)
    return np.asarray(curves[rng.integers(5)], np.float32)


def _developed(rng: np.random.Generator) -> NDArray[np.float64]:
    """(256,) tone 0..1 of each level: contrast, gamma, an S and the paper's range, clipped."""
    levels = np.clip(np.linspace(-0.5, 0.5, 256) * rng.uniform(0.7, 1.5) + rng.uniform(0.42, 0.58), 0, 1)
    levels **= rng.uniform(0.4, 2.2)
    bent = rng.random()
    levels = (1 - bent) * levels + bent * levels**2 * (3 - 2 * levels)
    return np.clip(rng.uniform(-0.15, 0.35) * (1 - levels) + rng.uniform(0.6, 1.25) * levels, 0, 1)


def _board(rng: np.random.Generator) -> NDArray[np.float64]:
    """(3,) levels of a mount: cream, gray, tan or any colour."""
    choice = rng.integers(4)
    if choice == 0:
        return np.array([rng.uniform(195, 250)] * 3) - [0, rng.uniform(2, 15), rng.uniform(8, 45)]
    if choice == 1:
        return np.array([rng.uniform(100, 225)] * 3) + rng.uniform(-10, 10, 3)
    if choice == 2:
        return np.array([rng.uniform(140, 220)] * 3) - [0, rng.uniform(15, 50), rng.uniform(40, 100)]
    return np.array([rng.uniform(30, 220)] * 3) + rng.uniform(-45, 45, 3)


def _scanner_bed(out: NDArray[Any], rng: np.random.Generator) -> None:
    """Black or white around the mount, in place."""
    edge = max(1, int(rng.uniform(0.01, 0.05) * out.shape[1]))
    level = rng.choice([8, 250])
    out[:edge] = out[-edge:] = level
    out[:, :edge] = out[:, -edge:] = level


def _strip(out: Rgb, rng: np.random.Generator) -> None:
    height = out.shape[0]
    thick = int(height * rng.uniform(0.03, 0.08))
    rows = slice(height - thick, height) if rng.random() < 0.5 else slice(0, thick)
    out[rows] = rng.integers(0, 256, 3)
    ink = [int(level) for level in rng.integers(0, 256, 3)]
    cv2.putText(out, "No. 4711  Main Street", (5, rows.stop - 3), 0, thick / 35, ink, 1)


def _stamp(out: Rgb, rng: np.random.Generator) -> None:
    height, width = out.shape[:2]
    radius = int(np.sqrt(height * width * rng.uniform(0.02, 0.06) / np.pi))
    centre = (int(rng.uniform(0.1, 0.9) * width), int(rng.uniform(0.1, 0.9) * height))
    ink = [int(level) for level in rng.integers(0, 256, 3)]
    cv2.circle(out, centre, radius, ink, -1 if rng.random() < 0.4 else max(2, radius // 4))


def _checker(out: Rgb, rng: np.random.Generator) -> None:
    height, width = out.shape[:2]
    wide = max(6, int(width * rng.uniform(0.03, 0.08)))
    for i, patch in enumerate(CHECKER):
        out[height * i // 8 : height * (i + 1) // 8, width - wide :] = patch
