"""One photo of a manifest to one of a pack: the function that every engine maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from curate.decode import decode
from curate.engines import EngineName
from curate.errors import PhotoError
from curate.memory import memory_for
from curate.originals import Original
from curate.shards import Packed

THINNEST = 16
"""Of a photo whose long side is over so many short ones, only the middle is packed."""
DECODED_SIDES = 2
"""A JPEG is decoded no smaller than so many times the packed short side."""

Encoding = Literal["raw", "jpeg"]


@dataclass(frozen=True, slots=True)
class PackOptions:
    """How to pack; the first three decide what lies in the shards."""

    size_px: int = 288
    """Of the short side; smaller photos stay as they are."""
    encoding: Encoding = "raw"
    quality: int = 95
    """Of JPEGs, which are stored at 4:4:4."""
    workers: int | None = None
    """Processes that decode; None is one a core, of the whole cluster where the engine has one."""
    timeout_s: float = 60.0
    overwrite: bool = False
    """Replace another pack."""
    engine: EngineName = "processes"
    """Where photos are packed."""

    def recorded(self) -> dict[str, Any]:
        """What the pack's lineage keeps."""
        quality = {"quality": self.quality} if self.encoding == "jpeg" else {}
        return {"size_px": self.size_px, "encoding": self.encoding, **quality}


def pack_photo(photo: Original, options: PackOptions) -> Packed:
    """Read, decode and shrink one photo; with the reason if it can't be."""
    try:
        with memory_for("shrinking it"):
            pixels = shrunk(photo.read(), options.size_px)
    except PhotoError as exc:
        return Packed(photo.sha256, error=str(exc))
    height, width = pixels.shape[:2]
    data = pixels.tobytes()
    if options.encoding == "jpeg":
        data = simplejpeg.encode_jpeg(pixels, quality=options.quality, colorspace="RGB", colorsubsampling="444")
    return Packed(photo.sha256, width, height, data)


def shrunk(data: bytes, size_px: int) -> NDArray[np.uint8]:
    """A photo as `decode` sees it, with a short side of `size_px`, or its own if that is less.

    Returns:
        (H, W, 3) uint8 sRGB, contiguous; the long side is at most `THINNEST` short ones.

    Raises:
        PhotoError: it can't be decoded.
    """
    pixels = decode(data, short_side_px=DECODED_SIDES * size_px).pixels
    for axis in (0, 1):
        longest = THINNEST * min(pixels.shape[:2])
        first = max(0, pixels.shape[axis] - longest) // 2
        pixels = pixels[first : first + longest] if axis == 0 else pixels[:, first : first + longest]
    height, width = pixels.shape[:2]
    scale = size_px / min(height, width)
    if scale < 1:
        target = (max(size_px, round(width * scale)), max(size_px, round(height * scale)))
        pixels = np.asarray(cv2.resize(pixels, target, interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(pixels)
