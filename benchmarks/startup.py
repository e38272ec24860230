"""What a small scan takes from the command to its end, and once more with nothing to measure: clock and CPU time.

    python benchmarks/startup.py [FOLDER...] [--rounds N]

Without a folder it scans the pictures that scikit-image carries. CPU time is that of all processes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import skimage
from clock import clock_and_cpu_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    for folder in options.folders or [Path(skimage.__file__).parent / "data"]:
        taken: dict[str, list[tuple[float, float]]] = {"scan": [], "again": []}
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as scratch:
                for each in taken.values():
                    each.append(scanned(folder, Path(scratch) / "m.parquet"))
        for name, each in taken.items():
            clock, cpu = (statistics.median(values) for values in zip(*each, strict=True))
            fastest = min(clock for clock, _ in each)
            print(
                f"{folder.name:<12} {name:<6} clock {clock:.2f} s, at best {fastest:.2f} s   CPU {cpu:.2f} s",
                flush=True,
            )


def scanned(folder: Path, out: Path) -> tuple[float, float]:
    """Clock and CPU seconds of a scan."""
    return clock_and_cpu_s([sys.executable, "-m", "curate", "scan", str(folder), "-o", str(out)])


if __name__ == "__main__":
    main()
