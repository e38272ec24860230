"""Effect of learning rate, batch size and norm on a small network: which runs oscillate, stick or train well.

    python benchmarks/proof_rates.py PHOTOS OUT [--only NAME ...] [--table]

PHOTOS is a folder with a few thousand colour photos. OUT gets copies of them at 80 px, manifests, and for each row of
the table a run and its loss curve as `curves/NAME.csv` (columns step,loss; loss divided by neutral). Existing runs are
not trained again. Each run has one thread, so that it can be repeated bit for bit.
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


def planned_runs() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return (manifest, options of `train fit`) by name of the run."""
    runs: dict[str, tuple[str, tuple[str, ...]]] = {}
    for batch, steps, rates in ((16, 800, "5e-5 5e-4 5e-3"), (16, 600, "5e-2 0.3 1 3"), (64, 250, "5e-5 5e-4 5e-3")):
        for rate in rates.split():
            for norm in ("batch", "group"):
                options = (*SIZE, "--batch-size", str(batch), "--norm", norm, "--lr", rate, "--max-steps", str(steps))
                runs[f"lr{rate}-b{batch}-{norm}"] = ("clean", options)
    runs["gray-photos"] = ("gray", (*SIZE, "--lr", "5e-4", "--max-steps", "700"))
    tiny = ("--image-size", "32", "--channels", "1", "--lr", "5e-5", "--max-steps", "700")
    runs["tiny-network"] = ("clean", tiny)
    for name, text in (
        ("lr5e-2-b2-nowarmup", "--channels 16 --batch-size 2 --lr 5e-2 --warmup 0.01 --max-steps 1200"),
        ("lr0.3-b2-group", "--channels 16 --batch-size 2 --lr 0.3 --warmup 0.01 --norm group --max-steps 1200"),
        ("lr0.1-b4-4channels", "--channels 4 --batch-size 4 --lr 0.1 --warmup 0.01 --max-steps 1500"),
        ("lr10-b8-4channels", "--channels 4 --batch-size 8 --lr 10 --warmup 0.05 --max-steps 800"),
        ("lr1e4-b8-4channels", "--channels 4 --batch-size 8 --lr 1e4 --warmup 0.3 --max-steps 600"),
    ):
        runs[name] = ("clean", ("--image-size", "32", *text.split()))
    return runs


def write_small_copies(photos: Path, out: Path) -> None:
    """Write copies of 80 px to `colour/`, and the same to `gray/` with nine in ten converted to gray."""
    for path in sorted(entry for entry in photos.rglob("*") if entry.is_file()):
        try:
            with Image.open(path) as opened:
                small = ImageOps.exif_transpose(opened).convert("RGB")
        except (OSError, UnidentifiedImageError, ValueError) as exc:
            print(f"skipped {path}: {exc}", file=sys.stderr)
            continue
        scale = SHORT_SIDE_PX / min(small.size)
        small = small.resize([max(SHORT_SIDE_PX, round(side * scale)) for side in small.size], Image.Resampling.BOX)
        name = f"{'-'.join(path.relative_to(photos).with_suffix('').parts)}.jpg"
        for folder, picture in (("colour", small), ("gray", _maybe_gray(small, name))):
            target = out / folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            picture.save(target, quality=95, subsampling=0)


def _maybe_gray(picture: Image.Image, name: str) -> Image.Image:
    keep_color = sum(name.encode()) % 10 >= 10 * GRAY_SHARE
    return picture if keep_color else picture.convert("L").convert("RGB")


def write_manifests(out: Path) -> None:
    """Write `clean.parquet` with the filter's default options, and `gray.parquet` with all photos."""
    for name, folder, options in (
        ("clean", "colour", ()),
        ("gray", "gray", ("--min-colorfulness", "0", "--keep-tone", "grayscale", "--keep-tone", "sepia")),
    ):
        scan = out / f"{name}-scan.parquet"
        run_command("curate", "scan", out / folder, "-o", scan)
        run_command("curate", "filter", scan, "-o", out / name / f"{name}.parquet", *options)


def run_command(module: str, *arguments: str | Path, check: bool = True) -> str:
    """Run `python -m MODULE ARGUMENTS` on one thread and return what it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    line = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=check).stdout


def train(out: Path, name: str) -> None:
    """Train one run and write its curve, unless the curve exists."""
    manifest, options = planned_runs()[name]
    folder, curve = out / "runs" / name, out / "curves" / f"{name}.csv"
    if not curve.exists():
        fixed = ("--epochs", "1000", "--workers", "0", "--device", "cpu")
        resume = ("--resume",) if folder.exists() else ()
        run_command(
            "train", "fit", out / manifest / f"{manifest}.parquet", "--run-dir", folder, *options, *fixed, *resume
        )
        curve.parent.mkdir(exist_ok=True)
        rows = (f"{line['step']},{line['loss']},{line['neutral']}\n" for line in _log(folder, "step"))
        curve.write_text("step,loss,neutral\n" + "".join(rows), encoding="utf-8")


def _log(folder: Path, event: str) -> Iterator[dict[str, float]]:
    for text in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
        if (line := json.loads(text))["event"] == event:
            yield line


def table_row(out: Path, name: str) -> str:
    """Return a row of the table: means of loss ÷ neutral over 100 steps, validation, findings."""
    folder = out / "runs" / name
    steps = [(line["loss"], line["neutral"]) for line in _log(folder, "step")]
    windows = [zip(*steps[start : start + 100], strict=True) for start in range(0, len(steps), 100)]
    means = " ".join("none" if None in losses else f"{sum(losses) / sum(grays):.2f}" for losses, grays in windows)
    validation = list(_log(folder, "validation"))[-1]
    findings = json.loads(run_command("train", "diagnose", folder, "--json", check=False))["findings"]
    described = ", ".join(f"{finding['kind']} at {finding['step']}" for finding in findings) or "none"
    return (
        f"| {name} | {means} | {validation['ratio'] or 0:.2f} | {validation['colorfulness_share']:.0%} | {described} |"
    )


def main() -> None:
    """Train the runs that are missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(planned_runs()), default=list(planned_runs()))
    parser.add_argument("--table", action="store_true", help="train nothing, print the table of the existing runs")
    options = parser.parse_args()
    if not (options.out / "clean").exists():
        write_small_copies(options.photos, options.out)
        write_manifests(options.out)
    for name in [] if options.table else options.only:
        train(options.out, name)
    print("| run | loss ÷ neutral, means of 100 steps | held out | colourfulness | findings |\n|---|---|---|---|---|")
    for name in options.only:
        if (options.out / "curves" / f"{name}.csv").exists():
            print(table_row(options.out, name))


if __name__ == "__main__":
    main()
