"""Photos at URLs: scans of an S3 server that the test starts give the same rows as scans from disk; errors."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow.compute as pc
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from moto.server import ThreadedMotoServer

from curate import manifest
from curate.errors import SourceError
from curate.report import write_report
from curate.scanning.scan import ScanOptions, scan_photos
from curate.scanning.scorer import ScoreOptions, score_photo
from curate.sources import ListedPhoto, Sources, list_photos, read_photo, remote

SERIAL = ScanOptions(engine="serial")


@pytest.fixture
def uploaded(photos: Path, s3: Any) -> str:
    """`photos` in a bucket, with a tar of two of them, and an empty object as S3 consoles make for a folder."""
    (photos / "odd name's é#%.png").write_bytes((photos / "a-vivid.png").read_bytes())
    with tarfile.open(photos / "0.tar", "w") as tar:
        for name in ("a-vivid.png", "more/b-gray.png"):
            tar.add(photos / name, name)
    for path in photos.rglob("*"):
        if path.is_file():
            s3.pipe(f"bucket/{photos.parent.name}/{path.relative_to(photos)}", path.read_bytes())
    s3.pipe(f"bucket/{photos.parent.name}/marker/", b"")
    return f"s3://bucket/{photos.parent.name}"


def rows_of(out: Path, *leave_out: str) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in row.items() if k not in leave_out} for row in manifest.read_manifest(out).table.to_pylist()
    ]


def test_a_bucket_gives_the_rows_of_the_same_photos_on_disk(uploaded: str, photos: Path, tmp_path: Path) -> None:
    there, here = tmp_path / "there.parquet", tmp_path / "here.parquet"
    found = scan_photos([uploaded + "/"], there, SERIAL)
    assert (found.photos, found.skipped) == (6, 1)
    scan_photos([photos], here, SERIAL)
    assert rows_of(there, "source", "modified_ns") == rows_of(here, "source", "modified_ns")
    assert {row["source"] for row in rows_of(there)} == {uploaded}
    assert all(row["modified_ns"] for row in rows_of(there))
    assert scan_photos([uploaded], there, SERIAL).measured_now == 0


def test_scanning_a_wider_prefix_reuses_known_rows(uploaded: str, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    assert scan_photos([f"{uploaded}/more"], out, SERIAL).measured_now == 1
    assert scan_photos([uploaded], out, SERIAL).measured_now == 5
    assert scan_photos([uploaded], out, SERIAL).measured_now == 0
    assert {row["source"] for row in rows_of(out)} == {uploaded}


def test_worker_processes_read_from_a_bucket(uploaded: str, tmp_path: Path) -> None:
    assert scan_photos([f"{uploaded}/more"], tmp_path / "m.parquet", ScanOptions()).scored == 1


def test_a_killed_scan_of_a_bucket_is_resumed(photos: Path, s3: Any, tmp_path: Path) -> None:
    data = (photos / "a-vivid.png").read_bytes()
    many = {f"{number:03}.png": data[: len(data) - number % 2] for number in range(40)}
    (tmp_path / "many").mkdir()
    for name, content in many.items():
        (tmp_path / "many" / name).write_bytes(content)
    s3.pipe({f"bucket/killed/{name}": content for name, content in many.items()})
    out = tmp_path / "m.parquet"
    command = [sys.executable, "-m", "curate", "scan", "s3://bucket/killed", "-o", str(out), "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        limit = time.monotonic() + 60
        while not any(out.parent.glob(".m.parquet.scan/part-*-000000.parquet")) and time.monotonic() < limit:
            time.sleep(0.005)
        running.kill()
    resumed = scan_photos(["s3://bucket/killed"], out, SERIAL)
    assert resumed.photos == 40
    assert 0 < resumed.measured_now <= 30  # of four shards one at least was finished
    scan_photos([tmp_path / "many"], tmp_path / "here.parquet", SERIAL)
    assert rows_of(out, "source", "modified_ns") == rows_of(tmp_path / "here.parquet", "source", "modified_ns")


def test_a_photo_of_a_bucket_is_read_again_from_its_row(uploaded: str, photos: Path, tmp_path: Path) -> None:
    scan_photos([uploaded], tmp_path / "m.parquet", SERIAL)
    for row in rows_of(tmp_path / "m.parquet"):
        name = row["path"].removeprefix("0.tar/")
        data = read_photo(row["source"], row["path"], offset=row["tar_offset"], size=row["bytes"])
        assert data == (photos / name).read_bytes()


def test_the_report_shows_photos_in_a_bucket_and_in_its_tars(uploaded: str, tmp_path: Path) -> None:
    scan_photos([uploaded], tmp_path / "scan.parquet", ScanOptions())
    readable = manifest.read_manifest(tmp_path / "scan.parquet").table.filter(pc.field("error").is_null())
    assert readable["tar_offset"].null_count < readable.num_rows
    made = write_report(tmp_path / "scan.parquet", tmp_path / "scan.html")
    assert (made.shown, made.missing) == (made.photos, 0)
    assert (tmp_path / "scan.html").read_text(encoding="ascii").count('"thumbnail":"') == readable.num_rows


def test_a_changed_object_is_measured_again(uploaded: str, photos: Path, s3: Any, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan_photos([uploaded], out, SERIAL)
    s3.pipe(f"{uploaded}/a-vivid.png", (photos / "more" / "b-gray.png").read_bytes())
    assert scan_photos([uploaded], out, SERIAL).measured_now == 1


def test_a_list_at_a_url_can_contain_urls(uploaded: str, s3: Any) -> None:
    names = ("more/b-gray.png", "0.tar", "gone.png", "a-vivid.png")
    s3.pipe(f"{uploaded}/list.txt", "\n".join(f"{uploaded}/{name}" for name in names).encode())
    found = list(Sources(lists=(f"{uploaded}/list.txt",)).photos())
    assert [(photo.source.removeprefix(uploaded), photo.path) for photo in found] == [
        *(("", "0.tar/a-vivid.png"), ("", "0.tar/more/b-gray.png"), ("", "a-vivid.png"), ("", "gone.png")),
        ("/more", "b-gray.png"),
    ]
    assert [photo.path for photo in found if (photo.error or "").startswith("Vanished")] == ["gone.png"]


def test_a_bucket_is_listed_page_by_page(s3: Any) -> None:
    names = [f"many/{number:02}.jpg" for number in range(10)]
    s3.pipe({f"bucket/{name}": b"x" for name in names})
    assert s3.call_s3("list_objects_v2", Bucket="bucket", Prefix="many/")["IsTruncated"]
    assert [photo.path for photo in list_photos(["s3://bucket/many"])] == [name.removeprefix("many/") for name in names]


def test_other_file_systems_are_listed_folder_by_folder(photos: Path, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for path in photos.rglob("*.png"):
        memory.pipe(f"/in-memory/{path.relative_to(photos)}", path.read_bytes())
    scan_photos(["memory://in-memory"], tmp_path / "there.parquet", SERIAL)
    scan_photos([photos], tmp_path / "here.parquet", SERIAL)
    moved = ("source", "modified_ns")
    assert rows_of(tmp_path / "there.parquet", *moved) == rows_of(tmp_path / "here.parquet", *moved)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (datetime(2300, 1, 1, tzinfo=UTC), 2**63 - 1),
        (datetime(1600, 1, 1, tzinfo=UTC), -(2**63)),
        (1.5, 1_500_000_000),
        (1e300, 2**63 - 1),
        (float("nan"), None),
        (float("inf"), None),
        ("2026-11-30T00:00:00+00:00", 1_795_996_800_000_000_000),  # date -d 2026-11-30T00:00Z +%s
        ("Mon, 30 Nov 2026", None),
        ([], None),
    ],
)
def test_a_store_may_report_any_time_of_change(said: Any, expected: int | None) -> None:
    assert remote.remote_modified_ns({"mtime": said}) == expected


def test_a_file_url_is_a_path(photos: Path) -> None:
    assert list(list_photos([photos.as_uri()])) == list(list_photos([photos]))


def test_a_url_inside_another_is_listed_once(uploaded: str) -> None:
    assert list(list_photos([f"{uploaded}/more", uploaded])) == list(list_photos([uploaded]))


def test_a_truncated_tar_in_a_bucket_is_an_entry_with_an_error(uploaded: str, photos: Path, s3: Any) -> None:
    with tarfile.open(photos / "0.tar") as tar:
        second = tar.getmembers()[1]
    s3.pipe(f"{uploaded}/cut.tar", (photos / "0.tar").read_bytes()[: second.offset_data + 9])
    found = list(list_photos([f"{uploaded}/cut.tar"]))
    assert [photo.path for photo in found] == ["cut.tar/a-vivid.png", "cut.tar/more/b-gray.png"]
    assert (found[1].error or "").startswith("BrokenTar: ")


def test_an_object_deleted_after_listing_is_a_row_with_an_error(uploaded: str) -> None:
    record = score_photo(ListedPhoto(uploaded, "gone.png", 5, 1), ScoreOptions())
    assert record is not None
    assert (record.error or "").startswith("Vanished: ")


@pytest.mark.parametrize("url", ["s3://no-such-bucket/photos", "s3://bucket/nowhere", "memory://nowhere"])
def test_a_url_that_does_not_exist_is_an_error(url: str, s3: Any) -> None:  # noqa: ARG001 - the server is to run
    with pytest.raises(SourceError, match="doesn't exist, or these credentials"):
        Sources((url,)).check()


@pytest.mark.parametrize(("url", "said"), [("nonsense://x", "of an unknown kind"), ("http://127.0.0.1:9/x", "")])
def test_an_unknown_protocol_and_no_answer_are_errors(url: str, said: str) -> None:
    with pytest.raises(SourceError, match=said or "check the address"):
        Sources((url,)).check()


def test_a_missing_library_error_says_how_to_install_it() -> None:
    program = "import sys; sys.modules['s3fs'] = None; from curate.cli import main; main(['scan', 's3://bucket/x'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'vividset[remote]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_is_source_missing_after_the_server_stops() -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    program = (
        "import fsspec, sys; from curate.sources import list_photos, is_source_missing; fs = fsspec.filesystem('s3');"
        "fs.mkdir('bbb'); fs.pipe('bbb/p/a.png', b'x'); print(len(list(list_photos(['s3://bbb/p']))), flush=True);"
        "sys.stdin.read(); print(is_source_missing('s3://bbb/p'))"
    )
    env = os.environ | {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_MAX_ATTEMPTS": "1",
    }
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "1\n"
        server.stop()
        assert running.communicate()[0] == "True\n"


class HubFileSystem(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A stand-in of the file system of the Hugging Face Hub: it reports no times."""

    protocol = "hf"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("hf://").strip("/")

    def info(self, path: str, **how: Any) -> dict[str, Any]:
        return {name: value for name, value in super().info(path, **how).items() if name != "created"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> HubFileSystem:
    """The stand-in, as fsspec finds it for `hf://`."""
    monkeypatch.setitem(_registry, "hf", HubFileSystem)
    return HubFileSystem()


def test_a_data_set_of_the_hub_gives_the_rows_of_its_files(hub: HubFileSystem, photos: Path, tmp_path: Path) -> None:
    import gzip

    with tarfile.open(photos / "0.tar", "w") as tar:
        tar.add(photos / "a-vivid.png", "a.png")
    (photos / "1.tar.gz").write_bytes(gzip.compress((photos / "0.tar").read_bytes()))
    hub.put(f"{photos}/", "hf://datasets/owner/name/data/", recursive=True)
    there, here = tmp_path / "there.parquet", tmp_path / "here.parquet"
    scan_photos(["hf://datasets/owner/name/data"], there, SERIAL)
    scan_photos([photos], here, SERIAL)
    assert rows_of(there, "source", "modified_ns") == rows_of(here, "source", "modified_ns")
    rows = rows_of(there)
    assert {row["source"] for row in rows} == {"hf://datasets/owner/name/data"}
    row = next(row for row in rows if row["path"] == "1.tar.gz/a.png")
    data = read_photo(row["source"], row["path"], offset=row["tar_offset"], size=row["bytes"])
    assert data == (photos / "a-vivid.png").read_bytes()
    (tmp_path / "list").write_text("hf://datasets/owner/name/data/a-vivid.png\n")
    (listed,) = Sources(lists=(str(tmp_path / "list"),)).photos()
    assert (listed.path, listed.error) == ("a-vivid.png", None)


def test_a_missing_library_of_the_hub_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_scheme: str) -> None:
        missing = ModuleNotFoundError("No module named 'huggingface_hub'", name="huggingface_hub")
        raise ImportError("Install huggingface_hub to access HfFileSystem") from missing

    monkeypatch.setattr(fsspec, "get_filesystem_class", refuse)
    with pytest.raises(SourceError, match=r"pip install 'vividset\[hf\]'"):
        Sources(("hf://datasets/owner/name",)).check()


@pytest.mark.parametrize(
    "url", ["simplecache::memory://x/a.jpg", "zip://*.jpg::memory://x.zip", "sftp://host/a.jpg", "github://o:r@/a.jpg"]
)
def test_a_list_cannot_name_chains_or_other_kinds_of_urls(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "connect", lambda _url: pytest.fail("it was opened"))
    (tmp_path / "list").write_text(url + "\n")
    (refused,) = Sources(lists=(str(tmp_path / "list"),)).photos()
    assert (refused.error or "").startswith("UnsupportedFormat: a list can't name")
    assert f"{refused.source}/{refused.path}" == url
