"""Writing files: messages for refused writes, atomic writes, and checks before long work."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pyarrow as pa
import pytest

from curate.errors import ManifestError, OutputError, UsageError
from curate.files import check_writable, write_atomic, write_errors


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space and run the same command, or choose another place with -o"),
        (errno.EDQUOT, "free some space in your quota and run the same command, or choose another place with -o"),
        (errno.ENAMETOOLONG, "use a shorter name, or choose another place with -o"),
        (errno.EACCES, "check the permissions of the file and its folder, or choose another place with -o"),
        (errno.EROFS, "mount the file system for writing, or choose another place with -o"),
        (errno.ENOTDIR, "choose another place with -o"),
        (errno.EIO, "check the disk and the connection to it, or choose another place with -o"),
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


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE], ids=errno.errorcode.get)
def test_too_many_open_files_are_not_the_fault_of_the_output(number: int) -> None:
    with pytest.raises(OutputError) as raised, write_errors(Path("x"), OutputError, "-o"):
        raise OSError(number, os.strerror(number))
    assert str(raised.value) == f"{os.strerror(number)}: allow more open files with `ulimit -n`"


def test_an_error_of_unknown_cause_gives_no_advice_about_a_cause() -> None:
    with pytest.raises(OutputError) as raised, write_errors(Path("x"), OutputError, "-o"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    assert str(raised.value) == f"x can't be written: {os.strerror(errno.EXDEV)}: choose another place with -o"


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
