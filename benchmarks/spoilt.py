"""Measure what the measures of spoilt photos find: in real photos, and in spoilt copies that are made of them.

    python benchmarks/spoilt.py FOLDER... [--photos 300] [--sheet FOLDER]

Each kind of spoilt copy is made from randomly chosen photos of the folders and saved as a JPEG of quality 60 to 95. One
row per kind: the share that each bound of `--preset strict` rejects, and the share that any of them rejects. The first
rows are the real photos of each folder, so their shares are false alarms, except for photos that are spoilt already.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import SupportsInt

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from curate.errors import PhotoError
from curate.filtering.options import PRESETS, build_options
from curate.image.decode import decode_bytes
from curate.measures.measure import Measures, measure_pixels

Pixels = NDArray[np.uint8]
Random = np.random.Generator
Spoil = Callable[[Pixels, Pixels, Random], Pixels | None]
"""Returns a spoilt copy of the first photo, perhaps with others beside it; None if it doesn't suit the photo."""
BOUNDS = [
    bound
    for bound in build_options(PRESETS["strict"]).bounds
    if bound.column not in ("colorfulness", "inside_colorfulness")
]


def pad(photo: Pixels, sides: Iterable[float], color: Iterable[SupportsInt], rng: Random, grain: float = 0.0) -> Pixels:
    """Add bands at the left, top, right and bottom, as shares of the photo's short side, with grain in levels."""
    short = min(photo.shape[:2])
    left, top, right, bottom = (round(side * short) for side in sides)
    padded = cv2.copyMakeBorder(photo, top, bottom, left, right, cv2.BORDER_CONSTANT, value=[*map(int, color)])
    noisy = padded + rng.normal(0, grain, padded.shape) if grain else padded
    noisy[top : padded.shape[0] - bottom, left : padded.shape[1] - right] = photo
    return np.clip(noisy, 0, 255).astype(np.uint8)


def letterbox(photo: Pixels, _: Pixels, rng: Random) -> Pixels:
    """Black bands above and below."""
    height = rng.uniform(0.08, 0.35)
    return pad(photo, (0, height, 0, height), (0, 0, 0), rng)


def white_padding(photo: Pixels, _: Pixels, rng: Random) -> Pixels | None:
    """White bands that make the picture square, as img2dataset makes them."""
    height, width = photo.shape[:2]
    lack = abs(height - width) / min(height, width) / 2
    if lack < 0.05:
        return None
    return pad(photo, (0, lack, 0, lack) if width > height else (lack, 0, lack, 0), (255, 255, 255), rng)


def film_border(photo: Pixels, _: Pixels, rng: Random) -> Pixels:
    """A dark or bright frame with grain."""
    color = rng.integers(0, 35, 3) if rng.random() < 0.5 else rng.integers(225, 256, 3)
    return pad(photo, rng.uniform(0.04, 0.12, 4), color.tolist(), rng, grain=rng.uniform(1, 7))


def gray_photo_on_a_page(photo: Pixels, _: Pixels, rng: Random) -> Pixels:
    """A gray photo on an orange or brown page of paper."""
    gray = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    color = (rng.integers(200, 256), rng.integers(110, 180), rng.integers(10, 90))
    return pad(np.asarray(gray, np.uint8), rng.uniform(0.15, 0.5, 4), color, rng, grain=rng.uniform(0, 4))


def selective_color(photo: Pixels, _: Pixels, __: Random) -> Pixels | None:
    """Only the strongest hue keeps its color."""
    hue, saturation, value = (plane.astype(np.int64) for plane in cv2.split(cv2.cvtColor(photo, cv2.COLOR_RGB2HSV)))
    counts = np.bincount(hue.ravel(), (saturation * (value > 40)).ravel(), 180)
    peak = int(np.sum([np.roll(counts, shift) for shift in range(-8, 9)], axis=0).argmax())
    kept = (np.abs((hue - peak + 90) % 180 - 90) <= 12) & (saturation > 80)
    if not 0.02 < kept.mean() < 0.4:
        return None
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    return np.asarray(np.where(kept[..., None], photo, gray[..., None]), np.uint8)


def strong_cast(photo: Pixels, _: Pixels, rng: Random) -> Pixels:
    """All colors shifted to orange, blue, green or magenta, as by wrong white balance."""
    strength = rng.uniform(1.3, 1.9)
    root = strength**0.5
    gains = [
        (strength, 1, 1 / strength),
        (1 / strength, 1, strength),
        (1 / root, root, 1 / root),
        (root, 1 / root, root),
    ]
    light = (photo / 255.0) ** 2.2 * gains[rng.integers(4)]
    return np.asarray((np.clip(light, 0, 1) ** (1 / 2.2) * 255).round(), np.uint8)


