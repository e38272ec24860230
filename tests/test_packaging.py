"""The distributions hold every file that the packages need, and the metadata beside them agrees."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from curate.version import __version__

ROOT = Path(__file__).parent.parent


def build(tree: Path, out: Path) -> None:
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(out)], cwd=tree, check=True)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    build(ROOT, out)
    return out


def test_the_wheel_has_every_file_of_the_packages(dist: Path) -> None:
    files = [
        path for package in ("curate", "train", "vividset") for path in (ROOT / package).rglob("*") if path.is_file()
    ]
    expected = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
    assert {
        "curate/py.typed",
        "train/py.typed",
        "curate/measures/kind/large.onnx",
        "curate/measures/kind/small.onnx",
        "curate/measures/tone/network.onnx",
        "curate/measures/tone/pretrained.onnx",
        "curate/report/gallery.js",
    } <= expected
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        assert not expected - set(wheel.namelist())
        networks = [entry for entry in wheel.infolist() if entry.filename.endswith(".onnx")]
        assert sum(entry.compress_size for entry in networks) < 8e6


def test_the_sdist_builds_the_same_wheel(dist: Path, tmp_path: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as sdist:
        if hasattr(tarfile, "data_filter"):  # Debian 12's Python 3.11.2 has none; newer ones warn without
            sdist.extraction_filter = tarfile.data_filter
        sdist.extractall(tmp_path)  # noqa: S202 - our own archive
    build(tmp_path / f"vividset-{__version__}", tmp_path)
    wheel = next(dist.glob("*.whl"))
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_links_in_the_description_are_absolute(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        metadata = wheel.read(f"vividset-{__version__}.dist-info/METADATA").decode()
    links = re.findall(r"(?:\]\(|src=\")([^)\"]+)", metadata)
    assert links
    assert not [link for link in links if not link.startswith(("https://", "#"))]


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
