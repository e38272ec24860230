"""Compare the CPU time of a scan with Pillow decoding the same photos. `make bench` runs it.

    python benchmarks/scan.py [FOLDER...] [--rounds N] [--copies N]

The scan reads, hashes, decodes, measures and writes the part file. Pillow does `Image.open(...).load()` from memory.
Both run in turns in this process on one core with a warm file cache; medians of the rounds. Photos whose profile isn't
sRGB have lines of their own. The last line is the speed-up by a second worker, start-up not included. Without a folder,
photos are made from those that scikit-image and scikit-learn contain.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import skimage
import sklearn.datasets
from PIL import Image

from curate.executors.worker import SINGLE_THREAD_ENV
from curate.image.icc import srgb_transform
from curate.scanning.scan import ScanOptions, measure_chunk
from curate.scanning.scorer import ScoreOptions
from curate.scanning.work_dir import Chunk, WorkDir
from curate.sources import ListedPhoto, list_photos

WEB_LONG_SIDE_PX = 500


def main() -> None:
    """Measure and print a block of lines for each folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--copies", type=int, default=10, help="copies of each photo that is made")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        for folder in options.folders or make_photos(Path(scratch), options.copies):
            photos = [photo for photo in list_photos([folder]) if photo.error is None]
            plain = [photo for photo in photos if kind_of(photo) == "srgb"]
            report(folder.name, plain, Path(scratch), options.rounds)
            other = [photo for photo in photos if kind_of(photo) == "other profile"]
            report(f"{folder.name}, other profiles", other, Path(scratch), options.rounds)
            report_second_worker(plain, Path(scratch), options.rounds)


def report(name: str, photos: list[ListedPhoto], scratch: Path, rounds: int) -> None:
    """Print the ratios of the exact and the fast scan to Pillow's decoding."""
    if not photos:
        return
    data = [Path(photo.open_path()).read_bytes() for photo in photos]
    methods = {
        "Pillow decode": lambda: decode_with_pillow(data),
        "scan": lambda: scan(photos, scratch, ScoreOptions()),
        "scan --fidelity fast": lambda: scan(photos, scratch, ScoreOptions(fidelity="fast")),
    }
    cpu_by_round = [{method: cpu_s(work) for method, work in methods.items()} for _ in range(rounds)]
    print(f"{name}: {len(photos)} photos")
    for method in methods:
        ratios = sorted(cpu_by_method[method] / cpu_by_method["Pillow decode"] for cpu_by_method in cpu_by_round)
        ms = 1e3 * statistics.median(cpu_by_method[method] for cpu_by_method in cpu_by_round) / len(photos)
        print(
            f"  {method:<21} {ms:8.2f} ms   ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


def report_second_worker(photos: list[ListedPhoto], scratch: Path, rounds: int) -> None:
    """Print the speed-up of two processes over one, for the scan and for Pillow."""
    context = get_context("spawn")
    os.environ.update(SINGLE_THREAD_ENV)  # as in the workers of a scan
    halves = [half for half in (photos[::2], photos[1::2]) if half]
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        speedups: dict[str, list[float]] = {}
        for _ in range(rounds + 1):
            for name, work in (("Pillow decode", decode_files_with_pillow), ("scan", scan_in_worker)):
                alone, both = (map_s(pool, work, parts, scratch) for parts in ([photos], halves))
                speedups.setdefault(name, []).append(alone / both)
    # the first round is a warm-up
    plain, ours = (statistics.median(speedups[name][1:]) for name in ("Pillow decode", "scan"))
    print(
        f"  a second worker: Pillow decode x {plain:.2f}, scan x {ours:.2f}: {100 * ours / plain:.0f} % of its speed-up"
    )


def map_s(
    pool: ProcessPoolExecutor,
    work: Callable[[list[ListedPhoto], Path], object],
    parts: Sequence[list[ListedPhoto]],
    scratch: Path,
) -> float:
    """Wall time of a function for several lists of photos, each in a process."""
    return wall_s(lambda: list(pool.map(work, parts, [scratch] * len(parts))))


def decode_with_pillow(data: Sequence[bytes]) -> None:
    """Decode with Pillow from memory."""
    for photo_bytes in data:
        Image.open(io.BytesIO(photo_bytes)).load()


def decode_files_with_pillow(photos: list[ListedPhoto], _scratch: Path) -> None:
    """In a worker: read files and decode them with Pillow."""
    decode_with_pillow([Path(photo.open_path()).read_bytes() for photo in photos])


def scan_in_worker(photos: list[ListedPhoto], scratch: Path) -> None:
    """In a worker: scan photos."""
    cv2.setNumThreads(1)
    scan(photos, scratch, ScoreOptions())


def scan(photos: list[ListedPhoto], scratch: Path, options: ScoreOptions) -> None:
    """Do what a scan does with a chunk of photos."""
    chunk = Chunk(0, tuple(photos), tuple(range(len(photos))))
    measure_chunk(WorkDir(scratch), ScanOptions(score=options), chunk)


def kind_of(photo: ListedPhoto) -> str:
    """`srgb` (also without a profile), `other profile`, or `broken` (would lower the ratio, so it is left out)."""
    try:
        with Image.open(photo.open_path()) as image:
            image.load()
            _, transform = srgb_transform(image.info.get("icc_profile"), image.mode)
    except (OSError, SyntaxError, ValueError):
        return "broken"
    return "srgb" if transform is None else "other profile"


def wall_s(work: Callable[[], object]) -> float:
    """Clock seconds of one call."""
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of this process in one call."""
    start_s = time.process_time()
    work()
    return time.process_time() - start_s


def make_photos(folder: Path, copies: int) -> list[Path]:
    """Make web-size JPEG, PNG and WebP copies, and camera-size JPEGs, of photos that PyPI packages contain."""
    packaged = Path(skimage.__file__).parent / "data"
    names = [packaged / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png")]
    names += sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))
    kinds = {"web-jpeg": ("jpg", WEB_LONG_SIDE_PX, copies), "web-png": ("png", WEB_LONG_SIDE_PX, -(-copies // 5))}
    kinds |= {"web-webp": ("webp", WEB_LONG_SIDE_PX, -(-copies // 5)), "camera-jpeg": ("jpg", 4000, 1)}
    for kind, (suffix, long_side, count) in kinds.items():
        (folder / kind).mkdir()
        for name in names:
            photo = Image.open(name).convert("RGB")
            scale = long_side / max(photo.size)
            photo = photo.resize((round(photo.width * scale), round(photo.height * scale)))
            for copy in range(count):
                rotated = photo.rotate(copy)
                rotated.save(folder / kind / f"{name.stem}-{copy}.{suffix}", quality=90)
    return [folder / kind for kind in kinds]


if __name__ == "__main__":
    main()
