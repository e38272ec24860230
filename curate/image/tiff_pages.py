"""Choose the page of a TIFF that is the photo: recognize camera raw files and previews by the tags of the pages.

Camera raw files are TIFFs in which a general reader finds only a preview: the first page is a small or a camera-made
picture, and the sensor's samples are in another page. Sources: TIFF 6.0 (tags 254, 255, 330), DNG 1.7 (photometric
interpretations 32803 and 34892, DNGVersion), ExifTool's tables of makers' compressions and header marks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from curate.errors import UnsupportedFormat
from curate.image.tiff_tags import TiffHeader

RAW_ADVICE = "develop it to JPEG or TIFF"
RAW_NOT_DECODED = f"camera raw isn't decoded: {RAW_ADVICE}"
_NEW_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC = 254, 255, 256, 257, 259, 262
_SUB_IFDS, _CFA_REPEAT_PATTERN, _CFA_PATTERN, _DNG_VERSION = 330, 33421, 33422, 50706
_TAGS = frozenset(
    [
        *(_NEW_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC),
        *(_SUB_IFDS, _CFA_REPEAT_PATTERN, _CFA_PATTERN, _DNG_VERSION),
    ]
)
_RAW_PHOTOMETRIC = frozenset([32803, 34892])
"""Color filter array, and linear raw."""
_COLOR_PHOTOMETRIC = frozenset([2, 3, 5, 6, 8, 9])
"""RGB, palette, CMYK, YCbCr and Lab: a developed picture, even if a converter has copied a sensor's tags to it."""
_RAW_COMPRESSIONS = frozenset([32767, 32769, 32770, 32772, 32867, 34713, 65000, 65535])
"""Compressions of Sony, Epson, Samsung, Kodak, Nikon and Pentax that only their raw files use."""
_RAW_MARKS = (b"CR\2\0", b"IIII", b"MMMM")
"""Marks behind the header of raw files whose first page is a usual picture: Canon CR2, Phase One IIQ."""
_MAX_PAGES = 256
_MAX_VALUES = 64
_MIN_PREVIEW_RATIO = 4
"""A page is the preview of a later one of the same shape that is at least this many times as wide."""
_SHAPE_TOLERANCE = 0.03


@dataclass(frozen=True, slots=True)
class _Page:
    """One image file directory (IFD) of a TIFF."""

    offset: int
    """Of the IFD, in bytes from the start of the file."""
    tags: Mapping[int, tuple[int, ...]]
    """The values of the tags in `_TAGS`."""
    is_sub_page: bool
    """Whether another page refers to it; otherwise it is in the chain of pages."""

    def tag(self, number: int, default: int = 0) -> int:
        """The first value of a tag."""
        return next(iter(self.tags.get(number, ())), default)

    @property
    def width(self) -> int:
        return self.tag(_WIDTH)

    @property
    def height(self) -> int:
        return self.tag(_HEIGHT)

    @property
    def is_raw(self) -> bool:
        """Whether it has a sensor's samples, or belongs to a DNG."""
        has_pattern = not self.tags.keys().isdisjoint((_CFA_REPEAT_PATTERN, _CFA_PATTERN))
        return (
            _DNG_VERSION in self.tags
            or self.tag(_PHOTOMETRIC) in _RAW_PHOTOMETRIC
            or self.tag(_COMPRESSION) in _RAW_COMPRESSIONS
            or (has_pattern and self.tag(_PHOTOMETRIC) not in _COLOR_PHOTOMETRIC)
        )

    @property
    def is_reduced(self) -> bool:
        """Whether it says that it is a smaller copy of another page."""
        return bool(self.tag(_NEW_SUBFILE_TYPE) & 1) or self.tag(_OLD_SUBFILE_TYPE) == 2

    @property
    def is_mask(self) -> bool:
        return bool(self.tag(_NEW_SUBFILE_TYPE) & 4)

    def is_larger_than(self, other: _Page) -> bool:
        return self.width > other.width and self.height > other.height

    def is_enlargement_of(self, other: _Page) -> bool:
        """Whether it has the same shape as another page and is much larger."""
        difference = abs(self.width * other.height - self.height * other.width)
        same_shape = difference <= _SHAPE_TOLERANCE * self.width * other.height
        return same_shape and self.width >= _MIN_PREVIEW_RATIO * other.width


def select_page(data: bytes) -> bytes:
    """Return a TIFF whose first page is the photo. Files of other formats, and most TIFFs, are returned as they are.

    The first page is the photo, except if it is a smaller copy of another page of the file: then the other page is the
    photo. A page is a smaller copy if it says so (tags 254 and 255), if a page that it contains (tag 330) is larger, or
    if a later page has the same shape and at least four times the width.

    Args:
        data: a file's bytes.

    Returns:
        The same bytes, or a copy whose header refers to the page of the photo.

    Raises:
        UnsupportedFormat: it is a camera raw file, or a file with previews only.
    """
    header = TiffHeader.read(data)
    if header is None:
        return data
    pages = list(_read_pages(data, header))
    if not pages:
        return data
    if data[8:12] in _RAW_MARKS or any(page.is_raw for page in pages):
        raise UnsupportedFormat(RAW_NOT_DECODED)
    page = _photo_page(pages)
    if page is None:
        raise UnsupportedFormat(f"the file has previews only, as camera raw files do: {RAW_ADVICE}")
    return data if page is pages[0] else _with_first_page(data, header, page)


def _photo_page(pages: list[_Page]) -> _Page | None:
    """The page of the photo; None if all are previews."""
    first, *others = pages
    full = [page for page in others if not (page.is_reduced or page.is_mask)]
    if first.is_reduced or first.is_mask:
        if larger := next((page for page in full if first.is_mask or page.is_larger_than(first)), None):
            return larger
        return None if any(page.is_larger_than(first) for page in others) else first
    if not first.width:  # Pillow could not read such a file
        return None if any(page.is_sub_page for page in others) else first
    enlargements = [
        page for page in full if page.is_enlargement_of(first) or (page.is_sub_page and page.is_larger_than(first))
    ]
    return max(enlargements, key=lambda page: page.width, default=first)


def _with_first_page(data: bytes, header: TiffHeader, page: _Page) -> bytes:
    """A copy of a TIFF whose header refers to another page. Offsets in a TIFF are absolute, so nothing else changes."""
    pointer = struct.pack(header.pointer_format, page.offset)
    return data[: header.pointer_at] + pointer + data[header.pointer_at + len(pointer) :]


def _read_pages(data: bytes, header: TiffHeader) -> Iterator[_Page]:
    """The pages of a TIFF as far as they can be read: the chain, each page followed by the pages that it contains."""
    visited: set[int] = set()
    next_offset = header.first_page(data)
    try:
        while next_offset and next_offset not in visited and len(visited) < _MAX_PAGES:
            visited.add(next_offset)
            tags, following = _read_tags(data, header, next_offset)
            yield _Page(next_offset, tags, is_sub_page=False)
            for offset in tags.get(_SUB_IFDS, ()):
                if offset and offset not in visited and len(visited) < _MAX_PAGES:
                    visited.add(offset)
                    yield _Page(offset, _read_tags(data, header, offset)[0], is_sub_page=True)
            next_offset = following
    except ValueError:  # cut off or malformed: the decoder says so
        return


def _read_tags(data: bytes, header: TiffHeader, offset: int) -> tuple[dict[int, tuple[int, ...]], int]:
    tags, following = header.read_page(data, offset, _TAGS, _MAX_VALUES)
    return {tag: tuple(value.ravel().tolist()) for tag, value in tags.items()}, following
