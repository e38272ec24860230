"""TIFF files whose layout Pillow misreads or refuses.

A TIFF's tags allow more layouts than Pillow knows: it swaps the bytes of planar 16-bit samples, takes 12-bit samples
for 16-bit ones, and refuses most files with extra samples, Lab variants and big-endian BigTIFFs. For a layout that
Pillow gets wrong, Pillow only decompresses: it sees each strip or tile as rows of gray bytes. What the bytes mean is
decided here, from the tags (TIFF 6.0, Adobe 1992, and its technical notes).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from curate.errors import UnsupportedFormat
from curate.image.tiff_tags import FRACTION, NUMBER_TYPES, TiffHeader

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _CIE_LAB, _ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9
_COLOR_SAMPLES = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_COLOR_SAMPLES |= {_CIE_LAB: 3, _ICC_LAB: 3}
_BYTE_COMPRESSIONS = frozenset([1, 5, 8, 32773, 32946, 34925, 50000])
"""None, LZW, Deflate (two codes), PackBits, LZMA, Zstandard: they store bytes, whatever these mean."""
_PICTURE_COMPRESSIONS = frozenset([2, 3, 4, 6, 7, 32771])
"""Fax codes and JPEG, old and new: they store pixels, and Pillow decodes them."""
_PILLOW_LAYOUTS = frozenset(
    [
        *(
            (photometric, bits, 1)
            for photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE)
            for bits in (1, 2, 4, 8)
        ),
        (_BLACK_IS_ZERO, 16, 1),
        *((_RGB, bits, samples) for bits in (8, 16) for samples in (3, 4)),
        *((_CMYK, 8, 4), (_CMYK, 16, 4), (_CIE_LAB, 8, 3)),
    ]
)
"""(photometric interpretation, bits, samples per pixel) of the chunky layouts that Pillow reads right."""
_ASSOCIATED_ALPHA = 1
_ALPHA = (_ASSOCIATED_ALPHA, 2, 999)
"""ExtraSamples: alpha that colors are multiplied by; alpha; and what Corel Draw 10 writes for alpha."""
_MAX_SAMPLES = 16

CheckSize = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class TiffPicture:
    """The first picture of a TIFF, opened by Pillow or decoded here."""

    image: Image.Image
    """Its profile and orientation are in `info`, or in its tags if Pillow has opened it."""
    alpha: Image.Image | None = None
    """Mode L: alpha beside CMYK or Lab colors, which no mode of Pillow can store."""


def open_tiff(data: bytes, check_size: CheckSize) -> TiffPicture | None:
    """Open the first picture of a TIFF, by Pillow or, for a layout that Pillow gets wrong, here.

    Args:
        data: the file's bytes, of any format.
        check_size: called with width and height before anything is decoded; raises the error for a picture that is
            too large.

    Returns:
        The picture; None if the file is not a TIFF, or its tags cannot be read, so that Pillow has to name the error.

    Raises:
        UnsupportedFormat: samples without a defined range, or a layout that is not decoded.
        OSError, ValueError, ...: what Pillow raises on malformed files.
    """
    file = _TiffTags.read(data)
    if file is None or not {256, 257, 262} <= file.values.keys():
        return None
    layout = _Layout(data, file)
    check_size(layout.width, layout.height)
    layout.check_supported()
    layout.check_complete()
    if layout.is_read_by_pillow:
        palette = file.values.get(320)
        if layout.photometric == _PALETTE and palette is not None and palette.size and palette.max() < 256:
            file.values[320] = palette.astype(np.uint16) * 257  # 8-bit colors, of old programs; libtiff scales them too
        elif file.header != TiffHeader(">", is_big=True):
            return None
        return TiffPicture(Image.open(io.BytesIO(_rewrite(data, file.header.order, file.values)), formats=["TIFF"]))
    check_size(*layout.stored_size)  # tiles may be larger than the picture
    return layout.decode()


@dataclass(frozen=True, slots=True)
class _TiffTags:
    """The tags of the first picture."""

    header: TiffHeader
    values: dict[int, NDArray[Any]]
    """The value of each tag that has a numeric type, (n,), or (n, 2) for fractions."""

    @classmethod
    def read(cls, data: bytes) -> _TiffTags | None:
        """None if the file is not a TIFF or its tags cannot be read."""
        header = TiffHeader.read(data)
        if header is None:
            return None
        try:
            return cls(header, header.read_page(data, header.first_page(data))[0])
        except ValueError:
            return None

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The value of a tag; the default without it."""
        value = self.values.get(tag)
        return default if value is None or not value.size else tuple(int(number) for number in value.flat)

    def number(self, tag: int, default: int) -> int:
        """The first number of a tag."""
        return self.numbers(tag, (default,))[0]

    def fractions(self, tag: int, default: tuple[float, ...]) -> tuple[float, ...]:
        """The value of a tag of fractions; the default without it, or with another number of them."""
        value = self.values.get(tag)
        if value is None or value.ndim != 2 or len(value) != len(default) or not value[:, 1].all():
            return default
        return tuple(float(ratio) for ratio in value[:, 0] / value[:, 1].astype(np.float64))


