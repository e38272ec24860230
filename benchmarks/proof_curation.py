"""Does curation help? The same budget on a raw pile and on what `curate filter` keeps of it, judged on the same photos.

    python benchmarks/proof_curation.py PHOTOS --prints PRINTS --work FOLDER [--steps 1000] [--seeds 0 1 2]
        [--fit OPTIONS] [--device cuda]

PHOTOS is a folder of photos. 200 of its colourful ones (M of 30 or more, in colour) are held out to judge on. The rest,
with the toned or gray prints of PRINTS, is the raw pile; of its colourful photos so many become sepia or gray copies
that `--spoiled` percent of the pile is gray, toned or dull. Runs that are finished are not trained again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
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
JUDGED_BY = ("loss_to_neutral", "colorfulness_share", "colorfulness_difference", "psnr_db", "ssim")
PILES = ("raw", "curated")


def main() -> None:
    """Build the pile once, then train what isn't trained yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--prints", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--spoiled", type=float, default=40, help="percent of the raw pile")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--fit", default="--image-size 64 --channels 24 --lr 1e-3", help="options of `train fit`")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if not (options.work / "curated.parquet").exists():
        build(options.photos, options.prints, options.work, options.spoiled / 100)
    how = ["--epochs", "1000", "--max-steps", str(options.steps), "--device", options.device, *options.fit.split()]
    for seed in options.seeds:
        for pile in PILES:
            fit(options.work, pile, seed, how)
    for pile in PILES if options.seeds else ():
        judge(options.work, pile, options.seeds, options.device)


def build(photos: Path, prints: Path, work: Path, spoiled_share: float) -> None:
    """Write raw.parquet and curated.parquet: two sets to train on ('train'), one to judge on ('val')."""
    work.mkdir(parents=True, exist_ok=True)
    curate("scan", str(photos), "-o", str(work / "photos.parquet"))
    rows = manifest.read_manifest(work / "photos.parquet").table.to_pylist()
    shuffled = [rows[index] for index in np.random.default_rng(0).permutation(len(rows)) if not rows[index]["error"]]
    bright = [row for row in shuffled if good(row, HELD_OUT_MIN_COLORFULNESS)]
    held = {row["path"] for row in bright[:HELD_OUT_PHOTOS]}
    rest = [row for row in shuffled if row["path"] not in held]
    colorful = [row for row in rest if good(row, 20)]
    printed = sorted(path for path in prints.rglob("*") if path.suffix == ".jpg")
    spoiled = round(spoiled_share * (len(rest) + len(printed))) - (len(rest) - len(colorful)) - len(printed)
    for row in rest:
        link(place(row), work / "pile" / "as-they-are" / row["path"])
    for row in colorful[:spoiled]:
        spoil(work / "pile" / "as-they-are" / row["path"], work / "pile" / "copies" / row["path"])
    for path in printed:
        link(path, work / "pile" / "prints" / path.relative_to(prints))
    for row in bright[:HELD_OUT_PHOTOS]:
        link(place(row), work / "held" / row["path"])
    split(work)
    print(
        f"pile: {len(rest) - len(colorful)} dull or gray by nature, {len(printed)} prints, "
        f"{spoiled} gray or sepia copies"
    )


def good(row: dict[str, object], least: float) -> bool:
    """Colourful, and in colour."""
    return row["tone"] == "color" and float(str(row["colorfulness"])) >= least


def place(row: dict[str, str]) -> Path:
    """Where a scanned photo lies."""
    return Path(unescape(row["source"])) / unescape(row["path"])


def link(photo: Path, target: Path) -> None:
    """Put a photo into a pile without copying it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(photo.resolve())


def spoil(photo: Path, target: Path) -> None:
    """Replace a photo by a sepia copy, or by a gray one for two of five."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(photo) as picture:
        plain = picture.convert("RGB")
    gray = int.from_bytes(photo.name.encode()[-8:]) % 5 < 2
    copy = plain.convert("L").convert("RGB") if gray else plain.convert("RGB", SEPIA)
    copy.save(target, "JPEG", quality=90)
    photo.unlink()


def split(work: Path) -> None:
    """Scan the pile; raw is all of it, curated what `curate filter` keeps."""
    for name, keep_all in (("held", True), ("raw", True), ("curated", False)):
        folder = work / ("held" if name == "held" else "pile")
        curate("scan", str(folder), "-o", str(work / f"{folder.name}-scan.parquet"))
        every = ("--min-colorfulness", "-1", "--keep-tone", "grayscale", "--keep-tone", "sepia", "--keep-tone", "toned")
        out = work / name / "clean.parquet"
        out.parent.mkdir(exist_ok=True)
        lines = every if keep_all else ()
        curate("filter", str(work / f"{folder.name}-scan.parquet"), "--split", "100/0/0", "-o", str(out), *lines)
    held = manifest.read_manifest(work / "held" / "clean.parquet").table
    held = held.set_column(held.column_names.index("split"), "split", pa.array(["val"] * held.num_rows))
    for name in PILES:
        table = manifest.read_manifest(work / name / "clean.parquet").table
        joined = pa.concat_tables([table, held])
        manifest.write_manifest(work / f"{name}.parquet", joined, Lineage("clean", "benchmarks/proof_curation.py", {}))
        tones = pc.value_counts(table["tone"]).to_pylist()
        dull = pc.sum(pc.less(table["colorfulness"], 20)).as_py()
        print(f"{name}: {table.num_rows} photos to train, {tones}, {dull} with M below 20", flush=True)


def fit(work: Path, pile: str, seed: int, how: list[str]) -> None:
    """Train one run, or go on with it."""
    run = work / f"{pile}-{seed}"
    resume = ["--resume"] if run.exists() else []
    if resume and about_step(run) == int(how[how.index("--max-steps") + 1]):
        return
    told = ["fit", str(work / f"{pile}.parquet"), "--run-dir", str(run), "--seed", str(seed), *how, *resume]
    subprocess.run([sys.executable, "-m", "train", *told], check=True)


def about_step(run: Path) -> int:
    """How far a run is."""
    return checkpoint.load(run / "last.safetensors").metadata.step if (run / "last.safetensors").exists() else 0


def judge(work: Path, pile: str, seeds: list[int], device: str) -> None:
    """Print what `train evaluate` says of each seed's last weights on the held-out photos, and mean and spread."""
    rows = []
    for seed in seeds:
        told = ["evaluate", str(work / f"{pile}-{seed}" / "last.safetensors"), str(work / "curated.parquet")]
        how = ["--split", "val", "--device", device, "--json", "--html", str(work / f"{pile}-{seed}.html")]
        printed = subprocess.run(
            [sys.executable, "-m", "train", *told, *how], check=True, stdout=subprocess.PIPE
        ).stdout
        row = json.loads(printed)["predictions"]["network"]
        rows.append([row[name] for name in JUDGED_BY] + [row["tones"].get("sepia", 0) + row["tones"].get("toned", 0)])
        print(pile, seed, *(f"{number:.3f}" for number in rows[-1]))
    found = np.array(rows)
    for name, mean, spread in zip((*JUDGED_BY, "toned"), found.mean(axis=0), np.ptp(found, axis=0), strict=True):
        print(f"{pile}: {name} {mean:.3f}, spread of {len(seeds)} seeds {spread:.3f}")


def curate(*told: str) -> None:
    """Run a command of stage one."""
    subprocess.run([sys.executable, "-m", "curate", *told], check=True)


if __name__ == "__main__":
    main()
