"""Writing files: messages for refused writes, atomic writes, and checks before long work."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pyarrow as pa
import pytest

from curate.errors import ManifestError, OutputError, UsageError
from curate.files import check_writable, find_path, read_text, write_atomic, write_errors


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space and run the same command, or choose another place with -o"),
        (errno.EDQUOT, "free some space and run the same command, or choose another place with -o"),
        (errno.EACCES, "check the permissions of the file and its folder, or choose another place with -o"),
        (errno.EROFS, "choose another place with -o"),
        (errno.ENOTDIR, "choose another place with -o"),
        (errno.EIO, "choose another place with -o"),
    ],
    ids=errno.errorcode.get,
)
def test_the_message_names_the_cause_and_gives_advice(number: int, advice: str) -> None:
    with pytest.raises(ManifestError) as raised, write_errors(Path("a/m.parquet"), ManifestError, "-o"):
        raise OSError(number, os.strerror(number), "a/.draft")
    assert str(raised.value) == f"{Path('a/m.parquet')} can't be written: {os.strerror(number)}: {advice}"
    assert isinstance(raised.value.__cause__, OSError)


def test_arrow_errors_are_converted_and_others_are_not() -> None:
    message = r"^x can't be written: too long: choose another place with --html$"
    with pytest.raises(UsageError, match=message), write_errors(Path("x"), UsageError, "--html"):
        raise pa.ArrowInvalid("too long")
    with pytest.raises(ZeroDivisionError), write_errors(Path("x"), UsageError, "--html"):
        raise ZeroDivisionError


def test_a_full_disk_says_that_a_resumable_command_continues() -> None:
    message = r"free some space and run the same command \(what is finished is kept\), or choose another place with -o$"
    with pytest.raises(OutputError, match=message), write_errors(Path("x"), OutputError, "-o", resumable=True):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def test_write_atomic_writes_the_whole_file_or_nothing_and_leaves_no_draft(tmp_path: Path) -> None:
    write_atomic(b"old", tmp_path / "a.bin")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(b"new", tmp_path / "folder")
    slow = bytes(100_000_000)  # takes longer to write than the timer below
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_atomic(slow, tmp_path / "a.bin")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "folder"]


def test_check_writable_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "deep" / "file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_of_a_user_is_read_in_the_encodings_of_windows(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("# größe\r\nx = 1\r\n".encode(encoding))
    assert read_text(tmp_path / "text") == "# größe\r\nx = 1\r\n"


def test_text_in_another_encoding_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("x = 1\r\n# größe\r\n".encode("cp1252"))
    with pytest.raises(UnicodeError, match=r"^line 2 is not UTF-8 text: save it as UTF-8$"):
        read_text(tmp_path / "text")


def test_relative_paths_are_found_in_the_other_normal_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e\u0301").mkdir()
    assert find_path("\u00e9") == "e\u0301"
    assert find_path("\u00e9/a") == "\u00e9/a"  # there is no such file