class _Layout:
    """How the samples of the first picture are stored."""

    def __init__(self, data: bytes, file: _TiffTags) -> None:
        number, numbers = file.number, file.numbers
        self._data, self._file = data, file
        self.width, self.height = number(256, 0), number(257, 0)
        self.compression, self.photometric = number(259, 1), number(262, 0)
        self.samples, self.fill_order, self.predictor = number(277, 1), number(266, 1), number(317, 1)
        self.all_bits = set(numbers(258, (1,))[: self.samples])
        self.bits = numbers(258, (1,))[0]
        self.formats = set(numbers(339, (1,))[: self.samples])
        self.colors = _COLOR_SAMPLES.get(self.photometric, 0)
        extra = numbers(338) or ((2,) if (self.photometric, self.samples) == (_RGB, 4) else ())
        self.extra_samples = extra[: max(0, self.samples - self.colors)]
        self.is_planar = number(284, 1) == 2 and self.samples > 1
        self.is_tiled = 324 in file.values
        self.tile = number(322, 0), number(323, 0)
        is_subsampled = self.photometric == _YCBCR and not self.is_planar
        self.block = (numbers(530, (2, 2)) * 2)[:2] if is_subsampled else (1, 1)

    def check_supported(self) -> None:
        """Raise UnsupportedFormat, with the reason, if the samples are not decoded."""
        if self.formats & {3, 6}:
            raise UnsupportedFormat("float samples have no defined range: convert it to 8 or 16 bits per sample")
        if self.formats - {1, 4}:
            raise UnsupportedFormat("signed samples have no defined range: convert it to 8 or 16 bits per sample")
        if len(self.all_bits) > 1 or not 1 <= self.bits <= 16 or not 1 <= self.samples <= _MAX_SAMPLES:
            bits = ", ".join(str(bits) for bits in self._file.numbers(258, (1,))[:4])
            raise UnsupportedFormat(f"a TIFF with samples of {bits} bits is not supported: convert it to 8 or 16 bits")
        if not self.colors or (self.photometric == _CMYK and self._file.number(332, 1) != 1):
            kind = f"photometric interpretation {self.photometric}" if not self.colors else "inks that are not CMYK"
            raise UnsupportedFormat(f"a TIFF with {kind} is not supported: convert it to RGB")
        if self.compression not in _BYTE_COMPRESSIONS | _PICTURE_COMPRESSIONS:
            raise UnsupportedFormat(f"TIFF compression {self.compression} is not supported: save it with LZW")
        eight_bits_only = self.compression in _PICTURE_COMPRESSIONS or self.photometric in (_PALETTE, _YCBCR)
        if eight_bits_only and self.bits > 8:
            raise UnsupportedFormat(
                f"a TIFF of {self.bits}-bit JPEG, palette or YCbCr samples is not supported: convert it to RGB"
            )

    def check_complete(self) -> None:
        """Raise ValueError if strips or tiles are missing, which Pillow would leave black, or have no pixels."""
        if not set(self.block) <= {1, 2, 4}:
            raise ValueError("the chroma subsampling is invalid")
        width, height = self.tile if self.is_tiled else (self.width, self._file.number(278, self.height))
        if not (self.width and self.height and width and height):
            raise ValueError("the picture, or its strips or tiles, have no pixels")
        planes = self.samples if self.is_planar else 1
        count = -(-self.width // width) * -(-self.height // height) * planes
        stored = len(self._file.numbers(324 if self.is_tiled else 273))
        if 0 < stored < count:
            raise ValueError("strips or tiles are missing")

    @property
    def is_read_by_pillow(self) -> bool:
        """Whether Pillow reads the layout as the standard says."""
        if self.compression in _PICTURE_COMPRESSIONS or self.photometric == _PALETTE:
            return True
        chunky = not self.is_planar or (self.bits == 8 and self.samples == self.colors)
        known = (self.photometric, self.bits, self.samples) in _PILLOW_LAYOUTS
        return chunky and known and self.fill_order == 1 and self.formats == {1}

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height of the stored pixels: whole tiles, which may exceed the picture."""
        if not self.is_tiled:
            return self.width, self.height
        width, height = self.tile
        return -(-self.width // width) * width, -(-self.height // height) * height

    def decode(self) -> TiffPicture:
        """Decode the picture; it is as Pillow would have it, with the alpha apart for CMYK and Lab."""
        samples = self._read_samples() if self.block == (1, 1) else self._read_subsampled()
        colors, alpha = samples[..., : self.colors], self._find_alpha(samples)
        if self.photometric == _WHITE_IS_ZERO:
            colors = 255 - colors
        if self.photometric == _YCBCR:
            colors = self._ycbcr_to_rgb(colors)
        if self.photometric == _ICC_LAB:
            colors = colors ^ np.array([0, 128, 128], np.uint8)  # Pillow's a* and b* are signed
        mode = {1: "L", 4: "CMYK"}.get(self.colors, "LAB" if self.photometric in (_CIE_LAB, _ICC_LAB) else "RGB")
        image = Image.frombytes(mode, (self.width, self.height), np.ascontiguousarray(colors).tobytes())
        if alpha is not None and mode in ("L", "RGB"):
            image.putalpha(alpha)
            alpha = None
        image.format = "TIFF"
        if (profile := self._file.values.get(34675)) is not None:
            image.info["icc_profile"] = profile.tobytes()
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = self._file.number(274, 1)
        image.info["exif"] = exif.tobytes()
        return TiffPicture(image, alpha)

    def _find_alpha(self, samples: NDArray[np.uint8]) -> Image.Image | None:
        """The alpha channel; colors that were multiplied by it are divided by it, in place."""
        for index, kind in enumerate(self.extra_samples, start=self.colors):
            if kind in _ALPHA:
                alpha = samples[..., index]
                if kind == _ASSOCIATED_ALPHA:
                    opacity = np.maximum(alpha, 1).astype(np.uint32)[..., None]
                    colors = samples[..., : self.colors]
                    colors[:] = np.minimum((colors * np.uint32(255) + opacity // 2) // opacity, 255)
                return Image.fromarray(np.ascontiguousarray(alpha))
        return None

    def _read_samples(self) -> NDArray[np.uint8]:
        """(H, W, N) uint8: all samples, scaled to 8 bits: 16-bit colors to their high byte, as Pillow does."""
        planes = [self._unpack(self._read_rows(plane), 1) for plane in range(self.samples)] if self.is_planar else []
        stored = np.concatenate(planes, axis=-1) if planes else self._unpack(self._read_rows(0), self.samples)
        if self.bits == 8:
            return stored.astype(np.uint8)
        if self.bits > 8 and self.colors > 1:
            return (stored >> (self.bits - 8)).astype(np.uint8)
        largest = (1 << self.bits) - 1
        return ((stored.astype(np.uint32) * 255 + largest // 2) // largest).astype(np.uint8)

    def _unpack(self, rows: NDArray[np.uint8], samples: int) -> NDArray[Any]:
        """(H, W, samples) of (rows, tiles across, bytes of a row): numbers of 8 or 16 bits, predictor undone."""
        tile_width = self.tile[0] if self.is_tiled else self.width
        shape = (*rows.shape[:2], tile_width, samples)
        numbers: NDArray[Any]
        if self.bits in (8, 16):
            numbers = rows.view(np.dtype(f"{self._file.header.order}u{self.bits // 8}")).reshape(shape)
        else:
            bits = np.unpackbits(rows, axis=-1, count=tile_width * samples * self.bits).reshape(*shape, self.bits)
            numbers = np.zeros(shape, np.uint16)
            for index in range(self.bits):
                numbers = (numbers << 1) | bits[..., index]
        if self.predictor == 2:
            numbers = np.cumsum(numbers, axis=2, dtype=numbers.dtype.newbyteorder("="))
        return numbers.reshape(len(rows), -1, samples)[: self.height, : self.width]

    def _read_rows(self, plane: int) -> NDArray[np.uint8]:
        """(rows, tiles across, bytes of a row) uint8: decompressed by Pillow, of one plane or of all samples."""
        across, down = self.block
        width, height = self.tile if self.is_tiled else (self.width, self.height)
        samples = 1 if self.is_planar else self.samples
        block_bits = across * down * 8 + (self.samples - 1) * 8 if self.block != (1, 1) else samples * self.bits
        row_bytes = (-(-width // across) * block_bits + 7) // 8
        columns, tile_rows = (-(-self.width // width), -(-self.height // height)) if self.is_tiled else (1, 1)
        rows = -(-height // down) * tile_rows
        tags = {256: row_bytes * columns, 257: rows, 258: 8, 259: self.compression, 262: _BLACK_IS_ZERO, 277: 1}
        values: dict[int, NDArray[Any]] = {tag: np.array([value], np.uint32) for tag, value in tags.items()}
        values[266] = np.array([self.fill_order], np.uint32)
        if self.is_tiled:
            values |= {322: np.array([row_bytes], np.uint32), 323: np.array([-(-height // down)], np.uint32)}
        else:
            rows_per_strip = min(self._file.number(278, self.height), self.height)
            values[278] = np.array([-(-rows_per_strip // down)], np.uint32)
        for tag in (324, 325) if self.is_tiled else (273, 279):
            numbers = self._file.values[tag]
            count = len(numbers) // self.samples if self.is_planar else len(numbers)
            values[tag] = numbers[plane * count : (plane + 1) * count]
        with Image.open(io.BytesIO(_rewrite(self._data, self._file.header.order, values)), formats=["TIFF"]) as image:
            return np.array(image).reshape(rows, columns, row_bytes)

    def _read_subsampled(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8: Y, Cb and Cr of blocks of luma samples with one Cb and one Cr (TIFF 6.0, section 21)."""
        across, down = self.block
        rows = self._read_rows(0)
        blocks = rows.reshape(len(rows), -1, across * down + 2)
        height, width = blocks.shape[0] * down, blocks.shape[1] * across
        result = np.empty((height, width, 3), np.uint8)
        luma = blocks[..., : across * down].reshape(-1, width // across, down, across)
        result[..., 0] = luma.transpose(0, 2, 1, 3).reshape(height, width)
        result[..., 1:] = blocks[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
        return result[: self.height, : self.width]

    def _ycbcr_to_rgb(self, ycbcr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, by the coefficients and the reference black and white of the file."""
        red, green, blue = self._file.fractions(529, (0.299, 0.587, 0.114))
        reference = np.array(self._file.fractions(532, (0, 255, 128, 255, 128, 255)), np.float32).reshape(3, 2)
        ranges = np.maximum(reference[:, 1] - reference[:, 0], 1)
        y, cb, cr = np.moveaxis((ycbcr - reference[:, 0]) * (np.array([255, 127, 127], np.float32) / ranges), -1, 0)
        r, b = y + (2 - 2 * red) * cr, y + (2 - 2 * blue) * cb
        rgb = np.stack([r, (y - red * r - blue * b) / max(green, 0.01), b], axis=-1)
        levels: NDArray[np.uint8] = np.rint(rgb.clip(0, 255)).astype(np.uint8)
        return levels


def _rewrite(data: bytes, order: str, values: dict[int, NDArray[Any]]) -> bytes:
    """A classic TIFF of the same data with other tags."""
    start = len(data) + len(data) % 2
    entries, extra = b"", b""
    extra_at = start + 2 + 12 * len(values) + 4
    kinds = {1: 1, 2: 3, 4: 4, 8: 4}
    for tag, value in sorted(values.items()):
        kind = FRACTION if value.ndim == 2 else kinds[value.dtype.itemsize]
        stored = value.astype(np.dtype(order + NUMBER_TYPES[kind])).tobytes()
        entries += struct.pack(order + "HHI", tag, kind, len(value))
        if len(stored) > 4:
            entries += struct.pack(order + "I", extra_at + len(extra))
            extra += stored + b"\0" * (len(stored) % 2)
        else:
            entries += stored.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    directory = struct.pack(order + "H", len(values)) + entries + bytes(4) + extra
    return b"".join([head, data[8:], b"\0" * (len(data) % 2), directory])
