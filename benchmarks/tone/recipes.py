"""What the tone rule is learned from: random toning recipes and damage, kept apart from what it is judged on.

The kinds of `toning.py` are for judging only. A recipe here is drawn anew for every picture: a gray mix, a way to
tone it, and none to three kinds of damage. The same damage falls on colour photos (`colour`), so that a caption, a
mount, a stain or noise is no sign of toning. (H, W, 3) uint8 sRGB in and out, as in `toning.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from toning import Change, Floats, Rgb, field, from_lab, hue, jpeg, rounded, to_lab

Generator = np.random.Generator
Levels = NDArray[Any]


def recipe(rgb: Rgb, rng: Generator) -> Rgb:
    """A toned monochrome: gray, tone, damage, file."""
    tones: tuple[Callable[[Floats, Generator], Levels], ...] = (_matrix, _gradient, _gradient, _dye, _dye, _gammas)
    levels = tones[rng.integers(len(tones))](_mono(rgb, rng), rng)
    return _filed(damaged(rounded(levels), rng, int(rng.integers(0, 4))), rng)


def gray_on_colour(rgb: Rgb, rng: Generator) -> Rgb:
    """A gray print on a mount, with a caption or a stain of another colour."""
    levels = np.dstack([_mono(rgb, rng) * 255] * 3)
    change = (mounted, mounted, captioned, stained_more)[rng.integers(4)]
    return _filed(damaged(change(rounded(levels), rng), rng, int(rng.integers(0, 2))), rng)


def damaged_colour(rgb: Rgb, rng: Generator) -> Rgb:
    """A colour photo with one to three of the same kinds of damage."""
    return _filed(damaged(rgb, rng, int(rng.integers(1, 4))), rng)


def filtered_colour(rgb: Rgb, rng: Generator) -> Rgb:
    """A colour photo in hard light: lamps, dusk, water, fog, night, or paled; at times damaged too."""
    levels = rgb.astype(np.float32) / 255
    choice = rng.integers(4)
    if choice == 0:
        levels = levels ** rng.uniform(0.8, 1.8) * rng.uniform(0.45, 1.1, 3).astype(np.float32)
    elif choice == 1:
        haze = rng.uniform(0.5, 1, 3).astype(np.float32)
        much = rng.uniform(0.1, 0.5) * (0.5 + field(rgb.shape, rng, 2)[..., None])
        levels = levels * (1 - much) + haze * much
    elif choice == 2:
        luma = levels.mean(axis=2, keepdims=True)
        levels = luma + rng.uniform(0.4, 0.9) * (levels - luma)
    else:
        levels = levels ** rng.uniform(0.6, 1.6, 3).astype(np.float32)
    return _filed(damaged(rounded(levels * 255), rng, int(rng.integers(0, 2))), rng)


def damaged(rgb: Rgb, rng: Generator, count: int) -> Rgb:
    """With `count` kinds of damage, in the order in which they befall a print."""
    for i in sorted(rng.choice(len(DAMAGE), count, replace=False)):
        rgb = DAMAGE[i](rgb, rng)
    return rgb


def faded(rgb: Rgb, rng: Generator) -> Rgb:
    """Paler and lighter in places, by a smooth field."""
    lab = to_lab(rgb)
    where = (field(rgb.shape, rng, int(rng.integers(1, 5))) * rng.uniform(0.1, 0.7))[..., None]
    lab[..., :1] += where * rng.uniform(-5, 25)
    lab[..., 1:] *= 1 - where
    return from_lab(lab)


def lit(rgb: Rgb, rng: Generator) -> Rgb:
    """Light or yellowing that falls off from a point or along a line, in a colour of its own."""
    rows, columns = np.mgrid[-1 : 1 : rgb.shape[0] * 1j, -1 : 1 : rgb.shape[1] * 1j].astype(np.float32)
    if rng.random() < 0.7:
        x, y = rng.normal(0, 0.3, 2)
        fall = np.clip(((columns - x) ** 2 + (rows - y) ** 2) / rng.uniform(0.8, 2.5), 0, 1) ** rng.uniform(0.5, 2)
    else:
        angle = rng.uniform(0, 2 * np.pi)
        fall = np.clip(0.5 + 0.5 * (columns * np.cos(angle) + rows * np.sin(angle)), 0, 1)
    ends = np.clip(rng.uniform(0.35, 1.25) + rng.normal(0, 0.08, 3), 0.2, 1.4)
    levels = rgb * (1 + fall[..., None] * (ends - 1))
    if rng.random() < 0.5:
        lab = to_lab(rounded(levels))
        lab[..., 1:] = lab[..., 1:] * (1 + rng.uniform(-0.9, 0.6) * fall[..., None])
        lab[..., 1:] += fall[..., None] * hue(rng.uniform(0, 360)) * rng.uniform(0, 9)
        return from_lab(lab)
    return rounded(levels)


def mirrored(rgb: Rgb, rng: Generator) -> Rgb:
    """Silver mirroring and dye loss: one hue over the darks or the lights, stronger towards some edge."""
    lab = to_lab(rgb)
    tone = lab[..., :1] / 100
    where = field(rgb.shape, rng, 2)[..., None] * (tone if rng.random() < 0.3 else 1 - tone)
    lab[..., 1:] += where * hue(rng.uniform(0, 360)) * rng.uniform(4, 18)
    return from_lab(lab)


def stained_more(rgb: Rgb, rng: Generator) -> Rgb:
    """Blots, tide lines and foxing: multiplied by tints, mostly brown."""
    levels = rgb.astype(np.float32)
    for _ in range(rng.integers(1, 5)):
        tint = np.sort(rng.uniform(0.25, 1, 3))[::-1] if rng.random() < 0.75 else rng.uniform(0.3, 1, 3)
        where = (_blot, _tide, _foxing)[rng.choice(3, p=[0.6, 0.2, 0.2])](rgb.shape, rng)[..., None]
        levels *= 1 - where * rng.uniform(0.1, 0.75) * (1 - tint.astype(np.float32))
    return rounded(levels)


def noised(rgb: Rgb, rng: Generator) -> Rgb:
    """Chroma noise of a scanner, from one pixel to coarse blotches, with some grain."""
    lab = to_lab(rgb)
    noise = rng.normal(0, 1, lab[..., 1:].shape).astype(np.float32)
    if (sigma := rng.uniform(-1, 2.5)) > 0.4:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma), np.float32)
        noise /= noise.std() * (1 + sigma / 3) + 1e-6
    lab[..., 1:] += noise * rng.uniform(2, 11)
    lab[..., 0] += rng.normal(0, rng.uniform(0, 4), lab.shape[:2])
    return from_lab(lab)


def captioned(rgb: Rgb, rng: Generator) -> Rgb:
    """A foreign mark over 1 to 10 % of it: band, label, seal, writing, or patches of a colour target."""
    out = rgb.copy()
    height, width = out.shape[:2]
    ink, paper = ([int(level) for level in rng.integers(0, 256, 3)] for _ in range(2))
    share = rng.uniform(0.01, 0.1)
    choice = rng.integers(5)
    if choice == 0:
        _band(out, share, paper, rng)
    elif choice == 1:
        tall = int(np.sqrt(share * rng.uniform(0.2, 3)) * height) + 2
        wide = int(share * height * width / tall) + 2
        top, left = int(rng.uniform(0, max(height - tall, 1))), int(rng.uniform(0, max(width - wide, 1)))
        out[top : top + tall, left : left + wide] = paper
        cv2.putText(out, "1904", (left + 2, top + tall - 2), 0, tall / 50, ink, 1)
    elif choice == 2:
        axes = (int(np.sqrt(share) * width / 2) + 2, int(np.sqrt(share) * height / 2) + 2)
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        cv2.ellipse(out, centre, axes, 0, 0, 360, ink, int(rng.choice([-1, 2, 5])))
    elif choice == 3:
        for _ in range(rng.integers(1, 4)):
            spot = (int(rng.uniform(0, 0.6) * width), int(rng.uniform(0.1, 1) * height))
            cv2.putText(out, "Avenue B 1911", spot, 1, height / rng.uniform(120, 300), ink, 2)
    else:
        side = max(4, int(np.sqrt(share * height * width / 6)))
        top, left = int(rng.uniform(0, max(height - 2 * side, 1))), int(rng.uniform(0, max(width - 3 * side, 1)))
        patches = rng.integers(0, 256, (2, 3, 3)).repeat(side, 0).repeat(side, 1)
        room = out[top : top + 2 * side, left : left + 3 * side]
        room[:] = patches[: room.shape[0], : room.shape[1]]
    return out


def mounted(rgb: Rgb, rng: Generator) -> Rgb:
    """On a board of its own colour with margins of any width, at times in an oval, at times on a scanner's bed."""
    height, width = rgb.shape[:2]
    top, bottom, left, right = (rng.beta(1, 2.5, 4) * 0.3 * [height, height, width, width]).astype(int) + 1
    board = _board(rng)
    size = (height + top + bottom, width + left + right)
    out = np.ones((*size, 3), np.float32) * board * (0.9 + 0.2 * field(size, rng, 3)[..., None])
    out += rng.normal(0, rng.uniform(0, 5), (*size, 1))
    covers = np.ones((height, width), np.float32)
    if rng.random() < 0.2:
        covers[:] = 0
        cv2.ellipse(covers, (width // 2, height // 2), (width // 2, height // 2), 0, 0, 360, 1.0, -1)
    inner = out[top : top + height, left : left + width]
    inner += covers[..., None] * (rgb - inner)
    if rng.random() < 0.25:
        edge = int(rng.uniform(0.01, 0.06) * size[1]) + 1
        bed = [float(rng.choice([5, 30, 252]))] * 3
        out = cv2.copyMakeBorder(out, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=bed)
    return rounded(out)


DAMAGE: tuple[Change, ...] = (faded, lit, mirrored, stained_more, noised, captioned, mounted)


def _mono(rgb: Rgb, rng: Generator) -> Floats:
    """(H, W) 0..1: some mix of the channels, some contrast, grain or blur."""
    mix = rng.dirichlet([3, 6, 1.5]).astype(np.float32)
    tone = (rgb.astype(np.float32) @ mix / 255) ** rng.uniform(0.6, 1.6)
    if rng.random() < 0.4:
        low, high = rng.uniform(0, 0.3), rng.uniform(0.7, 1)
        tone = low + (high - low) * tone
    if rng.random() < 0.25:
        tone = cv2.GaussianBlur(tone, (0, 0), rng.uniform(0.5, 2))
    if rng.random() < 0.3:
        tone = tone + rng.normal(0, rng.uniform(0.005, 0.04), tone.shape)
    return np.clip(tone, 0, 1).astype(np.float32)


def _angle(rng: Generator) -> float:
    """A hue in degrees: every second one brown to yellow."""
    return float(rng.uniform(25, 100) if rng.random() < 0.5 else rng.uniform(0, 360))


def _matrix(tone: Floats, rng: Generator) -> Levels:
    """One ratio R : G : B; the lights may clip."""
    tint = np.array([1.35, 1.2, 0.94]) if rng.random() < 0.5 else rng.uniform(0.8, 1.35, 3)
    return tone[..., None] * (1 + rng.uniform(0.3, 1) * (tint - 1)) * 255


def _gradient(tone: Floats, rng: Generator) -> Levels:
    """A gradient map of two to four stops of rising lightness."""
    stops = int(rng.integers(2, 5))
    at = np.r_[0, np.sort(rng.uniform(0.15, 0.85, stops - 2)), 1]
    light = rng.uniform(0, 25) + at * rng.uniform(60, 75)
    angle, wander = _angle(rng), rng.choice([0, 25, 120])
    ab = [hue(angle + rng.normal(0, 1) * wander) * rng.uniform(0, 28) * np.sqrt(1.1 - abs(2 * t - 1)) for t in at]
    colours = from_lab(np.c_[light, np.array(ab)][None].astype(np.float32))[0]
    return np.dstack([np.interp(tone, at, colours[:, channel]) for channel in range(3)])


def _dye(tone: Floats, rng: Generator) -> Levels:
    """One hue that may drift with lightness, its chroma a random smooth curve."""
    knots = rng.uniform(0, 1, 4) * rng.uniform(5, 38)
    chroma = np.interp(tone, np.linspace(0, 1, 4), knots)
    angle = np.radians(_angle(rng) + rng.normal(0, 20) * (tone - 0.5))
    lightness = rng.uniform(0, 12) + tone * rng.uniform(70, 88)
    return from_lab(np.dstack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)]))


