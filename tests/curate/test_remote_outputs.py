"""Outputs at URLs: on an S3 server that the tests start, and in fsspec's file system in memory."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import fsspec
import pytest

import curate
import train
from curate import locations
from curate.errors import ManifestError, OutputError, ScanError, UsageError, VividsetError
from curate.exporting.names import Kind
from curate.locations import RemotePath
from curate.packing import pack
from curate.scanning.scan import scan_photos

NUMBERS = itertools.count()


IN_MEMORY = pytest.mark.parametrize("store", ["memory"], indirect=True)
"""For tests of what does not depend on the store."""


@pytest.fixture(params=["s3", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty folder; S3 writes whole files, for the file system in memory that is not known."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return f"{request.param}://bucket/{next(NUMBERS)}"


def scan(photos: Path, out: str | Path, **options: Any) -> Any:
    return curate.scan_photos(photos, out, engine="serial", **options)


def files_at(url: str) -> dict[str, bytes]:
    """The content of all files below a URL, by name."""
    fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return {name.removeprefix(f"{root}/"): fs.cat_file(name) for name in fs.find(root)}


def files_in(folder: Path, *leave_out: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in leave_out
    }


def test_manifests_and_report_at_a_url_are_those_on_disk(store: str, photos: Path, tmp_path: Path) -> None:
    assert scan(photos, f"{store}/scan.parquet").measured_now == 3
    assert scan(photos, f"{store}/scan.parquet").measured_now == 0
    scan(photos, tmp_path / "scan.parquet")
    there, here = curate.read_manifest(f"{store}/scan.parquet"), curate.read_manifest(tmp_path / "scan.parquet")
    assert there.table.equals(here.table)
    kept = curate.filter_manifest(f"{store}/scan.parquet", f"{store}/clean.parquet", where="width > 1")
    assert str(kept.rejected_path) == f"{store}/rejected.parquet"
    assert curate.filter_manifest(f"{store}/scan.parquet", f"{store}/clean.parquet").kept == 1  # replaces its own
    chain = curate.inspect_manifest(f"{store}/clean.parquet").ancestors
    assert [(str(entry.path), entry.state) for entry in chain] == [
        (f"{store}/clean.parquet", "unchanged"),
        (f"{store}/scan.parquet", "unchanged"),
    ]
    assert str(curate.write_report(f"{store}/scan.parquet", workers=1).out) == f"{store}/scan.html"
    assert sorted(files_at(store)) == ["clean.parquet", "rejected.parquet", "scan.html", "scan.parquet"]
    with pytest.raises(ManifestError, match="not the manifest of a scan"):
        scan(photos, f"{store}/clean.parquet")
    with pytest.raises(ManifestError, match="is a folder"):
        scan(photos, store)
    assert not files_in(tmp_path / "cache")


@IN_MEMORY
def test_parts_at_urls_are_merged(store: str, photos: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        scan(photos, f"{store}/parts/{number}.parquet", shard=f"{number}/2")
    merged = curate.merge_manifests(f"{store}/parts", f"{store}/scan.parquet")
    scan(photos, tmp_path / "scan.parquet")
    assert merged.rows == 3
    assert [part["path"] for part in merged.options["parts"]] == [f"{store}/parts/{n}.parquet" for n in (1, 2)]
    assert curate.read_manifest(f"{store}/scan.parquet").table.equals(
        curate.read_manifest(tmp_path / "scan.parquet").table
    )
    assert curate.inspect_manifest(f"{store}/parts").rows == 3
    with pytest.raises(ManifestError, match="already exists"):
        curate.merge_manifests(f"{store}/parts", f"{store}/scan.parquet")
    with pytest.raises(ManifestError, match="folder of its parts"):
        curate.merge_manifests(f"{store}/parts", f"{store}/parts/scan.parquet")


@IN_MEMORY
def test_a_scan_that_could_not_upload_loses_nothing(
    store: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: RemotePath, _source: Path) -> None:
        raise TimeoutError("the store doesn't answer")

    with monkeypatch.context() as patch:
        patch.setattr(RemotePath, "upload", fail)
        with pytest.raises(ManifestError, match=r"the store doesn't answer: check .*what is finished is kept"):
            scan(photos, f"{store}/scan.parquet")
    assert not files_at(store)
    assert files_in(tmp_path / "cache")
    resumed = scan(photos, f"{store}/scan.parquet")
    assert (resumed.photos, resumed.measured_now) == (3, 0)
    assert not files_in(tmp_path / "cache")


@IN_MEMORY
def test_a_manifest_that_another_run_wrote_meanwhile_is_not_replaced(store: str, photos: Path) -> None:
    def write(_done: int, _total: int) -> None:
        fsspec.open(f"{store}/scan.parquet", "wb").open().close()

    out = locations.parse_location(f"{store}/scan.parquet")
    with pytest.raises(ScanError, match="another run has written"):
        scan_photos([photos], out, curate.ScanOptions(engine="serial"), progress=write)
    assert files_at(store) == {"scan.parquet": b""}


@IN_MEMORY
def test_an_upload_that_breaks_off_leaves_the_older_file(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_half(self: Any, source: str, target: str) -> None:
        self.pipe_file(target, Path(source).read_bytes()[:10])
        raise TimeoutError

    out, file = RemotePath(f"{store}/a"), tmp_path / "file"
    file.write_bytes(b"old")
    out.upload(file)
    file.write_bytes(b"new" * 100)
    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "put_file", put_half)
    with pytest.raises(TimeoutError):
        out.upload(file)
    assert files_at(store) == {"a": b"old"}


@pytest.fixture
def clean(store: str, photos: Path) -> str:
    scan(photos, f"{store}/m/scan.parquet")
    out = f"{store}/m/clean.parquet"
    curate.filter_manifest(f"{store}/m/scan.parquet", out, keep_tone="grayscale", min_colorfulness=0, split="100/0/0")
    return out


@pytest.fixture
def one_photo_per_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "SHARD_PHOTOS", 1)


@pytest.mark.usefixtures("one_photo_per_shard")
def test_a_pack_at_a_url_is_that_on_disk_and_is_continued(clean: str, tmp_path: Path) -> None:
    out = f"{clean.removesuffix('/m/clean.parquet')}/pack"
    options = curate.PackOptions(size_px=32, engine="serial")
    curate.pack_photos(clean, tmp_path / "pack", options=options)
    assert curate.pack_photos(clean, out, options=options).photos == 2
    there, here = files_at(out), files_in(tmp_path / "pack", ".lock")
    assert {name for name in there if name.endswith(".index")} == {f"shard-00000{n}.arrow.index" for n in (0, 1)}
    for name in ("shard-000000.arrow", "shard-000001.arrow", ".made_of"):
        assert there[name] == here[name]
    rows = curate.read_manifest(f"{out}/manifest.parquet").table
    assert rows.equals(curate.read_manifest(tmp_path / "pack").table)
    assert curate.pack_photos(clean, out, options=options).packed_now == 0
    assert files_at(out) == there
    assert not [name for name in files_in(tmp_path / "cache") if not name.endswith(".lock")]
    fs, root = fsspec.core.url_to_fs(out, use_listings_cache=False)
    fs.rm_file(f"{root}/shard-000001.arrow")
    assert curate.pack_photos(clean, out, options=options).packed_now == 1
    assert files_at(out)["shard-000001.arrow"] == here["shard-000001.arrow"]
    with pytest.raises(OutputError, match=r"with other options: .* --overwrite$"):
        curate.pack_photos(clean, out, size_px=40, engine="serial")
    assert curate.pack_photos(clean, out, size_px=40, engine="serial", overwrite=True).packed_now == 2
    with pytest.raises(OutputError, match="was not made by this command"):
        curate.pack_photos(clean, clean.removesuffix("/clean.parquet"), options=options)


@IN_MEMORY
@pytest.mark.usefixtures("one_photo_per_shard")
def test_the_manifest_of_a_pack_is_written_last(clean: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = curate.PackOptions(size_px=32, engine="serial")
    remote = f"{clean.removesuffix('/m/clean.parquet')}/pack"
    for out in (tmp_path / "pack", locations.parse_location(remote)):
        curate.pack_photos(clean, out, options=options)
        shard = out / "shard-000001.arrow"
        locations.RemotePath.remove(shard) if isinstance(shard, RemotePath) else shard.unlink()

        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(pack, "pack_photo", stop)
            with pytest.raises(KeyboardInterrupt):
                curate.pack_photos(clean, out, options=options)
        assert not (out / "manifest.parquet").exists()
        assert b"complete" not in (out / ".made_of").read_bytes()
        assert curate.pack_photos(clean, out, options=options).packed_now == 1
        assert (out / "manifest.parquet").exists()


@pytest.mark.parametrize(
    ("store", "kind"),
    [("s3", "imagefolder"), ("memory", "imagefolder"), ("memory", "webdataset"), ("memory", "copy"), ("s3", "parquet")],
    indirect=["store"],
)
def test_an_export_at_a_url_is_that_on_disk_and_is_continued(
    kind: Kind, clean: str, photos: Path, tmp_path: Path
) -> None:
    out = f"{clean.removesuffix('/m/clean.parquet')}/export"
    gray = photos / "more" / "b-gray.png"
    content, times = gray.read_bytes(), (gray.stat().st_atime_ns, gray.stat().st_mtime_ns)
    gray.unlink()
    first = curate.export_photos(clean, out, kind, engine="serial")
    assert (first.photos, len(first.failed)) == (1, 1)
    assert "Vanished" in files_at(out)["failed.csv"].decode()
    gray.write_bytes(content)
    os.utime(gray, ns=times)
    assert curate.export_photos(clean, out, kind, engine="serial").photos == 2
    assert curate.export_photos(clean, out, kind, engine="serial").exported_now == 0
    curate.export_photos(clean, tmp_path / "export", kind, engine="serial")
    there, here = files_at(out), files_in(tmp_path / "export", ".lock")
    assert sorted(there) == sorted(here)
    assert there == here
    assert json.loads(there[".made_of"])["complete"] is True


@IN_MEMORY
def test_links_to_a_url_are_refused(clean: str) -> None:
    with pytest.raises(UsageError, match="use --to copy"):
        curate.export_photos(clean, f"{clean}.export", "links")


@IN_MEMORY
@pytest.mark.parametrize("kind", ["copy", "txt"])
def test_an_output_in_an_archive_is_one_line(clean: str, kind: Literal["copy", "txt"], tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"only be read: choose another place with -o$"):
        curate.export_photos(clean, f"zip://x.{kind}::{tmp_path}/none.zip", kind)


@IN_MEMORY
def test_training_reads_a_manifest_at_a_url_and_refuses_a_pack(clean: str) -> None:
    assert len(train.load_datasets(clean).train) == 2
    out = f"{clean.removesuffix('/m/clean.parquet')}/pack"
    curate.pack_photos(clean, out, size_px=32, engine="serial")
    with pytest.raises(ManifestError, match=r"is a pack, .* copy its folder to this machine"):
        train.load_datasets(out)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Access Denied"), "Access Denied: check the rights of these credentials"),
        (
            RuntimeError("Unable to locate credentials"),
            "Unable to locate credentials: check the address, the credentials",
        ),
        (NotImplementedError(), "URLs of this kind can only be read: choose another place"),
        (FileNotFoundError(2, "The specified bucket does not exist"), "does not exist: create the bucket"),
    ],
    ids=["denied", "no credentials (botocore)", "read-only", "no bucket"],
)
def test_a_store_that_refuses_is_one_line(
    error: Exception, said: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        protocol = "s3"

        def info(self, _path: str, **_: Any) -> Any:
            raise FileNotFoundError

        def call_s3(self, *_: Any, **__: Any) -> Any:
            raise error

        put_file = call_s3
        find = info

    scan(photos, tmp_path / "scan.parquet")
    monkeypatch.setattr("curate.locations.remote_path.connect", lambda url: (Refusing(), url.removeprefix("s3://")))
    calls: tuple[Callable[[], object], ...] = (
        lambda: scan(photos, "s3://b/scan.parquet"),
        lambda: curate.filter_manifest(tmp_path / "scan.parquet", "s3://b/clean.parquet"),
        lambda: curate.write_report(tmp_path / "scan.parquet", "s3://b/page.html"),
        lambda: curate.pack_photos(tmp_path / "scan.parquet", "s3://b/pack"),
        lambda: curate.export_photos(tmp_path / "scan.parquet", "s3://b/export", "copy"),
    )
    for call in calls:
        with pytest.raises(VividsetError) as raised:
            call()
        assert not isinstance(raised.value, UsageError)  # so the exit code is 1
        assert said in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("s3")
def test_a_bucket_is_no_file_name(photos: Path) -> None:
    with pytest.raises(ManifestError, match="bucket is a folder"):
        scan(photos, "s3://bucket")
    with pytest.raises(ManifestError, match=r"add a name, like s3://no-such-bucket/scan\.parquet"):
        scan(photos, "s3://no-such-bucket")
