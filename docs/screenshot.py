"""Make docs/images/report.webp, a screenshot of a report. Needs Chromium.

The photos are overlapping crops of photos that scikit-image and scikit-learn contain.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import skimage
import sklearn.datasets
from PIL import Image
from playwright.sync_api import sync_playwright

from curate.report import write_report
from curate.scanning.scan import ScanOptions, scan_photos

PICTURE = Path(__file__).parent / "images" / "report.webp"
NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
CROP_PX, STEP_PX = 160, 60


def main() -> None:
    """Make crops, scan them, write the report and save a screenshot of it."""
    packaged = [Path(skimage.__file__).parent / "data" / name for name in NAMES]
    packaged += sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        (home / "photos").mkdir()
        for path in packaged:
            save_crops(path, home / "photos")
        scan_photos([home / "photos"], home / "scan.parquet", ScanOptions(), command="curate scan photos")
        write_report(home / "scan.parquet", home / "scan.html")
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            page = chromium.new_page(viewport={"width": 1180, "height": 1340})
            page.goto((home / "scan.html").as_uri())
            page.evaluate("page.command = {before: 'curate filter scan.parquet', after: '-o clean.parquet'}")
            page.evaluate("moveLine(300)")
            page.wait_for_function(
                "document.getElementById('kept').textContent && state.lineBin === 300 && !frameRequested"
            )
            page.screenshot(path=home / "page.png")
            chromium.close()
        Image.open(home / "page.png").save(PICTURE, quality=82, method=6)
    print(f"written: {PICTURE}, {PICTURE.stat().st_size / 1000:.0f} kB")


def save_crops(path: Path, folder: Path) -> None:
    """Save overlapping crops of a photo as photos."""
    with Image.open(path) as image:
        whole = image.convert("RGB")
    for top in range(0, whole.height - CROP_PX + 1, STEP_PX):
        for left in range(0, whole.width - CROP_PX + 1, STEP_PX):
            crop = whole.crop((left, top, left + CROP_PX, top + CROP_PX))
            crop.save(folder / f"{path.stem}-{left}-{top}.jpg", quality=92)


if __name__ == "__main__":
    main()
