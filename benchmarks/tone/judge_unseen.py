"""Evaluate the detector on the photos of unseen.csv, which were used for no training and no decision.

    python benchmarks/tone/judge_unseen.py REPOSITORIES [--below LINE]

REPOSITORIES is a folder with clones of the listed repositories, at any depth. With --below, photos with a higher
tone_score count as toned, too, as with `curate filter --max-tone-score LINE`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import pandas as pd
from build_dataset import find_listed_files
from regression import COLORFUL_M
from result_tables import print_table
from unseen import by_band, leaks

from curate.image.decode import decode_bytes
from curate.measures.measure import measure_pixels

UNSEEN = Path(__file__).with_name("unseen.csv")


def main() -> None:
    """Print leaks and false alarms by M, and the repositories that leak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", type=Path)
    parser.add_argument("--below", type=float, default=0.0)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    for row, path in find_listed_files(options.repositories, UNSEEN):
        photo = decode_bytes(path.read_bytes())
        measured = measure_pixels(photo.pixels, photo.visible)
        said = measured.tone
        verdict = "toned" if said.tone == "color" and said.tone_score > options.below else said.tone
        kind = "original" if row["label"] == "color" else "archive"
        rows.append((f"archives/{row['archive']}/{row['path']}", kind, row["label"], measured.colorfulness, verdict))
    table = pd.DataFrame(rows, columns=["base", "kind", "truth", "colorfulness", "verdict"])
    print_table(by_band(table), "Leaked of toned, wrong of colour, by M")
    toned = table[(table.truth == "toned") & (table.colorfulness >= COLORFUL_M)]
    origin = toned.base.str.split("/").str[1:3].str.join("/")
    leaked = pd.Series(leaks(toned), toned.index, dtype=int)
    print_table(leaked.groupby(origin).agg(toned="size", leaked="sum").query("leaked > 0"), "Repositories that leak")


if __name__ == "__main__":
    main()
