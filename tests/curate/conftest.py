"""Photos to test with: made by numpy and Pillow, and the real ones that scikit-image ships."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

from curate.scanning.scan import ScanOptions, scan_photos
from curate.scanning.summary import ScanSummary

Pixels = NDArray[np.uint8]

settings.register_profile("curate", deadline=None, database=None)
settings.load_profile("curate")


@pytest.fixture(scope="session")
def real_photo() -> Callable[[str], Pixels]:
    """A colour photo from scikit-image, as (H, W, 3) uint8."""

    def read(name: str) -> Pixels:
        with Image.open(Path(skimage.__file__).parent / "data" / f"{name}.png") as image:
            return np.asarray(image.convert("RGB"))

    return read


@pytest.fixture(scope="session")
def vivid(real_photo: Callable[[str], Pixels]) -> Pixels:
    """(48, 64, 3), a colourful photo, smooth, so that lossy formats keep it nearly as it is."""
    small = cv2.resize(real_photo("astronaut"), (64, 48), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 1), np.uint8)


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """A picture as the bytes of a file."""

    def encode(picture: Image.Image | Pixels, kind: str, **options: Any) -> bytes:
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    return encode


@pytest.fixture
def photos(tmp_path: Path, vivid: Pixels) -> Path:
    """A folder with a vivid, a gray and a broken photo, and a text file that is nobody's photo."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(vivid).save(folder / "a-vivid.png")
    gray = np.repeat(vivid[..., :1], 3, axis=2)
    Image.fromarray(gray).save(folder / "more" / "b-gray.png")
    whole = (folder / "a-vivid.png").read_bytes()
    (folder / "c-cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("not a photo, by name or by content", encoding="utf-8")
    return folder


@pytest.fixture
def scanned(photos: Path, tmp_path: Path) -> tuple[Path, ScanSummary]:
    """The folder `photos`, scanned."""
    out = tmp_path / "manifests" / "scan.parquet"
    return out, scan_photos([photos], out, ScanOptions(engine="serial"), command="curate scan photos")
