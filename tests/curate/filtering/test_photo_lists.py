"""`--reject-list` and `--keep-list`: which rows an entry names, which list wins, and what is recorded."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

import curate
from curate import manifest
from curate.cli import main
from curate.errors import UsageError
from curate.filtering.filter import filter_table
from curate.filtering.options import FilterOptions
from curate.manifest import SCAN_SCHEMA, Lineage


def make_hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def photo(path: str, m: float = 50.0, **columns: Any) -> dict[str, Any]:
    return {"source": "/s", "path": path, "sha256": make_hash(path), "colorfulness": m, "tone": "color", **columns}


def make_scan(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), SCAN_SCHEMA)


class Lists:
    """Writes list files and filters with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *lines: str | bytes) -> tuple[str, ...]:
        """A list file with these lines."""
        path = self.folder / f"{len(list(self.folder.iterdir()))}.txt"
        path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n")
        return (str(path),)


@pytest.fixture
def lists(tmp_path: Path) -> Lists:
    (tmp_path / "lists").mkdir()
    return Lists(tmp_path / "lists")


def kept(table: pa.Table, **options: Any) -> list[str]:
    paths: list[str] = filter_table(table, FilterOptions(**options)).kept["path"].to_pylist()
    return paths


def test_an_entry_is_a_path_as_in_the_manifest_an_absolute_path_or_a_sha256(
    lists: Lists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["a/1.jpg", "2.jpg", "3 .jpg", "4.jpg", "5.jpg", "6.jpg", "7.tar/8.jpg", "#9.jpg", "other.jpg"]
    rows = [photo(name, source=str(tmp_path)) for name in names]
    web = photo("w.jpg", source="https://example.org/p")
    chosen = lists(
        "# a comment",
        "./a/1.jpg",
        str(tmp_path / "2.jpg"),
        "3 .jpg\r",  # spaces belong to the name, the end of a Windows line doesn't
        make_hash("4.jpg").upper(),
        f"{make_hash('5.jpg')}  a name, as sha256sum prints it",
        f"\\{make_hash('6.jpg')}  a\\nname",  # sha256sum escapes line ends like this
        "",
        "7.tar/8.jpg",
        "./#9.jpg",
        "https://example.org/p/w.jpg",
    )
    assert kept(make_scan(*rows, web), reject_lists=chosen) == ["other.jpg"]


def test_names_that_are_not_utf_8_or_have_backslashes_are_found(lists: Lists) -> None:
    rows = [photo(manifest.escape(name)) for name in (os.fsdecode(b"caf\xe9.jpg"), "back\\slash.jpg", "x.jpg")]
    assert kept(make_scan(*rows), reject_lists=lists(b"\xef\xbb\xbfcaf\xe9.jpg", "back\\slash.jpg")) == ["x.jpg"]
    assert kept(make_scan(*rows), reject_lists=lists("caf\\xe9.jpg", "back\\x5cslash.jpg")) == ["x.jpg"]


def test_lists_as_windows_and_macos_write_them_are_read(lists: Lists) -> None:
    rows = [photo(unicodedata.normalize("NFD", "café.jpg")), photo("a.jpg"), photo("x.jpg")]
    text = "café.jpg\r\na.jpg"
    for data in (text.encode(), b"\xef\xbb\xbf" + text.encode()):
        assert kept(make_scan(*rows), reject_lists=lists(data)) == ["x.jpg"]
    (name,) = lists()
    for encoding in ("utf-16", "utf-16-le"):
        Path(name).write_bytes(text.encode(encoding))
        assert kept(make_scan(*rows), reject_lists=(name,)) == ["x.jpg"]


def test_blanks_and_quotation_marks_around_an_entry_are_accepted(lists: Lists) -> None:
    rows = [photo(name) for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg", " e.jpg", "x.jpg")]
    chosen = lists(" a.jpg\t", '"b.jpg"', "'/s/c.jpg'", f" {make_hash('d.jpg')} ", " e.jpg")
    assert kept(make_scan(*rows), reject_lists=chosen) == ["x.jpg"]


def test_a_rejected_photo_has_the_reason_beside_the_others(lists: Lists) -> None:
    result = filter_table(make_scan(photo("a", 5.0), photo("b")), FilterOptions(reject_lists=lists("a", "b")))
    assert result.rejected["reject_reasons"].to_pylist() == [["colorfulness 5 < 20", "reject-list"], ["reject-list"]]
    assert result.rejected_by_rule["reject-list"] == 2


def test_the_keep_list_overrides_rules_on_single_photos_and_the_reasons_are_kept(lists: Lists) -> None:
    scan = make_scan(
        photo("low", 5.0, tone="sepia"), photo("small", width=9, height=9), photo("good"), photo("no", 5.0)
    )
    result = filter_table(scan, FilterOptions(min_side_px=64, keep_lists=lists("low", "small", "good")))
    assert result.kept["path"].to_pylist() == ["low", "small", "good"]
    assert result.kept["waived_reasons"].to_pylist() == [
        ["colorfulness 5 < 20", "tone is sepia"],
        ["short side 9 < 64"],
        None,
    ]
    assert result.kept["reject_reasons"].null_count == 3
    assert result.waived == 2
    assert result.rejected["path"].to_pylist() == ["no"]
    assert result.rejected["waived_reasons"].to_pylist() == [None]


def test_reject_wins_over_keep_and_unreadable_and_missing_photos_are_never_kept(lists: Lists) -> None:
    broken = {"source": "/s", "path": "cut", "error": "BrokenPhoto: cut"}
    gone = photo("gone", missing_since=datetime(2026, 1, 1, tzinfo=UTC))
    names = ("both", "cut", "gone")
    scan = make_scan(photo("both", 5.0), broken, gone)
    result = filter_table(scan, FilterOptions(reject_lists=lists("both"), keep_lists=lists(*names)))
    assert result.kept.num_rows == 0
    assert result.rejected["reject_reasons"].to_pylist() == [
        ["colorfulness 5 < 20", "reject-list"],
        ["unreadable: BrokenPhoto: cut"],
        ["missing"],
    ]


@pytest.mark.parametrize("mode", ["drop-exact", "drop-near"])
def test_of_copies_the_one_of_the_keep_list_stays(lists: Lists, mode: str) -> None:
    same: dict[str, Any] = {"sha256": make_hash("same"), "fingerprint": "0f" * 16, "width": 90, "height": 90}
    scan = make_scan(photo("a", **same), photo("b", 5.0, **same), photo("c", **same))
    assert kept(scan, duplicates=mode, keep_lists=lists("b")) == ["b"]
    assert kept(scan, duplicates=mode, keep_lists=lists(make_hash("same"))) == ["a"]  # one of a group, not all
    assert kept(scan, duplicates=mode, reject_lists=lists("a")) == ["c"]


def test_photos_of_the_keep_list_are_among_the_photos_of_balance(lists: Lists) -> None:
    scan = make_scan(*(photo(f"{number}", hue_peak_deg=5.0) for number in range(20)))
    listed = [f"{number}" for number in range(3)]
    chosen = kept(scan, balance=5, keep_lists=lists(*listed))
    assert len(chosen) == 5
    assert set(listed) <= set(chosen)
    assert kept(scan, balance=2, keep_lists=lists(*listed)) == listed  # more than the balance, all stay


def test_files_and_counts_are_recorded_and_printed(
    lists: Lists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scan = Path("scan.parquet")
    table = make_scan(photo("a"), photo("b", 5.0), photo("c"))
    manifest.write_manifest(scan, table, Lineage("scan", "curate scan", {}))
    first, second = lists("a", "nowhere"), lists("a", *(f"gone-{number}\x1b" for number in range(6)))
    good = lists("b", "a")
    words = ["filter", "scan.parquet", "-o", "clean.parquet", "--keep-list", *good]
    words += ["--reject-list", *first, "--reject-list", *second]
    dry = CliRunner().invoke(main, [*words, "--dry-run"])
    result = CliRunner().invoke(main, words)
    assert result.exit_code == dry.exit_code == 0, result.output
    for output in (result.stdout, dry.stdout):
        assert "          1  reject-list\n" in output
        assert "          1  kept by the keep list, although a rule rejects them\n" in output
        assert "--reject-list: 8 entries, 7 of them in no row of the scan:\n  nowhere\n  gone-0\\x1b\n" in output
        assert "  and 2 more\n" in output
        assert "--keep-list: 2 entries, 0 of them in no row of the scan\n" in output
    lineage = manifest.read_manifest(Path("clean.parquet")).lineage
    assert lineage
    assert lineage.options["reject_lists"] == [
        {"path": path, "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()} for path in (*first, *second)
    ]
    assert lineage.options["keep_lists"][0]["path"] == good[0]
    again = curate.filter_manifest("scan.parquet", "c2.parquet", reject_list=[Path(first[0])], keep_list=good[0])
    assert (again.kept, again.waived) == (2, 1)
    assert [(found.option, found.entries, list(found.unmatched)) for found in again.lists] == [
        ("--reject-list", 2, ["nowhere"]),
        ("--keep-list", 2, []),
    ]


def test_a_list_that_cannot_be_read_is_a_usage_error(lists: Lists, tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(UsageError, match=r"can't be read: .*--keep-list"):
            filter_table(make_scan(), FilterOptions(keep_lists=(str(path),)))
    with pytest.raises(UsageError, match="is not a text file"):
        filter_table(make_scan(), FilterOptions(reject_lists=lists(b"PAR1\0\0")))


def test_a_preset_may_name_lists(lists: Lists, tmp_path: Path) -> None:
    (name,) = lists("a")
    (tmp_path / "preset.toml").write_text(f'reject-list = "{name}"', encoding="utf-8")
    result = CliRunner().invoke(main, ["filter", "--preset", str(tmp_path / "preset.toml"), "--show"])
    assert f'reject-list = "{name}"' in result.output


def test_explain_says_what_the_lists_say(
    photos: Path, lists: Lists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gray, vivid = photos / "more" / "b-gray.png", photos / "a-vivid.png"
    curate.scan_photos(photos, "scan.parquet", workers=1)
    options = ["--scan", "scan.parquet", "--keep-list", *lists("more/b-gray.png"), "--reject-list", *lists(str(vivid))]
    output = CliRunner().invoke(main, ["explain", str(gray), str(vivid), *options]).output
    assert "b-gray.png: kept by the keep list, although colorfulness 0 < 20; tone is grayscale\n" in output
    assert "a-vivid.png: rejected: reject-list\n" in output
