"""What a small scan takes from the command to its end, and once more with nothing to measure: clock and CPU time.

    python benchmarks/startup.py [FOLDER...] [--rounds N]

Without a folder it scans the pictures that scikit-image carries. CPU time is that of all processes, those included that
outlive the command for a moment (on Linux, which hands them over to this program).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import skimage

SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of <linux/prctl.h>."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    for folder in options.folders or [Path(skimage.__file__).parent / "data"]:
        taken: dict[str, list[tuple[float, float]]] = {"scan": [], "again": []}
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as scratch:
                for each in taken.values():
                    each.append(clock_and_cpu_s(folder, Path(scratch) / "m.parquet"))
        for name, each in taken.items():
            clock, cpu = (statistics.median(values) for values in zip(*each, strict=True))
            fastest = min(clock for clock, _ in each)
            print(
                f"{folder.name:<12} {name:<6} clock {clock:.2f} s, at best {fastest:.2f} s   CPU {cpu:.2f} s",
                flush=True,
            )


def clock_and_cpu_s(folder: Path, out: Path) -> tuple[float, float]:
    """Seconds until the command ends, and those of CPU until its last process has."""
    before, began = os.times(), time.perf_counter()
    command = [sys.executable, "-m", "curate", "scan", str(folder), "-o", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    clock = time.perf_counter() - began
    try:
        while True:
            os.wait()
    except ChildProcessError:
        after = os.times()
    return clock, after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    main()
