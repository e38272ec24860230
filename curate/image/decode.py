"""Decode the bytes of an image file to upright sRGB pixels.

The rules, in the order in which they apply (docs/reference/formats.md lists them with the test for each):

1. The content decides the format, never the file name. JPEG (also MPO), PNG, WebP, TIFF, GIF, BMP and AVIF are
   supported; HEIC and JPEG XL are supported if their extras are installed. Camera raw is not, and a preview in a file
   is not taken for the photo.
2. The size in the header is checked against the limit before any pixel is decoded.
3. Only the first frame of an animation or of a file with several pictures is decoded.
4. 16-bit samples are rounded to 8 bits; 1-bit and palette images are expanded. Float samples have no defined range and
   are an error.
5. An embedded profile that is not sRGB is converted, relative colorimetric. A profile that cannot be read, or that is
   for another color space than the pixels, is ignored, as image viewers do. Color spaces that are named without a
   profile (nclx, cICP, gAMA and cHRM) are converted too.
6. Alpha is composited on white, in sRGB values. Fully transparent pixels are marked as invisible and are not measured.
7. The orientation is applied last.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from curate.errors import (
    BrokenPhoto,
    EmptyFile,
    NotAPhoto,
    NothingVisible,
    OutOfMemory,
    PhotoError,
    TooManyPixels,
    UnsupportedFormat,
)
from curate.image import fast_paths, jpeg_data, png
from curate.image.color_tags import read_bmp_profile, read_color_tags
from curate.image.formats import (
    FORMATS,
    JXL,
    SNIFF_BYTES,
    detect_plugin_format,
    is_installed,
    jxl_pixel_count,
    looks_like_photo,
)
from curate.image.icc import PILLOW_ERRORS, convert_pixels, srgb_transform, to_srgb
from curate.image.orientation import apply_orientation, read_orientation
from curate.image.signatures import describe_content
from curate.image.tiff import open_tiff
from curate.image.tiff_pages import select_page
from curate.process_settings import ignore_warnings, no_pixel_limit
from curate.text import describe_error, install_hint

MAX_PIXELS = 250_000_000
"""Default limit of width times height."""

MIN_QUARTER_SIDE_PX = 80
"""Smallest short side of a photo decoded at a quarter of its size: tone and fingerprint need this many pixels."""

MAX_ASPECT_RATIO = 16
"""Of a photo with a longer long side, relative to its short side, only the middle is packed or colorized."""

_OPENCV_NO_MEMORY = -4
"""OpenCV's error code StsNoMem."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of an image file contains."""

    width: int
    """Pixels, of the upright photo at full size."""
    height: int
    """Pixels, of the upright photo at full size."""
    format: str
    """Pillow's name: JPEG, PNG, ..."""
    mode: str
    """Pillow's mode as stored: RGB, L, CMYK, P, I;16, ..."""
    orientation: int
    """EXIF orientation 1..8 as stored; 1 if absent or invalid."""
    icc_profile: str | None
    """Description of the embedded profile, `unreadable`, or None without a profile."""
    hdr_transfer: str | None = None
    """`pq` or `hlg`: the transfer curve of an HDR photo; None for standard range."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded photo, as an image viewer shows it."""

    header: Header
    pixels: NDArray[np.uint8]
    """(H, W, 3) uint8 sRGB, upright; composited on white unless `decode_bytes` was called with `on_white=False`."""
    visible: NDArray[np.bool_] | None
    """(H, W) bool, False where the photo is fully transparent; None if every pixel is visible."""
    alpha: NDArray[np.uint8] | None = None
    """(H, W) uint8, with `on_white=False` only: the alpha channel; None if the photo is opaque."""
    remaining_orientation: int = 1
    """EXIF orientation by which the pixels have to be turned; 1 unless `decode_bytes` was called with `upright=False`.
    """


def decode_bytes(
    data: bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    short_side_px: int | None = None,
    quarter: bool = False,
    on_white: bool = True,
    upright: bool = True,
) -> Photo:
    """Decode the bytes of an image file to upright sRGB pixels.

    Args:
        data: all bytes of the file. The format is detected from them.
        max_pixels: largest width times height. A larger photo is refused before it is decoded.
        short_side_px: the short side, in pixels, to which the caller will shrink the photo. A JPEG may then be decoded
            at a half, a quarter or an eighth of its size, with a short side of at least this. None decodes at full
            size, which exact measurements need.
        quarter: decode a color JPEG at a quarter of its size, but with a short side of at least MIN_QUARTER_SIDE_PX.
        on_white: composite transparent pixels on white; False returns their stored colors, and the alpha channel.
        upright: turn the pixels; False leaves that to the caller, if all pixels are visible.

    Returns:
        The pixels, (H, W, 3) uint8 sRGB, with the header of the file. `header` gives the full size, also if the pixels
        were decoded at a smaller one.

    Raises:
        PhotoError: the file cannot be decoded. The subclass says why: EmptyFile, NotAPhoto, UnsupportedFormat,
            BrokenPhoto, TooManyPixels, NothingVisible or OutOfMemory. No content of `data` raises anything else.

    >>> file = io.BytesIO()
    >>> Image.new("RGB", (4, 3), (255, 0, 0)).save(file, "PNG")
    >>> photo = decode_bytes(file.getvalue())
    >>> photo.pixels.shape, photo.pixels[0, 0].tolist(), photo.header.format
    ((3, 4, 3), [255, 0, 0], 'PNG')
    """
    if not data:
        raise EmptyFile("the file has zero bytes")
    data = select_page(data)
    min_side_px = partial(_min_side_px, short_side_px=short_side_px, quarter=quarter)
    try:
        photo = _decode_file(data, max_pixels, min_side_px, on_white)
    except BrokenPhoto:
        jpeg_data.check_jpeg_kind(data)
        png.check_png_kind(data)
        with memory_errors("decoding it"):
            intact = png.drop_damaged_chunks(data) or jpeg_data.add_end_marker(data, max_pixels)
        if intact is None:
            raise
        photo = _decode_file(intact, max_pixels, min_side_px, on_white)
    return _turn(photo) if upright or photo.visible is not None else photo


