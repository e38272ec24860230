"""The path of each colorized picture, and what is refused before any work."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.errors import SourceError, UsageError
from train.inference.output_paths import plan_outputs


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
    return path


def test_only_jpeg_and_png_keep_their_names() -> None:
    photos = [Path(name) for name in ("a.tif", "a.webp", "b.JPG", "c.jpeg", "d.png", "e")]
    places = [job.target.name for job in plan_outputs(photos, Path("out"))]
    assert places == ["a.tif.png", "a.webp.png", "b.JPG", "c.jpeg", "d.png", "e.png"]


def test_two_photos_with_the_same_picture_path_are_refused(tmp_path: Path) -> None:
    one, other = photo(tmp_path / "one" / "a.png"), photo(tmp_path / "other" / "a.png")
    with pytest.raises(UsageError, match="would both become"):
        plan_outputs([one, other], tmp_path / "out")


def test_two_folders_get_one_output_folder_each(tmp_path: Path) -> None:
    one, other = photo(tmp_path / "one" / "a.png"), photo(tmp_path / "other" / "a.png")
    places = [job.target for job in plan_outputs([one.parent, other.parent], tmp_path / "out")]
    assert places == [tmp_path / "out" / "one" / "a.png", tmp_path / "out" / "other" / "a.png"]
    photo(tmp_path / "else" / "one" / "b.png")
    with pytest.raises(UsageError, match="have the same name"):
        plan_outputs([one.parent, tmp_path / "else" / "one"], tmp_path / "out")


def test_pictures_in_the_output_folder_are_not_colorized(tmp_path: Path) -> None:
    folder = photo(tmp_path / "old" / "a.png").parent
    photo(folder / "colored" / "a.png")
    assert [job.name() for job in plan_outputs([folder], folder / "colored")] == [str(folder / "a.png")]


def test_a_photo_without_suffix_is_found_by_its_content(tmp_path: Path) -> None:
    folder = photo(tmp_path / "old" / "a.png").parent
    (folder / "a.png").rename(folder / "a")
    (folder / "empty").touch()
    assert [job.target for job in plan_outputs([folder], tmp_path / "out")] == [tmp_path / "out" / "a.png"]


def test_a_folder_without_photos_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no photo in"):
        plan_outputs([tmp_path], tmp_path / "out")


def test_a_pipe_is_an_error_and_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (job,) = plan_outputs([tmp_path], tmp_path / "out")
    assert job.photo.error == "NotAFile: it is a pipe"


def test_a_tar_gets_a_folder_of_its_name(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "deep" / "a.png")
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(tmp_path / "in" / "deep", "deep")
    (job,) = plan_outputs([tmp_path / "shard.tar"], tmp_path / "out")
    assert job.target == tmp_path / "out" / "shard.tar" / "deep" / "a.png"
    assert job.photo.offset


def test_a_parquet_file_is_a_manifest_or_a_source_of_photos_by_its_columns(tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.png").read_bytes()
    pq.write_table(pa.table({"image": [picture, None]}), tmp_path / "images.parquet")
    jobs = list(plan_outputs([tmp_path / "images.parquet"], tmp_path / "out"))
    below = tmp_path / "out" / "images.parquet"
    assert [job.target for job in jobs] == [below / "000000000.png", below / "000000001.png"]
    pq.write_table(pa.table({"source": [str(tmp_path)], "path": ["a.png"]}), tmp_path / "m.parquet")
    (job,) = plan_outputs([tmp_path / "m.parquet"], tmp_path / "out")
    assert job.target == tmp_path / "out" / "a.png"


def test_what_of_a_tar_cannot_be_read_is_a_job_with_an_error(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    shard = tmp_path / "shard.tar"
    with tarfile.open(shard, "w") as tar:
        tar.add(tmp_path / "in" / "a.png", "a.png")
    whole = shard.read_bytes()
    shard.write_bytes(whole + whole + b"x")  # as joined by `cat`, with damage at the end
    jobs = plan_outputs([shard], tmp_path / "out")
    assert [(job.photo.path, job.photo.error is None) for job in jobs] == [
        ("shard.tar", False),
        ("shard.tar/a.png", True),
        ("shard.tar/a~2.png", True),
    ]


def test_names_in_a_tar_cant_lead_out_of_the_folder(tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.png")
    names = ["../up.png", "../../../../up/and/away.png", "/rooted.png", "a/./b//c.png"]
    with tarfile.open(tmp_path / "odd.tar", "w") as tar:
        for name in names:
            tar.add(picture, name)
    places = {job.target for job in plan_outputs([tmp_path / "odd.tar"], tmp_path / "out")}
    below = tmp_path / "out" / "odd.tar"
    assert places == {below / "up.png", below / "up/and/away.png", below / "rooted.png", below / "a/b/c.png"}


def test_photos_of_a_compressed_tar_are_listed_in_its_order(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar.gz", "w:gz") as tar:
        for name, data in (
            ("b/2.jpg", b"2"),
            ("notes.txt", b"text"),
            ("photo", b"\xff\xd8\xff\xe0"),
            ("a/1.jpg", b"1"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    jobs = list(plan_outputs([tmp_path / "0.tar.gz"], tmp_path / "out"))
    assert [job.photo.path for job in jobs] == ["0.tar.gz/b/2.jpg", "0.tar.gz/photo", "0.tar.gz/a/1.jpg"]
    assert jobs[0].target == tmp_path / "out" / "0.tar.gz" / "b" / "2.jpg"
