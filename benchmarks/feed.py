"""CPU of feeding a trainer, beside what others do with the same photos in the same run. `make bench` runs it small.

    python benchmarks/feed.py [FOLDER...] [--size 256] [--rounds 3] [--photos 400]

Originals: the usual Pillow decode, Lanczos resize and crop against the trainer's, one process and thread, files in
memory, in turns, medians of the rounds' ratios; the colour difference is CIEDE2000 between the trainer's crop and the
one from a full decode. Packs: batches of 16 random, mirrored crops through the whole loader, CPU of all its processes.
The others get photos that are already small: WebDataset raw arrays and JPEGs, an ImageFolder of the same JPEGs. Without
a folder the photos are made from those that scikit-image and scikit-learn carry.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import webdataset
from PIL import Image
from scan import make_photos
from skimage.color import deltaE_ciede2000, rgb2lab
from torch.utils.data import DataLoader, Dataset

from curate.filtering.filter import filter_manifest
from curate.filtering.options import FilterOptions
from curate.image.decode import decode
from curate.packing.pack import PackOptions, pack_photos
from curate.scanning.scan import ScanOptions, scan_photos
from train.data import dataset as trainer_photos
from train.data.loader import MIN_DECODED_SIDES, CropLoader, crop, load_batches
from train.data.packed import PackedDataset
from train.data.sampler import StepSampler

COMPARED = 40
BATCH = 16
EPOCHS = 5


def main() -> None:
    """Print a few lines a folder, and those of packs for the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=int, default=400, help="at most so many of a folder")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folders = options.folders or [made for made in make_photos(Path(scratch), 30) if made.name.endswith("jpeg")]
        for folder in folders:
            originals(folder, options.size, options.rounds, options.photos)
        packs(folders[0], Path(scratch), options.size, options.rounds)


def originals(folder: Path, size: int, rounds: int, most: int) -> None:
    """Print what reading a crop from an original JPEG costs, and what it does to colours."""
    files = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
    files = [data for data in files if data.startswith(b"\xff\xd8\xff")][:most]
    spent = [
        [cpu_s(lambda way=way: [way(data, size) for data in files]) for way in (usual, ours)] for _ in range(rounds)
    ]
    ratios = sorted(theirs / mine for theirs, mine in spent)
    usual_ms, ours_ms = (1e3 * statistics.median(column) / len(files) for column in zip(*spent, strict=True))
    means = [difference(data, size) for data in files[:COMPARED]]
    print(
        f"{folder.name}: {len(files)} JPEGs, {size} px crops   Pillow and Lanczos {usual_ms:.2f} ms   "
        f"train fit {ours_ms:.2f} ms   ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})   "
        f"CIEDE2000 to a full decode: mean {np.mean(means):.2f}, worst photo {max(means):.2f}"
    )


def usual(data: bytes, size: int) -> np.ndarray:
    """What most loaders do."""
    photo = Image.open(io.BytesIO(data)).convert("RGB")
    scale = size / min(photo.size)
    photo = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)
    left, top = (photo.width - size) // 2, (photo.height - size) // 2
    return np.asarray(photo.crop((left, top, left + size, top + size)))


def ours(data: bytes, size: int, least_px: int | None = None) -> np.ndarray:
    """The trainer's crop."""
    out = np.empty((size, size, 3), np.uint8)
    crop(decode(data, short_side_px=least_px or MIN_DECODED_SIDES * size).pixels, None, out)
    return out


def difference(data: bytes, size: int) -> float:
    """Mean CIEDE2000 between the trainer's crop and the one from a full decode."""
    return float(deltaE_ciede2000(rgb2lab(ours(data, size, 1 << 20)), rgb2lab(ours(data, size))).mean())


