"""Scan, filter, fit and colorize, with real photos from two PyPI packages. `make demo` runs it.

The photos are those in scikit-image and scikit-learn. Toned copies are added in place of old prints, and one truncated
file, to show what happens to unreadable photos. All output is in build/demo.
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
from PIL import Image, ImageDraw, ImageFont, ImageOps

from train.checkpoint_file import READY_FILE
from train.trainer.validation import save_png

OUT_DIR = Path("build/demo")
PHOTOS = OUT_DIR / "photos"
RUN = OUT_DIR / "run"
READY = OUT_DIR / "ready"
COLOR = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
GRAY = ("brick.png", "camera.png", "coins.png", "moon.png", "page.png")
SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])
LUMA = np.array([0.299, 0.587, 0.114])
CYANOTYPE = np.array([[20, 45, 90], [120, 160, 190], [235, 240, 238]])
SHOWN_PX = (444, 296)
GAP_PX = 6
LABEL_PX = 18


def main() -> None:
    """Run the commands as a user would type them, and print where the results are."""
    start = time.monotonic()
    prepare_photos()
    clean = OUT_DIR / "manifests" / "clean.parquet"
    scan = OUT_DIR / "manifests" / "scan.parquet"
    run("curate", "scan", PHOTOS, "-o", scan, "--overwrite")
    run("curate", "filter", scan, "--min-colorfulness", "20", "--split", "80/20/0", "-o", clean)
    recipe = ("--image-size", "64", "--channels", "16", "--lr", "1e-3", "--epochs", "500", "--batch-size", "8")
    run("train", "fit", clean, *recipe, "--run-dir", RUN)
    held_out, trained_on = photos_of(clean, "val")[0], photos_of(clean, "train")[1]
    last = RUN / "last.safetensors"
    run("train", "colorize", last, PHOTOS / held_out, PHOTOS / trained_on, "-o", OUT_DIR / "colorized")
    if READY_FILE.exists():
        run("train", "colorize", "ready", PHOTOS / held_out, PHOTOS / trained_on, "-o", READY, "--strength", "auto")
    sheet = OUT_DIR / "side-by-side.png"
    save_png(compare([PHOTOS / held_out, PHOTOS / trained_on]), sheet)
    rejected = pq.read_table(OUT_DIR / "manifests" / "rejected.parquet", columns=["path", "reject_reasons"]).to_pylist()
    print("\nRejected photos, with all reasons:")
    for row in rejected:
        print(f"  {row['path']:<24} {'; '.join(row['reject_reasons'])}")
    print(f"\nDone in {time.monotonic() - start:.0f} s. Results:")
    print(f"  kept photos            {clean}")
    print(f"  rejected photos        {OUT_DIR / 'manifests' / 'rejected.parquet'}")
    print(f"  loss curve             {RUN / 'loss.png'}")
    print(f"  side by side           {sheet}")
    print(
        f"    top: {held_out}, held out, which the network was not trained on; below: {trained_on}, a training photo."
    )
    print("  With so few photos the network learns little more than tints: train on thousands of your own.")
    if READY_FILE.exists():
        print(
            '  "ready weights": the weights that come with vividset, trained on many photos (`train colorize ready`).'
        )


def run(*words: str | Path) -> None:
    """Print a command and run it with this Python; exit if it fails."""
    name, *arguments = map(str, words)
    print(f"\n$ {shlex.join([name, *arguments])}", flush=True)
    finished = subprocess.run([sys.executable, "-m", name, *arguments], check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


def prepare_photos() -> None:
    """Create the folder of photos: color, gray and toned ones, and a broken one."""
    try:
        if OUT_DIR.exists():
            shutil.rmtree(OUT_DIR)
        PHOTOS.mkdir(parents=True)
    except OSError as exc:  # created by another user, for example by `sudo make demo`
        sys.exit(f"can't write to {OUT_DIR}: {exc.strerror}. Remove it, or change its owner, and run again")
    skimage_photos = Path(skimage.__file__).parent / "data"
    sklearn_photos = Path(sklearn.datasets.__file__).parent / "images"
    sources = [skimage_photos / name for name in (*COLOR, *GRAY)] + sorted(sklearn_photos.glob("*.jpg"))
    for source in sources:
        shutil.copy(source, PHOTOS)
    for number, name in enumerate(("chelsea.png", "coffee.png", "astronaut.png", "china.jpg")):
        photo = np.asarray(Image.open(PHOTOS / name).convert("RGB"), np.float64)
        toned, kind = (photo @ SEPIA.T, "sepia") if number % 2 == 0 else (cyanotype(photo), "cyanotype")
        Image.fromarray(toned.clip(0, 255).astype(np.uint8)).save(PHOTOS / f"{Path(name).stem}-{kind}.jpg", quality=90)
    whole = (PHOTOS / "rocket.jpg").read_bytes()
    (PHOTOS / "cut-short.jpg").write_bytes(whole[: len(whole) // 2])


def cyanotype(photo: np.ndarray) -> np.ndarray:
    """Return (H, W, 3), 0..255, in the blues of a cyanotype."""
    luma = photo @ LUMA
    return np.stack([np.interp(luma, (0, 128, 255), CYANOTYPE[:, channel]) for channel in range(3)], axis=-1)


def photos_of(manifest: Path, split: str) -> list[str]:
    """Return the paths of a manifest's photos in one split."""
    rows = pq.read_table(manifest, columns=["path", "split"]).to_pylist()
    return [row["path"] for row in rows if row["split"] == split]


def compare(photos: list[Path]) -> Image.Image:
    """Return a picture with a row for each photo: gray, colorized, original, and by the ready weights, labeled."""
    width, height = SHOWN_PX[0] + GAP_PX, SHOWN_PX[1] + GAP_PX
    columns = 4 if READY.exists() else 3
    sheet = Image.new("RGB", (columns * width - GAP_PX, len(photos) * height - GAP_PX), "white")
    for row, photo in enumerate(photos):
        original = Image.open(photo).convert("RGB")
        colored = Image.open(OUT_DIR / "colorized" / photo.name)
        pictures = {"gray": original.convert("L").convert("RGB"), "colorized": colored, "original": original}
        if (READY / photo.name).exists():
            pictures["ready weights"] = Image.open(READY / photo.name)
        for column, (label, picture) in enumerate(pictures.items()):
            shown = ImageOps.fit(picture, SHOWN_PX)
            draw_label(shown, label)
            sheet.paste(shown, (column * width, row * height))
    return sheet


def draw_label(picture: Image.Image, label: str) -> None:
    """Write a label into the lower left corner of a picture."""
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(LABEL_PX)
    right = draw.textlength(label, font) + 16
    draw.rectangle((0, picture.height - LABEL_PX - 12, right, picture.height), "black")
    draw.text((8, picture.height - 6), label, "white", font, anchor="ls")


if __name__ == "__main__":
    main()
