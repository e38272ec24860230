"""How much more CPU a whole scan takes than Pillow's plain decoding of the same photos. `make bench` runs it.

    python benchmarks/scan.py [FOLDER...] [--rounds N]

Both sides run in this process on one core with the file cache warm, in turns, and the median of the rounds' ratios is
printed: read, hash, decode, every measure and the part file on one side; `Image.open(...).load()` from memory on the
other. Without a folder the photos are made from those that scikit-image and scikit-learn carry.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import skimage
import sklearn.datasets
from PIL import Image

from curate.scan import ScanOptions, measure_shard
from curate.score import ScoreOptions
from curate.sources import Listed, listing
from curate.worklist import Shard, Worklist

WEB_LONG_SIDE_PX = 500


def main() -> None:
    """Measure and print one line a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        for folder in options.folders or make_photos(Path(scratch)):
            report(folder, Path(scratch), options.rounds)


def report(folder: Path, scratch: Path, rounds: int) -> None:
    """Print the ratio for the photos below a folder that Pillow can decode."""
    photos = [photo for photo in listing([folder]) if photo.problem is None and decodes(photo)]
    data = [Path(photo.open_path()).read_bytes() for photo in photos]
    work = Worklist(scratch)
    shard = Shard(0, tuple(photos), tuple(range(len(photos))))
    pairs = []
    for _ in range(rounds):
        plain = cpu_s(lambda: [Image.open(io.BytesIO(each)).load() for each in data])
        whole = cpu_s(lambda: measure_shard(work, ScanOptions(score=ScoreOptions()), shard))
        pairs.append((whole / plain, 1e3 * plain / len(data), 1e3 * whole / len(data)))
    ratios = sorted(ratio for ratio, _, _ in pairs)
    plain_ms, whole_ms = (statistics.median(pair[side] for pair in pairs) for side in (1, 2))
    print(
        f"{folder.name:<12} {len(photos):>5} photos   scan {whole_ms:7.2f} ms   Pillow decode {plain_ms:7.2f} ms   "
        f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of this process for one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def decodes(photo: Listed) -> bool:
    """Whether Pillow decodes it; the rest would make the ratio better than it is."""
    try:
        Image.open(photo.open_path()).load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


def make_photos(folder: Path) -> list[Path]:
    """Web-size JPEG, PNG and WebP copies, and camera-size JPEGs, of photos that PyPI packages carry."""
    packaged = Path(skimage.__file__).parent / "data"
    names = [packaged / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png")]
    names += sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))
    kinds = {"web-jpeg": ("jpg", WEB_LONG_SIDE_PX, 10), "web-png": ("png", WEB_LONG_SIDE_PX, 2)}
    kinds |= {"web-webp": ("webp", WEB_LONG_SIDE_PX, 2), "camera-jpeg": ("jpg", 4000, 1)}
    for kind, (suffix, long_side, copies) in kinds.items():
        (folder / kind).mkdir()
        for name in names:
            photo = Image.open(name).convert("RGB")
            scale = long_side / max(photo.size)
            photo = photo.resize((round(photo.width * scale), round(photo.height * scale)))
            for copy in range(copies):
                turned = photo.rotate(copy)
                turned.save(folder / kind / f"{name.stem}-{copy}.{suffix}", quality=90)
    return [folder / kind for kind in kinds]


if __name__ == "__main__":
    main()
