"""The main job on real photos that two PyPI packages carry: scan, filter, fit, colorize. `make demo` runs it.

scikit-image and scikit-learn ship these photos; toned copies made here stand in for sepia prints, and one file is cut
short to show what becomes of photos that can't be read. Everything lands in build/demo.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import skimage
import sklearn.datasets
from PIL import Image

from train.trainer.validation import picture_grid, save_png

HERE = Path("build/demo")
PHOTOS = HERE / "photos"
RUN = HERE / "run"
COLOR = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
GRAY = ("brick.png", "camera.png", "coins.png", "moon.png", "page.png")
SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])
LUMA = np.array([0.299, 0.587, 0.114])
CYANOTYPE = np.array([[20, 45, 90], [120, 160, 190], [235, 240, 238]])
SHOWN_HEIGHT_PX = 300


def main() -> None:
    """Run the commands as a user would type them, and say where to look."""
    began = time.monotonic()
    gather()
    clean = HERE / "manifests" / "clean.parquet"
    scan = HERE / "manifests" / "scan.parquet"
    run("curate", "scan", PHOTOS, "-o", scan, "--overwrite")
    run("curate", "filter", scan, "--min-colorfulness", "20", "--split", "80/20/0", "-o", clean)
    recipe = ("--image-size", "64", "--channels", "16", "--lr", "1e-3", "--epochs", "500", "--batch-size", "8")
    run("train", "fit", clean, *recipe, "--run-dir", RUN)
    held_out, taught = named(clean, "val")[0], named(clean, "train")[1]
    last = RUN / "last.safetensors"
    run("train", "colorize", last, PHOTOS / held_out, PHOTOS / taught, "-o", HERE / "colorized")
    sheet = HERE / "side-by-side.png"
    save_png(compare([PHOTOS / held_out, PHOTOS / taught]), sheet)
    rejected = pq.read_table(HERE / "manifests" / "rejected.parquet", columns=["path", "reject_reasons"]).to_pylist()
    print("\nRejected, each with its reasons:")
    for row in rejected:
        print(f"  {row['path']:<24} {'; '.join(row['reject_reasons'])}")
    print(f"\nDone in {time.monotonic() - began:.0f} s. Where to look:")
    print(f"  kept photos            {clean}")
    print(f"  rejected, and why      {HERE / 'manifests' / 'rejected.parquet'}")
    print(f"  loss curve             {RUN / 'loss.png'}")
    print(f"  side by side           {sheet}")
    print(
        f"    top: {held_out}, held out: the network has never seen it; below: {taught}, one of those that taught it."
    )
    print("  A handful of photos teach tints, not the world: train on thousands of your own.")


def run(*words: str | Path) -> None:
    """Print a command and run it with this Python; end where it fails."""
    name, *arguments = map(str, words)
    print(f"\n$ {shlex.join([name, *arguments])}", flush=True)
    finished = subprocess.run([sys.executable, "-m", name, *arguments], check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


def gather() -> None:
    """Fill the photos' folder anew: colour, gray, toned and one broken photo."""
    try:
        if HERE.exists():
            shutil.rmtree(HERE)
        PHOTOS.mkdir(parents=True)
    except OSError as exc:  # made by another user, say by an earlier `sudo make demo`
        sys.exit(f"can't write to {HERE}: {exc.strerror}. Remove it, or change its owner, and run again")
    packaged = Path(skimage.__file__).parent / "data"
    learned = Path(sklearn.datasets.__file__).parent / "images"
    sources = [packaged / name for name in (*COLOR, *GRAY)] + sorted(learned.glob("*.jpg"))
    for source in sources:
        shutil.copy(source, PHOTOS)
    for number, name in enumerate(("chelsea.png", "coffee.png", "astronaut.png", "china.jpg")):
        photo = np.asarray(Image.open(PHOTOS / name).convert("RGB"), np.float64)
        toned, kind = (photo @ SEPIA.T, "sepia") if number % 2 == 0 else (cyanotype(photo), "cyanotype")
        Image.fromarray(toned.clip(0, 255).astype(np.uint8)).save(PHOTOS / f"{Path(name).stem}-{kind}.jpg", quality=90)
    whole = (PHOTOS / "rocket.jpg").read_bytes()
    (PHOTOS / "cut-short.jpg").write_bytes(whole[: len(whole) // 2])


def cyanotype(photo: np.ndarray) -> np.ndarray:
    """(H, W, 3) 0..255 to the blues of a cyanotype."""
    luma = photo @ LUMA
    return np.stack([np.interp(luma, (0, 128, 255), CYANOTYPE[:, channel]) for channel in range(3)], axis=-1)


def named(manifest: Path, split: str) -> list[str]:
    """Paths of a manifest's photos in one split."""
    rows = pq.read_table(manifest, columns=["path", "split"]).to_pylist()
    return [row["path"] for row in rows if row["split"] == split]


def compare(photos: list[Path]) -> Image.Image:
    """Gray | colorized | original, a row for each photo."""
    rows = []
    for photo in photos:
        original = Image.open(photo).convert("RGB")
        colored = Image.open(HERE / "colorized" / photo.name)
        size = (round(original.width * SHOWN_HEIGHT_PX / original.height), SHOWN_HEIGHT_PX)
        pictures = (original.convert("L").convert("RGB"), colored, original)
        rows.append([np.asarray(picture.resize(size, Image.Resampling.LANCZOS)) for picture in pictures])
    return picture_grid(rows, ("gray", "colorized", "original"))


if __name__ == "__main__":
    main()
