"""Colorizes photos of any size: colors are predicted from a small copy and upsampled along the photo's edges."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from curate import sources
from curate.errors import PhotoError, UsageError
from curate.executors.watchdog import Watchdog
from curate.files import sha256_of
from curate.image.decode import MAX_ASPECT_RATIO, Photo, decode_bytes, memory_errors, over_white
from curate.image.formats import check_raw_name
from curate.manifest import escape, unescape
from curate.sources import keep_streams_open
from curate.sources.photo_input import PhotoInput, load_photo
from train.checkpoint import Checkpoint, load
from train.checkpoint_file import locate
from train.inference import upsample
from train.inference.gamut import lightness, to_srgb
from train.inference.metadata import Provenance, exif_of, is_up_to_date, write_marked
from train.inference.output_paths import ColorizeJob
from train.inference.slider_page import Pair, make_pair
from train.models.colorspace import AB_UNIT, split_lab
from train.models.device import choose_device, device_errors
from train.models.strength import Strength, resolve_strength

STRIP_PIXELS = 100_000
"""Full-size pixels per strip: work that fits a core's cache takes three quarters of the time of work that doesn't."""


class Colorizer:
    """A trained network that colorizes photos. Several threads can use one colorizer at the same time.

    Args:
        source: a checkpoint that `train.checkpoint.load` read.
        device: cpu, cuda, cuda:1 or mps.
        image_size: short side in px of the copy that the network gets, 32 to 4096; None is the size of the training.
    """

    def __init__(self, source: Checkpoint, device: str = "cpu", image_size: int | None = None) -> None:
        self.device = torch.device(device)
        self.network = source.network().to(self.device)
        self.size = image_size or source.metadata.recipe.image_size
        self.auto_strength = source.metadata.auto_strength
        self.path = source.path
        self.checkpoint_sha256 = sha256_of(source.path)
        self.manifest_sha256 = source.metadata.manifest_sha256

    @classmethod
    def load(
        cls, checkpoint: str | os.PathLike[str], *, device: str = "auto", image_size: int | None = None
    ) -> Colorizer:
        """Load a trained checkpoint for use.

        Args:
            checkpoint: a run's folder (its best.safetensors, else its last.safetensors), a .safetensors file, or the
                text "ready", for the weights that come with vividset.
            device: auto (the first GPU, else the CPU), cpu, cuda, cuda:1 or mps.
            image_size: short side in px of the copy that the network gets, 32 to 4096; None is the size of the
                training.

        Raises:
            CheckpointError: missing, damaged, not a vividset checkpoint, or of another version.
            UsageError: the device cannot be used, or `image_size` is out of range.

        Example:
            >>> colorizer = Colorizer.load("runs/clean")  # doctest: +SKIP
        """
        if image_size is not None and not 32 <= image_size <= 4096:
            raise UsageError(f"image_size must be 32 to 4096, not {image_size!r}")
        device = choose_device(device)
        with device_errors(device):
            return cls(load(locate(checkpoint), weights_only=True), device, image_size)

    def colorize(self, photo: PhotoInput, *, strength: Strength = 1.0) -> Image.Image:
        """Colorize one photo at full size: the network predicts color, lightness stays the photo's own.

        The pixels are those that `train colorize` writes. The returned image has no metadata: `colorize_file` also
        records that the picture was colorized, and by which checkpoint.

        Args:
            photo: a path or URL; the bytes of a file; a PIL image, whose EXIF orientation and color profile are
                applied; or an (H, W, 3) uint8 array, sRGB, red first, upright. Its own colors are not used.
            strength: factor for the chroma of the predicted colors, 0 (gray) to 4; lightness and hue stay, and colors
                stay inside sRGB. `auto` is the factor that made the validation photos as colorful as their originals.

        Returns:
            RGB image of the size of the upright photo; RGBA if the photo has transparent pixels. Jupyter shows it.

        Raises:
            PhotoError: the photo cannot be used; the class says why.
            TypeError: `photo` is none of these types.
            UsageError: an array of another shape or dtype, or a strength out of range.
            CheckpointError: `strength` is `auto`, and the checkpoint has no automatic strength.

        Example:
            >>> Colorizer.load("runs/clean").colorize("old-photo.jpg").save("colored.png")  # doctest: +SKIP
        """
        factor = self.resolve_strength(strength)
        decoded = load_photo(photo, on_white=False)
        with memory_errors("colorizing it"):
            return self._colorize_decoded(decoded, factor)

    def resolve_strength(self, strength: Strength) -> float:
        """Return the factor for a strength: the number itself, or the checkpoint's own for `auto`.

        Raises:
            UsageError: the number is not 0 to 4.
            CheckpointError: the checkpoint has no automatic strength.
        """
        return resolve_strength(strength, self.auto_strength, self.path)

    def describe(self, strength: Strength) -> str:
        """Return which checkpoint colorizes, at which strength and size, as one sentence."""
        automatic = " (auto)" if strength == "auto" else ""
        return (
            f"Colorized by {self.path}, sha256 {self.checkpoint_sha256[:12]}, with strength "
            f"{self.resolve_strength(strength):g}{automatic}; the network got copies whose short side is "
            f"{self.size} px, or smaller."
        )

    def _colorize_decoded(self, photo: Photo, strength: float) -> Image.Image:
        """Colorize a decoded photo; its alpha is kept."""
        pixels = self.colorize_pixels(photo.pixels, photo.alpha, strength=strength)
        return Image.fromarray(pixels if photo.alpha is None else np.dstack([pixels, photo.alpha]))

    def colorize_pixels(
        self, pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None, *, strength: Strength = 1.0
    ) -> NDArray[np.uint8]:
        """Return the pixels with the network's color and the photo's own lightness.

        Args:
            pixels: (H, W, 3) uint8 sRGB, gray or color; only its lightness is used.
            alpha: (H, W) uint8, 255 is opaque; the network then gets the photo on white.
            strength: as for `colorize`.

        Returns:
            (H, W, 3) uint8 sRGB of the same size.
        """
        height, width = pixels.shape[:2]
        factor = np.float32(self.resolve_strength(strength))
        coefficients = factor * self._predict(pixels if alpha is None else over_white(pixels, alpha))
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
        bounds the memory. Both sides are padded by mirroring to the multiples of 16 or 32 px that the network needs.
        """
        height, width = pixels.shape[:2]
        scale = min(1, self.size / min(height, width), MAX_ASPECT_RATIO * self.size / max(height, width))
        columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
        small = pixels if scale == 1 else cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
        below, right = -rows % self.network.stride, -columns % self.network.stride
        padded = cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_REFLECT_101)
        light, _ = split_lab(torch.from_numpy(padded)[None].to(self.device))
        predicted = self.network(light)[0, :, :rows, :columns].float().permute(1, 2, 0).cpu().numpy()
        return upsample.fit_coefficients(lightness(np.asarray(small, np.uint8)), predicted * np.float32(AB_UNIT))

    def colorize_file(self, source: Path, target: Path, *, drop_gps: bool = False, strength: Strength = 1.0) -> bool:
        """Colorize a photo file: upright, full size, sRGB, marked as machine-colorized; written whole or not at all.

        Returns:
            False if the target already is this picture, made by this checkpoint and version with these settings.

        Raises:
            PhotoError: the photo can't be read, or the target is something else than an earlier picture of it.
            UsageError: the target can't be written, or a strength is out of range.
            CheckpointError: `strength` is `auto`, and the checkpoint has no automatic strength.
        """
        factor = self.resolve_strength(strength)
        data = sources.read_photo(escape(str(source.parent)), escape(source.name))
        check_raw_name(source.name, data)
        return self._colorize_bytes(data, target, factor, drop_gps)

    def colorize_job(
        self,
        job: ColorizeJob,
        watchdog: Watchdog,
        *,
        drop_gps: bool = False,
        strength: Strength = 1.0,
        with_pair: bool = False,
    ) -> ColorizedPhoto:
        """Colorize a planned photo as `colorize_file` does; it may be a file, a tar member or at a URL.

        Args:
            job: the photo and its picture.
            watchdog: reads and decodes the photo.
            drop_gps: leave out the GPS position.
            strength: as for `colorize`.
            with_pair: also return small copies of photo and picture.

        Raises:
            PhotoError: the photo can't be read, or the target is something else than an earlier picture of it.
            UsageError, CheckpointError: as for `colorize_file`.
        """
        factor = self.resolve_strength(strength)
        photo = job.photo
        data = watchdog.call(sources.read_photo, photo.source, photo.path, offset=photo.offset, size=photo.bytes)
        sources.check_unchanged(data, job.sha256)
        check_raw_name(photo.path, data)
        made = self._colorize_bytes(data, job.target, factor, drop_gps, watchdog)
        if not with_pair:
            return ColorizedPhoto(job, made)
        before = watchdog.call(decode_bytes, data, on_white=True)
        return ColorizedPhoto(job, made, pair=make_pair(unescape(photo.path), before.pixels, job.target))

    def _colorize_bytes(
        self, data: bytes, target: Path, strength: float, drop_gps: bool, watchdog: Watchdog | None = None
    ) -> bool:
        photo_sha256 = hashlib.sha256(data).hexdigest()
        provenance = Provenance(self.checkpoint_sha256, self.manifest_sha256, photo_sha256, strength, self.size)
        if is_up_to_date(target, provenance, data, drop_gps=drop_gps):
            return False
        on_white = target.suffix.lower() != ".png"
        photo = (
            watchdog.call(decode_bytes, data, on_white=on_white) if watchdog else decode_bytes(data, on_white=on_white)
        )
        picture = self._colorize_decoded(photo, strength)
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
    pair: Pair | None = None
    """Small copies of photo and picture, if they were asked for."""


