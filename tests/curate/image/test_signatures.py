"""What a file is that no decoder accepts: the beginnings are those of the formats' specifications and of file(1)."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import pytest

from curate.errors import BrokenPhoto, NotAPhoto, UnsupportedFormat
from curate.image.decode import decode_bytes
from curate.image.formats import looks_like_photo
from curate.image.signatures import describe_content


def zip_file() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", b"")
    return file.getvalue()


def tar_file() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    return file.getvalue()


S3_ERROR = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>x</Message></Error>'
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page: a server may have sent it"),
        (b"\xef\xbb\xbf\r\n<html lang=en>", "an HTML page"),
        (b'<meta charset="utf-8"><div>404 Not Found</div>', "an HTML page"),
        (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC ""><html xmlns="">', "an HTML page"),
        ("<html>".encode("utf-16"), "an HTML page"),
        (S3_ERROR, "XML with the error NoSuchKey: a server"),
        (b'<?xml version="1.0"?><gpx/>', "it is XML"),
        (b'{"message": "Not Found"}', "it is JSON"),
        (b"[]", "it is JSON"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"<svg width='1'/>", "an SVG drawing"),
        (LFS_POINTER, "run `git lfs pull`"),
        (LFS_POINTER.replace(b"git-lfs", b"hawser"), "run `git lfs pull`"),  # the name of Git LFS before 2015
        (b"/annex/objects/SHA256E-s1--ab.jpg\n", "run `git annex get`"),
        (b"/9j/4AAQSkZJRgABAQ", "base64"),
        (b"data:image/png;base64,iVBOR", "base64"),
        (b"Too Many Requests\n", "text, which begins with 'Too Many Requests'"),
        ("größer".encode(), "text, which begins with 'größer'"),
        (b"#!/bin/sh\n", "a script"),
        (b"\0" * 5000, "zeros"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "AppleDouble"),
        (b"bplist00\xd1", "iCloud"),
        (b"%PDF-1.7\n", "a PDF"),
        (zip_file(), "a ZIP"),
        (gzip.compress(b"x"), "gzip"),
        (tar_file(), "a tar"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video"),
        (b"\0\0\0\x14ftypqt  ", "a video"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "a video"),
        (b"\x1a\x45\xdf\xa3\x01", "a video"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (b"RIFF\0\0\0\0WAVEfmt ", "sound"),
        (b"ID3\4\0", "sound"),
        (b"\x7fELF\2\1\1", "a program"),
        (b"MZ\x90\0\3", "a program"),
        (b"SQLite format 3\0", "SQLite"),
    ],
)
def test_a_file_that_is_no_image_says_what_it_is(data: bytes, words: str) -> None:
    with pytest.raises(NotAPhoto) as caught:
        decode_bytes(data)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not looks_like_photo(data[:512])


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"FUJIFILMCCD-RAW 0201", "Fujifilm"),
        (b"IIU\0\x18\0\0\0", "Panasonic"),
        (b"IIRO\x08\0\0\0", "Olympus"),
        (b"MMOR\0\0\0\x08", "Olympus"),
        (b"FOVb\0\0\2\0", "Sigma"),
        (b"\0MRM\0\0\x0a\x0c", "Minolta"),
        (b"II\x1a\0\0\0HEAPCCDR", "Canon CRW"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "Canon CR3"),
    ],
)
def test_camera_raw_files_get_a_row_with_an_error(head: bytes, name: str) -> None:
    assert looks_like_photo(head)
    with pytest.raises(UnsupportedFormat, match=f"camera raw .*{name}.*develop it"):
        decode_bytes(head + bytes(100))


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"8BPS\0\1", "Photoshop"),
        (b"P6\n2 1\n255\n\0\1\2\3\4\5", "Netpbm"),
        (b"\0\0\1\0\1\0\x10\x10", "an icon"),
        (b"\x76\x2f\x31\1\2\0\0\0", "OpenEXR"),
        (b"II\xbc\1\x20\0\0\0", "JPEG XR"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
        (bytes(128) + b"DICM", "DICOM"),
    ],
)
def test_images_of_formats_that_are_not_decoded_are_unsupported(head: bytes, name: str) -> None:
    with pytest.raises(UnsupportedFormat, match=f"{name}.*convert it"):
        decode_bytes(head)


@pytest.mark.parametrize(
    "data", [b"\x89PNG\n\x1a\n\0\0\0\rIHDR", b"\x89PNG\r\r\n\x1a\r\n", "\ufffd\ufffd\ufffd\ufffd\0\x10JFIF".encode()]
)
def test_files_that_a_transfer_in_text_mode_changed_are_broken(data: bytes) -> None:
    with pytest.raises(BrokenPhoto, match="binary mode"):
        decode_bytes(data)


@pytest.mark.parametrize(
    "data", [b"\1\2\3" * 99, b"abc \xe9\xe8 def", b"\xff\xd8\0\xe0", b"  \n ", b"\0\0\1\0\0\0\0\0"]
)
def test_other_data_are_no_image_of_a_known_format(data: bytes) -> None:
    assert str(describe_content(data)) == "NotAPhoto: the content is not an image of a known format"