def oversaturated(photo: Pixels, _: Pixels, rng: Random) -> Pixels:
    """Colors two to three times as far from gray, clipped."""
    mean = photo.mean(axis=2, keepdims=True)
    return np.asarray(np.clip(mean + (photo - mean) * rng.uniform(2, 3), 0, 255).round(), np.uint8)


def hdr_like(photo: Pixels, _: Pixels, rng: Random) -> Pixels:
    """Strong local contrast and saturation."""
    lab = cv2.cvtColor(photo, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(6.0, (8, 8)).apply(np.ascontiguousarray(lab[..., 0]))
    bright = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    mean = bright.mean(axis=2, keepdims=True)
    return np.asarray(np.clip(mean + (bright - mean) * rng.uniform(1.6, 2.2), 0, 255).round(), np.uint8)


def join(photo: Pixels, other: Pixels, rng: Random, gap: int) -> Pixels:
    """Two to four photos beside each other, with white or black gaps."""
    columns, rows = [(2, 1), (1, 2), (2, 2)][rng.integers(3)]
    width, height = int(rng.integers(160, 320)), int(rng.integers(160, 320))
    tiles = [photo, other, photo[:, ::-1], other[:, ::-1]]
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, 3)
    page = np.full(shape, 255 if rng.random() < 0.7 else 0, np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + gap), column * (width + gap)
            tile = cv2.resize(tiles[row * columns + column], (width, height), interpolation=cv2.INTER_AREA)
            page[top : top + height, left : left + width] = tile
    return page


def collage_with_gaps(photo: Pixels, other: Pixels, rng: Random) -> Pixels:
    """Photos beside each other with gaps of 4 to 14 px."""
    return join(photo, other, rng, int(rng.integers(4, 15)))


def collage_without_gaps(photo: Pixels, other: Pixels, rng: Random) -> Pixels:
    """Photos side by side."""
    return join(photo, other, rng, 0)


