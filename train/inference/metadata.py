"""What a colorized file says of itself: a machine made its colours, which checkpoint, and from which photo."""

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
from curate.image.icc import PILLOW_RAISES
from curate.version import __version__

JPEG_HOW = {"quality": 95, "subsampling": 0}
"""4:4:4, as halved colour planes would undo the care taken at edges."""
PNG_HOW = {"compress_level": 1, "compress_type": 3}
"""zlib's run lengths only: a quarter of the CPU time of Pillow's default, for files some 8 % larger."""
GENERATED_NOTE = "Colorized by machine."
MACHINE_MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for a capture that a trained model has added to."""
SRGB = 1
"""EXIF's ColorSpace."""
GPS = ExifTags.IFD.GPSInfo
KEPT = frozenset(
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
"""Main EXIF tags that still hold for the new file; the rest say how the old one was stored."""
STALE = frozenset(
    [
        ExifTags.Base.MakerNote,  # its offsets hold at the old place only, and it may carry a preview
        ExifTags.Base.ExifInteroperabilityOffset,
        ExifTags.Base.ExifImageWidth,
        ExifTags.Base.ExifImageHeight,
        ExifTags.Base.ColorSpace,
    ]
)
JPEG_EXIF_BYTES = 65_533


@dataclass(frozen=True, slots=True)
class Provenance:
    """From a picture back to the photo it was, and to the photos that taught it."""

    checkpoint_sha256: str
    manifest_sha256: str
    photo_sha256: str
    """Of the file that was colorized."""

    def sentence(self) -> str:
        """For people who look at a file's description."""
        made_from = f"checkpoint sha256 {self.checkpoint_sha256}; training manifest sha256 {self.manifest_sha256}"
        return f"{GENERATED_NOTE} {made_from}"

    def xmp(self) -> bytes:
        """An XMP packet with IPTC's digital source type."""
        return (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
            '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
            'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
            'xmlns:vividset="https://vividset.invalid/ns/1.0/" '
            f'xmp:CreatorTool="vividset {__version__}" Iptc4xmpExt:DigitalSourceType="{MACHINE_MADE}" '
            f'vividset:checkpoint_sha256="{self.checkpoint_sha256}" vividset:manifest_sha256="{self.manifest_sha256}" '
            f'vividset:photo_sha256="{self.photo_sha256}"/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
        ).encode()


def is_there(target: Path, provenance: Provenance, photo: bytes, *, drop_gps: bool) -> bool:
    """Whether the very picture that would be made lies there: of this photo and checkpoint, by this version.

    Args:
        target: where it would go.
        provenance: what it would say.
        photo: the file that is colorized.
        drop_gps: whether it would lack the place where it was taken.

    Raises:
        PlaceTaken: something else lies there than an earlier picture of the same photo.
    """
    if not os.path.lexists(target):
        return False
    try:
        with Image.open(target) as picture:
            found, place = picture.info.get("xmp", b""), dict(picture.getexif().get_ifd(GPS))
    except PILLOW_RAISES:
        found, place = b"", {}
    xmp = found if isinstance(found, bytes) else str(found).encode()
    of = re.search(rb'vividset:photo_sha256="([0-9a-f]{64})"', xmp)
    if of is None:
        raise PlaceTaken(f"{target} is in the way and no colorized picture: choose another folder with -o")
    if of[1].decode() != provenance.photo_sha256:
        raise PlaceTaken(f"{target} is the picture of another photo: choose another folder with -o, or remove it")
    if xmp != provenance.xmp():
        return False
    return not place if drop_gps else bool(place) or not exif_of(photo, (1, 1), drop_gps=False).get_ifd(GPS)


def exif_of(photo: bytes, size: tuple[int, int], *, drop_gps: bool) -> Image.Exif:
    """The photo's EXIF as it holds for an upright sRGB picture of (width, height); empty if it can't be read."""
    kept = Image.Exif()
    with suppress(*PILLOW_RAISES), Image.open(io.BytesIO(photo)) as picture:
        found = picture.getexif()
        kept.update({tag: value for tag, value in found.items() if tag in KEPT})
        details = found.get_ifd(ExifTags.IFD.Exif)
        kept.get_ifd(ExifTags.IFD.Exif).update({tag: value for tag, value in details.items() if tag not in STALE})
        if not drop_gps and (place := found.get_ifd(GPS)):
            kept.get_ifd(GPS).update(place)
    details = kept.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight] = size
    details[ExifTags.Base.ColorSpace] = SRGB
    return kept


def write_marked(picture: Image.Image, target: Path, provenance: Provenance, exif: Image.Exif) -> None:
    """Write an sRGB picture with its profile, its EXIF, and where its colours come from; whole or not at all.

    Args:
        picture: RGB or RGBA.
        target: a name that ends in .jpg or .jpeg becomes a JPEG, any other a PNG.
        provenance: where the colours come from.
        exif: as from `exif_of`.

    Raises:
        PlaceTaken: the name is too long for the disk.
        UsageError: the disk says no.
    """
    buffer = io.BytesIO()
    exif_bytes = _marked(exif, provenance)
    if target.suffix.lower() in (".jpg", ".jpeg"):
        picture.save(buffer, "JPEG", **JPEG_HOW, exif=exif_bytes, icc_profile=_srgb_profile(), xmp=provenance.xmp())
    else:
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", provenance.xmp().decode())
        chunks.add_text("Description", provenance.sentence())
        picture.save(buffer, "PNG", **PNG_HOW, exif=exif_bytes, icc_profile=_srgb_profile(), pnginfo=chunks)
    _write(buffer.getbuffer(), target)


@lru_cache(maxsize=1)
def _srgb_profile() -> bytes:
    """LittleCMS dates it now; with one date for all, the same photo always becomes the same file."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # where ICC.1:2022 has year to second
    return bytes(profile)


def _marked(exif: Image.Exif, provenance: Provenance) -> bytes:
    """EXIF as bytes, our sentence before the photo's own description; ours alone where the photo's can't be written."""
    own = exif.get(ExifTags.Base.ImageDescription)
    exif[ExifTags.Base.ImageDescription] = provenance.sentence() + (f" The photo says: {own}" if own else "")
    exif[ExifTags.Base.Software] = f"vividset {__version__}"
    with suppress(*PILLOW_RAISES):
        if len(whole := exif.tobytes()) <= JPEG_EXIF_BYTES:
            return whole
    least = Image.Exif()
    least[ExifTags.Base.ImageDescription] = provenance.sentence()
    return least.tobytes()


def _write(data: memoryview, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(data, target)
    except OSError as exc:
        if exc.errno == errno.ENAMETOOLONG:
            raise PlaceTaken(f"{target} is too long a name for this disk: give the photo a shorter one") from exc
        raise UsageError(f"{target} can't be written: {exc.strerror}: choose another folder with -o") from exc