def colorize_all(
    colorizer: Colorizer,
    jobs: Iterable[ColorizeJob],
    *,
    drop_gps: bool,
    strength: Strength = 1.0,
    pair_of: Callable[[int], bool] = lambda index: False,
    timeout_s: float = 60.0,
) -> Iterator[ColorizedPhoto]:
    """Colorize all jobs; yield each one's result when it is done. A photo's error doesn't stop the others.

    Args:
        colorizer: the network.
        jobs: photos and their pictures.
        drop_gps: leave out the GPS position.
        strength: as for `Colorizer.colorize`.
        pair_of: whether to return small copies of the photo with this index and of its picture.
        timeout_s: seconds that reading a photo, and then decoding it, may take.

    Raises:
        UsageError, CheckpointError: as for `Colorizer.resolve_strength`.
    """
    factor = colorizer.resolve_strength(strength)
    watchdog = Watchdog(timeout_s)
    with keep_streams_open():
        for index, job in enumerate(jobs):
            if job.photo.error is not None:
                yield ColorizedPhoto(job, error=job.photo.error)
                continue
            try:
                with memory_errors("colorizing it"):
                    result = colorizer.colorize_job(
                        job, watchdog, drop_gps=drop_gps, strength=factor, with_pair=pair_of(index)
                    )
            except PhotoError as exc:
                result = ColorizedPhoto(job, error=str(exc))
            yield result
