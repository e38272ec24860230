"""Effect of curation: training on a raw pile of pictures and on what `curate filter` keeps of it, with equal steps.

    python benchmarks/proof_curation.py PHOTOS --prints PRINTS --work FOLDER [--graphics GRAPHICS] [--photos N]
        [--spoiled 40] [--steps 1000] [--seeds 0 1 2] [--fit OPTIONS] [--device cuda]

PHOTOS is a folder of photos. 200 of its colourful photos (M of 30 or more, tone color) are held out, and all networks
are evaluated on them. The raw set is the rest of PHOTOS (with --photos, N of them), the toned or gray prints of PRINTS
and the pictures of GRAPHICS, which are no photographs; some of its colourful photos are replaced by sepia or gray
copies, so that `--spoiled` percent of the photos and prints is gray, toned or dull. The color set is what is kept by
the rules of colorfulness and tone only, the curated set what is kept by default. Finished runs are not trained again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from curate import manifest
from curate.manifest import Lineage, unescape
from train import checkpoint

SEPIA = (0.393, 0.769, 0.189, 0, 0.349, 0.686, 0.168, 0, 0.272, 0.534, 0.131, 0)
"""The usual sepia matrix."""
HELD_OUT_PHOTOS = 200
HELD_OUT_MIN_COLORFULNESS = 30.0
METRICS = ("loss_to_neutral", "colorfulness_share", "colorfulness_difference", "psnr_db", "ssim")
SETS = ("raw", "color", "curated")


def main() -> None:
    """Build the two sets once, train the runs that are missing, and print their metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--prints", type=Path, required=True)
    parser.add_argument("--graphics", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--photos", type=int, dest="most_photos", help="photos in the raw set  [default: all]")
    parser.add_argument("--spoiled", type=float, default=40, help="percent of the photos and prints")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--fit", default="--image-size 64 --channels 24 --lr 1e-3", help="options of `train fit`")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if not (options.work / "curated.parquet").exists():
        build_sets(options)
    fit_options = [
        "--epochs",
        "1000",
        "--max-steps",
        str(options.steps),
        "--device",
        options.device,
        *options.fit.split(),
    ]
    for seed in options.seeds:
        for name in SETS:
            fit(options.work, name, seed, fit_options)
    for name in SETS if options.seeds else ():
        evaluate(options.work, name, options.seeds, options.device)


def build_sets(options: argparse.Namespace) -> None:
    """Write a manifest for each set; all have the same held-out photos as split 'val'."""
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    curate("scan", str(options.photos), "-o", str(work / "photos.parquet"))
    rows = manifest.read_manifest(work / "photos.parquet").table.to_pylist()
    shuffled = [rows[index] for index in np.random.default_rng(0).permutation(len(rows)) if not rows[index]["error"]]
    bright = [row for row in shuffled if is_colorful(row, HELD_OUT_MIN_COLORFULNESS)]
    held = {row["path"] for row in bright[:HELD_OUT_PHOTOS]}
    rest = [row for row in shuffled if row["path"] not in held][: options.most_photos]
    colorful = [row for row in rest if is_colorful(row, 20)]
    printed = sorted(path for path in options.prints.rglob("*") if path.suffix == ".jpg")
    dull = len(rest) - len(colorful) + len(printed)
    spoiled = max(0, round(options.spoiled / 100 * (len(rest) + len(printed))) - dull)
    for row in rest:
        link(photo_path(row), work / "pile" / "as-they-are" / row["path"])
    for row in colorful[:spoiled]:
        spoil(work / "pile" / "as-they-are" / row["path"], work / "pile" / "copies" / row["path"])
    for name, folder in (("prints", options.prints), ("graphics", options.graphics)):
        for path in sorted(folder.rglob("*")) if folder else ():
            if path.is_file():
                link(path, work / "pile" / name / path.relative_to(folder))
    for row in bright[:HELD_OUT_PHOTOS]:
        link(photo_path(row), work / "held" / row["path"])
    write_manifests(work)
    print(
        f"raw set: {len(rest) - len(colorful)} dull or gray by nature, {len(printed)} prints, "
        f"{spoiled} gray or sepia copies"
    )


def is_colorful(row: dict[str, object], least: float) -> bool:
    """Whether a scanned photo has tone color and at least this colourfulness."""
    return row["tone"] == "color" and float(str(row["colorfulness"])) >= least


def photo_path(row: dict[str, str]) -> Path:
    """Return the path of a scanned photo."""
    return Path(unescape(row["source"])) / unescape(row["path"])


def link(photo: Path, target: Path) -> None:
    """Put a symbolic link to a photo into a set."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(photo.resolve())


def spoil(photo: Path, target: Path) -> None:
    """Replace a photo by a sepia copy, or in two of five cases by a gray one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(photo) as picture:
        plain = picture.convert("RGB")
    gray = int.from_bytes(photo.name.encode()[-8:]) % 5 < 2
    copy = plain.convert("L").convert("RGB") if gray else plain.convert("RGB", SEPIA)
    copy.save(target, "JPEG", quality=90)
    photo.unlink()


def write_manifests(work: Path) -> None:
    """Scan and filter the sets; raw keeps all pictures, curated those that `curate filter` keeps by default."""
    any_kind = ("--keep-kind", "graphic", "--keep-machine-made")
    tones = ("--keep-tone", "grayscale", "--keep-tone", "sepia", "--keep-tone", "toned")
    every = ("--min-colorfulness", "-1", *tones, *any_kind)
    for name, options in (("held", every), ("raw", every), ("color", any_kind), ("curated", ())):
        folder = work / ("held" if name == "held" else "pile")
        scan, out = work / f"{folder.name}-scan.parquet", work / name / "clean.parquet"
        if not scan.exists():
            curate("scan", str(folder), "-o", str(scan))
        out.parent.mkdir(exist_ok=True)
        curate("filter", str(scan), "--split", "100/0/0", "-o", str(out), *options)
    held = manifest.read_manifest(work / "held" / "clean.parquet").table
    held = held.set_column(held.column_names.index("split"), "split", pa.array(["val"] * held.num_rows))
    for name in SETS:
        table = manifest.read_manifest(work / name / "clean.parquet").table
        joined = pa.concat_tables([table, held])
        manifest.write_manifest(work / f"{name}.parquet", joined, Lineage("clean", "benchmarks/proof_curation.py", {}))
        counts = {column: Counter(table[column].to_pylist()) for column in ("tone", "kind")}
        folders = Counter(path.partition("/")[0] for path in table["path"].to_pylist())
        dull = pc.sum(pc.less(table["colorfulness"], 20)).as_py()
        print(f"{name}: {table.num_rows} to train, {counts}, {dull} with M below 20; {folders}", flush=True)


def fit(work: Path, name: str, seed: int, options: list[str]) -> None:
    """Train one run, or resume it."""
    run = work / f"{name}-{seed}"
    resume = ["--resume"] if run.exists() else []
    if resume and last_step(run) == int(options[options.index("--max-steps") + 1]):
        return
    arguments = ["fit", str(work / f"{name}.parquet"), "--run-dir", str(run), "--seed", str(seed), *options, *resume]
    subprocess.run([sys.executable, "-m", "train", *arguments], check=True)


def last_step(run: Path) -> int:
    """Return the last step of a run's checkpoint; 0 without one."""
    return checkpoint.load(run / "last.safetensors").metadata.step if (run / "last.safetensors").exists() else 0


def evaluate(work: Path, name: str, seeds: list[int], device: str) -> None:
    """Print the metrics of each seed's last weights on the held-out photos, and their means and spreads."""
    rows = []
    for seed in seeds:
        arguments = ["evaluate", str(work / f"{name}-{seed}" / "last.safetensors"), str(work / "curated.parquet")]
        options = ["--split", "val", "--device", device, "--json", "--html", str(work / f"{name}-{seed}.html")]
        printed = subprocess.run(
            [sys.executable, "-m", "train", *arguments, *options], check=True, stdout=subprocess.PIPE
        ).stdout
        row = json.loads(printed)["predictions"]["network"]
        rows.append([row[metric] for metric in METRICS] + [row["tones"].get("sepia", 0) + row["tones"].get("toned", 0)])
        print(name, seed, *(f"{number:.3f}" for number in rows[-1]))
    values = np.array(rows)
    for metric, mean, spread in zip((*METRICS, "toned"), values.mean(axis=0), np.ptp(values, axis=0), strict=True):
        print(f"{name}: {metric} {mean:.3f}, spread of {len(seeds)} seeds {spread:.3f}")


def curate(*arguments: str) -> None:
    """Run a `curate` command."""
    subprocess.run([sys.executable, "-m", "curate", *arguments], check=True)


if __name__ == "__main__":
    main()
