"""Thousands of damaged photos through the scorer: each must be a score or a named error, soon and in little memory.

    python benchmarks/fuzz.py [--mutants 2000] [--seed 0] [--memory-gb 4]

Small photos in every format are damaged (bits flipped, pieces cut out, doubled, exchanged, overwritten, the end cut
off) and scored in this process under a limit of address space. Prints what became of them, the slowest, and the peak of
memory; anything but a score or a named error ends the run with its traceback and leaves the file as `fuzz-failure`.
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
    """Damage, score, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=2000, help="of each photo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory-gb", type=float, default=4.0)
    options = parser.parse_args()
    whole = samples()
    limit = int(options.memory_gb * (1 << 30))
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with tempfile.TemporaryDirectory() as scratch:
        for name, data in whole.items():
            dice = random.Random(f"{options.seed} {name}")  # noqa: S311
            fuzz(name, [damaged(data, dice) for _ in range(options.mutants)], Path(scratch) / "photo.jpg")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def fuzz(name: str, mutants: list[bytes], place: Path) -> None:
    """Score all and print one line."""
    ends: Counter[str] = Counter()
    slowest_s = 0.0
    for data in mutants:
        place.write_bytes(data)
        began = time.perf_counter()
        try:
            record = score_photo(next(list_photos([place])), ScoreOptions(max_pixels=50_000_000))
        except BaseException:
            Path("fuzz-failure").write_bytes(data)
            raise
        slowest_s = max(slowest_s, time.perf_counter() - began)
        ends["scored" if record and record.measures else str(record and record.error).partition(":")[0]] += 1
    said = ", ".join(f"{count} {end}" for end, count in ends.most_common())
    print(f"{name:<18} {len(mutants)}: {said}; slowest {slowest_s:.2f} s")


def samples() -> dict[str, bytes]:
    """A photo in every format and some variants, with EXIF and a profile where they can hold them."""
    photo = Image.open(Path(skimage.__file__).parent / "data" / "chelsea.png").convert("RGB").resize(SIZE)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    tagged = {"exif": exif.tobytes(), "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}
    found = {kind: saved(photo, kind) for kind in FORMATS}
    found |= {f"{kind} tagged": saved(photo, kind, **tagged) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")}
    found |= {f"{kind} RGBA": saved(photo.convert("RGBA"), kind) for kind in ("PNG", "WEBP", "TIFF")}
    found |= {
        f"{kind} animated": saved(photo, kind, save_all=True, append_images=[photo]) for kind in ("GIF", "PNG", "WEBP")
    }
    found["JPEG progressive"] = saved(photo, "JPEG", progressive=True)
    found["JPEG CMYK"] = saved(photo.convert("CMYK"), "JPEG")
    found["JPEG gray"] = saved(photo.convert("L"), "JPEG")
    found["PNG palette"] = saved(photo.quantize(64), "PNG")
    found["PNG 16 bits"] = saved(photo.convert("I;16"), "PNG")
    found["TIFF deflate"] = saved(photo, "TIFF", compression="tiff_deflate")
    found |= {extra.format: saved(photo, extra.format) for extra in (HEIF, JXL) if is_installed(extra)}
    return found


def saved(photo: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of its file."""
    file = io.BytesIO()
    photo.save(file, kind, **options)
    return file.getvalue()


def damaged(whole: bytes, dice: random.Random) -> bytes:
    """A copy with one to four harms, mostly near the head, where meaning is dense."""
    data = bytearray(whole)
    for _ in range(dice.randint(1, 4)):
        reach = len(data) if dice.random() < 0.4 else min(len(data), 400)
        at, other = dice.randrange(max(1, reach)), dice.randrange(max(1, len(data)))
        length = dice.choice((1, 2, 4, 8, 64))
        match dice.randrange(6):
            case 0:
                data[at : at + 1] = bytes([data[at] ^ 1 << dice.randrange(8)])
            case 1:
                data[at : at + length] = bytes([dice.choice((0, 127, 128, 255))]) * length
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[other : other + length]
            case 4:
                data[at : at + length] = dice.randbytes(length)
            case _:
                piece = data[at : at + length]
                data[at : at + length], data[other : other + length] = data[other : other + length], piece
    return bytes(data[: dice.randint(1, len(data))] if data and dice.random() < 0.1 else data)


if __name__ == "__main__":
    main()
