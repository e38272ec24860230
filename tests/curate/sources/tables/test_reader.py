"""Parquet and Arrow files as sources: the listing of their images, and reading them and the columns beside them."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import manifest
from curate.api.manifests import scan_photos
from curate.errors import ChangedWhileRead, ManifestError, NotAPhoto, PhotoError, SourceError, Vanished
from curate.explain import list_photo
from curate.exporting.export import export_photos
from curate.exporting.items import ExportOptions
from curate.packing.pack import PackOptions, pack_photos
from curate.sources import (
    ColumnChoice,
    ListedPhoto,
    Sources,
    list_photos,
    locate_photo,
    parse_row_path,
    read_listed_photo,
    read_other_columns,
    read_photo,
)
from curate.sources.names import photo_location
from curate.sources.reader import PhotoRef, read_in_row_order
from curate.sources.tables.listing import list_table_rows
from curate.sources.tables.parquet import ParquetTable
from curate.sources.tables.reader import MAX_OPEN_TABLES, has_images, read_table_image

SERIAL_EXPORT = ExportOptions(engine="serial")

JPEG = b"\xff\xd8\xff\xe0"
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""The storage of the feature `Image` of Hugging Face `datasets`."""


def images(count: int, *, size: int = 40) -> list[bytes]:
    """Different bytes that begin like a JPEG."""
    return [JPEG + number.to_bytes(4, "little") * size for number in range(count)]


def image_column(values: list[bytes | None]) -> pa.Array:
    return pa.array([value and {"bytes": value, "path": f"{row}.jpg"} for row, value in enumerate(values)], IMAGE)


def image_table(count: int, **more: Any) -> pa.Table:
    """A column `image` and others."""
    return pa.table({"image": image_column([*images(count)]), "label": range(count)} | more)


