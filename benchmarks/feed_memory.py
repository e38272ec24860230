"""Memory of training on many photos: trainer and reader processes together. Linux only. `make bench` runs it small.

    python benchmarks/feed_memory.py [--rows 1000000] [--workers 8] [--steps 2000]

All rows point to the same small photo, so that the dataset's columns, the sampler and the readers are measured. It
prints the PSS, which counts memory that processes share only once, early, in the middle and late in the run.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from curate.packing.shards import PACK_COLUMNS, PackedPhoto, read_locations, shard_path, write_pack_shard
from train.data.dataset import PhotoDataset, Photos
from train.data.loader import CropLoader, load_batches
from train.data.packed import PackedDataset
from train.data.sampler import StepSampler

SMALL_PX = 36


def main() -> None:
    """Print one line for original photos and one for a pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name, dataset in (
            ("originals", make_originals(Path(scratch), options.rows)),
            ("pack", make_pack(Path(scratch), options.rows)),
        ):
            sampler = StepSampler(len(dataset), 16, 0, 0, options.steps, dataset.shard_starts())
            memory = []
            for number, _ in enumerate(load_batches(CropLoader(dataset, 32, 0), sampler, options.workers)):
                if number in (options.steps // 10, options.steps // 2, options.steps - options.steps // 20 - 1):
                    memory.append(f"{memory_mb():,.0f}")
            print(f"{name}: {options.rows:,} rows, {options.workers} workers, {16 * options.steps:,} photos: ", end="")
            print(", ".join(memory), "MB early, midway, late")


def make_originals(scratch: Path, rows: int) -> Photos:
    """Return a dataset with `rows` rows of one photo file."""
    Image.new("RGB", (SMALL_PX, SMALL_PX), (200, 80, 10)).save(scratch / "photo.png")
    sources, paths = (pa.array([text] * rows, pa.large_string()) for text in (str(scratch), "photo.png"))
    size = (scratch / "photo.png").stat().st_size
    sizes, offsets = pa.array(np.full(rows, size, np.int64)), pa.nulls(rows, pa.int64())
    sha256 = hashlib.sha256((scratch / "photo.png").read_bytes()).hexdigest()
    return PhotoDataset(sources, paths, sizes, offsets, pa.array([sha256] * rows, pa.large_string()))


def make_pack(scratch: Path, rows: int) -> Photos:
    """Return a dataset with `rows` rows of one photo in a pack."""
    photo = PackedPhoto("0" * 64, SMALL_PX, SMALL_PX, bytes(3 * SMALL_PX**2))
    write_pack_shard(shard_path(scratch, 0), [photo])
    place = read_locations(shard_path(scratch, 0), 0)
    columns = {column.name: np.repeat(place[column.name].to_numpy(), rows) for column in PACK_COLUMNS}
    return PackedDataset(scratch, "", pa.array(["photo.png"] * rows, pa.large_string()), columns)


def memory_mb() -> float:
    """Return the PSS of this process and its child processes, in MB."""
    processes = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    rollups = [Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii") for process in processes]
    return sum(int(text.split("\nPss:")[1].split()[0]) for text in rollups) / 1024


if __name__ == "__main__":
    main()
