"""`train compare`: pictures of any tool beside their originals."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

import curate
import train
from curate.errors import SourceError, TrainingError, UsageError
from train.cli import main
from train.evaluation.pairs import Pairs, list_folder
from train.evaluation.scores import summarize

Picture = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def folders(tmp_path: Path, picture: Picture) -> tuple[Path, Path]:
    """Three originals, and brown pictures of two of them."""
    truth, pictures = tmp_path / "truth", tmp_path / "pictures"
    for seed, name in enumerate(("a", "b", "deep/c"), 1):
        save(picture(seed), truth / f"{name}.png")
    for name in ("a", "deep/c"):
        save(brown(truth / f"{name}.png"), pictures / f"{name}.jpg")
    return pictures, truth


def save(pixels: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95, subsampling=0)


def brown(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        gray = np.asarray(opened.convert("L"), np.float32)[..., None]
    return (gray * [1.0, 0.85, 0.6]).astype(np.uint8)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def test_originals_are_perfect_and_brown_pictures_have_few_hues(folders: tuple[Path, Path]) -> None:
    pictures, truth = folders
    perfect = train.compare(truth, truth).summary["pictures"]
    assert (perfect.loss_to_neutral, perfect.colorfulness_share, perfect.ssim) == pytest.approx((0, 1, 1))
    result = train.compare(pictures, truth)
    rows = result.summary
    assert list(rows) == ["pictures", "mean color", "neutral gray"]
    assert rows["pictures"].hue.warm > 0.95
    assert rows["pictures"].hue.entropy_bits < 2
    assert rows["neutral gray"].loss_to_neutral == 1
    assert rows["mean color"].loss_to_neutral < 1
    protocol = result.protocol
    assert (protocol.photos, protocol.originals_without_picture, protocol.unmatched) == (2, 1, 0)
    assert (protocol.size_px, protocol.crop) == (None, "whole pictures at the size of the original")


def test_a_checkpoint_has_the_same_scores_as_its_pictures(
    checkpoint_file: Callable[..., Path], tmp_path: Path, picture: Picture
) -> None:
    """At 32 px, as trained. The rest of the difference is that pictures have 8 bits, follow edges and stay in sRGB."""
    photos, scanned, checkpoint = tmp_path / "photos", tmp_path / "scan.parquet", checkpoint_file(strength=3.0)
    for seed in range(1, 6):
        save(picture(seed, 32, 32), photos / f"{seed}.png")
    curate.scan_photos(photos, scanned, engine="serial")
    colorized = CliRunner().invoke(main, ["colorize", str(checkpoint), str(photos), "-o", str(tmp_path / "c")])
    assert colorized.exit_code == 0, colorized.output
    evaluated = train.evaluate(checkpoint, scanned, split="all")
    network = evaluated.summary["network"]
    result = train.compare(tmp_path / "c", scanned, image_size=32)
    assert result.protocol.truth_sha256
    pictures = result.summary["pictures"]
    assert pictures.loss_to_neutral == pytest.approx(network.loss_to_neutral, abs=1e-3)
    assert pictures.colorfulness_share == pytest.approx(network.colorfulness_share, abs=1e-3)
    assert pictures.psnr_db == pytest.approx(network.psnr_db, abs=1e-3)
    assert pictures.hue.warm == pytest.approx(network.hue.warm, abs=0.02)
    for baseline in ("mean color", "neutral gray"):
        ours, theirs = (rows.summary[baseline] for rows in (result, evaluated))
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-6)


def test_the_result_states_crop_size_count_and_what_was_left_out(folders: tuple[Path, Path], picture: Picture) -> None:
    pictures, truth = folders
    with Image.open(truth / "b.png") as opened:
        opened.convert("L").save(truth / "b.png")
    save(picture(2), pictures / "b.png")
    save(picture(9), pictures / "other.png")
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    save(picture(9), truth / "broken.png")
    result = run(pictures, truth, "--image-size", "32", "--json", "--html", pictures.parent / "page.html")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["unmatched"] == ["other.png"]
    assert facts["colorless"] == ["b.png"]
    assert list(facts["unreadable"]) == ["broken.png"]
    assert (
        facts["protocol"] | {"size_px": 32, "photos": 2, "unmatched": 1, "unreadable": 1, "colorless": 1}
        == facts["protocol"]
    )
    assert "square cut from the middle" in facts["protocol"]["crop"]
    assert {photo["path"] for photo in facts["photos"]} == {"a.jpg", "deep/c.jpg"}
    assert "left out: other.png: it has no original" in result.stderr
    assert "left out: b.png: its original has no color" in result.stderr
    assert "left out: broken.png: " in result.stderr
    assert "Traceback" not in result.output
    table = run(pictures, truth, "--image-size", "32").stdout
    page = html.unescape((pictures.parent / "page.html").read_text(encoding="utf-8"))
    for text in (table, page):
        assert "2 pictures of" in text
        assert "pictures left out: 1 have no original, 1 can't be read, 1 have an original without color" in text
    assert "tones of the pictures: " in table
    assert "Comparison of" in page


@pytest.mark.parametrize(("size", "stretched"), [((24, 20), 0), ((96, 80), 0), ((48, 48), 1)])
@pytest.mark.parametrize("image_size", [None, 32])
def test_pictures_of_another_size_are_scaled_to_the_original(
    folders: tuple[Path, Path], size: tuple[int, int], stretched: int, image_size: int | None
) -> None:
    pictures, truth = folders
    for path in truth.rglob("*.png"):
        with Image.open(path) as opened:
            target = pictures / path.relative_to(truth)
            opened.resize(size, Image.Resampling.BICUBIC).save(target.with_suffix(".jpg"), quality=95, subsampling=0)
    result = train.compare(pictures, truth, image_size=image_size)
    assert (result.protocol.resized, result.protocol.stretched) == (3, 3 * stretched)
    assert result.summary["pictures"].loss_to_neutral < 0.35


def test_pictures_are_matched_by_path_without_suffix_or_with_the_suffix_of_the_original(tmp_path: Path) -> None:
    for name in ("truth/a.jpg", "truth/x/a.tif", "truth/x/b.jpg", "made/a.png", "made/x/a.tif.png", "made/c.png"):
        save(np.full((16, 16, 3), 90, np.uint8), tmp_path / name)
    pairs = Pairs.match(list_folder(tmp_path / "made"), list_folder(tmp_path / "truth"))
    named = {pairs.pictures.name(one): pairs.originals.name(other) for one, other in pairs.matches}
    assert named == {"a.png": "a.jpg", "x/a.tif.png": "x/a.tif"}
    assert pairs.unmatched == ["c.png"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("pictures/a.png", "two pictures, a.jpg and a.png, have the same path without suffix"),
        ("truth/a.jpg", "two originals, a.jpg and a.png, have the same path without suffix"),
    ],
)
def test_a_path_without_suffix_must_be_unique(folders: tuple[Path, Path], extra: str, message: str) -> None:
    pictures, truth = folders
    save(np.zeros((16, 16, 3), np.uint8), pictures.parent / extra)
    result = run(pictures, truth)
    assert result.exit_code == 2
    assert message in result.stderr


def test_folders_that_do_not_fit_are_one_line(folders: tuple[Path, Path], tmp_path: Path, picture: Picture) -> None:
    pictures, truth = folders
    save(picture(1), tmp_path / "elsewhere" / "z.png")
    with pytest.raises(
        UsageError, match=r"no picture has the path of an original: the first ones are z\.png and a\.png"
    ):
        train.compare(tmp_path / "elsewhere", truth)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no photo in"):
        train.compare(tmp_path / "empty", truth)
    with pytest.raises(SourceError, match="is not a folder, tar or ZIP"):
        train.compare(pictures / "a.jpg", truth)
    with pytest.raises(UsageError, match="has no splits"):
        train.compare(pictures, truth, split="test")
    save(np.full((40, 48, 3), 90, np.uint8), tmp_path / "gray" / "a.png")
    with pytest.raises(TrainingError, match="no picture can be compared: 0 can't be read, 1 have an original without"):
        train.compare(pictures, tmp_path / "gray")
    for arguments, advice in (
        ((pictures, tmp_path / "gone"), "gone doesn't exist: name the folder of the originals, or a manifest"),
        ((tmp_path / "gone", truth), "gone doesn't exist: name the folder of the pictures"),
        ((pictures, tmp_path / "gone.parquet"), "gone.parquet doesn't exist: "),
    ):
        missing = run(*arguments)
        assert missing.exit_code == 1
        assert advice in missing.stderr


def test_pictures_may_be_inside_the_folder_of_the_originals(folders: tuple[Path, Path]) -> None:
    pictures, truth = folders
    inside = pictures.rename(truth / "colored")
    assert train.compare(inside, truth).protocol.photos == 2


def test_gray_pictures_score_like_neutral_gray(folders: tuple[Path, Path]) -> None:
    pictures, truth = folders
    for path in pictures.rglob("*.jpg"):
        with Image.open(path) as opened:
            opened.convert("L").save(path.with_suffix(".png"))
        path.unlink()
    rows = train.compare(pictures, truth).summary
    assert rows["pictures"].loss_to_neutral == pytest.approx(1, abs=1e-3)
    assert rows["pictures"].colorfulness == pytest.approx(0, abs=0.2)


def test_a_picture_that_disappears_before_the_page_is_one_line(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, truth = folders

    def summarize_and_delete(*arguments: Any) -> Any:
        for path in pictures.rglob("*.jpg"):
            path.unlink()
        return summarize(*arguments)

    monkeypatch.setattr("train.api.evaluation.summarize", summarize_and_delete)
    result = run(pictures, truth, "--html", tmp_path / "page.html")
    assert result.exit_code == 1
    assert "can't be read any more: check its disk" in result.stderr
