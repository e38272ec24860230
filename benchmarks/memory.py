"""Measure the peak memory of a scan of many listed photos, and of its largest worker. Linux only.

    python benchmarks/memory.py [--rows 50000 200000 1000000] [--real 10] [--photo FILE...]

For each number of rows: makes that many file names (hard links to a few files, to save time), shuffles the list, scans
it with two workers, and scans it again with nothing left to measure. One in `--real` is a photo; the others are empty
files with a photo's name, which become rows without decoding.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

LINKS = 50_000
"""Hard links to one file; file systems allow about 65,000."""
NAMES_A_FOLDER = 1000


def main() -> None:
    """Print two lines for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", type=int, default=[50_000, 200_000, 1_000_000])
    parser.add_argument("--real", type=int, default=100, metavar="N", help="one in N files is a photo")
    parser.add_argument("--photo", nargs="*", type=Path, default=[], help="photos to link to instead of a tiny one")
    options = parser.parse_args()
    photos = [path.read_bytes() for path in options.photo] or [tiny_photo()]
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as scratch:
            names = make_names(Path(scratch), rows, options.real, photos)
            for run in ("scan", "rescan"):
                seconds, parent, worker = scan(Path(scratch), names)
                print(
                    f"{rows:>9,} rows   {run:<6}   parent {parent / 1024:4.0f} MB   "
                    f"largest worker {worker / 1024:4.0f} MB   {seconds:5.0f} s",
                    flush=True,
                )


def tiny_photo() -> bytes:
    """A JPEG of 64 x 48 pixels."""
    file = io.BytesIO()
    Image.radial_gradient("L").resize((64, 48)).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def make_names(folder: Path, rows: int, real: int, photos: Sequence[bytes]) -> Path:
    """Make links to photos and to empty files; return the path of their shuffled list."""
    names = []
    for number in range(rows):
        kind = f"photo-{number // real % len(photos)}" if number % real == 0 else "empty"
        original = folder / f"{kind}-{number // LINKS}"
        if not original.exists():
            original.write_bytes(b"" if kind == "empty" else photos[number // real % len(photos)])
        name = folder / f"{number // NAMES_A_FOLDER:04}" / f"photo-{number:08}.jpg"
        if number % NAMES_A_FOLDER == 0:
            name.parent.mkdir()
        os.link(original, name)
        names.append(str(name))
    random.Random(0).shuffle(names)  # noqa: S311 - no secret
    (folder / "list").write_text("\n".join(names), encoding="utf-8")
    return folder / "list"


def scan(folder: Path, names: Path) -> tuple[float, int, int]:
    """Scan a list; return seconds, and the peak memory of the scan process and of its largest worker in KiB."""
    arguments = ["scan", "--from-file", str(names), "-o", str(folder / "m.parquet"), "--workers", "2"]
    start_s, parent, workers = time.monotonic(), 0, [0]
    with subprocess.Popen([sys.executable, "-m", "curate", *arguments], stdout=subprocess.DEVNULL) as running:
        while running.poll() is None:
            parent = max(parent, peak_kib(running.pid))
            workers += map(peak_kib, descendants_of(running.pid))
            time.sleep(0.2)
    return time.monotonic() - start_s, parent, max(workers)


def peak_kib(process: int) -> int:
    """Peak resident memory of a process; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) if found else 0


def descendants_of(process: int) -> Iterator[int]:
    """Yield all child processes of a process, and their children."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from descendants_of(child)


if __name__ == "__main__":
    main()
