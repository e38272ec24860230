"""Measure the accuracy of `--fidelity fast`: measure every photo of some folders with both fidelities.

    python benchmarks/fidelity.py FOLDER...

Only photos that differ are counted; photos that `fast` does not decode smaller have the same measures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from curate.scanning.scorer import Record, ScoreOptions, score_photo
from curate.sources import list_photos

THRESHOLD = 20.0


def main() -> None:
    """Measure all photos and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    pairs = [
        (exact, fast)
        for photo in list_photos(parser.parse_args().folders)
        if (exact := score_photo(photo, ScoreOptions())) and (fast := score_photo(photo, ScoreOptions(fidelity="fast")))
        if exact.measures and fast.measures and exact.measures != fast.measures
    ]
    report(pairs)


def report(pairs: list[tuple[Record, Record]]) -> None:
    """Print how much the measures of each photo differ."""
    both = [(exact.measures, fast.measures) for exact, fast in pairs if exact.measures and fast.measures]
    exact_m, fast_m = np.array([(exact.colorfulness, fast.colorfulness) for exact, fast in both]).T
    error = fast_m - exact_m
    print(f"{len(both)} photos; M(fast) - M(exact): mean {error.mean():+.2f}, median {np.median(error):+.2f}")
    print(
        "  percentiles 1, 5, 25, 75, 95, 99: "
        + ", ".join(f"{p:+.2f}" for p in np.percentile(error, (1, 5, 25, 75, 95, 99)))
    )
    print(
        f"  largest {np.abs(error).max():.2f}; on the other side of the threshold {THRESHOLD:g}: "
        f"{np.sum((exact_m >= THRESHOLD) != (fast_m >= THRESHOLD))}"
    )
    changed = [(exact.tone.tone, fast.tone.tone) for exact, fast in both if exact.tone.tone != fast.tone.tone]
    print(f"  changed tone: {len(changed)}" + "".join(f"\n    {exact} to {fast}" for exact, fast in sorted(changed)))
    bits = [(int(exact.fingerprint, 16) ^ int(fast.fingerprint, 16)).bit_count() for exact, fast in both]
    print(f"  fingerprint bits that differ: median {np.median(bits):.0f}, largest {max(bits)}")


if __name__ == "__main__":
    main()
