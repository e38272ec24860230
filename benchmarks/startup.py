"""Measure clock and CPU time of a small scan from start to end, and of a rescan with nothing to measure.

    python benchmarks/startup.py [FOLDER...] [--rounds N] [--beside CHECKOUT]...

Without a folder it scans the pictures that scikit-image contains. CPU time is that of all processes. With --beside, the
code of other checkouts runs too, in turns with this one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import skimage
from clock import clock_and_cpu_s


def main() -> None:
    """Print a line for each folder, checkout and kind of scan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--beside", action="append", default=[], type=Path, metavar="CHECKOUT")
    options = parser.parse_args()
    checkouts = [*options.beside, Path(__file__).parents[1]]
    for folder in options.folders or [Path(skimage.__file__).parent / "data"]:
        times: dict[tuple[Path, str], list[tuple[float, float]]] = defaultdict(list)
        for _ in range(options.rounds):
            for checkout in checkouts:
                with tempfile.TemporaryDirectory() as scratch:
                    for name in ("scan", "again"):
                        times[checkout, name].append(time_scan(folder, Path(scratch) / "m.parquet", checkout))
        for (checkout, name), rounds in times.items():
            clock, cpu = (statistics.median(values) for values in zip(*rounds, strict=True))
            fastest = min(clock for clock, _ in rounds)
            print(
                f"{checkout.resolve().name:<16} {folder.name:<12} {name:<6} clock {clock:.2f} s, "
                f"fastest {fastest:.2f} s   CPU {cpu:.2f} s",
                flush=True,
            )


def time_scan(folder: Path, out: Path, checkout: Path) -> tuple[float, float]:
    """Clock and CPU seconds of a scan with the code of a checkout."""
    code = ["env", f"PYTHONPATH={checkout.resolve()}", sys.executable, "-P", "-m", "curate"]
    return clock_and_cpu_s([*code, "scan", str(folder), "-o", str(out)])


if __name__ == "__main__":
    main()
