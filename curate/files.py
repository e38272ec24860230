"""Files that commands write: what is said when the system refuses to write one."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curate.errors import VividsetError, told

_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space and run the same command"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "check the permissions of the file and its folder"),
}
"""What to do, for causes that need more than another place."""


@contextmanager
def write_errors(path: Path, error_class: type[VividsetError], option: str) -> Iterator[None]:
    """Raise `error_class` where the block can't write a file or folder: its path, the cause, and what to do.

    Args:
        path: the file or folder that the block writes.
        error_class: the error to raise.
        option: the command's option that chooses another place, like `-o`.

    Raises:
        VividsetError: of the given class, from the system's or Arrow's own error.

    >>> import os
    >>> with write_errors(Path("m.parquet"), VividsetError, "-o"):
    ...     raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    Traceback (most recent call last):
    curate.errors.VividsetError: m.parquet can't be written: Permission denied: check the permissions of the file and \
its folder, or choose another place with -o
    """
    from pyarrow import ArrowException  # here, so that --help doesn't wait for it

    try:
        yield
    except (OSError, ArrowException) as exc:
        advice = _ADVICE.get(exc.errno or 0) if isinstance(exc, OSError) else None
        hint = f"{advice}, or choose another place" if advice else "choose another place"
        raise error_class(f"{path} can't be written: {told(exc)}: {hint} with {option}") from exc
