"""Compare the speed of `curate scan` with CleanVision (default checks) on the same photos, start-up included.

    python -m venv /somewhere/cv && /somewhere/cv/bin/pip install cleanvision
    python benchmarks/against_cleanvision.py /somewhere/cv/bin/python FOLDER... [--photos 5000] [--rounds 2]

Both run in turns with two workers, without earlier results, with a warm file cache. If the folders have fewer photos
than --photos, copies under other names are added.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from clock import clock_and_cpu_s

WORKERS = 2
CLEANVISION = f"""
import sys
from cleanvision import Imagelab

lab = Imagelab(data_path=sys.argv[1])
lab.find_issues(n_jobs={WORKERS})
"""


def main() -> None:
    """Print the rates of each round, then the median of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cleanvision_python", help="a Python that can import cleanvision")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--photos", type=int, default=5000, help="number of photos to scan")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    if subprocess.run(
        [options.cleanvision_python, "-c", "import cleanvision"], capture_output=True, check=False
    ).returncode:
        sys.exit(f"{options.cleanvision_python} can't import cleanvision: install it there with pip")
    with tempfile.TemporaryDirectory() as scratch:
        photos = copy_photos(options.folders, options.photos, Path(scratch) / "photos")
        theirs = [options.cleanvision_python, "-c", CLEANVISION, str(photos)]
        out = Path(scratch) / "scan.parquet"
        ours = [sys.executable, "-m", "curate", "scan", str(photos), "--overwrite", "-o", str(out)]
        ours += ["--workers", str(WORKERS)]
        pairs = [(clock_and_cpu_s(ours), clock_and_cpu_s(theirs)) for _ in range(options.rounds)]
    for (our_s, our_cpu_s), (their_s, their_cpu_s) in pairs:
        print(
            f"curate scan {options.photos / our_s:7.1f} photos/s ({our_cpu_s:.1f} CPU s)   "
            f"CleanVision {options.photos / their_s:7.1f} photos/s ({their_cpu_s:.1f} CPU s)   "
            f"ratio {their_s / our_s:.1f} (CPU {their_cpu_s / our_cpu_s:.1f})"
        )
    print(f"median ratio {statistics.median(theirs[0] / ours[0] for ours, theirs in pairs):.1f}, target 12")


def copy_photos(folders: list[Path], count: int, into: Path) -> Path:
    """Copy `count` photos of the folders into one folder, which also brings them into the file cache."""
    into.mkdir()
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    for number, photo in enumerate(itertools.islice(itertools.cycle(paths), count)):
        shutil.copyfile(photo, into / f"{number:06}{photo.suffix}")
    return into


if __name__ == "__main__":
    main()
