"""The page of `train colorize --page`: photos before and after, with sliders, in one file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.image.decode import over_white
from curate.process_settings import ignore_warnings, no_pixel_limit
from curate.text import pluralize
from curate.version import __version__
from train.pages import PageKind, jpeg_uri

PAGE_NAME = "before-after.html"
MAX_PHOTOS = 100
"""Photos on the page; of more photos, this many are shown, evenly spread."""
THUMBNAIL_PX = 640
"""Longest side of the copies on the page. A hundred pairs are about 15 MB."""
JPEG_QUALITY = 85
PAGE = PageKind(
    start='<!doctype html><html lang="en"><meta charset="utf-8"><title>Before and after, colorized by vividset</title>',
    name="a before/after page",
    option="--page",
    advice="choose another folder with -o",
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Small copies of a photo and of its colorized picture."""

    name: str
    size: tuple[int, int]
    """Width and height of both copies in px."""
    before: bytes
    """JPEG."""
    after: bytes
    """JPEG."""


def is_shown(index: int, total: int) -> bool:
    """Whether a photo is on the page: all are, or of more than 100 photos 100 that are evenly spread.

    >>> [sum(is_shown(index, total) for index in range(total)) for total in (1, 100, 101, 1234)]
    [1, 100, 100, 100]
    """
    return total <= MAX_PHOTOS or (index + 1) * MAX_PHOTOS // total > index * MAX_PHOTOS // total


def make_pair(name: str, pixels: NDArray[np.uint8], picture: Path) -> Pair:
    """Return the copies of a photo and of its picture for the page.

    Args:
        name: of the photo, shown below it.
        pixels: (H, W, 3) uint8 sRGB, the photo.
        picture: file of the colorized picture; transparent pixels are shown on white.
    """
    height, width = pixels.shape[:2]
    scale = min(1, THUMBNAIL_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    with ignore_warnings, no_pixel_limit, Image.open(picture) as opened:
        opened.draft("RGB", size)  # a JPEG is decoded at a fraction of its size
        after = np.asarray(opened.convert("RGBA" if opened.has_transparency_data else "RGB"))
    after = over_white(after[..., :3], after[..., 3]) if after.shape[2] == 4 else after
    return Pair(name, size, _jpeg(pixels, size), _jpeg(after, size))


def _jpeg(pixels: NDArray[np.uint8], size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    small = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA)
    Image.fromarray(small).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def render_page(pairs: Sequence[Pair], facts: Sequence[str], total: int) -> str:
    """Return the page as HTML text.

    Args:
        pairs: the photos to show.
        facts: lines about how the pictures were made.
        total: number of photos that were colorized.
    """
    style, script = (_read(f"slider_page.{kind}") for kind in ("css", "js"))
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shown = pluralize(total, "photo")
    if len(pairs) < total:
        shown = f"{len(pairs):,} of {shown}, evenly spread"
    lines = "".join(f"<p>{escape(line)}</p>" for line in facts)
    return (
        f'{PAGE.start}<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        f"style-src 'unsafe-inline'; script-src 'sha256-{script_hash}'\">"
        f'<meta name="generator" content="vividset {__version__} colorized pictures"><style>{style}</style>'
        f'<header><p class="brand">vividset</p><h1>Before and after</h1><p class="lead">{shown}. On the left of the '
        "line is the photo, on the right its colorized picture: drag the line, or use the arrow keys.</p>"
        f'<div class="facts">{lines}</div></header><main>{"".join(map(_figure, pairs))}</main>'
        f"<script>{script}</script></html>\n"
    )


def _figure(pair: Pair) -> str:
    width, height = pair.size
    name = escape(pair.name)
    return (
        f'<figure style="--width:{width}px;--ratio:{width / height:.4f}"><div class="pair">'
        f'<img src="{jpeg_uri(pair.before)}" width="{width}" height="{height}" alt="{name}, before">'
        f'<img class="after" src="{jpeg_uri(pair.after)}" width="{width}" height="{height}" alt="{name}, after">'
        f'<input type="range" min="0" max="100" value="50" aria-label="Line between before and after: {name}">'
        f'<span class="line" aria-hidden="true"></span></div><figcaption>{name}</figcaption></figure>'
    )


def _read(name: str) -> str:
    return (files("train.inference") / name).read_text(encoding="utf-8")
