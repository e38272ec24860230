"""Damaged manifests, tars and packs: a one-line error or the readable part, never a traceback."""

from __future__ import annotations

import random
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curate import manifest
from curate.errors import ManifestError
from curate.filtering.filter import filter_manifest
from curate.filtering.options import FilterOptions
from curate.packing.pack import PackOptions, pack_photos
from curate.scanning.scan import ScanOptions, scan_photos
from curate.scanning.scorer import ScoreOptions, score_photo
from curate.sources import list_photos

SERIAL = ScanOptions(engine="serial")


def damage(data: bytes, seed: int, *, last: int = 0) -> bytes:
    """A copy with some bits flipped, half of the time within the `last` bytes, and in one of ten cases truncated."""
    rng, changed = random.Random(seed), bytearray(data)  # noqa: S311 - not for security
    start = len(data) - last if last and rng.random() < 0.5 else 0
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        changed[rng.randrange(start, len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed[: rng.randrange(len(data))] if rng.random() < 0.1 else changed)


@contextmanager
def collect_errors(messages: list[str]) -> Iterator[None]:
    """Append the message of a ManifestError, if the block raises one."""
    try:
        yield
    except ManifestError as exc:
        messages.append(str(exc))


@pytest.fixture
def clean_manifest(photos: Path, tmp_path: Path) -> Path:
    scan_photos([photos], tmp_path / "scan.parquet", SERIAL)
    keep = frozenset(["color", "grayscale", "sepia", "toned"])
    filter_manifest(tmp_path / "scan.parquet", tmp_path / "clean.parquet", FilterOptions(0, keep))
    return tmp_path / "clean.parquet"


def test_a_damaged_manifest_is_read_or_refused_in_one_line(clean_manifest: Path, tmp_path: Path) -> None:
    whole, path = clean_manifest.read_bytes(), tmp_path / "damaged.parquet"
    messages: list[str] = []
    for seed in range(150):
        path.write_bytes(damage(whole, seed, last=6000))
        with collect_errors(messages):
            manifest.read_manifest(path, required=("source", "path", "sha256", "colorfulness"))
            for table in manifest.iter_tables(path):
                assert table.num_rows
            manifest.count_values(path, ("tone", "split"))
    assert 30 < len(messages) < 150
    assert all(line.startswith(str(path)) and "\n" not in line for line in messages)


def test_a_damaged_tar_gives_rows_with_errors(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as tar:
        for photo in sorted(photos.rglob("*.png")):
            tar.add(photo, photo.name)
    whole, broken = bytearray(path.read_bytes()), 0
    headers = [at for at in range(0, len(whole), 512) if whole[at + 257 : at + 262] == b"ustar"]
    for seed in range(150):
        rng, changed = random.Random(seed), bytearray(whole)  # noqa: S311 - not for security
        for _ in range(rng.choice([1, 3])):
            changed[rng.choice(headers) + rng.randrange(512)] = rng.randrange(256)
        path.write_bytes(changed)
        for listed in list_photos([path]):
            record = score_photo(listed, ScoreOptions())
            broken += record is not None and (record.error or "").startswith("BrokenTar: ")
    assert broken > 10


def test_a_damaged_shard_is_packed_again(clean_manifest: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "pack", PackOptions(32, engine="serial")
    pack_photos(clean_manifest, out, options)
    shard = out / "shard-000000.arrow"
    whole, rows = shard.read_bytes(), manifest.read_manifest(out / "manifest.parquet").table
    repacked = 0
    for seed in range(30):
        shard.write_bytes(damage(whole, seed, last=2000))
        repacked += pack_photos(clean_manifest, out, options).packed_now > 0
        assert manifest.read_manifest(out / "manifest.parquet").table.num_rows == rows.num_rows
    assert repacked > 5
    shard.write_bytes(whole[:-100])
    assert pack_photos(clean_manifest, out, options).packed_now == rows.num_rows
    assert shard.read_bytes() == whole
    assert manifest.read_manifest(out / "manifest.parquet").table.equals(rows)
