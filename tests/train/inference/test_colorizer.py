"""`train colorize` and `Colorizer`: sizes, lightness, metadata, what is replaced, and errors of single photos."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms
from skimage.color import rgb2lab

from curate.cli import main as curate
from curate.errors import CheckpointError, PhotoError, PlaceTaken, UnsupportedFormat, UsageError
from train import checkpoint
from train.cli import main
from train.inference.colorizer import Colorizer
from train.inference.metadata import MACHINE_MADE

CheckpointFile = Callable[..., Path]
Picture = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def colorizer(checkpoint_file: CheckpointFile) -> Colorizer:
    return Colorizer(checkpoint.load(checkpoint_file()))


@pytest.fixture
def folder(tmp_path: Path, picture: Picture) -> Path:
    """Three photos: `a.png`, `b.jpg`, `c.png`."""
    photos = tmp_path / "old"
    photos.mkdir()
    for seed, name in enumerate(("a.png", "b.jpg", "c.png")):
        Image.fromarray(picture(seed + 1)).save(photos / name)
    return photos


def gray_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gray of the same CIELAB lightness."""
    lightness = rgb2lab(pixels)[..., 0]
    ramp = rgb2lab(np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2))[:, 0, 0]
    level = np.abs(lightness[..., None] - ramp).argmin(axis=-1).astype(np.uint8)
    return np.repeat(level[..., None], 3, axis=2)


def chroma(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    lab = rgb2lab(pixels)
    return np.asarray(np.hypot(lab[..., 1], lab[..., 2]))


def colorize(checkpoint_path: Path, *photos: Path | str, out: Path) -> Result:
    return CliRunner().invoke(main, ["colorize", str(checkpoint_path), *map(str, photos), "-o", str(out)])


def test_threads_colorize_as_one_thread_does(colorizer: Colorizer, picture: Picture) -> None:
    photos = [picture(seed, height=90, width=70 + 8 * seed) for seed in range(4)]
    expected = [colorizer.colorize(photo).tobytes() for photo in photos]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda number: colorizer.colorize(photos[number % 4]).tobytes(), range(16)))
    assert found == 4 * expected


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 50), (37, 1), (31, 33), (33, 100), (61, 59), (300, 41), (530, 47)]
)
def test_any_size_is_kept(colorizer: Colorizer, picture: Picture, height: int, width: int) -> None:
    pixels = picture(height=height, width=width)
    assert colorizer.colorize_pixels(pixels).shape == pixels.shape
    assert colorizer.colorize_pixels(pixels).dtype == np.uint8


def test_gray_becomes_color(colorizer: Colorizer, picture: Picture) -> None:
    gray = gray_of(picture())
    assert chroma(gray).max() < 0.01
    assert chroma(colorizer.colorize_pixels(gray)).mean() > 3


def test_the_color_of_the_input_is_ignored(colorizer: Colorizer) -> None:
    photo = np.asarray(
        Image.open(Path(skimage.__file__).parent / "data" / "coffee.png").convert("RGB").resize((90, 60))
    )
    ours, from_gray = (colorizer.colorize_pixels(pixels).astype(int) for pixels in (photo, gray_of(photo)))
    assert np.abs(ours - photo).mean() > 10
    assert np.abs(ours - from_gray).mean() < 2
    assert np.quantile(np.abs(ours - from_gray), 0.99) <= 6