def _decode_file(
    data: bytes, max_pixels: int, min_side_px: Callable[[tuple[int, int]], int | None], on_white: bool
) -> Photo:
    if plain := fast_paths.decode_plain_file(data, max_pixels, min_side_px):
        return Photo(Header(*plain.size, plain.format, "RGB", orientation=1, icc_profile=None), plain.pixels, None)
    image, alpha = _open(data, max_pixels)
    try:
        with _pillow_errors(f"decoding {image.width} x {image.height} pixels"):
            return _to_photo(image, data, min_side_px(image.size), on_white, alpha)
    finally:
        image.close()


def decode_image(image: Image.Image, *, max_pixels: int = MAX_PIXELS, on_white: bool = True) -> Photo:
    """Convert a PIL image to upright sRGB pixels, by the same rules as `decode_bytes`.

    Args:
        image: of any mode, opened or made in memory; it stays open. Its EXIF orientation and profile are applied.
        max_pixels: largest width times height.
        on_white: composite transparent pixels on white; False returns their stored colors, and the alpha channel.

    Returns:
        The pixels, (H, W, 3) uint8 sRGB, with a header; `header.format` is empty for an image made in memory.

    Raises:
        PhotoError: the image cannot be converted. The subclass says why, as for `decode_bytes`.

    >>> decode_image(Image.new("L", (2, 1), 7)).pixels.tolist()
    [[[7, 7, 7], [7, 7, 7]]]
    """
    _check_size(image.width, image.height, max_pixels=max_pixels)
    with _pillow_errors(f"decoding {image.width} x {image.height} pixels"):
        return _turn(_to_photo(image, None, None, on_white, None))


@contextmanager
def memory_errors(doing: str) -> Iterator[None]:
    """Raise `OutOfMemory` if the block runs out of memory, in Python, numpy or OpenCV.

    Args:
        doing: what the block does, for the message: `measuring it`.

    Raises:
        OutOfMemory: there is not enough memory.
    """
    try:
        yield
    except (MemoryError, cv2.error) as exc:
        if isinstance(exc, cv2.error) and exc.code != _OPENCV_NO_MEMORY:
            raise
        raise OutOfMemory(f"{doing} needs more memory than is available") from exc


