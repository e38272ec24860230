"""Metadata of colorized pictures: EXIF that is kept, dropped or changed, and provenance."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageCms

from train.inference.metadata import Provenance, exif_of, write_marked

POSITION = {1: "N", 2: (48.0, 51.0, 29.0), 3: "E", 4: (2.0, 17.0, 40.0)}
PROVENANCE = Provenance("0" * 64, "1" * 64, "2" * 64, 1.0, 256)


def photo() -> bytes:
    """A JPEG with camera, GPS position, thumbnail, orientation and a maker's note."""
    exif = Image.Exif()
    exif.update({ExifTags.Base.Make: "Leica", ExifTags.Base.ImageDescription: "A bridge", ExifTags.Base.Orientation: 6})
    exif[ExifTags.Base.JpegIFOffset] = 99
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.DateTimeOriginal] = "1931:05:01 12:00:00"
    details[ExifTags.Base.ExifImageWidth] = 999
    details[ExifTags.Base.MakerNote] = b"secret"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(POSITION)
    buffer = io.BytesIO()
    Image.new("RGB", (16, 24)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def write(data: bytes, target: Path, *, drop_gps: bool = False) -> Image.Exif:
    write_marked(Image.new("RGB", (24, 16)), target, PROVENANCE, exif_of(data, (24, 16), drop_gps=drop_gps))
    with Image.open(target) as picture:
        picture.load()
        return picture.getexif()


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_tags_that_are_still_true_are_kept_and_stale_ones_dropped(tmp_path: Path, name: str) -> None:
    exif = write(photo(), tmp_path / name)
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert exif[ExifTags.Base.Make] == "Leica"
    assert exif[ExifTags.Base.ImageDescription].startswith("Colorized by machine.")
    assert exif[ExifTags.Base.ImageDescription].endswith("The photo says: A bridge")
    assert details[ExifTags.Base.DateTimeOriginal] == "1931:05:01 12:00:00"
    assert (details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight]) == (24, 16)
    assert not {ExifTags.Base.Orientation, ExifTags.Base.JpegIFOffset} & set(exif)
    assert ExifTags.Base.MakerNote not in details
    assert not exif.get_ifd(ExifTags.IFD.IFD1)


def test_the_gps_position_is_kept_or_dropped(tmp_path: Path) -> None:
    assert dict(write(photo(), tmp_path / "a.jpg").get_ifd(ExifTags.IFD.GPSInfo)) == POSITION
    assert not write(photo(), tmp_path / "b.jpg", drop_gps=True).get_ifd(ExifTags.IFD.GPSInfo)
    assert b"GPS" not in (tmp_path / "b.jpg").read_bytes()


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff no photo", photo()[:200]])
def test_exif_that_cant_be_read_is_left_out(tmp_path: Path, data: bytes) -> None:
    assert write(data, tmp_path / "a.jpg")[ExifTags.Base.ImageDescription].startswith("Colorized by machine.")


def test_exif_too_long_for_a_jpeg_is_left_out(tmp_path: Path) -> None:
    exif = exif_of(photo(), (24, 16), drop_gps=False)
    exif[ExifTags.Base.Artist] = "x" * 70_000
    write_marked(Image.new("RGB", (24, 16)), tmp_path / "a.jpg", PROVENANCE, exif)
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.getexif()[ExifTags.Base.ImageDescription] == PROVENANCE.sentence()


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_the_profile_is_srgb_with_a_fixed_date(tmp_path: Path, name: str) -> None:
    write(photo(), tmp_path / name)
    with Image.open(tmp_path / name) as picture:
        profile = picture.info["icc_profile"]
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    assert profile[24:36] == struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # ICC.1: six numbers, the year first
