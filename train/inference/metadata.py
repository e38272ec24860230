"""Metadata of colorized pictures: that a machine made the colors, by which checkpoint, from which photo; and EXIF."""

from __future__ import annotations

import errno
import io
import os
import re
import struct
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from curate.errors import PlaceTaken, UsageError
from curate.files import write_atomic
from curate.image.icc import PILLOW_ERRORS
from curate.process_settings import ignore_warnings, no_pixel_limit
from curate.version import __version__

JPEG_OPTIONS = {"quality": 95, "subsampling": 0}
"""4:4:4: subsampled color planes would blur colors at edges again."""
PNG_OPTIONS = {"compress_level": 1, "compress_type": 3}
"""Run-length encoding only (Z_RLE): a quarter of the CPU time of Pillow's default, for files about 8 % larger."""
GENERATED_NOTE = "Colorized by machine."
"""How the description of every picture begins."""
MACHINE_MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for a photo to which a trained model has added."""
EXIF_SRGB = 1
"""Value of EXIF's ColorSpace."""
GPS = ExifTags.IFD.GPSInfo
KEPT_TAGS = frozenset(
    [
        ExifTags.Base.DocumentName,
        ExifTags.Base.ImageDescription,
        ExifTags.Base.Make,
        ExifTags.Base.Model,
        ExifTags.Base.XResolution,
        ExifTags.Base.YResolution,
        ExifTags.Base.ResolutionUnit,
        ExifTags.Base.DateTime,
        ExifTags.Base.Artist,
        ExifTags.Base.HostComputer,
        ExifTags.Base.Copyright,
        ExifTags.Base.Rating,
        ExifTags.Base.XPTitle,
        ExifTags.Base.XPComment,
        ExifTags.Base.XPAuthor,
        ExifTags.Base.XPKeywords,
        ExifTags.Base.XPSubject,
    ]
)
"""Main EXIF tags that are still true for the new file; the others describe how the old one was stored."""
STALE_TAGS = frozenset(
    [
        ExifTags.Base.MakerNote,  # its offsets are valid in the old file only; may contain a preview
        ExifTags.Base.ExifInteroperabilityOffset,
        ExifTags.Base.ExifImageWidth,
        ExifTags.Base.ExifImageHeight,
        ExifTags.Base.ColorSpace,
    ]
)
MAX_EXIF_BYTES = 65_533
"""Size of a JPEG segment without its length field."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a picture was made from: hashes of the photo, the checkpoint and its training photos, and the settings."""

    checkpoint_sha256: str
    manifest_sha256: str
    photo_sha256: str
    """Of the photo file."""
    strength: float
    """Factor for the chroma of the predicted colors."""
    image_size: int
    """Short side in px of the copy that the network got."""

    def sentence(self) -> str:
        """Return the text for the picture's description."""
        hashes = f"checkpoint sha256 {self.checkpoint_sha256}; training manifest sha256 {self.manifest_sha256}"
        return f"{GENERATED_NOTE} {hashes}"

    def xmp(self) -> bytes:
        """Return an XMP packet with IPTC's digital source type, the hashes and the settings."""
        return (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
            '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
            'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
            'xmlns:vividset="https://vividset.invalid/ns/1.0/" '
            f'xmp:CreatorTool="vividset {__version__}" Iptc4xmpExt:DigitalSourceType="{MACHINE_MADE}" '
            f'vividset:checkpoint_sha256="{self.checkpoint_sha256}" vividset:manifest_sha256="{self.manifest_sha256}" '
            f'vividset:photo_sha256="{self.photo_sha256}" vividset:strength="{self.strength:g}" '
            f'vividset:image_size="{self.image_size}"/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
        ).encode()


