"""The digital source type of a file: XMP of several formats, of our own pictures, and files without one."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from curate.image.source_type import HEAD_BYTES, read_source_type

URL = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def xmp(*terms: str) -> bytes:
    """An XMP packet with some digital source types."""
    types = " ".join(f'Iptc4xmpExt:DigitalSourceType="{URL}{term}"' for term in terms)
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description {types}/></x:xmpmeta>'.encode()


def encode(kind: str, side: int = 8, **options: Any) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("side", [8, 700])
def test_xmp_is_found_wherever_a_format_has_it(kind: str, side: int) -> None:
    options: dict[str, Any] = {"xmp": xmp("trainedAlgorithmicMedia")}
    if kind == "PNG":
        options = {"pnginfo": PngImagePlugin.PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp("trainedAlgorithmicMedia").decode())
    data = encode(kind, side, **options)
    assert (len(data) > HEAD_BYTES) == (side > 8)
    assert read_source_type(data) == "trainedAlgorithmicMedia"


def test_of_several_types_that_of_a_program_counts() -> None:
    assert read_source_type(xmp("digitalCapture", "compositeSynthetic")) == "compositeSynthetic"
    assert read_source_type(xmp("digitalCapture", "negativeFilm")) == "digitalCapture"


def test_the_description_of_a_colorized_picture_is_enough() -> None:
    assert read_source_type(b"..Colorized by machine. checkpoint sha256 ab") == "compositeWithTrainedAlgorithmicMedia"


def test_files_without_a_type() -> None:
    assert read_source_type(b"") is None
    assert read_source_type(encode("JPEG")) is None
    assert read_source_type(URL.encode() + b"1") is None
