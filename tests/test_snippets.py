"""The Python programs in the how-to pages on manifests run without changes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.filtering.filter import filter_manifest
from curate.filtering.options import FilterOptions
from curate.scanning.scan import ScanOptions, scan_photos

ROOT = Path(__file__).parent.parent
PAGES = ("read-a-manifest.md", "review-tone.md")
SNIPPETS = {
    page: re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8"), re.DOTALL)
    for page in PAGES
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with manifests of two kept photos, and two rejected ones with two reasons each."""
    home = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    (home / "photos").mkdir()
    for number in range(4):
        noise = rng.integers(0, 255, (20, 30, 3), np.uint8)
        pixels = noise if number % 2 else np.repeat(noise[..., :1], 3, axis=2)
        Image.fromarray(pixels).save(home / "photos" / f"{number}.png")
    scan_photos([home / "photos"], home / "manifests" / "scan.parquet", ScanOptions())
    options = FilterOptions(keep_kinds=frozenset({"photo", "graphic"}))  # noise doesn't look like a photo
    filter_manifest(home / "manifests" / "scan.parquet", home / "manifests" / "clean.parquet", options)
    return home


@pytest.mark.parametrize(
    ("page", "library", "output"),
    [
        ("read-a-manifest.md", "pandas", "colorfulness … < …"),
        ("read-a-manifest.md", "duckdb", "2.png"),
        ("review-tone.md", "pandas", "1.png"),
    ],
)
def test_a_program_of_a_page_runs_and_prints_its_result(page: str, library: str, output: str, home: Path) -> None:
    (program,) = [snippet for snippet in SNIPPETS[page] if f"import {library}" in snippet]
    done = subprocess.run([sys.executable, "-c", program], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert output in done.stdout
