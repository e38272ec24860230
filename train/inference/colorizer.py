"""A gray photo of any size to a colour photo: small ab that follows the edges of the full lightness."""

from __future__ import annotations

import hashlib
import os
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
from curate.image.decode import MAX_ASPECT_RATIO, Photo, decode, memory_errors, over_white
from curate.manifest import escape
from curate.sources.photo_input import PhotoInput, load_photo
from train.checkpoint import Checkpoint, load
from train.inference import upsample
from train.inference.gamut import lightness, to_srgb
from train.inference.metadata import Provenance, exif_of, is_there, write_marked
from train.inference.output_paths import ColorizeJob
from train.models.colorspace import AB_UNIT, split_lab
from train.models.device import device_errors
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
        self.size = source.metadata.recipe.image_size
        self.checkpoint_sha256 = sha256_of(source.path)
        self.manifest_sha256 = source.metadata.manifest_sha256

    @classmethod
    def load(cls, checkpoint: str | os.PathLike[str], *, device: str = "cpu") -> Colorizer:
        """Load a trained checkpoint for use.

        Args:
            checkpoint: a run's folder (its best.safetensors, else its last.safetensors), or a .safetensors file.
            device: cpu, cuda, cuda:1 or mps.

        Raises:
            CheckpointError: missing, damaged, not a vividset checkpoint, or of another version.
            UsageError: the device cannot be used.

        Example:
            >>> colorizer = Colorizer.load("runs/clean")  # doctest: +SKIP
        """
        with device_errors(device):
            return cls(load(Path(checkpoint), weights_only=True), device)

    def colorize(self, photo: PhotoInput) -> Image.Image:
        """Colorize one photo at full size: the network predicts colour, lightness stays the photo's own.

        The pixels are those that `train colorize` writes. The returned image has no metadata: `colorize_file` also
        records that the picture was colorized, and by which checkpoint.

        Args:
            photo: a path or URL; the bytes of a file; a PIL image, whose EXIF orientation and colour profile are
                applied; or an (H, W, 3) uint8 array, sRGB, red first, upright. Its own colours are not used.

        Returns:
            RGB image of the size of the upright photo; RGBA if the photo has transparent pixels.

        Raises:
            PhotoError: the photo cannot be used; the class says why.
            TypeError: `photo` is none of these types.
            UsageError: an array of another shape or dtype.

        Example:
            >>> Colorizer.load("runs/clean").colorize("old-photo.jpg").save("colored.png")  # doctest: +SKIP
        """
        shown = load_photo(photo, on_white=False)
        with memory_errors("colorizing it"):
            return self._picture(shown)

    def _picture(self, photo: Photo) -> Image.Image:
        """A decoded photo, colorized; its alpha is kept."""
        pixels = self.colorize_pixels(photo.pixels, photo.alpha)
        return Image.fromarray(pixels if photo.alpha is None else np.dstack([pixels, photo.alpha]))

    def colorize_pixels(self, pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
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
        picture = self._picture(photo)
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