def packs(folder: Path, scratch: Path, size: int, rounds: int) -> None:
    """Print photos a CPU second from packs of ours, and from what others read, in turns."""
    stored = size * 9 // 8
    clean = scratch / "clean.parquet"
    scan_photos([folder], scratch / "scan.parquet", ScanOptions())
    filter_manifest(scratch / "scan.parquet", clean, FilterOptions(min_colorfulness=0))
    for encoding in ("raw", "jpeg"):
        pack_photos(clean, scratch / encoding, PackOptions(stored, encoding))
    loaded: dict[str, Any] = {
        encoding: trainer_photos.load_datasets(scratch / encoding).train for encoding in ("raw", "jpeg")
    }
    write_for_others(loaded["raw"], loaded["jpeg"], scratch)
    ways: dict[str, Callable[[], Iterable[Any]]] = {
        "raw pack, in the trainer's process": lambda: of_pack(loaded["raw"], size, 0),
        "raw pack, 1 worker": lambda: of_pack(loaded["raw"], size, 1),
        "JPEG pack, 1 worker": lambda: of_pack(loaded["jpeg"], size, 1),
        "WebDataset of raw arrays, in process": lambda: of_webdataset(scratch / "raw.tar", "npy", size, 0),
        "WebDataset of raw arrays, 1 worker": lambda: of_webdataset(scratch / "raw.tar", "npy", size, 1),
        "WebDataset of JPEGs, 1 worker": lambda: of_webdataset(scratch / "jpeg.tar", "jpg", size, 1),
        "ImageFolder of JPEGs, 1 worker": lambda: of_folder(scratch / "folder", size, 1),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            rates[name].append(rate(way))
    for name, found in rates.items():
        print(f"{statistics.median(found):9,.0f} photos a CPU second   {name} ({min(found):,.0f} to {max(found):,.0f})")


def of_pack(listed: PackedDataset, size: int, workers: int) -> Iterator[Any]:
    """A few epochs."""
    steps = EPOCHS * -(-len(listed) // BATCH)
    sampler = StepSampler(len(listed), BATCH, 0, 0, steps, listed.shard_starts())
    return (batch.rgb for batch in load_batches(CropLoader(listed, size, 0), sampler, workers))


def write_for_others(raw: PackedDataset, jpeg: PackedDataset, scratch: Path) -> None:
    """The same small photos as tars of arrays and of JPEGs, and as a folder of those JPEGs."""
    (scratch / "folder" / "class").mkdir(parents=True)
    shard = np.concatenate([np.fromfile(path, np.uint8) for path in sorted(jpeg.folder.glob("shard-*.arrow"))[:1]])
    with (
        webdataset.TarWriter(str(scratch / "raw.tar")) as arrays,
        webdataset.TarWriter(str(scratch / "jpeg.tar")) as jpegs,
    ):
        for index in range(min(len(raw), int((jpeg.columns["pack_shard"] == 0).sum()))):
            first, size = int(jpeg.columns["pack_offset"][index]), int(jpeg.columns["pack_bytes"][index])
            data = shard[first : first + size].tobytes()
            arrays.write({"__key__": f"{index:06d}", "npy": np.asarray(raw.read_pixels(index, 0))})
            jpegs.write({"__key__": f"{index:06d}", "jpg": data})
            (scratch / "folder" / "class" / f"{index:06d}.jpg").write_bytes(data)


def of_webdataset(tar: Path, kind: str, size: int, workers: int) -> Iterable[Any]:
    """A few epochs as WebDataset's own documentation has it: shuffle, decode, map, batch."""

    def cut(sample: dict[str, Any]) -> np.ndarray:
        return random_crop(sample[kind], size)

    source = webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False)
    pipeline = source.shuffle(1000).decode("rgb8").map(cut).batched(BATCH, collation_fn=np.stack).repeat(EPOCHS)
    loader = webdataset.WebLoader(pipeline, batch_size=None, num_workers=workers)
    return (torch.as_tensor(batch) for batch in loader)


class ImageFolder(Dataset[np.ndarray]):
    """What torchvision's does, by Pillow: open, convert, random crop, mirror."""

    def __init__(self, folder: Path, size: int) -> None:
        self.files, self.size = sorted(folder.glob("*/*.jpg")), size

    def __len__(self) -> int:
        return EPOCHS * len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:
        with open(self.files[index % len(self.files)], "rb") as file:
            return random_crop(np.asarray(Image.open(file).convert("RGB")), self.size)


def of_folder(folder: Path, size: int, workers: int) -> Iterable[Any]:
    """A few epochs in random order."""
    return DataLoader(ImageFolder(folder, size), BATCH, shuffle=True, num_workers=workers)


def random_crop(pixels: np.ndarray, size: int) -> np.ndarray:
    """A random square, mirrored half of the time; a smaller photo is enlarged first."""
    if min(pixels.shape[:2]) < size:
        pixels = cv2.resize(pixels, (max(size, pixels.shape[1]), max(size, pixels.shape[0])))
    top, left = (np.random.randint(0, spare - size + 1) for spare in pixels.shape[:2])  # noqa: NPY002  # as they do
    square = pixels[top : top + size, left : left + size]
    return np.ascontiguousarray(square[:, ::-1] if np.random.random() < 0.5 else square)  # noqa: NPY002


def rate(way: Callable[[], Iterable[Any]]) -> float:
    """Photos a CPU second, readers included."""
    seen = 0

    def consume() -> None:
        nonlocal seen
        seen = sum(len(batch) for batch in way())

    return seen / spent if (spent := cpu_s(consume)) and seen else 0.0


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of this process and of those that it started and that have ended."""
    before = _cpu_s()
    work()
    return _cpu_s() - before


def _cpu_s() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
