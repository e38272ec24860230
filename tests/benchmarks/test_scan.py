"""Every bench of scanning, run tiny, so that it can't rot."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "some"
    folder.mkdir()
    y, x = np.mgrid[0:300, 0:400]
    photo = Image.fromarray(np.stack([x * 0.6, y * 0.8, 255 - x * 0.6], axis=-1).astype(np.uint8))
    photo.save(folder / "plain.jpg", quality=90)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"tmp!").replace(b"bXYZ", b"rXYZ").replace(b"tmp!", b"bXYZ")
    photo.save(folder / "profile.jpg", quality=90, icc_profile=swapped)
    return folder


def run(script: str, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / script, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_scan_prints_all_ratios(folder: Path) -> None:
    said = run("scan.py", str(folder), "--rounds", "1")
    assert "some: 1 photos" in said
    assert re.search(r"\n +scan .* ratio \d+\.\d\d", said)
    assert "some, other profiles: 1 photos" in said
    assert said.count("--fidelity fast") == 2
    assert "a second worker: " in said


def test_fidelity_prints_how_far_fast_is_off(folder: Path) -> None:
    assert "2 photos; M fast less M exact" in run("fidelity.py", str(folder))


def test_profiles_prints_how_far_it_is_from_littlecms(folder: Path) -> None:
    said = run("profiles.py", str(folder), "--rounds", "1")
    assert "1 photos of 0.1 MP; furthest 0 level, M 0.00000 apart" in said
    assert re.search(r"LittleCMS \d+\.\d: \d+\.\d\d times", said)


def test_fuzz_prints_what_became_of_each_format() -> None:
    said = run("fuzz.py", "--mutants", "1", "--memory-gb", "8")
    assert said.count("; slowest ") == 26
    assert "peak memory" in said


def test_cleanvision_must_be_installed_somewhere(folder: Path) -> None:
    said = run("against_cleanvision.py", sys.executable, str(folder), status=1)
    assert "install it there with pip" in said
