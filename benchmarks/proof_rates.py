"""What learning rate, batch size and norm do to a small network on real photos: which runs bounce, stick or go well.

    python benchmarks/proof_rates.py PHOTOS OUT [--only NAME ...] [--table]

PHOTOS is a folder with a few thousand colour photos. OUT gets copies of them at 80 px, manifests, one run a row of the
table and that run's curve as `curves/NAME.csv` (columns step,loss; loss in units of neutral). A run that is there is
not trained again. One thread a run, so that runs repeat bit for bit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

SHORT_SIDE_PX = 80
GRAY_SHARE = 0.9
SIZE = ("--image-size", "32", "--channels", "16")


def plan() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name of a run → (manifest, options of `train fit`)."""
    runs: dict[str, tuple[str, tuple[str, ...]]] = {}
    for batch, steps, rates in ((16, 800, "5e-5 5e-4 5e-3"), (16, 600, "5e-2 0.3 1 3"), (64, 250, "5e-5 5e-4 5e-3")):
        for rate in rates.split():
            for norm in ("batch", "group"):
                options = (*SIZE, "--batch-size", str(batch), "--norm", norm, "--lr", rate, "--max-steps", str(steps))
                runs[f"lr{rate}-b{batch}-{norm}"] = ("clean", options)
    runs["gray-photos"] = ("gray", (*SIZE, "--lr", "5e-4", "--max-steps", "700"))
    tiny = ("--image-size", "32", "--channels", "1", "--lr", "5e-5", "--max-steps", "700")
    runs["tiny-network"] = ("clean", tiny)
    for name, options in (
        ("lr5e-2-b2-nowarmup", "--channels 16 --batch-size 2 --lr 5e-2 --warmup 0.01 --max-steps 1200"),
        ("lr0.3-b2-group", "--channels 16 --batch-size 2 --lr 0.3 --warmup 0.01 --norm group --max-steps 1200"),
        ("lr0.1-b4-4channels", "--channels 4 --batch-size 4 --lr 0.1 --warmup 0.01 --max-steps 1500"),
        ("lr10-b8-4channels", "--channels 4 --batch-size 8 --lr 10 --warmup 0.05 --max-steps 800"),
        ("lr1e4-b8-4channels", "--channels 4 --batch-size 8 --lr 1e4 --warmup 0.3 --max-steps 600"),
    ):
        runs[name] = ("clean", ("--image-size", "32", *options.split()))
    return runs


def shrink(photos: Path, out: Path) -> None:
    """Copies of 80 px in `colour/`, and in `gray/` the same with nine in ten turned gray."""
    for place in sorted(entry for entry in photos.rglob("*") if entry.is_file()):
        try:
            with Image.open(place) as opened:
                small = ImageOps.exif_transpose(opened).convert("RGB")
        except (OSError, UnidentifiedImageError, ValueError) as exc:
            print(f"left out: {place}: {exc}", file=sys.stderr)
            continue
        scale = SHORT_SIDE_PX / min(small.size)
        small = small.resize([max(SHORT_SIDE_PX, round(side * scale)) for side in small.size], Image.Resampling.BOX)
        name = f"{'-'.join(place.relative_to(photos).with_suffix('').parts)}.jpg"
        for folder, picture in (("colour", small), ("gray", _gray(small, name))):
            target = out / folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            picture.save(target, quality=95, subsampling=0)


def _gray(picture: Image.Image, name: str) -> Image.Image:
    stays = sum(name.encode()) % 10 >= 10 * GRAY_SHARE
    return picture if stays else picture.convert("L").convert("RGB")


def manifests(out: Path) -> None:
    """`clean.parquet` as the filter makes it by default, and `gray.parquet` with everything in."""
    for name, folder, options in (
        ("clean", "colour", ()),
        ("gray", "gray", ("--min-colorfulness", "0", "--keep-tone", "grayscale", "--keep-tone", "sepia")),
    ):
        scan = out / f"{name}-scan.parquet"
        command("curate", "scan", out / folder, "-o", scan)
        command("curate", "filter", scan, "-o", out / name / f"{name}.parquet", *options)


def command(module: str, *words: str | Path, check: bool = True) -> str:
    """Run `python -m MODULE WORDS` on one thread; what it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    line = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=check).stdout


def train(out: Path, name: str) -> None:
    """One run of the plan and its curve."""
    manifest, options = plan()[name]
    folder, curve = out / "runs" / name, out / "curves" / f"{name}.csv"
    if not curve.exists():
        words = ("--epochs", "1000", "--workers", "0", "--device", "cpu")
        resume = ("--resume",) if folder.exists() else ()
        command("train", "fit", out / manifest / f"{manifest}.parquet", "--run-dir", folder, *options, *words, *resume)
        curve.parent.mkdir(exist_ok=True)
        rows = (f"{line['step']},{line['ratio']}\n" for line in _log(folder, "step"))
        curve.write_text("step,loss\n" + "".join(rows), encoding="utf-8")


def _log(folder: Path, event: str) -> Iterator[dict[str, float]]:
    for text in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
        if (line := json.loads(text))["event"] == event:
            yield line


def row(out: Path, name: str) -> str:
    """A run as a line of the table: means of 100 steps of loss ÷ neutral, held-out photos, findings."""
    folder = out / "runs" / name
    ratios = [line["ratio"] for line in _log(folder, "step")]
    windows = [ratios[start : start + 100] for start in range(0, len(ratios), 100)]
    means = " ".join("none" if None in window else f"{sum(window) / len(window):.2f}" for window in windows)
    seen = list(_log(folder, "validation"))[-1]
    said = json.loads(command("train", "diagnose", folder, "--json", check=False))["findings"]
    found = ", ".join(f"{finding['kind']} at {finding['step']}" for finding in said) or "none"
    return f"| {name} | {means} | {seen['ratio'] or 0:.2f} | {seen['colorfulness_share']:.0%} | {found} |"


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(plan()), default=list(plan()))
    parser.add_argument("--table", action="store_true", help="train nothing, print the table of what is there")
    asked = parser.parse_args()
    if not (asked.out / "clean").exists():
        shrink(asked.photos, asked.out)
        manifests(asked.out)
    for name in [] if asked.table else asked.only:
        train(asked.out, name)
    print("| run | loss ÷ neutral, means of 100 steps | held out | colourfulness | findings |\n|---|---|---|---|---|")
    for name in asked.only:
        if (asked.out / "curves" / f"{name}.csv").exists():
            print(row(asked.out, name))


if __name__ == "__main__":
    main()