def write(photo: Pixels, rng: Random, parts: int, color: str, outline: str | None = None) -> Pixels:
    """Write a line of text, as high as the width divided by `parts`, over the lower part."""
    picture = Image.fromarray(photo)
    size = max(12, photo.shape[1] // parts)
    place = (photo.shape[1] * rng.uniform(0.02, 0.1), photo.shape[0] - 1.8 * size)
    ImageDraw.Draw(picture).text(
        place,
        "The caption of a photo",
        color,
        ImageFont.load_default(size),
        stroke_width=2 if outline else 0,
        stroke_fill=outline,
    )
    return np.asarray(picture)


def caption(photo: Pixels, _: Pixels, rng: Random) -> Pixels:
    """White text with a black outline over the lower part."""
    return write(photo, rng, 14, "white", "black")


def caption_on_band(photo: Pixels, _: Pixels, rng: Random) -> Pixels:
    """White text on a black band, or black on a white one, over the lower part."""
    colors = ("white", "black") if rng.random() < 0.5 else ("black", "white")
    banded = photo.copy()
    banded[-2 * max(12, photo.shape[1] // 16) :] = 0 if colors[1] == "black" else 255
    return write(banded, rng, 16, colors[0])


def plain_caption(photo: Pixels, _: Pixels, rng: Random) -> Pixels:
    """White text without an outline over the lower part."""
    return write(photo, rng, 14, "white")


def small_caption(photo: Pixels, _: Pixels, rng: Random) -> Pixels:
    """White text with a black outline, half as large."""
    return write(photo, rng, 28, "white", "black")


def watermark(photo: Pixels, _: Pixels, rng: Random) -> Pixels:
    """Text at a quarter to half of its strength over the whole photo."""
    picture = Image.fromarray(photo).convert("RGBA")
    layer = Image.new("RGBA", picture.size)
    font = ImageFont.load_default(max(14, photo.shape[1] // 10))
    for top in range(0, picture.height, max(40, picture.height // 4)):
        ImageDraw.Draw(layer).text(
            (20, top), "stock photo  stock photo", (255, 255, 255, int(rng.integers(64, 128))), font
        )
    return np.asarray(Image.alpha_composite(picture, layer.rotate(20)).convert("RGB"))


def blurred_chroma(photo: Pixels, _: Pixels, rng: Random) -> Pixels:
    """Chroma blurred by 2 to 8 px at 256 px, as many colorizers predict it."""
    lab = cv2.cvtColor((photo / 255).astype(np.float32), cv2.COLOR_RGB2LAB)
    sigma = rng.uniform(2, 8) * max(photo.shape[:2]) / 256
    lab[..., 1:] = cv2.GaussianBlur(lab[..., 1:], (0, 0), sigma)
    return (np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1) * 255).round().astype(np.uint8)


def cartoon(photo: Pixels, _: Pixels, __: Random) -> Pixels:
    """Flat colors and dark outlines."""
    smooth = cv2.bilateralFilter(photo, 9, 90, 9)
    edges = cv2.adaptiveThreshold(cv2.medianBlur(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), 5), 255, 0, 0, 9, 6)
    return np.asarray(cv2.bitwise_and(smooth // 32 * 32 + 16, cv2.cvtColor(edges, cv2.COLOR_GRAY2RGB)), np.uint8)


def screenshot(photo: Pixels, _: Pixels, rng: Random) -> Pixels:
    """A window with a title bar, text and the photo."""
    page = Image.new("RGB", (640, 480), (250, 250, 250))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 640, 28), (60, 90, 160))
    draw.text((10, 4), "A window - Photos", "white", ImageFont.load_default(16))
    for line in range(14):
        draw.text((380, 60 + 26 * line), "some words of text " * 2, (40, 40, 40), ImageFont.load_default(13))
    small = Image.fromarray(photo)
    small.thumbnail((340, 400))
    page.paste(small, (20, int(rng.integers(50, 80))))
    return np.asarray(page)


KINDS: tuple[Spoil, ...] = (
    *(letterbox, white_padding, film_border, gray_photo_on_a_page, selective_color, strong_cast, oversaturated),
    *(hdr_like, collage_with_gaps, collage_without_gaps, caption, caption_on_band, plain_caption, small_caption),
    *(watermark, blurred_chroma, cartoon, screenshot),
)


def main() -> None:
    """Measure real photos and spoilt copies, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--photos", type=int, default=300, help="spoilt copies of each kind")
    parser.add_argument("--sheet", type=Path, help="folder for a picture of each kind, to look at")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print("kind".ljust(24) + "photos  any " + " ".join(bound.option[6:] for bound in BOUNDS))
    photos: list[Pixels] = []
    for folder in options.folders:
        read = list(read_photos(folder))
        photos += read
        print_row(folder.name, [measure_pixels(photo) for photo in read])
    rng = np.random.default_rng(0)
    for kind in KINDS:
        spoilt: list[Pixels] = []
        while len(spoilt) < options.photos:
            first, second = rng.integers(0, len(photos), 2)
            if (made := kind(photos[first], photos[second], rng)) is not None:
                spoilt.append(as_jpeg(made, int(rng.integers(60, 96))))
        print_row(kind.__name__, map(measure_pixels, spoilt))
        if options.sheet:
            Image.fromarray(spoilt[0]).save(options.sheet / f"{kind.__name__}.png")


def read_photos(folder: Path) -> Iterator[Pixels]:
    """Decode all photos of a folder that can be decoded."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            yield decode_bytes(path.read_bytes()).pixels
        except PhotoError:
            continue


def as_jpeg(photo: Pixels, quality: int) -> Pixels:
    """The photo as it is after saving it as a JPEG, 4:2:0."""
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def print_row(name: str, measures: Sequence[Measures] | Iterator[Measures]) -> None:
    """Print how many of some photos each bound rejects, in percent."""
    rejected = np.array([[is_rejected(one, number) for number in range(len(BOUNDS))] for one in measures])
    shares = [100 * rejected.any(axis=1).mean(), *(100 * rejected.mean(axis=0))]
    cells = [
        f"{share:.1f}".rjust(max(5, len(bound.option) - 6)) for share, bound in zip(shares[1:], BOUNDS, strict=True)
    ]
    print(f"{name:<24}{len(rejected):>6}{shares[0]:>5.1f} {' '.join(cells)}", flush=True)


def is_rejected(measures: Measures, number: int) -> bool:
    """Whether a photo fails the bound with this number."""
    bound = BOUNDS[number]
    values = asdict(measures.borders) | asdict(measures.edits)
    value = values[bound.column]
    return bool(value < bound.limit if bound.is_min else value > bound.limit)


if __name__ == "__main__":
    main()
