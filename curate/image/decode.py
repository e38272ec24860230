"""Bytes to sRGB pixels: the one room that knows formats, orientation, profiles, alpha and size.

The rules, in the order they apply (docs/reference/formats.md has the table with its golden values):

1. The content decides the format, never the name. JPEG (also MPO), PNG, WebP, TIFF, GIF, BMP and AVIF are photos;
   HEIC and JPEG XL are where their extras are installed.
2. The header's size is checked against the limit before a pixel is decoded.
3. The first frame of an animation or a multi-picture file is the photo.
4. Samples of 16 bits are rounded to 8; 1-bit and palette images are expanded. Float samples, which have no stated
   range, are an error.
5. An embedded profile that isn't sRGB is converted, relative colorimetric. A profile that can't be read, or that is of
   another colour space than the pixels, is ignored, as viewers do.
6. Alpha is composited on white in sRGB values; fully transparent pixels are marked invisible and don't count.
7. The EXIF orientation is applied last.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from curate.errors import (
    BrokenPhoto,
    EmptyFile,
    NotAPhoto,
    NothingVisible,
    OutOfMemory,
    TooManyPixels,
    UnsupportedFormat,
)
from curate.image import fast_paths
from curate.image.formats import (
    FORMATS,
    JXL,
    SNIFF_BYTES,
    detect_plugin_format,
    is_installed,
    jxl_pixel_count,
    looks_like_photo,
)
from curate.image.icc import PILLOW_RAISES, convert_pixels, srgb_transform, to_srgb

_NO_MEMORY = -4
"""OpenCV's StsNoMem."""


@contextmanager
def memory_errors(doing: str) -> Iterator[None]:
    """Turn a lack of memory into the photo's error.

    Raises:
        OutOfMemory: `doing` wanted more than there is.
    """
    try:
        yield
    except (MemoryError, cv2.error) as exc:
        if isinstance(exc, cv2.error) and exc.code != _NO_MEMORY:
            raise
        raise OutOfMemory(f"{doing} wanted more memory than there is") from exc


MAX_ASPECT_RATIO = 16
"""Of a photo whose long side is over so many short ones, only the middle is packed."""


MAX_PIXELS = 250_000_000


MIN_QUARTER_SIDE_PX = 80
"""What tone and fingerprint need at least."""


_MAY_TURN = frozenset(["exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"])
"""Where Pillow finds an orientation; looking for one costs as much as all else that it reads of a header."""
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
"""By orientation, what `cv2.flip` is to do: 1 left to right, 0 top to bottom, -1 both; from 5 on, of the transposed."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a photo says of itself."""

    width: int
    """Pixels, upright."""
    height: int
    format: str
    """Pillow's name: JPEG, PNG, ..."""
    mode: str
    """Pillow's mode as stored: RGB, L, CMYK, P, I;16, ..."""
    orientation: int
    """EXIF orientation 1..8 as stored; 1 if absent or nonsense."""
    icc_profile: str | None
    """Description of the embedded profile, `unreadable`, or None."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded photo, as a viewer shows it."""

    header: Header
    pixels: NDArray[np.uint8]
    """(H, W, 3) uint8 sRGB, upright, composited on white unless asked otherwise."""
    visible: NDArray[np.bool_] | None
    """(H, W) bool, False where fully transparent; None where all is visible."""
    alpha: NDArray[np.uint8] | None = None
    """(H, W) uint8, what the pixels were not composited by; None where they were, or are opaque."""


