"""A gray photo of any size to a colour photo: small ab, full lightness."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from curate import __version__
from curate.decode import decode
from curate.errors import UsageError
from curate.sources import as_photo_error
from train import checkpoint
from train.checkpoint import Checkpoint
from train.lab import join_lab, split_lab

STRIP_ROWS = 256
JPEG_QUALITY = 95
MARK = "Colorized by machine."
MACHINE_MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for a capture that a trained model has added to."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """From a picture back to the photos that taught it."""

    checkpoint_sha256: str
    manifest_sha256: str

    def sentence(self) -> str:
        """For people who look at a file's description."""
        return f"{MARK} checkpoint sha256 {self.checkpoint_sha256}; training manifest sha256 {self.manifest_sha256}"

    def xmp(self) -> bytes:
        """An XMP packet with IPTC's digital source type."""
        return (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
            '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
            'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
            'xmlns:vividset="https://vividset.invalid/ns/1.0/" '
            f'xmp:CreatorTool="vividset {__version__}" Iptc4xmpExt:DigitalSourceType="{MACHINE_MADE}" '
            f'vividset:checkpoint_sha256="{self.checkpoint_sha256}" vividset:manifest_sha256="{self.manifest_sha256}"/>'
            '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
        ).encode()


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
        self.provenance = Provenance(checkpoint.sha256_of(source.path), source.about.manifest_sha256)

    def colorize(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Colour from the network, detail from the photo.

        Args:
            pixels: (H, W, 3) uint8 sRGB, gray or colour; only its lightness is used.

        Returns:
            (H, W, 3) uint8 sRGB of the same size.
        """
        small_ab = self._predict(pixels)
        height, width = pixels.shape[:2]
        full_ab = cv2.resize(small_ab, (width, height), interpolation=cv2.INTER_LINEAR)
        result = np.empty_like(pixels)
        for top in range(0, height, STRIP_ROWS):
            rows = slice(top, top + STRIP_ROWS)
            lightness, _ = split_lab(torch.from_numpy(pixels[rows].copy())[None])
            ab = torch.from_numpy(full_ab[rows]).permute(2, 0, 1)[None]
            result[rows] = join_lab(lightness, ab)[0].numpy()
        return result

    @torch.no_grad()
    def _predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h, w, 2) ab/50 of a copy whose short side is the training size, aspect kept."""
        height, width = pixels.shape[:2]
        scale = self.size / min(height, width)
        if scale < 1:
            target = (max(1, round(width * scale)), max(1, round(height * scale)))
            pixels = cv2.resize(pixels, target, interpolation=cv2.INTER_AREA).astype(np.uint8)
        lightness, _ = split_lab(torch.from_numpy(pixels.copy())[None].to(self.device))
        predicted: NDArray[np.float32] = self.network(lightness)[0].float().permute(1, 2, 0).cpu().numpy()
        return np.ascontiguousarray(predicted)

    def colorize_file(self, source: Path, target: Path) -> None:
        """Colorize a photo file: upright, full size, sRGB, marked as machine-colorized; written whole.

        Raises:
            PhotoError: the photo can't be read.
            UsageError: the target can't be written.
        """
        try:
            data = source.read_bytes()
        except OSError as exc:
            raise as_photo_error(exc, "the file can't be read") from exc
        photo = decode(data)
        picture = Image.fromarray(self.colorize(photo.pixels))
        write_marked(picture, target, self.provenance)


def targets(photos: list[Path], folder: Path) -> list[Path]:
    """Where each photo's picture goes: its name in `folder`, as JPEG if it is one, else as PNG.

    Raises:
        UsageError: two photos would get one name, or a photo would be overwritten by its own picture.
    """
    chosen: dict[Path, Path] = {}
    for photo in photos:
        if photo.is_dir():
            raise UsageError(f"{photo} is a folder: name photos, like {photo}/*")
        suffix = photo.suffix if photo.suffix.lower() in (".jpg", ".jpeg") else ".png"
        target = folder / (photo.stem + suffix)
        if target in chosen:
            raise UsageError(f"{photo} and {chosen[target]} would both become {target}: colorize them into two folders")
        if target.exists() and photo.exists() and os.path.samefile(target, photo):
            raise UsageError(f"{target} would overwrite the photo itself: choose another folder with -o")
        if os.path.lexists(target) and not _colorized_here(target):
            raise UsageError(f"{target} is in the way and no colorized picture: choose another folder with -o")
        chosen[target] = photo
    return list(chosen)


def _colorized_here(path: Path) -> bool:
    """Whether a file carries our mark, so that it may be made anew."""
    try:
        with Image.open(path) as picture:
            return str(picture.getexif().get(ExifTags.Base.ImageDescription, "")).startswith(MARK)
    except (OSError, SyntaxError, ValueError):
        return False


def write_marked(picture: Image.Image, target: Path, provenance: Provenance) -> None:
    """Write an sRGB picture with its profile and where its colours come from; whole or not at all.

    Raises:
        UsageError: the disk says no.
    """
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = provenance.sentence()
    exif[ExifTags.Base.Software] = f"vividset {__version__}"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    jpeg = target.suffix.lower() in (".jpg", ".jpeg")
    buffer = io.BytesIO()
    if jpeg:
        picture.save(
            buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0, exif=exif, icc_profile=profile, xmp=provenance.xmp()
        )
    else:
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", provenance.xmp().decode())
        chunks.add_text("Description", provenance.sentence())
        picture.save(buffer, "PNG", exif=exif, icc_profile=profile, pnginfo=chunks)
    draft = target.with_name(f".{target.name}.draft")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(buffer.getvalue())
        draft.replace(target)
    except OSError as exc:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise UsageError(f"{target} can't be written: {exc.strerror}: choose another folder with -o") from exc
