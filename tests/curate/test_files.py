"""What is said when the system refuses to write a file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from curate.errors import ManifestError, UsageError
from curate.files import write_errors


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
def test_the_cause_is_named_and_advice_is_given_for_it(number: int, advice: str) -> None:
    with pytest.raises(ManifestError) as raised, write_errors(Path("a/m.parquet"), ManifestError, "-o"):
        raise OSError(number, os.strerror(number), "a/.draft")
    assert str(raised.value) == f"{Path('a/m.parquet')} can't be written: {os.strerror(number)}: {advice}"
    assert isinstance(raised.value.__cause__, OSError)


def test_arrow_errors_are_mapped_and_others_are_not() -> None:
    said = r"^x can't be written: too long: choose another place with --html$"
    with pytest.raises(UsageError, match=said), write_errors(Path("x"), UsageError, "--html"):
        raise pa.ArrowInvalid("too long")
    with pytest.raises(ZeroDivisionError), write_errors(Path("x"), UsageError, "--html"):
        raise ZeroDivisionError
