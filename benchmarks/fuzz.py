"""Measure thousands of damaged photos: each must give measures or a named error, quickly and with little memory.

    python benchmarks/fuzz.py [--mutants 2000] [--seed 0] [--memory-gb 4]
    python benchmarks/fuzz.py --containers [--mutants 1000]

Small photos in every format are damaged (bits flipped; pieces removed, repeated, exchanged or overwritten; the end cut
off) and measured in this process with a limit on its address space. Prints the outcomes, the slowest photo and the peak
memory. Any other exception ends the run with its traceback; the photo is saved as `fuzz-failure`.

`--containers` damages ZIPs and tars, compressed or not, with photos, links, repeated names and names that lead out of
the folder. All their photos are measured. Of each tenth container they are also exported, and nothing may be written
outside the output folder.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import resource
import shutil
import stat
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pyarrow as pa
import skimage
from PIL import ExifTags, Image, ImageCms

from curate.errors import VividsetError
from curate.exporting.export import export_photos
from curate.exporting.items import ExportOptions
from curate.image.formats import FORMATS, HEIF, JXL, is_installed
from curate.packing.pack import PackOptions, pack_photos
from curate.scanning.scan import ScanOptions, scan_photos
from curate.scanning.scorer import MAX_BYTES, Record, ScoreOptions, is_wanted, score_members, score_photo
from curate.sources import list_photos
from curate.sources.tar.stream import TarStream

SIZE = (96, 72)


def main() -> None:
    """Print one line for each kind of photo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=2000, help="number of damaged copies of each photo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory-gb", type=float, default=4.0)
    parser.add_argument("--containers", action="store_true", help="damage ZIPs and tars instead of photos")
    options = parser.parse_args()
    whole = {} if options.containers else samples()
    limit = int(options.memory_gb * (1 << 30))
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with tempfile.TemporaryDirectory() as scratch:
        for name, data in whole.items():
            rng = random.Random(f"{options.seed} {name}")  # noqa: S311
            fuzz(name, [damage(data, rng) for _ in range(options.mutants)], Path(scratch) / "photo.jpg")
        for name in CONTAINERS if options.containers else ():
            rng = random.Random(f"{options.seed} {name}")  # noqa: S311
            fuzz_containers(name, options.mutants, rng, Path(scratch))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def fuzz(name: str, mutants: list[bytes], path: Path) -> None:
    """Measure all damaged copies of a photo and print one line."""
    outcomes: Counter[str] = Counter()
    slowest_s = 0.0
    for data in mutants:
        path.write_bytes(data)
        start_s = time.perf_counter()
        try:
            record = score_photo(next(list_photos([path])), ScoreOptions(max_pixels=50_000_000))
        except BaseException:
            Path("fuzz-failure").write_bytes(data)
            raise
        slowest_s = max(slowest_s, time.perf_counter() - start_s)
        outcomes["measured" if record and record.measures else str(record and record.error).partition(":")[0]] += 1
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    print(f"{name:<18} {len(mutants)}: {counts}; slowest {slowest_s:.2f} s")


def fuzz_containers(name: str, mutants: int, rng: random.Random, scratch: Path) -> Counter[str]:
    """Measure all photos of damaged containers of one kind, and print one line; return the outcomes."""
    outcomes: Counter[str] = Counter()
    slowest_s = 0.0
    source = scratch / "in" / name
    source.parent.mkdir(exist_ok=True)
    for number in range(mutants):
        data = damaged_container(name, rng)
        source.write_bytes(data)
        start_s = time.process_time()
        try:
            for record in measure_all(source):
                outcomes["measured" if record.measures else str(record.error).partition(":")[0]] += 1
            if number % 10 == 0:
                export_and_check(source, scratch)
        except BaseException:
            Path("fuzz-failure").write_bytes(data)
            raise
        slowest_s = max(slowest_s, time.process_time() - start_s)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    print(f"{name:<18} {mutants}: {counts}; slowest {slowest_s:.2f} s of CPU time", flush=True)
    source.unlink(missing_ok=True)
    return outcomes


def measure_all(source: Path) -> Iterator[Record]:
    """The records of all photos of a container."""
    options = ScoreOptions(max_pixels=50_000_000)
    for photo in list_photos([source]):
        if photo.is_stream:
            members = TarStream(photo).members(is_wanted, max_bytes=MAX_BYTES)
            records = score_members(members, options)
        else:
            records = iter([score_photo(photo, options)])
        yield from (record for record in records if record)


def export_and_check(source: Path, scratch: Path) -> None:
    """Scan and export a container; fail if a file is written outside the output folder."""
    before = {path for path in scratch.rglob("*") if path.is_file()}
    out = scratch / "out"
    try:
        scan_photos([source], out / "scan.parquet", ScanOptions(engine="serial"))
        export_photos(out / "scan.parquet", out / "copies", "copy", ExportOptions(engine="serial"))
        pack_photos(out / "scan.parquet", out / "pack", PackOptions(size_px=32, engine="serial"))
    except VividsetError:
        pass  # no photo is left
    written = {path for path in scratch.rglob("*") if path.is_file()} - before
    if outside := {path for path in written if not path.is_relative_to(out)}:
        raise AssertionError(f"written outside the output folder: {outside}")
    shutil.rmtree(out, ignore_errors=True)


