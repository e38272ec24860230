"""Measure the CPU time per photo from scan to export, in one process.

    python benchmarks/outputs.py FOLDER [--rounds 3]

Each step runs with the serial engine into an empty folder; the medians of its CPU time are printed, beside reading and
writing the same files, and the size of its output.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import curate


def main() -> None:
    """Print a line for each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            steps, photos = make_steps(options.folder, Path(scratch)), 1
            for name, step in steps.items():
                start_s = time.process_time()
                step()
                seconds.setdefault(name, []).append(time.process_time() - start_s)
            photos = curate.read_manifest(Path(scratch, "clean")).table.num_rows
            sizes = {name: size_of(Path(scratch, name)) for name in steps}
    for name, took in seconds.items():
        print(
            f"{name:<12} {1000 * statistics.median(took) / photos:6.2f} ms {sizes[name] / photos:9,.0f} bytes a photo"
        )
    print(f"{photos} photos")


def make_steps(folder: Path, out: Path) -> dict[str, Callable[[], object]]:
    """The steps by the name of their output below a folder."""
    scan, clean = out / "scan", out / "clean"
    return {
        "copy": lambda: shutil.copytree(folder, out / "copy"),
        "scan": lambda: curate.scan_photos(folder, scan, engine="serial"),
        "clean": lambda: curate.filter_manifest(scan, clean, min_colorfulness=0, keep_tone=("color", "grayscale")),
        "raw": lambda: curate.pack_photos(clean, out / "raw", size_px=288, engine="serial"),
        "jpeg": lambda: curate.pack_photos(clean, out / "jpeg", size_px=288, encoding="jpeg", engine="serial"),
        "parquet": lambda: curate.export_photos(clean, out / "parquet", "parquet", engine="serial"),
        "webdataset": lambda: curate.export_photos(clean, out / "webdataset", "webdataset", engine="serial"),
        "imagefolder": lambda: curate.export_photos(clean, out / "imagefolder", "imagefolder", engine="serial"),
    }


def size_of(path: Path) -> int:
    """Size of a file, or of all files in a folder, in bytes."""
    return sum(file.stat().st_size for file in path.rglob("*")) if path.is_dir() else path.stat().st_size


if __name__ == "__main__":
    main()
