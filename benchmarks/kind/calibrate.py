"""Print how the networks of the package tell photos from graphics, for several ranges in which the large one decides.

    python benchmarks/kind/calibrate.py REPOSITORIES

REPOSITORIES is as for train_kind.py; only the pictures that are held out from training count. The first
number of a range in curate/measures/kind/classify.py, and its threshold, are chosen from the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pictures import LOST_SHARES, Picture, graphic_of, is_weak, read_pictures

from curate.measures.kind import classify
from curate.measures.kind.network import kind_log_odds

SHARES = (0.0, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
"""Shares of the photos of web sites which the large network reads."""

FloatArray = NDArray[np.float64]


def main() -> None:
    """Print the accuracy with the constants of the package, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", type=Path)
    cv2.setNumThreads(1)
    pictures = read_pictures(parser.parse_args().repositories, None, held_out_only=True)
    judged = [one for one in pictures if one.passes]
    graphic, weak = graphic_of(judged), is_weak(judged)
    if not all(chosen.any() for chosen in (~graphic & ~weak, graphic & ~weak, graphic & weak)):
        raise SystemExit("too few held-out pictures: clone more repositories that labels.csv and weak.csv name")
    small = kind_log_odds([one.small for one in judged], "small")
    large = kind_log_odds([one.large for one in judged], "large")
    print_accuracy(judged, small, large)
    print_ranges(judged, small, large)


def print_accuracy(pictures: Sequence[Picture], small: FloatArray, large: FloatArray) -> None:
    """Print how many photos are lost and graphics kept with the constants of the package, and the line between both."""
    graphic, weak = graphic_of(pictures), is_weak(pictures)
    print(f"{len(pictures)} pictures; ranges {classify.DOUBT_RANGES}, threshold {classify.THRESHOLD}")
    for name, chosen in (("web sites", ~weak), ("folders", weak)):
        for size in ("small", "large"):
            share = classify.large_network_share(small, size)
            scores = classify.combine_kind_scores(small, large, share)
            print(
                f"{name}, {size}: {(scores[chosen & ~graphic] > 0).sum()} of {(chosen & ~graphic).sum()} photos lost, "
                f"{(scores[chosen & graphic] <= 0).sum()} of {(chosen & graphic).sum()} graphics kept; large network "
                f"evaluated for {(share[chosen & ~graphic] > 0).sum()} of the photos"
            )
    clear = small < classify.DOUBT_RANGES["small"][0]
    if len(np.unique(small[clear])) > 1:
        slope, intercept = np.polyfit(small[clear], large[clear], 1)
        print(f"SMALL_NETWORK_LINE = ({intercept:.2f}, {slope:.2f}) by least squares below the range")


def print_ranges(pictures: Sequence[Picture], small: FloatArray, large: FloatArray) -> None:
    """Print the graphics that are kept if the large network reads a share of the photos.

    The threshold is the one at which a share of the photos of web sites is lost.
    """
    graphic, weak = graphic_of(pictures), is_weak(pictures)
    lost = "".join(f" {part:.1%} lost |" for part in LOST_SHARES)
    print(f"| large for | from | threshold |{lost}\n|{'---|' * (3 + len(LOST_SHARES))}")
    for share in SHARES:
        start = np.quantile(small[~graphic & ~weak], 1 - share, method="higher") if share else np.inf
        odds = np.where(small < start, small - 1000, large)  # below the range all are photos, in the order of `small`
        limits = [np.quantile(odds[~graphic & ~weak], 1 - part, method="higher") for part in LOST_SHARES]
        kept = "".join(
            f" {(odds[graphic & ~weak] <= limit).mean():.1%} · {(odds[graphic & weak] <= limit).mean():.1%} |"
            for limit in limits
        )
        print(f"| {share:.0%} | {start:.2f} | {limits[LOST_SHARES.index(0.01)]:.2f} |{kept}")


if __name__ == "__main__":
    main()
