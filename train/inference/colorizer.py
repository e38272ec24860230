"""Colorizes photos of any size: colors are predicted from a small copy and upsampled along the photo's edges."""

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
from curate.executors.watchdog import Watchdog
from curate.files import sha256_of
from curate.image.decode import MAX_ASPECT_RATIO, Photo, decode, memory_errors, over_white
from curate.image.formats import check_raw_name
from curate.manifest import escape
from curate.sources.photo_input import PhotoInput, load_photo
from train.checkpoint import Checkpoint, load
from train.inference import upsample
from train.inference.gamut import lightness, to_srgb
from train.inference.metadata import Provenance, exif_of, is_up_to_date, write_marked
from train.inference.output_paths import ColorizeJob
from train.models.colorspace import AB_UNIT, split_lab
from train.models.device import device_errors
from train.models.unet import STRIDE

STRIP_PIXELS = 100_000
"""Full-size pixels per strip: work that fits a core's cache takes three quarters of the time of work that doesn't."""


class Colorizer:
    """A trained network that colorizes photos. Several threads can use one colorizer at the same time.

    Args:
        source: a checkpoint that `train.checkpoint.load` read.
        device: cpu, cuda, cuda:1 or mps.
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
        """Colorize one photo at full size: the network predicts color, lightness stays the photo's own.

        The pixels are those that `train colorize` writes. The returned image has no metadata: `colorize_file` also
        records that the picture was colorized, and by which checkpoint.

        Args:
            photo: a path or URL; the bytes of a file; a PIL image, whose EXIF orientation and color profile are
                applied; or an (H, W, 3) uint8 array, sRGB, red first, upright. Its own colors are not used.

        Returns:
            RGB image of the size of the upright photo; RGBA if the photo has transparent pixels.

        Raises:
            PhotoError: the photo cannot be used; the class says why.
            TypeError: `photo` is none of these types.
            UsageError: an array of another shape or dtype.

        Example:
            >>> Colorizer.load("runs/clean").colorize("old-photo.jpg").save("colored.png")  # doctest: +SKIP
        """
        decoded = load_photo(photo, on_white=False)
        with memory_errors("colorizing it"):
            return self._colorize_decoded(decoded)

    def _colorize_decoded(self, photo: Photo) -> Image.Image:
        """Colorize a decoded photo; its alpha is kept."""
        pixels = self.colorize_pixels(photo.pixels, photo.alpha)
        return Image.fromarray(pixels if photo.alpha is None else np.dstack([pixels, photo.alpha]))

    def colorize_pixels(self, pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return the pixels with the network's color and the photo's own lightness.

        Args:
            pixels: (H, W, 3) uint8 sRGB, gray or color; only its lightness is used.
            alpha: (H, W) uint8, 255 is opaque; the network then gets the photo on white.

        Returns:
            (H, W, 3) uint8 sRGB of the same size.
        """
        height, width = pixels.shape[:2]
        coefficients = self._predict(pixels if alpha is None else over_white(pixels, alpha))
        result = np.empty_like(pixels)
        rows = max(1, STRIP_PIXELS // width)

        def colorize_strip(top: int) -> None:
            light = lightness(pixels[top : top + rows])
            result[top : top + rows] = to_srgb(light, upsample.upsample_rows(coefficients, top, light, height))

        with ThreadPoolExecutor(torch.get_num_threads()) as threads:  # OpenCV and NumPy release the GIL
            list(threads.map(colorize_strip, range(0, height, rows)))
        return result

    @torch.no_grad()
    def _predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the colors as `upsample.fit_coefficients`, predicted for a copy with the training size as short side.

        The aspect ratio is kept, and smaller photos are not enlarged. Very long photos get a smaller short side, which
        bounds the memory. Both sides are padded by mirroring to multiples of the network's stride.
        """
        height, width = pixels.shape[:2]
        scale = min(1, self.size / min(height, width), MAX_ASPECT_RATIO * self.size / max(height, width))
        columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
        small = pixels if scale == 1 else cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
        padded = cv2.copyMakeBorder(small, 0, -rows % STRIDE, 0, -columns % STRIDE, cv2.BORDER_REFLECT_101)
        light, _ = split_lab(torch.from_numpy(padded)[None].to(self.device))
        predicted = self.network(light)[0, :, :rows, :columns].float().permute(1, 2, 0).cpu().numpy()
        return upsample.fit_coefficients(lightness(np.asarray(small, np.uint8)), predicted * np.float32(AB_UNIT))

    def colorize_file(self, source: Path, target: Path, *, drop_gps: bool = False) -> bool:
        """Colorize a photo file: upright, full size, sRGB, marked as machine-colorized; written whole or not at all.

        Returns:
            False if the target already is this picture, made by this checkpoint and version.

        Raises:
            PhotoError: the photo can't be read, or the target is something else than an earlier picture of it.
            UsageError: the target can't be written.
        """
        data = sources.read_photo(escape(str(source.parent)), escape(source.name))
        check_raw_name(source.name, data)
        return self._colorize_bytes(data, target, drop_gps)

    def colorize_job(self, job: ColorizeJob, watchdog: Watchdog, *, drop_gps: bool = False) -> bool:
        """Colorize a planned photo as `colorize_file` does; it may be a file, a tar member or at a URL.

        Args:
            job: the photo and its picture.
            watchdog: reads and decodes the photo.
            drop_gps: leave out the GPS position.

        Raises:
            PhotoError: the photo can't be read, or the target is something else than an earlier picture of it.
            UsageError: the target can't be written.
        """
        photo = job.photo
        data = watchdog.call(sources.read_photo, photo.source, photo.path, offset=photo.offset, size=photo.bytes)
        sources.check_unchanged(data, job.sha256)
        check_raw_name(photo.path, data)
        return self._colorize_bytes(data, job.target, drop_gps, watchdog)

    def _colorize_bytes(self, data: bytes, target: Path, drop_gps: bool, watchdog: Watchdog | None = None) -> bool:
        provenance = Provenance(self.checkpoint_sha256, self.manifest_sha256, hashlib.sha256(data).hexdigest())
        if is_up_to_date(target, provenance, data, drop_gps=drop_gps):
            return False
        on_white = target.suffix.lower() != ".png"
        photo = watchdog.call(decode, data, on_white=on_white) if watchdog else decode(data, on_white=on_white)
        picture = self._colorize_decoded(photo)
        write_marked(picture, target, provenance, exif_of(data, picture.size, drop_gps=drop_gps))
        return True


@dataclass(frozen=True, slots=True)
class ColorizedPhoto:
    """The result of one job."""

    job: ColorizeJob
    made: bool = False
    """False if the picture existed already, or couldn't be made."""
    error: str | None = None
    """`Kind: what was wrong` if the photo could not be colorized."""


def colorize_all(
    colorizer: Colorizer, jobs: Iterable[ColorizeJob], *, drop_gps: bool, timeout_s: float = 60.0
) -> Iterator[ColorizedPhoto]:
    """Colorize all jobs; yield each one's result when it is done. A photo's error doesn't stop the others.

    Args:
        colorizer: the network.
        jobs: photos and their pictures.
        drop_gps: leave out the GPS position.
        timeout_s: seconds that reading a photo, and then decoding it, may take.
    """
    watchdog = Watchdog(timeout_s)
    for job in jobs:
        if job.photo.error is not None:
            yield ColorizedPhoto(job, error=job.photo.error)
            continue
        try:
            with memory_errors("colorizing it"):
                made = colorizer.colorize_job(job, watchdog, drop_gps=drop_gps)
        except PhotoError as exc:
            yield ColorizedPhoto(job, error=str(exc))
        else:
            yield ColorizedPhoto(job, made=made)