def test_lightness_is_kept(checkpoint_file: CheckpointFile) -> None:
    pale = Colorizer(checkpoint.load(checkpoint_file(strength=0.5)))
    photo = np.asarray(Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").resize((100, 100)))
    result = pale.colorize_pixels(photo)
    in_gamut = (result > 2).all(axis=-1) & (result < 253).all(axis=-1)
    assert in_gamut.mean() > 0.5
    assert np.abs(rgb2lab(result)[..., 0] - rgb2lab(photo)[..., 0])[in_gamut].max() < 1.0


def test_strength_scales_the_chroma_and_keeps_lightness_and_hue(checkpoint_file: CheckpointFile) -> None:
    pale = Colorizer(checkpoint.load(checkpoint_file(strength=3.0)))
    photo = np.asarray(Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").resize((100, 100)))
    one, double, none = (rgb2lab(pale.colorize_pixels(photo, strength=factor)) for factor in (1.0, 2.0, 0.0))
    chroma_of = [np.hypot(lab[..., 1], lab[..., 2]) for lab in (one, double)]
    colored = (chroma_of[0] > 5) & (chroma_of[0] < 25) & (one[..., 0] > 35) & (one[..., 0] < 75)
    assert colored.mean() > 0.1
    assert np.median(chroma_of[1][colored] / chroma_of[0][colored]) == pytest.approx(2, abs=0.05)
    assert np.abs(double[..., 0] - one[..., 0]).max() < 1.0
    turned = np.degrees(np.arctan2(double[..., 2], double[..., 1]) - np.arctan2(one[..., 2], one[..., 1]))
    assert np.median(np.abs((turned[colored] + 180) % 360 - 180)) < 2
    assert np.hypot(none[..., 1], none[..., 2]).max() < 0.5


def test_automatic_strength_is_the_checkpoints_own(
    checkpoint_file: CheckpointFile, picture: Picture, tmp_path: Path
) -> None:
    old = checkpoint.load(checkpoint_file())
    with pytest.raises(CheckpointError, match=r"has no automatic strength .*: give a number") as caught:
        Colorizer(old).colorize(picture(), strength="auto")
    assert "\n" not in str(caught.value)
    path = tmp_path / "best.safetensors"
    checkpoint.save(path, old.tensors, replace(old.metadata, auto_strength=1.5))
    colorizer = Colorizer.load(path, device="cpu")
    automatic, number = (colorizer.colorize(picture(), strength=strength) for strength in ("auto", 1.5))
    assert automatic.tobytes() == number.tobytes() != colorizer.colorize(picture()).tobytes()
    with pytest.raises(UsageError, match="give 0 to 4, or auto"):
        colorizer.colorize(picture(), strength=5)


def test_the_network_sees_the_chosen_size(checkpoint_file: CheckpointFile, picture: Picture) -> None:
    path, photo = checkpoint_file(), picture(height=100, width=140)
    default, same, large = (Colorizer.load(path, device="cpu", image_size=size) for size in (None, 32, 80))
    assert default.colorize(photo).tobytes() == same.colorize(photo).tobytes() != large.colorize(photo).tobytes()
    with pytest.raises(UsageError, match="image_size must be 32 to 4096"):
        Colorizer.load(path, image_size=16)


def test_other_settings_make_the_picture_again(checkpoint_file: CheckpointFile, folder: Path, tmp_path: Path) -> None:
    path, out = checkpoint_file(), tmp_path / "colored"

    def run(*options: str) -> list[str]:
        result = CliRunner().invoke(main, ["colorize", str(path), str(folder / "a.png"), "-o", str(out), *options])
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()

    made = [str(out / "a.png")]
    assert [run(), run(), run("--strength", "1.5"), run("--strength", "1.5"), run("--image-size", "40")] == [
        *(made, [], made, [], made)
    ]
    with Image.open(out / "a.png") as colored:
        assert 'vividset:strength="1" vividset:image_size="40"' in colored.info["xmp"].decode()
    for wrong, message in (("5", "0<=x<=4"), ("strong", "not a valid float"), ("auto", "has no automatic strength")):
        result = CliRunner().invoke(main, ["colorize", str(path), str(folder), "-o", str(out), "--strength", wrong])
        assert result.exit_code == (1 if wrong == "auto" else 2)
        assert message in result.stderr.splitlines()[-1]


def test_strips_of_a_tall_photo_join_without_a_seam(colorizer: Colorizer) -> None:
    flat = np.full((600, 40, 3), 120, np.uint8)
    result = colorizer.colorize_pixels(flat).astype(int)
    steps = np.abs(np.diff(result, axis=0)).max(axis=(1, 2))
    assert steps[[255, 511]].max() <= steps[200:400].max()


def test_input_pixels_are_not_changed(colorizer: Colorizer, picture: Picture) -> None:
    pixels = picture()
    before = pixels.copy()
    colorizer.colorize_pixels(pixels)
    assert np.array_equal(pixels, before)


def test_each_picture_has_its_photos_name(checkpoint_file: CheckpointFile, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "colored"
    result = colorize(checkpoint_file(), *sorted(folder.iterdir()), out=out)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(out / name) for name in ("a.png", "b.jpg", "c.png")]
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.jpg", "c.png"]
    with Image.open(out / "a.png") as png, Image.open(out / "b.jpg") as jpeg:
        assert (png.format, jpeg.format) == ("PNG", "JPEG")
        assert png.size == jpeg.size == (48, 40)


@pytest.mark.parametrize("name", ["a.png", "b.jpg"])
def test_the_metadata_names_the_checkpoint_and_the_manifest(
    checkpoint_file: CheckpointFile, folder: Path, tmp_path: Path, name: str
) -> None:
    path = checkpoint_file()
    assert colorize(path, folder / name, out=tmp_path / "colored").exit_code == 0
    hashes = (hashlib.sha256(path.read_bytes()).hexdigest(), "ab" * 32)
    with Image.open(tmp_path / "colored" / name) as picture:
        description = picture.getexif()[ExifTags.Base.ImageDescription]
        xmp = picture.info["xmp"].decode()
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    assert description.startswith("Colorized by machine")
    assert all(sha256 in description and sha256 in xmp for sha256 in hashes)
    assert MACHINE_MADE in xmp


def test_a_rotated_photo_becomes_an_upright_picture_without_orientation(
    checkpoint_file: CheckpointFile, picture: Picture, tmp_path: Path
) -> None:
    upright = picture(height=40, width=64)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(np.rot90(upright)).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(upright).save(tmp_path / "plain.png")
    out = tmp_path / "colored"
    assert colorize(checkpoint_file(), tmp_path / "turned.png", tmp_path / "plain.png", out=out).exit_code == 0
    with Image.open(out / "turned.png") as turned, Image.open(out / "plain.png") as plain:
        assert turned.size == (64, 40)
        assert turned.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert np.array_equal(np.asarray(turned), np.asarray(plain))


def test_a_gray_file_is_colorized(checkpoint_file: CheckpointFile, tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((50, 40)).save(tmp_path / "gray.png")
    assert colorize(checkpoint_file(), tmp_path / "gray.png", out=tmp_path / "colored").exit_code == 0
    with Image.open(tmp_path / "colored" / "gray.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (50, 40))


def test_an_unreadable_photo_is_named_and_the_others_are_colorized(
    checkpoint_file: CheckpointFile, folder: Path, tmp_path: Path
) -> None:
    (folder / "b.jpg").write_bytes(b"\xff\xd8\xff no more")
    out = tmp_path / "colored"
    result = colorize(checkpoint_file(), *sorted(folder.iterdir()), folder / "gone.png", out=out)
    assert result.exit_code == 1
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png"]
    assert f"{folder / 'b.jpg'}: " in result.stderr
    assert f"{folder / 'gone.png'}: Vanished" in result.stderr
    assert "2 of 4 photos could not be colorized" in result.stderr
    assert "Traceback" not in result.output


def test_a_missing_photo_that_was_colorized_before_is_an_error(
    checkpoint_file: CheckpointFile, folder: Path, tmp_path: Path
) -> None:
    path, out = checkpoint_file(), tmp_path / "colored"
    assert colorize(path, folder / "a.png", out=out).exit_code == 0
    (folder / "a.png").unlink()
    result = colorize(path, folder / "a.png", out=out)
    assert result.exit_code == 1
    assert f"{folder / 'a.png'}: Vanished" in result.stderr


def test_a_photo_is_never_overwritten_by_its_own_picture(checkpoint_file: CheckpointFile, folder: Path) -> None:
    before = (folder / "a.png").read_bytes()
    result = colorize(checkpoint_file(), folder / "a.png", out=folder / ".." / folder.name)
    assert result.exit_code == 2
    assert "overwrite the photo itself" in result.stderr
    assert (folder / "a.png").read_bytes() == before


def test_a_folder_that_cant_be_written_is_an_error(colorizer: Colorizer, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="choose another folder with -o"):
        colorizer.colorize_file(folder / "a.png", tmp_path / "file" / "a.png")


def test_a_folder_given_as_a_photo_is_an_error(colorizer: Colorizer, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PhotoError):
        colorizer.colorize_file(folder, tmp_path / "out.png")


def test_camera_raw_is_not_colorized(colorizer: Colorizer, folder: Path, tmp_path: Path) -> None:
    with Image.open(folder / "a.png") as photo:
        photo.save(folder / "by-name.nef", "TIFF")
        photo.save(folder / "by-tag.tif", tiffinfo={50706: bytes([1, 4, 0, 0])})  # DNGVersion
    for name in ("by-name.nef", "by-tag.tif"):
        with pytest.raises(UnsupportedFormat, match="camera raw"):
            colorizer.colorize_file(folder / name, tmp_path / "out.png")


def test_no_draft_is_left_behind(checkpoint_file: CheckpointFile, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "colored"
    colorize(checkpoint_file(), folder / "a.png", out=out)
    assert [path.name for path in out.iterdir()] == ["a.png"]


def test_other_files_are_never_replaced(checkpoint_file: CheckpointFile, folder: Path, tmp_path: Path) -> None:
    path, out = checkpoint_file(), tmp_path / "colored"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_bytes((folder / "c.png").read_bytes())
    assert colorize(path, folder / "a.png", out=out).exit_code == 0
    Image.new("RGB", (8, 8)).save(out / "b.jpg")
    before = {picture.name: picture.read_bytes() for picture in out.iterdir()}
    result = colorize(path, tmp_path / "other" / "a.png", folder / "b.jpg", folder / "c.png", out=out)
    assert result.exit_code == 1
    assert "PlaceTaken" in result.stderr
    assert "is the picture of another photo" in result.stderr
    assert "already exists and is not a colorized picture" in result.stderr
    assert {name: (out / name).read_bytes() for name in before} == before
    assert (out / "c.png").exists()
    assert colorize(path, folder / "a.png", out=out).exit_code == 0, "the picture of the same photo may be there"


def test_a_second_run_makes_only_missing_pictures(
    checkpoint_file: CheckpointFile, folder: Path, tmp_path: Path
) -> None:
    path, out = checkpoint_file(), tmp_path / "colored"
    assert len(colorize(path, folder, out=out).stdout.splitlines()) == 3
    before = {picture.name: picture.stat().st_mtime_ns for picture in out.iterdir()}
    (out / "b.jpg").unlink()
    again = colorize(path, folder, out=out)
    assert (again.exit_code, again.stdout) == (0, f"{out / 'b.jpg'}\n")
    assert again.stderr == "2 of 3 pictures already existed, made by this checkpoint\n"
    assert (out / "a.png").stat().st_mtime_ns == before["a.png"]


def test_another_checkpoint_replaces_pictures(checkpoint_file: CheckpointFile, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "colored"
    colorize(checkpoint_file(), folder / "a.png", out=out)
    before = (out / "a.png").read_bytes()
    assert colorize(checkpoint_file(strength=3.0), folder / "a.png", out=out).stdout == f"{out / 'a.png'}\n"
    assert (out / "a.png").read_bytes() != before


def test_drop_gps_remakes_a_picture_that_has_a_position_and_back(
    checkpoint_file: CheckpointFile, folder: Path, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 0.0)
    with Image.open(folder / "b.jpg") as photo:
        photo.save(folder / "b.jpg", exif=exif)
    path, out = checkpoint_file(), tmp_path / "colored"
    for drop, made in (((), 1), ((), 0), (("--drop-gps",), 1), (("--drop-gps",), 0), ((), 1)):
        result = CliRunner().invoke(main, ["colorize", str(path), str(folder / "b.jpg"), "-o", str(out), *drop])
        assert len(result.stdout.splitlines()) == made
        with Image.open(out / "b.jpg") as picture:
            assert bool(picture.getexif().get_ifd(ExifTags.IFD.GPSInfo)) is not bool(drop)


def test_a_broken_link_is_not_replaced(colorizer: Colorizer, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(PlaceTaken):
        colorizer.colorize_file(folder / "a.png", tmp_path / "a.png")


def test_a_folder_keeps_its_tree_and_other_files_are_skipped(
    checkpoint_file: CheckpointFile, folder: Path, tmp_path: Path
) -> None:
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "a.png").rename(folder / "deep" / "er" / "a.png")
    (folder / "notes.txt").write_text("no photo")
    out = tmp_path / "colored"
    result = colorize(checkpoint_file(), folder, out=out)
    assert result.exit_code == 0, result.output
    made = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert made == ["b.jpg", "c.png", "deep/er/a.png"]


def test_a_manifest_is_colorized(
    checkpoint_file: CheckpointFile, clean_manifest: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "colored"
    result = colorize(checkpoint_file(), clean_manifest(), out=out)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == [f"p0{number}.png" for number in range(4)]


def test_moved_photos_of_a_manifest_are_found_with_root(
    checkpoint_file: CheckpointFile, clean_manifest: Callable[..., Path], tmp_path: Path
) -> None:
    manifest, moved = clean_manifest(), tmp_path / "disk" / "photos"
    moved.parent.mkdir()
    (tmp_path / "photos").rename(moved)
    lost = colorize(checkpoint_file(), manifest, out=tmp_path / "lost")
    assert lost.exit_code == 1
    assert "4 of 4 photos could not be colorized" in lost.stderr
    for number, root in enumerate((moved, moved.parent)):
        out = tmp_path / str(number)
        found = colorize(checkpoint_file(), manifest, "--root", root, out=out)
        assert found.exit_code == 0, found.output
        assert sorted(path.name for path in out.iterdir()) == [f"p0{number}.png" for number in range(4)]
    (moved / "p02.png").unlink()
    partly = colorize(checkpoint_file(), manifest, "--root", moved, out=tmp_path / "partly")
    assert partly.exit_code == 1
    assert len(list((tmp_path / "partly").iterdir())) == 3
    assert "p02.png" in partly.stderr
    nowhere = colorize(checkpoint_file(), manifest, "--root", tmp_path / "nowhere", out=tmp_path / "lost")
    assert (nowhere.exit_code, "is not a folder" in nowhere.stderr) == (2, True)


def test_a_moved_tar_of_a_manifest_is_found_with_root(
    checkpoint_file: CheckpointFile, picture: Picture, tmp_path: Path
) -> None:
    (tmp_path / "tars").mkdir()
    Image.fromarray(picture()).save(tmp_path / "a.png")
    with tarfile.open(tmp_path / "tars" / "caf\u0065\u0301.tar", "w") as tar:
        tar.add(tmp_path / "a.png", "deep/a.png")
    scan = tmp_path / "scan.parquet"
    scanned = CliRunner().invoke(curate, ["scan", str(tmp_path / "tars"), "-o", str(scan), "--workers", "1"])
    assert scanned.exit_code == 0, scanned.output
    (tmp_path / "moved").mkdir()  # copied by a program that composes accents (NFC)
    (tmp_path / "tars" / "caf\u0065\u0301.tar").rename(tmp_path / "moved" / "caf\u00e9.tar")
    result = colorize(checkpoint_file(), scan, "--root", tmp_path / "moved", out=tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "caf\u0065\u0301.tar" / "deep" / "a.png").exists()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_alpha_is_kept_and_lightness_too(
    checkpoint_file: CheckpointFile, picture: Picture, tmp_path: Path, mode: str
) -> None:
    plain = Image.fromarray(picture())
    shade = Image.linear_gradient("L").resize(plain.size)
    see_through = plain.convert({"RGBA": "RGB", "LA": "L", "PA": "P"}[mode]).convert(mode)
    see_through.putalpha(shade)
    name = "a.png" if mode == "RGBA" else "a.tif"
    see_through.save(tmp_path / name)
    assert colorize(checkpoint_file(strength=0.2), tmp_path / name, out=tmp_path / "colored").exit_code == 0
    with Image.open(tmp_path / name) as before, Image.open(next((tmp_path / "colored").iterdir())) as after:
        assert after.mode == "RGBA"
        old, new = (np.asarray(entry.convert("RGBA")) for entry in (before, after))
    assert np.array_equal(new[..., 3], old[..., 3])
    assert np.abs(rgb2lab(new[..., :3])[..., 0] - rgb2lab(old[..., :3])[..., 0]).max() < 1.5


def test_a_photo_with_a_name_not_in_utf8_works(checkpoint_file: CheckpointFile, folder: Path, tmp_path: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
    (folder / "a.png").rename(strange)
    out = tmp_path / "colored"
    result = colorize(checkpoint_file(), folder, out=out)
    assert result.exit_code == 0
    assert str(out / r"caf\xe9.png") in result.stdout.splitlines()
    assert (out / strange.name).exists()


def test_too_long_picture_names_are_errors(checkpoint_file: CheckpointFile, folder: Path, tmp_path: Path) -> None:
    longest, too_long = "l" * 251 + ".png", "l" * 251 + ".tif"  # whose picture would be l...l.tif.png
    (folder / "a.png").rename(folder / longest)
    (folder / "c.png").rename(folder / too_long)
    out = tmp_path / "colored"
    result = colorize(checkpoint_file(), folder, out=out)
    assert result.exit_code == 1
    assert sorted(path.name for path in out.iterdir()) == ["b.jpg", longest]
    assert f"{too_long}: PlaceTaken: " in result.stderr
    assert "1 of 3 photos could not be colorized" in result.stderr


def test_photos_in_a_tar_are_colorized(checkpoint_file: CheckpointFile, folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(folder, "old")
    result = colorize(checkpoint_file(), tmp_path / "shard.tar", out=tmp_path / "colored")
    assert result.exit_code == 0, result.output
    made = sorted(path.name for path in (tmp_path / "colored" / "shard.tar" / "old").iterdir())
    assert made == ["a.png", "b.jpg", "c.png"]
