"""CPU time of loading training photos, compared with other loaders in the same run. `make bench` runs it small.

    python benchmarks/feed.py [FOLDER...] [--size 256] [--rounds 3] [--photos 400]

Originals: decode, resize and crop with Pillow (Lanczos) and with `train fit`, in one process and thread, from files in
memory. They take turns, and the median of the rounds' ratios is printed. The colour difference is CIEDE2000 between the
crop of `train fit` and the same crop after a full decode. Packs: batches of 16 random, mirrored crops through the whole
loader, CPU time of all its processes. The other loaders get the same small photos: WebDataset with raw arrays and with
JPEGs, and an ImageFolder of JPEGs. Without a folder, the photos are made from those in scikit-image and scikit-learn.
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
from curate.image.decode import decode_bytes
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
    """Print the comparison of originals for each folder, and that of packs for the first folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=int, default=400, help="use at most this many of each folder")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folders = options.folders or [made for made in make_photos(Path(scratch), 30) if made.name.endswith("jpeg")]
        for folder in folders:
            compare_originals(folder, options.size, options.rounds, options.photos)
        compare_packs(folders[0], Path(scratch), options.size, options.rounds)


def compare_originals(folder: Path, size: int, rounds: int, most: int) -> None:
    """Print the CPU time of a crop from an original JPEG, and its colour difference."""
    files = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
    files = [data for data in files if data.startswith(b"\xff\xd8\xff")][:most]
    spent = [
        (
            cpu_s(lambda: [pillow_crop(data, size) for data in files]),
            cpu_s(lambda: [trainer_crop(data, size) for data in files]),
        )
        for _ in range(rounds)
    ]
    ratios = sorted(pillow_s / trainer_s for pillow_s, trainer_s in spent)
    pillow_ms, trainer_ms = (1e3 * statistics.median(column) / len(files) for column in zip(*spent, strict=True))
    means = [color_difference(data, size) for data in files[:COMPARED]]
    print(
        f"{folder.name}: {len(files)} JPEGs, {size} px crops   Pillow and Lanczos {pillow_ms:.2f} ms   "
        f"train fit {trainer_ms:.2f} ms   "
        f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})   "
        f"CIEDE2000 to a full decode: mean {np.mean(means):.2f}, worst photo {max(means):.2f}"
    )


def pillow_crop(data: bytes, size: int) -> np.ndarray:
    """Return a square from the middle as most loaders make it: full decode, Lanczos resize, crop."""
    photo = Image.open(io.BytesIO(data)).convert("RGB")
    scale = size / min(photo.size)
    photo = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)
    left, top = (photo.width - size) // 2, (photo.height - size) // 2
    return np.asarray(photo.crop((left, top, left + size, top + size)))


def trainer_crop(data: bytes, size: int, least_px: int | None = None) -> np.ndarray:
    """Return the same square as `train fit` makes it."""
    out = np.empty((size, size, 3), np.uint8)
    crop(decode_bytes(data, short_side_px=least_px or MIN_DECODED_SIDES * size).pixels, None, out)
    return out


def color_difference(data: bytes, size: int) -> float:
    """Return the mean CIEDE2000 between the crop of `train fit` and the one from a full decode."""
    full, reduced = (rgb2lab(trainer_crop(data, size, least_px)) for least_px in (1 << 20, None))
    return float(deltaE_ciede2000(full, reduced).mean())  # type: ignore[no-untyped-call]  # scikit-image has no types for it


