"""Commands on the command line: output, files and exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from curate import manifest
from curate.cli import main
from curate.scanning.summary import ScanSummary
from curate.version import __version__


def curate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def assert_one_line_error(result: Result, code: int, text: str) -> None:
    assert result.exit_code == code
    assert isinstance(result.exception, SystemExit)  # not an unexpected exception
    last = result.stderr.rstrip("\n")
    assert last.startswith("Error: ")
    assert "\n" not in last
    assert text in last


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", [[], ["scan"], ["filter"]])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_commands_have_help(command: list[str], flag: str) -> None:
    result = curate(*command, flag)
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
    assert flag in result.output


def test_help_shows_commands_and_defaults() -> None:
    assert {"scan", "filter"} <= set(curate("--help").output.split())
    assert "manifests/scan.parquet" in curate("scan", "--help").output
    assert "manifests/clean.parquet" in curate("filter", "--help").output
    assert "20 by default" in " ".join(curate("filter", "--help").output.split())


def test_version() -> None:
    assert __version__ in curate("--version").output


def test_help_imports_no_heavy_library() -> None:
    listed = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import curate.cli"], capture_output=True, text=True, check=True
    ).stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in listed.splitlines()}
    assert {"click", "curate"} <= imported
    assert imported.isdisjoint({"cv2", "torch", "pyarrow", "numpy", "PIL", "kornia", "pandas", "rich", "pebble"})


def test_python_m_curate_is_the_same_program() -> None:
    done = subprocess.run([sys.executable, "-m", "curate", "filter", "nowhere.parquet"], capture_output=True, text=True)  # noqa: PLW1510
    assert done.returncode == 1
    assert done.stderr.startswith("Error: nowhere.parquet doesn't exist")
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("photos", "in_tmp_path")
def test_scan_and_filter_as_in_the_readme() -> None:
    scan = curate("scan", "photos", "--engine", "serial")
    assert scan.exit_code == 0
    assert "3 photos: 2 measured, 1 failed" in scan.stdout
    assert "skipped, not a photo by name or content: 1 file\n" in scan.stdout
    assert "1  BrokenPhoto" in scan.stdout
    assert "written: manifests/scan.parquet" in scan.stdout
    assert scan.stderr == ""

    clean = curate("filter")
    assert clean.exit_code == 0
    assert "3 photos: 1 kept, 2 rejected" in clean.stdout
    assert "1  unreadable" in clean.stdout
    assert "1  colorfulness < 20" in clean.stdout
    assert "1  tone" in clean.stdout
    assert "Warning: only 33.3 % of the photos were kept. Most were rejected by the rule: " in clean.stderr
    assert sorted(path.name for path in Path("manifests").iterdir()) == [
        *("clean.parquet", "rejected.parquet", "scan.parquet")
    ]
    assert manifest.read_manifest(Path("manifests/clean.parquet")).table["path"].to_pylist() == ["a-vivid.png"]

    both = curate("filter", "--min-colorfulness", "0", "--keep-tone", "grayscale", "-o", "elsewhere/all.parquet")
    assert "3 photos: 2 kept, 1 rejected" in both.stdout
    assert both.stderr == ""
    assert Path("elsewhere/all.rejected.parquet").exists()


@pytest.mark.usefixtures("photos")
def test_a_dry_run_measures_and_writes_nothing(in_tmp_path: Path) -> None:
    before = sorted(in_tmp_path.rglob("*"))
    result = curate("scan", "photos", "--dry-run")
    assert result.exit_code == 0
    assert re.match(r"4 files, 4 to read \(\d+\.\d\d kB\); dry run: nothing was", result.stdout)
    assert sorted(in_tmp_path.rglob("*")) == before


def test_missing_photos_are_not_errors(scanned: tuple[Path, ScanSummary], photos: Path) -> None:
    out, _ = scanned
    for name in ("notes.txt", "c-cut.png", "a-vivid.png"):
        (photos / name).unlink()
    result = curate("scan", photos, "-o", out, "--max-errors", "0", "--engine", "serial")
    assert result.exit_code == 0
    assert "1 photo: 1 measured, 0 failed" in result.stdout
    assert "  missing: 1 photo; rows kept (`curate scan --prune` removes them)" in result.stdout
    assert "missing: 1 photo; rows removed" in curate("scan", photos, "-o", out, "--prune", "--engine", "serial").stdout
    assert manifest.read_manifest(out).table["path"].to_pylist() == ["more/b-gray.png"]


def test_more_errors_than_max_errors_exit_1_and_keep_the_manifest(
    scanned: tuple[Path, ScanSummary], photos: Path
) -> None:
    out, _ = scanned
    (photos / "notes.txt").unlink()  # so that no process has to be started for it
    for limit, code in (("1", 0), ("0", 1), ("34%", 0), ("33%", 1), ("0%", 1)):
        result = curate("scan", photos, "-o", out, "--max-errors", limit)
        assert "3 photos: 2 measured, 1 failed" in result.stdout
        assert "read now: 0" in result.stdout
        assert manifest.read_manifest(out).table.num_rows == 3
        if code:
            assert_one_line_error(result, 1, f"1 of 3 photos failed, more than --max-errors {limit}")
        else:
            assert result.exit_code == 0


@pytest.mark.parametrize("limit", ["many", "-1", "nan", "inf", "5%%", "", "%"])
def test_max_errors_that_is_not_a_number_exits_2(limit: str, photos: Path, tmp_path: Path) -> None:
    result = curate("scan", photos, "-o", tmp_path / "m.parquet", f"--max-errors={limit}")
    assert_one_line_error(result, 2, "write a count like 100, or a percentage like 1%")


def test_a_scan_without_a_readable_photo_exits_1_and_keeps_the_reasons(tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "m.parquet"
    folder.mkdir()
    (folder / "empty.jpg").touch()
    result = curate("scan", folder, "-o", out, "--engine", "serial")
    assert_one_line_error(result, 1, "no photo could be measured (1 photo failed)")
    assert manifest.read_manifest(out).table["error"].to_pylist() == ["EmptyFile: the file has zero bytes"]


def test_wrong_options_exit_2(in_tmp_path: Path) -> None:
    for arguments in ([], ["--bogus"], ["photos", "--workers", "0"], ["photos", "--timeout", "0"]):
        assert curate("scan", *arguments).exit_code == 2
    for arguments in (["--keep-tone", "purple"], ["--min-colorfulness", "much"]):
        assert curate("filter", *arguments).exit_code == 2
    assert_one_line_error(curate("filter", "--split", "90/5"), 2, "write it like 90/5/5")
    assert_one_line_error(curate("filter", "--min-colorfulness", "nan"), 2, "finite")
    assert list(in_tmp_path.iterdir()) == []


@pytest.mark.usefixtures("in_tmp_path")
def test_failures_exit_1_with_one_line() -> None:
    assert_one_line_error(curate("scan", "nowhere"), 1, "nowhere doesn't exist")
    assert_one_line_error(curate("filter"), 1, "manifests/scan.parquet doesn't exist")
    Path("empty").mkdir()
    assert_one_line_error(curate("scan", "empty", "-o", "m.parquet"), 1, "no photos in empty")
    Path("text.parquet").write_text("hello", encoding="utf-8")
    assert_one_line_error(curate("filter", "text.parquet"), 1, "can't be read")
    assert_one_line_error(curate("scan", "empty", "-o", "text.parquet"), 1, "is not a vividset manifest")
    assert_one_line_error(curate("scan", "empty", "-o", "text.parquet/m.parquet"), 1, "can't be written")


def test_the_lineage_has_the_command_and_its_options(photos: Path, in_tmp_path: Path) -> None:
    command = [sys.executable, "-m", "curate", "scan", "photos", "-o", "my scan.parquet", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    lineage = manifest.read_manifest(in_tmp_path / "my scan.parquet").lineage
    assert lineage is not None
    typed = "python -m curate scan photos -o 'my scan.parquet' --workers 1"
    assert lineage.command == typed
    assert lineage.options["max_pixels"] == 250_000_000
    assert lineage.options["paths"] == [str(photos)]
    assert lineage.counts == {"files_listed": 4}


def test_all_commands_accept_paths_that_are_not_utf8(in_tmp_path: Path, photos: Path) -> None:
    odd = in_tmp_path / os.fsdecode(b"caf\xe9")
    scan, clean = odd / os.fsdecode(b"\xfc.parquet"), odd / "clean.parquet"
    commands: list[list[str | Path]] = [
        ["scan", photos, "-o", scan, "--engine", "serial"],
        ["filter", scan, "-o", clean],
        ["inspect", clean],
        ["report", clean, "--workers", "1"],
        ["export", clean, "-o", odd / "tars", "--to", "webdataset"],
        ["pack", clean, "-o", odd / "pack", "--engine", "serial"],
    ]
    for command in commands:
        for _ in range(2):
            result = curate(*command)
            assert result.exit_code == 0, result.output
    assert manifest.read_manifest(odd / "pack" / "manifest.parquet").table.num_rows == 1
    assert not list(odd.rglob(".*.draft"))
    result = curate("filter", scan, "-o", clean, "--where", "width > 1")
    assert_one_line_error(result, 2, "its name is not UTF-8: rename it, or give a link with a UTF-8 name")


@pytest.mark.usefixtures("in_tmp_path")
def test_a_file_name_that_begins_with_a_dash_is_suggested_with_its_folder() -> None:
    Path("-odd.jpg").touch()
    message = curate("explain", "-odd.jpg").stderr
    assert message.endswith("If you mean the file -odd.jpg, write ./-odd.jpg\n")
    assert "If you mean" not in curate("explain", "-z.jpg").stderr
    for command in (["explain", "./-odd.jpg"], ["explain", "--", "-odd.jpg"]):
        assert "rejected: unreadable: EmptyFile" in curate(*command).stdout
