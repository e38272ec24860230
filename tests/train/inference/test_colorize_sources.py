"""Colorizing photos in a bucket or a tar by their manifest; a simulated S3 server runs in this process."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from curate.scanning.scan import ScanOptions, scan_photos
from train.cli import main

CheckpointFile = Callable[..., Path]
Picture = Callable[..., NDArray[np.uint8]]
SERIAL = ScanOptions(engine="serial")


@pytest.fixture
def photos(tmp_path: Path, picture: Picture) -> Path:
    """`deep/a.png`, `b c#%é.png`, and a tar of both."""
    folder = tmp_path / "old"
    (folder / "deep").mkdir(parents=True)
    for seed, name in enumerate(("deep/a.png", "b c#%é.png")):
        Image.fromarray(picture(seed + 1)).save(folder / name)
    with tarfile.open(folder / "shard.tar", "w") as tar:
        for name in ("deep/a.png", "b c#%é.png"):
            tar.add(folder / name, name)
    return folder


def colorize(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["colorize", *map(str, arguments)])


def list_files(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def test_photos_in_a_bucket_give_the_same_pictures_as_on_disk(
    checkpoint_file: CheckpointFile, photos: Path, s3: Any, tmp_path: Path
) -> None:
    for path in photos.rglob("*"):
        if path.is_file():
            s3.pipe(f"bucket/old/{path.relative_to(photos)}", path.read_bytes())
    for source, name in (("s3://bucket/old", "there"), (photos, "here")):
        assert scan_photos([source], tmp_path / f"{name}.parquet", SERIAL).scored == 4
        done = colorize(checkpoint_file(), tmp_path / f"{name}.parquet", "-o", tmp_path / name)
        assert done.exit_code == 0, done.output
    expected = ["b c#%é.png", "deep/a.png", "shard.tar/b c#%é.png", "shard.tar/deep/a.png"]
    assert list_files(tmp_path / "there") == list_files(tmp_path / "here") == expected
    for name in expected:
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_a_photo_missing_from_a_bucket_is_named_and_the_others_are_colorized(
    checkpoint_file: CheckpointFile, photos: Path, s3: Any, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        s3.pipe(f"bucket/going/{name}.png", (photos / "deep" / "a.png").read_bytes())
    scan_photos(["s3://bucket/going"], tmp_path / "m.parquet", SERIAL)
    s3.rm("bucket/going/a.png")
    result = colorize(checkpoint_file(), tmp_path / "m.parquet", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "s3://bucket/going/a.png: Vanished" in result.stderr
    assert list_files(tmp_path / "out") == ["b.png"]