def over_white(colors: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite colors on white.

    Args:
        colors: (H, W, 3) uint8 sRGB.
        alpha: (H, W) uint8, 255 where opaque.

    Returns:
        (H, W, 3) uint8 sRGB: colors · alpha / 255 + 255 · (1 − alpha / 255), rounded to the nearest level.

    >>> over_white(np.array([[[255, 0, 0]]], np.uint8), np.array([[128]], np.uint8)).tolist()
    [[[255, 127, 127]]]
    """
    weight = cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB).astype(np.uint16)
    scaled = np.uint16(65_152) - weight * (255 - colors)  # 255 times the result, plus 127 for rounding
    return ((scaled + 1 + (scaled >> 8)) >> 8).astype(np.uint8)  # equals scaled // 255, at a quarter of the cost


def _min_side_px(size: tuple[int, int], short_side_px: int | None, quarter: bool) -> int | None:
    """The smallest short side at which a JPEG of this size may be decoded; None for full size."""
    return max(MIN_QUARTER_SIDE_PX, -(-min(size) // 4)) if quarter else short_side_px


@contextmanager
def _pillow_errors(doing: str) -> Iterator[None]:
    """Raise a PhotoError for whatever Pillow raises in the block; suppress its warnings and its limit."""
    with ignore_warnings, no_pixel_limit:
        try:
            yield
        except MemoryError as exc:
            raise OutOfMemory(f"{doing} needs more memory than is available") from exc
        except PILLOW_ERRORS as exc:
            text = describe_error(exc)
            if text.startswith("Unsupported "):  # variants of BMP
                raise UnsupportedFormat(f"{text}: convert it to JPEG or PNG") from exc
            raise BrokenPhoto(text) from exc


def _open(data: bytes, max_pixels: int) -> tuple[Image.Image, Image.Image | None]:
    """The image, of at most `max_pixels`, and its alpha if Pillow has no mode for these colors with alpha.

    The image is opened but not decoded, except for layouts of TIFF that Pillow gets wrong.
    """
    with _pillow_errors("reading the header"):
        if picture := open_tiff(data, partial(_check_size, max_pixels=max_pixels)):
            return picture.image, picture.alpha
        try:
            image = _identify(data, max_pixels)
        except UnidentifiedImageError as exc:
            raise _unidentified_error(data) from exc
    _check_size(image.width, image.height, max_pixels=max_pixels)
    if image.format == "PNG":
        png.correct_transparency(image, data)
    elif image.format == "BMP" and (profile := read_bmp_profile(data)):
        image.info["icc_profile"] = profile
    return image, None


def _check_size(width: int, height: int, *, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooManyPixels(f"{width} x {height} is over the limit of {max_pixels} pixels (--max-pixels)")


def _identify(data: bytes, max_pixels: int) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        plugin_format = detect_plugin_format(data[:SNIFF_BYTES])
        if plugin_format is None or not is_installed(plugin_format):
            raise
    if plugin_format is JXL and (jxl_pixel_count(data) or 0) > max_pixels:  # its plugin decodes while it opens
        raise TooManyPixels(f"the header claims more than {max_pixels} pixels, the limit (--max-pixels)")
    return Image.open(io.BytesIO(data), formats=[plugin_format.format])


def _unidentified_error(data: bytes) -> PhotoError:
    """The error for a file that no reader accepts."""
    head = data[:SNIFF_BYTES]
    plugin_format = detect_plugin_format(head)
    if plugin_format and not is_installed(plugin_format):
        hint = install_hint(plugin_format.extra)
        return UnsupportedFormat(f"{plugin_format.name} needs an extra: {hint}; then scan again with --retry-errors")
    error = describe_content(data)
    return (
        BrokenPhoto("the header cannot be read") if isinstance(error, NotAPhoto) and looks_like_photo(head) else error
    )


def _to_photo(
    image: Image.Image, data: bytes | None, short_side_px: int | None, on_white: bool, extra_alpha: Image.Image | None
) -> Photo:
    """Decode an image that Pillow has opened, as stored; with the bytes of its file, by a fast path if there is one."""
    orientation, mode, stored_size = read_orientation(image), image.mode, image.size
    profile_name, transform = srgb_transform(image.info.get("icc_profile"), mode)
    tags = read_color_tags(image, data)
    if tags and (tags.over_profile or profile_name is None):
        transform = tags.transform
    pixels = None if data is None else fast_paths.decode_plain_image(image, data, short_side_px)
    visible, alpha, remaining_orientation = None, None, orientation
    if pixels is not None:
        pixels = pixels if transform is None else convert_pixels(pixels, transform)
    else:
        if data is not None:
            _check_undamaged(image, data)
        image.load()
        remaining_orientation = read_orientation(image)  # Pillow's TIFF reader turns it itself and then reports 1
        orientation = remaining_orientation if orientation == 1 else orientation  # a PNG's EXIF may follow its pixels
        converted = to_srgb(image, transform)
        if extra_alpha is not None:
            converted.putalpha(extra_alpha)
        pixels, alpha = _split_alpha(converted)
        visible = None if alpha is None or alpha.all() else alpha > 0
        if alpha is not None and on_white:
            pixels, alpha = over_white(pixels, alpha), None
    if visible is not None and not visible.any():
        raise NothingVisible(f"all {stored_size[0]} x {stored_size[1]} pixels are fully transparent")
    upright_size = stored_size[::-1] if remaining_orientation >= 5 else image.size
    hdr_transfer = tags.hdr_transfer if tags else None
    header = Header(*upright_size, image.format or "", mode, orientation, profile_name, hdr_transfer)
    return Photo(header, pixels, visible, alpha, remaining_orientation)


def _turn(photo: Photo) -> Photo:
    """The photo with upright pixels."""
    orientation, visible, alpha = photo.remaining_orientation, photo.visible, photo.alpha
    if orientation == 1:
        return photo
    with memory_errors("turning it"):
        pixels = apply_orientation(photo.pixels, orientation)
        alpha = None if alpha is None else apply_orientation(alpha, orientation)
        if visible is not None:
            visible = apply_orientation(visible.view(np.uint8), orientation).view(np.bool_)
    return Photo(photo.header, pixels, visible, alpha)


def _check_undamaged(image: Image.Image, data: bytes) -> None:
    """Raise BrokenPhoto for damage in the image data that Pillow accepts."""
    if image.format in ("JPEG", "MPO"):
        jpeg_data.check_complete(data)
    elif image.format == "PNG":
        png.check_pixel_data(data)


def _split_alpha(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """(H, W, 3) colors and (H, W) alpha of an RGB or RGBA image; no alpha if the image is opaque."""
    samples = np.asarray(image)
    if image.mode == "RGB":
        return samples, None
    colors = np.asarray(cv2.cvtColor(samples, cv2.COLOR_RGBA2RGB), np.uint8)
    alpha = np.asarray(cv2.extractChannel(samples, 3), np.uint8)
    return colors, None if (alpha == 255).all() else alpha
