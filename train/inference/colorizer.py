"""A gray photo of any size to a colour photo: small ab that follows the edges of the full lightness."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from curate import sources
from curate.errors import PhotoError
from curate.files import sha256_of
from curate.image.decode import MAX_ASPECT_RATIO, decode, memory_errors, over_white
from curate.manifest import escape
from train.checkpoint import Checkpoint
from train.inference import upsample
from train.inference.gamut import lightness, to_srgb
from train.inference.metadata import Provenance, exif_of, is_there, write_marked
from train.inference.output_paths import ColorizeJob
from train.models.colorspace import AB_UNIT, split_lab
from train.models.unet import STRIDE

STRIP_PIXELS = 100_000
"""Of full-size work at once: what fits a core's cache takes three quarters of the time of what doesn't."""


class Colorizer:
    """A checkpoint in use.

    Args:
        source: as `train.checkpoint.load` read it.
        device: where the network runs.
    """

    def __init__(self, source: Checkpoint, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.network = source.network().to(self.device)
        self.size = source.about.recipe.image_size
        self.checkpoint_sha256 = sha256_of(source.path)
        self.manifest_sha256 = source.about.manifest_sha256

    def colorize(self, pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Colour from the network, lightness from the photo.

        Args:
            pixels: (H, W, 3) uint8 sRGB, gray or colour; only its lightness is used.
            alpha: (H, W) uint8; the network then sees the photo on white.

        Returns:
            (H, W, 3) uint8 sRGB of the same size.
        """
        height, width = pixels.shape[:2]
        colors = self._predict(pixels if alpha is None else over_white(pixels, alpha))
        result = np.empty_like(pixels)
        rows = max(1, STRIP_PIXELS // width)

        def paint(top: int) -> None:
            light = lightness(pixels[top : top + rows])
            result[top : top + rows] = to_srgb(light, upsample.rows_of(colors, top, light, height))

        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            list(threads.map(paint, range(0, height, rows)))
        return result

    @torch.no_grad()
    def _predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Colours as `upsample.coefficients`, of a copy whose short side is the training size, aspect kept.

        Smaller photos stay as they are; both sides are mirrored up to what the network halves evenly.
        """
        height, width = pixels.shape[:2]
        scale = min(1, self.size / min(height, width), MAX_ASPECT_RATIO * self.size / max(height, width))
        target = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = pixels if scale == 1 else cv2.resize(pixels, target, interpolation=cv2.INTER_AREA)
        down, right = -target[1] % STRIDE, -target[0] % STRIDE
        padded = cv2.copyMakeBorder(small, 0, down, 0, right, cv2.BORDER_REFLECT_101)
        light, _ = split_lab(torch.from_numpy(padded)[None].to(self.device))
        predicted = self.network(light)[0, :, : target[1], : target[0]].float().permute(1, 2, 0).cpu().numpy()
        return upsample.coefficients(lightness(np.asarray(small, np.uint8)), predicted * np.float32(AB_UNIT))

    def colorize_file(self, source: Path, target: Path, *, drop_gps: bool = False) -> bool:
        """Colorize a photo file: upright, full size, sRGB, marked as machine-colorized; written whole.

        Returns:
            False where that very picture was there already.

        Raises:
            PhotoError: the photo can't be read, or something else is at its picture's place.
            UsageError: the target can't be written.
        """
        data = sources.read_photo(escape(str(source.parent)), escape(source.name))
        return self._colorize_bytes(data, target, drop_gps)

    def colorize_job(self, job: ColorizeJob, *, drop_gps: bool = False) -> bool:
        """As `colorize_file`, wherever the photo lies.

        Raises:
            PhotoError: the photo can't be read, or something else is at its picture's place.
            UsageError: the target can't be written.
        """
        photo = job.photo
        data = sources.read_photo(photo.source, photo.path, offset=photo.offset, size=photo.bytes)
        return self._colorize_bytes(data, job.target, drop_gps)

    def _colorize_bytes(self, data: bytes, target: Path, drop_gps: bool) -> bool:
        provenance = Provenance(self.checkpoint_sha256, self.manifest_sha256, hashlib.sha256(data).hexdigest())
        if is_there(target, provenance, data, drop_gps=drop_gps):
            return False
        photo = decode(data, on_white=target.suffix.lower() != ".png")
        pixels = self.colorize(photo.pixels, photo.alpha)
        picture = Image.fromarray(pixels if photo.alpha is None else np.dstack([pixels, photo.alpha]))
        write_marked(picture, target, provenance, exif_of(data, picture.size, drop_gps=drop_gps))
        return True


@dataclass(frozen=True, slots=True)
class ColorizedPhoto:
    """What became of a photo."""

    job: ColorizeJob
    made: bool = False
    """False where its picture was there already, or couldn't be made."""
    problem: str | None = None


def colorize_all(colorizer: Colorizer, jobs: Iterable[ColorizeJob], *, drop_gps: bool) -> Iterator[ColorizedPhoto]:
    """Each job once it is done."""
    for job in jobs:
        if job.photo.error is not None:
            yield ColorizedPhoto(job, problem=job.photo.error)
            continue
        try:
            with memory_errors("colorizing it"):
                made = colorizer.colorize_job(job, drop_gps=drop_gps)
        except PhotoError as exc:
            yield ColorizedPhoto(job, problem=str(exc))
        else:
            yield ColorizedPhoto(job, made=made)