def decode(
    data: bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    short_side_px: int | None = None,
    quarter: bool = False,
    on_white: bool = True,
) -> Photo:
    """Decode a whole file to upright sRGB pixels.

    Args:
        data: the file's bytes.
        max_pixels: refuse larger photos before decoding them.
        short_side_px: what the caller will shrink to anyway. A JPEG may then be decoded at a half, a quarter or an
            eighth of its size, with a short side no less than this; `header` still tells the whole photo's size. None
            decodes all of it, as exact scores need.
        quarter: decode a colour JPEG at a quarter of its size, but with a short side of MIN_QUARTER_SIDE_PX at least.
        on_white: composite transparent pixels; False keeps their own colours, and their alpha beside them.

    Raises:
        PhotoError: by its subclass, what is wrong with the file; nothing else, whatever the bytes.
    """
    if not data:
        raise EmptyFile("the file has zero bytes")
    least_side_px = partial(_least_side_px, short_side_px=short_side_px, quarter=quarter)
    if bare := fast_paths.decode_plain_file(data, max_pixels, least_side_px):
        return Photo(Header(*bare.size, bare.format, "RGB", orientation=1, icc_profile=None), bare.pixels, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _open(data, max_pixels)
        try:
            return _read(image, data, least_side_px(image.size), on_white)
        except MemoryError as exc:
            claimed = f"{image.width} x {image.height}"
            raise OutOfMemory(f"decoding {claimed} pixels wanted more memory than there is") from exc
        except PILLOW_RAISES as exc:
            raise BrokenPhoto(_one_line(exc)) from exc
        finally:
            image.close()


def decode_image(image: Image.Image, *, max_pixels: int = MAX_PIXELS, on_white: bool = True) -> Photo:
    """Convert a PIL image to upright sRGB pixels, by the rules for files; the image stays open.

    Args:
        image: any mode; its EXIF orientation and colour profile are applied.
        max_pixels: refuse larger images.
        on_white: as for `decode`.

    Raises:
        PhotoError: by its subclass, what is wrong with the image.
    """
    if image.width * image.height > max_pixels:
        raise TooManyPixels(f"{image.width} x {image.height} is over the limit of {max_pixels} pixels (--max-pixels)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _read(image, None, None, on_white)
        except MemoryError as exc:
            claimed = f"{image.width} x {image.height}"
            raise OutOfMemory(f"decoding {claimed} pixels wanted more memory than there is") from exc
        except PILLOW_RAISES as exc:
            raise BrokenPhoto(_one_line(exc)) from exc


def _open(data: bytes, max_pixels: int) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked below, before anything is decoded
    try:
        image = _identified(data, max_pixels)
    except UnidentifiedImageError as exc:
        raise _unidentified(data) from exc
    except MemoryError as exc:
        raise OutOfMemory("reading the header wanted more memory than there is") from exc
    except PILLOW_RAISES as exc:
        raise BrokenPhoto(_one_line(exc)) from exc
    if image.width * image.height > max_pixels:
        raise TooManyPixels(f"{image.width} x {image.height} is over the limit of {max_pixels} pixels (--max-pixels)")
    return image


def _identified(data: bytes, max_pixels: int) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        extra = detect_plugin_format(data[:SNIFF_BYTES])
        if extra is None or not is_installed(extra):
            raise
    if extra is JXL and (jxl_pixel_count(data) or 0) > max_pixels:
        raise TooManyPixels(f"its header claims over {max_pixels} pixels, the limit (--max-pixels)")
    return Image.open(io.BytesIO(data), formats=[extra.format])


def _unidentified(data: bytes) -> NotAPhoto | UnsupportedFormat | BrokenPhoto:
    head = data[:SNIFF_BYTES]
    extra = detect_plugin_format(head)
    if extra and not is_installed(extra):
        how = f"pip install 'vividset[{extra.pip}]', then scan again with --retry-errors"
        return UnsupportedFormat(f"{extra.name} needs an extra: {how}")
    if head.startswith(b"\0\0\0\x0cjP  "):
        return UnsupportedFormat("JPEG 2000 isn't decoded: convert it to JPEG or PNG")
    if looks_like_photo(head):
        return BrokenPhoto("the header can't be read")
    return NotAPhoto("the content is no picture that is known here")


def _read(image: Image.Image, data: bytes | None, short_side_px: int | None, on_white: bool) -> Photo:
    orientation, mode, frame_size = _orientation(image), image.mode, image.size
    profile_name, transform = srgb_transform(image.info.get("icc_profile"), mode)
    pixels = None if data is None else fast_paths.decode_plain_image(image, data, short_side_px)
    visible, alpha, turn_left_to_do = None, None, orientation
    if pixels is not None:
        pixels = pixels if transform is None else convert_pixels(pixels, transform)
    else:
        image.load()
        turn_left_to_do = _orientation(image)  # the TIFF reader turns the picture itself, and then says 1
        pixels, alpha = _layers(to_srgb(image, transform))
        visible = None if alpha is None or alpha.all() else alpha > 0
        if alpha is not None and on_white:
            pixels, alpha = over_white(pixels, alpha), None
    if visible is not None and not visible.any():
        raise NothingVisible(f"all {frame_size[0]} x {frame_size[1]} pixels are fully transparent")
    if turn_left_to_do != 1:
        pixels = apply_orientation(pixels, turn_left_to_do)
        visible = None if visible is None else apply_orientation(visible.view(np.uint8), turn_left_to_do).view(np.bool_)
        alpha = None if alpha is None else apply_orientation(alpha, turn_left_to_do)
    upright_size = frame_size[::-1] if turn_left_to_do >= 5 else image.size
    header = Header(*upright_size, image.format or "", mode, orientation, profile_name)
    return Photo(header, pixels, visible, alpha)


def _least_side_px(size: tuple[int, int], short_side_px: int | None, quarter: bool) -> int | None:
    return max(MIN_QUARTER_SIDE_PX, -(-min(size) // 4)) if quarter else short_side_px


def _orientation(image: Image.Image) -> int:
    if image.format == JXL.format and not getattr(image, "jpeg", False):
        return 1  # the codestream has its own, which is applied already; EXIF may repeat it
    if image.format != "TIFF" and not _MAY_TURN & image.info.keys():
        return 1
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except PILLOW_RAISES:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def apply_orientation(pixels: NDArray[Any], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation (2..8) on (H, W, ...) uint8; OpenCV takes a fifth of the time of a copy by numpy."""
    with memory_errors("turning it"):
        turned = cv2.transpose(pixels) if orientation >= 5 else pixels
        return np.asarray(cv2.flip(turned, _FLIPS[orientation]) if orientation in _FLIPS else turned, np.uint8)


def _layers(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """(H, W, 3) colours and (H, W) alpha of an RGB or RGBA picture; no alpha where all is opaque."""
    samples = np.asarray(image)
    if image.mode == "RGB":
        return samples, None
    colors = np.asarray(cv2.cvtColor(samples, cv2.COLOR_RGBA2RGB), np.uint8)
    alpha = np.asarray(cv2.extractChannel(samples, 3), np.uint8)
    return colors, None if (alpha == 255).all() else alpha


def over_white(colors: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) colours under (H, W) alpha, as they look on white."""
    share = cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB).astype(np.uint16)
    scaled = np.uint16(65_152) - share * (255 - colors)  # 255 times the wanted, and 127 for rounding
    return ((scaled + 1 + (scaled >> 8)) >> 8).astype(np.uint8)  # scaled // 255, at a quarter of its cost


def _one_line(exc: BaseException) -> str:
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text if len(text) <= 200 else text[:197] + "..."