def parquet(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def arrow(table: pa.Table, *, stream: bool = False, rows: int = 3, compression: str | None = None) -> bytes:
    file = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(file, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return file.getvalue()


def rows_of(
    data: bytes, *columns: str, named: bool = True, choice: ColumnChoice | None = None, name: str = "0.parquet"
) -> dict[str, int | str | None]:
    """The listing of a file: by path, the offset or the kind of error, as `NotAPhoto: an`."""
    choice = choice or ColumnChoice(columns)
    listed = list_table_rows(ListedPhoto("/s", name, None, 1), io.BytesIO(data), len(data), choice, named=named)
    photos = list(listed)
    assert photos == sorted(photos, key=lambda photo: photo_location(photo.source, photo.path).split("/"))
    return {photo.path.removeprefix(name): photo.error or photo.offset for photo in photos}


@pytest.mark.parametrize("data", [parquet(image_table(3)), arrow(image_table(3)), arrow(image_table(3), stream=True)])
def test_each_row_is_an_entry(data: bytes) -> None:
    assert rows_of(data) == {"/000000000": 0, "/000000001": 1, "/000000002": 2}


def test_several_columns_are_in_the_path() -> None:
    table = image_table(2, mask=images(2), id=[b"a", b"b"], **{"a/b": images(2), "": images(2)})
    found = {f"/00000000{row}/{name}": 5 * row + place for row in (0, 1) for place, name in enumerate(
        ("image", "mask", "id", "a/b", "")
    ) if name != "id"}  # fmt: skip
    assert rows_of(parquet(table)) == found
    assert rows_of(parquet(table), "mask") == {"/000000000/mask": 1, "/000000001/mask": 6}
    with pytest.raises(SourceError, match="no column of images called 'label', but 'image'"):
        rows_of(parquet(table), "label")


def test_a_file_without_images_is_counted_in_a_folder_and_an_error_if_it_was_named() -> None:
    data = parquet(pa.table({"url": ["a.jpg"], "hash": [b"12"]}))
    choice = ColumnChoice()
    assert rows_of(data, named=False, choice=choice) == {}
    assert (choice.tables_without_images, choice.examples) == (1, ["/s/0.parquet"])
    expected = "NotAPhoto: a Parquet file without a column of images (its columns: url, hash): name a file with"
    assert str(rows_of(data)[""]).startswith(expected)
    own = pa.table({"a": images(1)}).replace_schema_metadata({"vividset.kind": '"scan"'})
    assert str(rows_of(parquet(own))[""]).startswith("NotAPhoto: a manifest or a pack of vividset")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "EmptyFile: the file has zero bytes"),
        (b"PAR1", "BrokenTable: it is cut off or damaged"),
        (b"PAR1" + bytes(40), "BrokenTable: it is cut off or damaged"),
        (b"<html>", "BrokenTable: it is damaged, or neither a Parquet nor an Arrow file"),
        (b"\xff\xff\xff\xff" + bytes(40), "BrokenTable: it is cut off or damaged"),
        (b"ARROW1", "BrokenTable: it is cut off or damaged"),
        (parquet(image_table(3))[:-1], "BrokenTable: it is cut off or damaged"),
        (parquet(image_table(0)), "EmptyFile: a Parquet file without rows"),
        (arrow(image_table(0)), "EmptyFile: an Arrow file without rows"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_error(data: bytes, error: str) -> None:
    (found,) = rows_of(data).values()
    assert str(found).startswith(error)


def test_a_file_that_is_cut_off_keeps_the_rows_before() -> None:
    whole = arrow(image_table(9))
    found = rows_of(whole[: len(whole) // 2])
    assert str(found.pop("")).startswith("BrokenTable: it is cut off")
    assert list(found) == ["/000000000", "/000000001", "/000000002"]
    whole = arrow(image_table(9), stream=True)
    found = rows_of(whole[:-30])
    assert str(found.pop("")).startswith("BrokenTable: it is cut off or damaged at byte")
    assert len(found) == 6


def test_a_path_that_is_not_text_is_left_out(tmp_path: Path) -> None:
    table = pa.table({"image": pa.array([{"bytes": data, "path": "needle.jpg"} for data in images(2)])})
    data = parquet(table, compression="none", use_dictionary=False).replace(b"needle.jpg", b"needl\xff.jpg")
    assert rows_of(data) == {"/000000000": 0, "/000000001": 1}
    (tmp_path / "x.parquet").write_bytes(data)
    assert read_table_image(str(tmp_path / "x.parquet"), 1)[0] == images(2)[1]


def test_parquet_groups_outside_the_file_are_one_error() -> None:
    whole = parquet(image_table(9), row_group_size=3, compression="none")
    middle = len(whole) // 2
    (found,) = rows_of(whole[:4] + whole[middle:]).values()
    assert str(found).startswith("BrokenTable")


def test_folders_called_like_files_and_names_in_upper_case(tmp_path: Path) -> None:
    folder = tmp_path / "train.parquet"
    folder.mkdir()
    (folder / "part-0.PARQUET").write_bytes(parquet(image_table(1)))
    (folder / "part-1.arrow").write_bytes(parquet(image_table(1)))  # the content decides
    (folder / "000000001").mkdir()
    (folder / "000000001" / "x.parquet").write_bytes(parquet(image_table(1)))
    found = {photo.path: photo.error for photo in list_photos([tmp_path])}
    error = found.pop("train.parquet/000000001/x.parquet") or ""
    assert error.startswith("UnsupportedFormat: it is in a folder that is named like")
    assert found == dict.fromkeys(f"train.parquet/part-{name}/000000000" for name in ("0.PARQUET", "1.arrow"))


def test_a_file_that_was_named_and_has_no_images_stops_the_scan(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet(pa.table({"url": ["x"]})))
    with pytest.raises(SourceError, match=r"a.parquet is a Parquet file without a column of images .its columns: url"):
        scan_photos(path, tmp_path / "m.parquet", engine="serial")
    path.write_bytes(parquet(image_table(1)))
    with pytest.raises(SourceError, match="no column of images called 'x', but 'image'"):
        scan_photos(path, tmp_path / "m.parquet", engine="serial", image_columns="x")
    with pytest.raises(SourceError, match="no Parquet or Arrow file here has a column of images called 'x'"):
        list(Sources((path,), choice=ColumnChoice(("image", "x"))).photos())


def test_a_scan_names_files_without_images_and_drops_rows_of_other_columns(photos: Path, tmp_path: Path) -> None:
    photo = (photos / "a-vivid.png").read_bytes()
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "0.parquet").write_bytes(parquet(pa.table({"image": [photo], "mask": [photo]})))
    out = folder / "scan.parquet"
    assert scan_photos(folder, out, engine="serial").photos == 2
    again = scan_photos(folder, out, engine="serial")
    assert (again.photos, again.measured_now, again.tables_passed_over) == (2, 0, (str(out),))
    chosen = scan_photos(folder, out, engine="serial", image_columns="mask")
    assert (chosen.photos, chosen.measured_now, chosen.excluded_rows, chosen.missing) == (1, 0, 1, 0)
    assert manifest.read_manifest(out).table["path"].to_pylist() == ["0.parquet/000000000/mask"]
    (folder / "0.parquet").write_bytes(parquet(pa.table({"image": [photo], "mask": [photo[:-9]]})))
    assert scan_photos(folder, out, engine="serial", image_columns="mask").measured_now == 1


def test_rows_that_have_no_image_are_errors(photos: Path, tmp_path: Path) -> None:
    photo = (photos / "a-vivid.png").read_bytes()
    values = [{"bytes": photo}, None, {"bytes": b""}, {"path": "/etc/x.jpg"}, {}, {"bytes": b"<html>"}]
    (tmp_path / "0.arrow").write_bytes(arrow(pa.table({"image": pa.array(values, IMAGE)})))
    scan_photos(tmp_path / "0.arrow", tmp_path / "m.parquet", engine="serial")
    rows = manifest.read_manifest(tmp_path / "m.parquet").table.to_pylist()
    assert [row["bytes"] for row in rows] == [len(photo), None, None, None, None, 6]
    assert [str(row["error"]).partition(":")[0] for row in rows] == [
        *("None", "NotAPhoto", "EmptyFile", "UnsupportedFormat", "NotAPhoto", "NotAPhoto")
    ]
    assert "only the path '/etc/x.jpg'" in rows[3]["error"]
    assert scan_photos(tmp_path / "0.arrow", tmp_path / "m.parquet", engine="serial").measured_now == 0


@pytest.mark.parametrize("name", ["0.parquet", "0.arrow"])
def test_images_are_packed_exported_and_explained(name: str, photos: Path, tmp_path: Path) -> None:
    photo, gray = (photos / "a-vivid.png").read_bytes(), (photos / "more" / "b-gray.png").read_bytes()
    table = pa.table({"image": image_column([gray, photo, photo[:99]]), "other": pa.array([photo, None, None])})
    data = parquet(table, row_group_size=1) if name == "0.parquet" else arrow(table, rows=1)
    (tmp_path / name).write_bytes(data)
    out = tmp_path / "m.parquet"
    assert scan_photos(tmp_path / name, out, workers=2).photos == 6
    assert pack_photos(out, tmp_path / "packed", PackOptions(size_px=32, engine="serial")).photos == 3
    exported = export_photos(out, tmp_path / "copies", "copy", SERIAL_EXPORT)
    assert (exported.photos, exported.failed) == (3, [])
    assert (tmp_path / "copies" / "0" / "000000000-image.png").read_bytes() == gray
    assert (tmp_path / "copies" / "0" / "000000000-other.png").read_bytes() == photo
    with pytest.raises(
        ManifestError, match=r"is a Parquet or Arrow file: measure its photos with `curate scan .*/000000000$"
    ):
        list_photo(tmp_path / name)
    os.utime(tmp_path / name, ns=(7, 7))
    assert scan_photos(tmp_path / name, out, engine="serial").measured_now == 6


def test_a_huge_number_of_rows_is_damage() -> None:
    data = parquet(pa.table({"image": pa.nulls(100_000, IMAGE)}))
    assert len(data) < 100_000
    assert "100000 rows in" in str(rows_of(data)[""])
    stream = io.BytesIO()
    schema = pa.schema([("image", IMAGE)])
    with pa.ipc.new_stream(stream, schema) as writer:
        writer.write_table(pa.table({"image": pa.nulls(8, IMAGE)}))
    assert len(rows_of(stream.getvalue())) == 1  # only nulls: not a column of images


@pytest.fixture(params=["0.parquet", "0.arrow", "URL.parquet", "URL.arrow"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A file of seven rows and two columns of images, on disk or at a URL."""
    table = image_table(7, mask=images(14)[7:], caption=[f"photo {row}" for row in range(7)])
    name = str(request.param)
    data = parquet(table, row_group_size=3) if name.endswith("parquet") else arrow(table)
    if not name.startswith("URL"):
        (tmp_path / name).write_bytes(data)
        return str(tmp_path / name)
    url = f"memory://{tmp_path.name}/{name}"
    fsspec.filesystem("memory").pipe(f"/{tmp_path.name}/{name}", data)
    return url


def test_images_are_read_in_any_order(location: str) -> None:
    for offset in (0, 1, 13, 12, 2, 0, 5, 6):
        row, column = divmod(offset, 2)
        assert read_table_image(location, offset)[0] == images(14)[7 * column + row]
    with pytest.raises(ChangedWhileRead, match="fewer rows"):
        read_table_image(location, 14)


def test_other_columns_of_rows(location: str) -> None:
    photos = list(list_photos([location]))
    rows = [row.row for photo in photos if (row := parse_row_path(photo.path))]
    assert rows == [row for row in range(7) for _ in range(2)]
    where = locate_photo(photos[0].source, photos[0].path, offset=photos[0].offset)
    assert where == location
    table = read_other_columns(location, [0, 0, 3, 6])
    assert table.to_pylist() == [{"label": row, "caption": f"photo {row}"} for row in (0, 0, 3, 6)]
    assert read_other_columns(location, []).schema.names == ["label", "caption"]
    for wrong in ([3, 2], [-1], [7]):
        with pytest.raises(ValueError, match="row"):
            read_other_columns(location, wrong)


def test_images_that_are_read_ahead_decode_each_row_group_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0.parquet").write_bytes(parquet(image_table(60), row_group_size=20))
    opened: list[int] = []
    open_cursor = ParquetTable._open_cursor
    monkeypatch.setattr("curate.sources.tables.parquet.KEPT_BYTES", 1)
    monkeypatch.setattr("curate.sources.tables.parquet.BATCH_ROWS", 1)

    def open_and_count(table: ParquetTable, group: int, name: str) -> object:
        opened.append(group)
        return open_cursor(table, group, name)

    monkeypatch.setattr(ParquetTable, "_open_cursor", open_and_count)
    order = [(7 * row + 3) % 60 for row in range(60)]
    refs = [
        PhotoRef(str(tmp_path), f"0.parquet/{row:09d}", hashlib.sha256(images(60)[row]).hexdigest(), 164, row)
        for row in order
    ]
    assert [ref.read() for ref in read_in_row_order(refs)] == [images(60)[row] for row in order]
    assert opened == [0, 1, 2]
    opened.clear()
    assert [ref.read() for ref in refs] == [images(60)[row] for row in order]
    assert len(opened) > 20
    gone = PhotoRef(str(tmp_path), "no.parquet/000000000", "", None, 0)
    with pytest.raises(Vanished):
        [ref.read() for ref in read_in_row_order([gone, refs[0], gone])]


@pytest.mark.parametrize(
    "whole",
    [
        parquet(image_table(20), row_group_size=7),
        parquet(image_table(20, mask=images(20)), compression="zstd", use_dictionary=False),
        arrow(image_table(20, tags=[["a"]] * 20)),
        arrow(image_table(20), stream=True, compression="zstd"),
    ],
)
def test_damaged_files_give_entries_or_errors_and_never_another_exception(whole: bytes, tmp_path: Path) -> None:
    chance = np.random.default_rng(len(whole))
    for number in range(40):
        data = bytearray(whole)
        start, end = [(0, len(data)), (0, 1500), (max(0, len(data) - 3000), len(data))][number % 3]
        for _ in range(chance.integers(1, 5)):
            data[chance.integers(start, min(end, len(data)))] = chance.integers(256)
        if number % 5 == 0:
            del data[chance.integers(len(data)) : chance.integers(len(data))]
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(data)
        for photo in list_photos([path]):
            try:
                read = photo.error or read_listed_photo(photo, lambda _: True, max_bytes=1 << 28)[1]
            except PhotoError:
                continue
            assert isinstance(read, str | bytes)


def test_a_file_that_changes_is_opened_again_or_an_error(tmp_path: Path) -> None:
    path = tmp_path / "0.parquet"
    path.write_bytes(parquet(image_table(2)))
    photo = next(list_photos([path]))
    listed, data = read_listed_photo(photo, lambda _: True, max_bytes=1 << 20)
    assert (listed.bytes, data) == (len(data), images(2)[0])
    path.write_bytes(parquet(image_table(1, more=["x"])))
    os.utime(path, ns=(7, 7))
    with pytest.raises(PhotoError, match="ChangedWhileRead"):
        read_listed_photo(photo, lambda _: True, max_bytes=1 << 20)
    assert read_photo(photo.source, photo.path, offset=0, size=len(data)) == images(1)[0]
    with pytest.raises(PhotoError, match="another size"):
        read_photo(photo.source, photo.path, offset=0, size=3)
    with pytest.raises(PhotoError, match="FileTooLarge"):
        read_listed_photo(next(list_photos([path])), lambda _: True, max_bytes=3)
    path.write_bytes(parquet(pa.table({"a": [1]})))
    with pytest.raises(NotAPhoto, match="no column of images any more"):
        read_table_image(str(path), 0)
    path.unlink()
    with pytest.raises(Vanished):
        read_table_image(str(path), 0)
    with pytest.raises(Vanished):
        read_table_image("memory://nowhere/0.parquet", 0)


def test_few_files_stay_open(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.parquet" for number in range(MAX_OPEN_TABLES + 3)]
    for number, path in enumerate(paths):
        path.write_bytes(parquet(pa.table({"image": images(number + 1)})))
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(2):
        for number, path in enumerate(paths):
            assert read_table_image(str(path), number)[0] == images(number + 1)[-1]
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert after <= before + MAX_OPEN_TABLES


def test_photo_sources_are_known_by_content(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet(image_table(1)))
    assert has_images(str(path))
    for data in (parquet(pa.table({"a": [1]})), b"", parquet(image_table(1))[:-1]):
        path.write_bytes(data)
        assert not has_images(str(path))
    assert not has_images(str(tmp_path / "no.parquet"))
    os.mkfifo(tmp_path / "pipe.parquet")
    assert not has_images(str(tmp_path / "pipe.parquet"))


@pytest.mark.parametrize("container", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.parametrize("column", ["image", "label"])
def test_a_nested_metadata_file_with_images_is_a_row(container: str, column: str, tmp_path: Path) -> None:
    data = parquet(image_table(3).select([column]))
    where = tmp_path / "in" / container
    where.parent.mkdir()
    if container == "x.zip":
        with zipfile.ZipFile(where, "w") as archive:
            archive.writestr("a/metadata.parquet", data)
            archive.writestr("a/0.jpg", b"")
    else:
        with tarfile.open(where, "w:gz" if container.endswith("gz") else "w") as tar:
            for name, content in {"a/metadata.parquet": data, "a/0.jpg": b""}.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    scan_photos([where.parent], tmp_path / "scan.parquet", engine="serial")
    errors = {row["path"]: row["error"] for row in manifest.read_manifest(tmp_path / "scan.parquet").table.to_pylist()}
    assert errors.pop(f"{container}/a/0.jpg").startswith("EmptyFile")
    assert [error.partition(":")[0] for error in errors.values()] == ["UnsupportedFormat"] * (column == "image")
