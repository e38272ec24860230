"""The benchmarks of scanning run on tiny inputs and print their results."""

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
    folder = tmp_path / "photos"
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
    output = run("scan.py", str(folder), "--rounds", "1")
    assert "photos: 1 photos" in output
    assert re.search(r"\n +scan .* ratio \d+\.\d\d", output)
    assert "photos, other profiles: 1 photos" in output
    assert output.count("--fidelity fast") == 2
    assert "a second worker: " in output


def test_fidelity_prints_the_differences(folder: Path) -> None:
    assert "2 photos; M(fast) - M(exact)" in run("fidelity.py", str(folder))


def test_profiles_prints_the_differences_from_littlecms(folder: Path) -> None:
    output = run("profiles.py", str(folder), "--rounds", "1")
    assert "1 photos of 0.1 MP; largest difference 0 level, M 0.00000" in output
    assert re.search(r"LittleCMS \d+\.\d: \d+\.\d\d times as fast", output)


def test_fuzz_prints_the_outcomes_for_each_format() -> None:
    output = run("fuzz.py", "--mutants", "1", "--memory-gb", "8")
    assert output.count("; slowest ") == 26
    assert "peak memory" in output


def test_a_missing_cleanvision_is_reported(folder: Path) -> None:
    output = run("against_cleanvision.py", sys.executable, str(folder), status=1)
    assert "install it there with pip" in output