def is_up_to_date(target: Path, provenance: Provenance, photo: bytes, *, drop_gps: bool) -> bool:
    """Return whether the target already is the picture that would be made: same photo, checkpoint, settings, version.

    Args:
        target: path of the picture.
        provenance: of the picture that would be made.
        photo: content of the photo file.
        drop_gps: whether the picture would lack the photo's GPS position.

    Raises:
        PlaceTaken: the target exists and is not an earlier picture of the same photo.
    """
    if not os.path.lexists(target):
        return False
    try:
        with ignore_warnings, no_pixel_limit, Image.open(target) as picture:
            xmp, gps = picture.info.get("xmp", b""), dict(picture.getexif().get_ifd(GPS))
    except PILLOW_ERRORS:
        xmp, gps = b"", {}
    xmp = xmp if isinstance(xmp, bytes) else str(xmp).encode()
    photo_sha256 = re.search(rb'vividset:photo_sha256="([0-9a-f]{64})"', xmp)
    if photo_sha256 is None:
        raise PlaceTaken(f"{target} already exists and is not a colorized picture: choose another folder with -o")
    if photo_sha256[1].decode() != provenance.photo_sha256:
        raise PlaceTaken(f"{target} is the picture of another photo: choose another folder with -o, or remove it")
    if xmp != provenance.xmp():
        return False
    return not gps if drop_gps else bool(gps) or not exif_of(photo, (1, 1), drop_gps=False).get_ifd(GPS)


def exif_of(photo: bytes, size: tuple[int, int], *, drop_gps: bool) -> Image.Exif:
    """Return the photo's EXIF, changed for an upright sRGB picture of `size` (width, height) px.

    EXIF that can't be read is left out.
    """
    exif = Image.Exif()
    with suppress(*PILLOW_ERRORS), ignore_warnings, no_pixel_limit, Image.open(io.BytesIO(photo)) as picture:
        original = picture.getexif()
        exif.update({tag: value for tag, value in original.items() if tag in KEPT_TAGS})
        details = original.get_ifd(ExifTags.IFD.Exif)
        exif.get_ifd(ExifTags.IFD.Exif).update({tag: value for tag, value in details.items() if tag not in STALE_TAGS})
        if not drop_gps and (gps := original.get_ifd(GPS)):
            exif.get_ifd(GPS).update(gps)
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight] = size
    details[ExifTags.Base.ColorSpace] = EXIF_SRGB
    return exif


def write_marked(picture: Image.Image, target: Path, provenance: Provenance, exif: Image.Exif) -> None:
    """Write an sRGB picture with profile, EXIF and provenance, whole or not at all.

    Args:
        picture: RGB or RGBA.
        target: a JPEG is written if the name ends in .jpg or .jpeg, else a PNG.
        provenance: where the colors come from.
        exif: of `exif_of`.

    Raises:
        PlaceTaken: the name is too long for the file system.
        UsageError: the file can't be written.
    """
    buffer = io.BytesIO()
    exif_bytes = _exif_bytes(exif, provenance)
    if target.suffix.lower() in (".jpg", ".jpeg"):
        picture.save(buffer, "JPEG", **JPEG_OPTIONS, exif=exif_bytes, icc_profile=_srgb_profile(), xmp=provenance.xmp())
    else:
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", provenance.xmp().decode())
        chunks.add_text("Description", provenance.sentence())
        picture.save(buffer, "PNG", **PNG_OPTIONS, exif=exif_bytes, icc_profile=_srgb_profile(), pnginfo=chunks)
    _write(buffer.getbuffer(), target)


@lru_cache(maxsize=1)
def _srgb_profile() -> bytes:
    """LittleCMS writes the current time into a profile; a fixed date makes the same photo give the same file."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # year to second in the header of ICC.1:2022
    return bytes(profile)


def _exif_bytes(exif: Image.Exif, provenance: Provenance) -> bytes:
    """Add the provenance to the description and serialize; the provenance alone if the whole can't be written."""
    original = exif.get(ExifTags.Base.ImageDescription)
    exif[ExifTags.Base.ImageDescription] = provenance.sentence() + (f" The photo says: {original}" if original else "")
    exif[ExifTags.Base.Software] = f"vividset {__version__}"
    with suppress(*PILLOW_ERRORS):
        if len(whole := exif.tobytes()) <= MAX_EXIF_BYTES:
            return whole
    minimal = Image.Exif()
    minimal[ExifTags.Base.ImageDescription] = provenance.sentence()
    return minimal.tobytes()


def _write(data: memoryview, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(data, target)
    except OSError as exc:
        if exc.errno == errno.ENAMETOOLONG:
            raise PlaceTaken(f"{target} has too long a name for this disk: give the photo a shorter one") from exc
        raise UsageError(f"{target} can't be written: {exc.strerror}: choose another folder with -o") from exc
