"""Measure thousands of damaged photos: each must give measures or a named error, quickly and with little memory.

    python benchmarks/fuzz.py [--mutants 2000] [--seed 0] [--memory-gb 4]

Small photos in every format are damaged (bits flipped; pieces removed, repeated, exchanged or overwritten; the end cut
off) and measured in this process with a limit on its address space. Prints the outcomes, the slowest photo and the peak
memory. Any other exception ends the run with its traceback; the photo is saved as `fuzz-failure`.
"""

from __future__ import annotations

import argparse
import io
import random
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

import skimage
from PIL import ExifTags, Image, ImageCms

from curate.image.formats import FORMATS, HEIF, JXL, is_installed
from curate.scanning.scorer import ScoreOptions, score_photo
from curate.sources import list_photos

SIZE = (96, 72)


def main() -> None:
    """Print one line for each kind of photo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=2000, help="number of damaged copies of each photo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory-gb", type=float, default=4.0)
    options = parser.parse_args()
    whole = samples()
    limit = int(options.memory_gb * (1 << 30))
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with tempfile.TemporaryDirectory() as scratch:
        for name, data in whole.items():
            rng = random.Random(f"{options.seed} {name}")  # noqa: S311
            fuzz(name, [damage(data, rng) for _ in range(options.mutants)], Path(scratch) / "photo.jpg")
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
        at, other = rng.randrange(max(1, reach)), rng.randrange(max(1, len(data)))
        length = rng.choice((1, 2, 4, 8, 64))
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes([data[at] ^ 1 << rng.randrange(8)])
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
    return bytes(data[: rng.randint(1, len(data))] if data and rng.random() < 0.1 else data)


if __name__ == "__main__":
    main()