def compare_packs(folder: Path, scratch: Path, size: int, rounds: int) -> None:
    """Print photos per CPU second from vividset's packs and from the other loaders, which take turns."""
    stored = size * 9 // 8
    clean = scratch / "clean.parquet"
    scan_photos([folder], scratch / "scan.parquet", ScanOptions())
    filter_manifest(scratch / "scan.parquet", clean, FilterOptions(min_colorfulness=0))
    for encoding in ("raw", "jpeg"):
        pack_photos(clean, scratch / encoding, PackOptions(stored, encoding))
    loaded: dict[str, Any] = {
        encoding: trainer_photos.load_datasets(scratch / encoding).train for encoding in ("raw", "jpeg")
    }
    write_other_formats(loaded["raw"], loaded["jpeg"], scratch)
    loaders: dict[str, Callable[[], Iterable[Any]]] = {
        "raw pack, in the trainer's process": lambda: load_pack(loaded["raw"], size, 0),
        "raw pack, 1 worker": lambda: load_pack(loaded["raw"], size, 1),
        "JPEG pack, 1 worker": lambda: load_pack(loaded["jpeg"], size, 1),
        "WebDataset of raw arrays, in process": lambda: load_webdataset(scratch / "raw.tar", "npy", size, 0),
        "WebDataset of raw arrays, 1 worker": lambda: load_webdataset(scratch / "raw.tar", "npy", size, 1),
        "WebDataset of JPEGs, 1 worker": lambda: load_webdataset(scratch / "jpeg.tar", "jpg", size, 1),
        "ImageFolder of JPEGs, 1 worker": lambda: load_folder(scratch / "folder", size, 1),
    }
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(rounds):
        for name, load in loaders.items():
            rates[name].append(photos_per_cpu_s(load))
    for name, measured in rates.items():
        spread = f"({min(measured):,.0f} to {max(measured):,.0f})"
        print(f"{statistics.median(measured):9,.0f} photos a CPU second   {name} {spread}")


def load_pack(dataset: PackedDataset, size: int, workers: int) -> Iterator[Any]:
    """Yield the batches of a few epochs from a pack."""
    steps = EPOCHS * -(-len(dataset) // BATCH)
    sampler = StepSampler(len(dataset), BATCH, 0, 0, steps, dataset.shard_starts())
    return (batch.rgb for batch in load_batches(CropLoader(dataset, size, 0), sampler, workers))


def write_other_formats(raw: PackedDataset, jpeg: PackedDataset, scratch: Path) -> None:
    """Write the photos of a pack as tars of arrays and of JPEGs, and as a folder of those JPEGs."""
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


def load_webdataset(tar: Path, kind: str, size: int, workers: int) -> Iterable[Any]:
    """Return the batches of a few epochs, loaded as WebDataset's documentation shows: shuffle, decode, map, batch."""

    def crop_sample(sample: dict[str, Any]) -> np.ndarray:
        return random_crop(sample[kind], size)

    source = webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False)
    pipeline = source.shuffle(1000).decode("rgb8").map(crop_sample).batched(BATCH, collation_fn=np.stack).repeat(EPOCHS)
    loader = webdataset.WebLoader(pipeline, batch_size=None, num_workers=workers)
    return (torch.as_tensor(batch) for batch in loader)


class ImageFolder(Dataset[np.ndarray]):
    """Like torchvision's ImageFolder, with Pillow: open, convert, random crop, mirror."""

    def __init__(self, folder: Path, size: int) -> None:
        self.files, self.size = sorted(folder.glob("*/*.jpg")), size

    def __len__(self) -> int:
        return EPOCHS * len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:
        with open(self.files[index % len(self.files)], "rb") as file:
            return random_crop(np.asarray(Image.open(file).convert("RGB")), self.size)


def load_folder(folder: Path, size: int, workers: int) -> Iterable[Any]:
    """Return the batches of a few epochs from a folder, in random order."""
    return DataLoader(ImageFolder(folder, size), BATCH, shuffle=True, num_workers=workers)


def random_crop(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return a random square, mirrored half of the time; a smaller photo is enlarged first."""
    if min(pixels.shape[:2]) < size:
        pixels = cv2.resize(pixels, (max(size, pixels.shape[1]), max(size, pixels.shape[0])))
    top, left = (np.random.randint(0, spare - size + 1) for spare in pixels.shape[:2])  # noqa: NPY002  # as these loaders do
    square = pixels[top : top + size, left : left + size]
    return np.ascontiguousarray(square[:, ::-1] if np.random.random() < 0.5 else square)  # noqa: NPY002


def photos_per_cpu_s(load: Callable[[], Iterable[Any]]) -> float:
    """Return photos per CPU second, reader processes included."""
    photos = 0

    def consume() -> None:
        nonlocal photos
        photos = sum(len(batch) for batch in load())

    return photos / spent if (spent := cpu_s(consume)) and photos else 0.0


def cpu_s(work: Callable[[], object]) -> float:
    """Return the CPU seconds that `work` takes in this process and in child processes that end meanwhile."""
    before = _cpu_s()
    work()
    return _cpu_s() - before


def _cpu_s() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