def _gammas(tone: Floats, rng: Generator) -> Levels:
    """A contrast and a range of its own for every channel."""
    low, high = rng.uniform(0, 45, 3), rng.uniform(190, 255, 3)
    return low + (high - low) * tone[..., None] ** rng.uniform(0.7, 1.4, 3)


def _blot(shape: tuple[int, ...], rng: Generator) -> Floats:
    cloud = field(shape, rng, int(rng.integers(1, 8)))
    return np.clip((cloud - rng.uniform(0.3, 0.8)) / rng.uniform(0.02, 0.4), 0, 1)


def _tide(shape: tuple[int, ...], rng: Generator) -> Floats:
    cloud = field(shape, rng, int(rng.integers(1, 5)))
    return np.exp(-(((cloud - rng.uniform(0.3, 0.7)) / rng.uniform(0.02, 0.08)) ** 2))


def _foxing(shape: tuple[int, ...], rng: Generator) -> Floats:
    spots = np.zeros(shape[:2], np.float32)
    for _ in range(rng.integers(5, 40)):
        centre = (int(rng.uniform(0, shape[1])), int(rng.uniform(0, shape[0])))
        cv2.circle(spots, centre, max(1, int(rng.exponential(0.015) * shape[1])), 1.0, -1)
    return np.asarray(cv2.GaussianBlur(spots, (0, 0), rng.uniform(0.7, 3)), np.float32)


def _band(out: Rgb, share: float, paper: list[int], rng: Generator) -> None:
    """A band along one side, in place."""
    side = int(rng.integers(4))
    turned = np.rot90(out, side)
    turned[: max(2, int(share * turned.shape[0]))] = paper


def _board(rng: Generator) -> NDArray[np.float64]:
    """(3,) levels: mostly paper, board and cloth, at times any colour."""
    if rng.random() < 0.6:
        return rng.uniform(110, 250) * np.array([1, rng.uniform(0.82, 1), rng.uniform(0.6, 0.98)])
    if rng.random() < 0.5:
        return rng.uniform(15, 250) * rng.uniform(0.93, 1.07, 3)
    return rng.uniform(20, 240, 3)


def _filed(rgb: Rgb, rng: Generator) -> Rgb:
    """At times scaled, at times a JPEG."""
    if rng.random() < 0.3:
        scale = rng.uniform(0.5, 1)
        rgb = np.asarray(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return jpeg(rgb, int(rng.integers(45, 97)), int(rng.choice([0, 2]))) if rng.random() < 0.8 else rgb