def damaged_container(name: str, rng: random.Random) -> bytes:
    """A damaged container; of a compressed tar, the data before or after the compression are damaged."""
    archive, compress = CONTAINERS[name]
    if compress is None:
        return damage(archive(), rng)
    if rng.random() < 0.5:
        return compress(damage(archive(), rng))
    return damage(compress(archive()), rng)


@cache
def small_photos() -> dict[str, bytes]:
    """Three photos under names of all kinds."""
    pixels = Image.effect_noise((24, 16), 80).convert("RGB")
    jpeg, png, webp = (encode(pixels, kind) for kind in ("JPEG", "PNG", "WEBP"))
    return {"a/0.jpg": jpeg, "../out.png": png, "/abs.webp": webp, "notes.txt": b"text", "a/photo": jpeg}


@cache
def make_zip() -> bytes:
    """A ZIP with stored and deflated members, one name twice, and a link."""
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "w") as archive:
        for number, (name, data) in enumerate([*small_photos().items(), ("a/0.jpg", b"again")]):
            archive.writestr(zipfile.ZipInfo(name), data, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[number % 2])
        link = zipfile.ZipInfo("link.jpg")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "a/0.jpg")
    return file.getvalue()


@cache
def make_tar() -> bytes:
    """A tar with a long name, one name twice, and links."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in [*small_photos().items(), ("a/0.jpg", b"again"), ("long" * 60 + ".png", b"")]:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        for name, target, kind in (("l.jpg", "a/0.jpg", tarfile.LNKTYPE), ("s.jpg", "../../etc/x", tarfile.SYMTYPE)):
            entry = tarfile.TarInfo(name)
            entry.linkname, entry.type = target, kind
            tar.addfile(entry)
    return file.getvalue()


def zstd(data: bytes) -> bytes:
    """The data, compressed; with pyarrow's codec, whose frames say their size."""
    return pa.Codec("zstd").compress(data, asbytes=True)  # type: ignore[no-any-return]


CONTAINERS: dict[str, tuple[Callable[[], bytes], Callable[[bytes], bytes] | None]] = {
    "x.zip": (make_zip, None),
    "x.tar": (make_tar, None),
    "x.tar.gz": (make_tar, gzip.compress),
    "x.tar.zst": (make_tar, zstd),
}


def samples() -> dict[str, bytes]:
    """A photo in every format and in some variants, with EXIF and a profile where the format allows it."""
    photo = Image.open(Path(skimage.__file__).parent / "data" / "chelsea.png").convert("RGB").resize(SIZE)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    tagged = {"exif": exif.tobytes(), "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}
    photos = {kind: encode(photo, kind) for kind in FORMATS}
    photos |= {f"{kind} tagged": encode(photo, kind, **tagged) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")}
    photos |= {f"{kind} RGBA": encode(photo.convert("RGBA"), kind) for kind in ("PNG", "WEBP", "TIFF")}
    photos |= {
        f"{kind} animated": encode(photo, kind, save_all=True, append_images=[photo]) for kind in ("GIF", "PNG", "WEBP")
    }
    photos["JPEG progressive"] = encode(photo, "JPEG", progressive=True)
    photos["JPEG CMYK"] = encode(photo.convert("CMYK"), "JPEG")
    photos["JPEG gray"] = encode(photo.convert("L"), "JPEG")
    photos["PNG palette"] = encode(photo.quantize(64), "PNG")
    photos["PNG 16 bits"] = encode(photo.convert("I;16"), "PNG")
    photos["TIFF deflate"] = encode(photo, "TIFF", compression="tiff_deflate")
    photos |= {extra.format: encode(photo, extra.format) for extra in (HEIF, JXL) if is_installed(extra)}
    return photos


def encode(photo: Image.Image, kind: str, **options: object) -> bytes:
    """The photo as the bytes of a file."""
    file = io.BytesIO()
    photo.save(file, kind, **options)
    return file.getvalue()


def damage(whole: bytes, rng: random.Random) -> bytes:
    """A copy with one to four changes, mostly in the first 400 bytes, because headers are there."""
    data = bytearray(whole)
    for _ in range(rng.randint(1, 4)):
        reach = len(data) if rng.random() < 0.4 else min(len(data), 400)
        change(data, rng.randrange(max(1, reach)), rng)
    return bytes(data[: rng.randint(1, len(data))] if data and rng.random() < 0.1 else data)


def change(data: bytearray, at: int, rng: random.Random) -> None:
    """Change, insert, delete or exchange up to 64 bytes at a position."""
    other = rng.randrange(max(1, len(data)))
    length = rng.choice((1, 2, 4, 8, 64))
    match rng.randrange(6):
        case 0:
            data[at : at + 1] = bytes([data[at] ^ 1 << rng.randrange(8)]) if at < len(data) else b""
        case 1:
            data[at : at + length] = bytes([rng.choice((0, 127, 128, 255))]) * length
        case 2:
            del data[at : at + length]
        case 3:
            data[at:at] = data[other : other + length]
        case 4:
            data[at : at + length] = rng.randbytes(length)
        case _:
            piece = data[at : at + length]
            data[at : at + length], data[other : other + length] = data[other : other + length], piece


if __name__ == "__main__":
    main()
