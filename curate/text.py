"""Text for messages: numbers, byte counts, errors, and control characters in names."""

from __future__ import annotations

import errno
import os
import re
import shutil
import textwrap

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TOO_MANY_FILES = "allow more open files with `ulimit -n`"
_ADVICE = {
    errno.EMFILE: _TOO_MANY_FILES,
    errno.ENFILE: _TOO_MANY_FILES,
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space in your quota",
    errno.EFBIG: "raise the limit with `ulimit -f`, or use a file system that allows larger files",
    errno.EROFS: "mount the file system for writing",
    errno.EACCES: "check the permissions of the file and its folder",
    errno.EPERM: "check the permissions of the file and its folder",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.EIO: "check the disk and the connection to it",
    errno.ESTALE: "check the disk and the connection to it",
    errno.ENOMEM: "free some memory",
}
"""What to do about the system's errors of one known cause."""
SHARED_MEMORY = "/dev/shm"  # noqa: S108  # vividset writes no temporary file there
"""Where Linux keeps semaphores and shared memory; 64 MB in a container."""
_SEMAPHORE_BYTES = 1 << 16
"""Less free space than this is not enough for the semaphores of a command."""


def escape_control(line: str) -> str:
    r"""Return a line with its control characters escaped, so that a file name can't end the line or steer the terminal.

    >>> escape_control("new\nline\x1b[31m.jpg")
    'new\\x0aline\\x1b[31m.jpg'
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda control: rf"\x{ord(control[0]):02x}", line)


def format_number(number: float) -> str:
    """Return the shortest text that still reads back as the same number.

    >>> format_number(20.0), format_number(20.00000001)
    ('20', '20.00000001')
    """
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def pluralize(number: int, noun: str) -> str:
    """Return a count with its noun in singular or plural.

    >>> pluralize(1, "photo"), pluralize(2000, "photo"), pluralize(2, "loss"), pluralize(2, "entry")
    ('1 photo', '2,000 photos', '2 losses', '2 entries')
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def describe_error(exc: BaseException) -> str:
    """Return the message of a system's or library's error as one line of at most 200 characters."""
    if isinstance(exc, UnicodeEncodeError):
        return "its name is not UTF-8"
    text = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    text = re.sub(r".* Detail: \[errno \d+\] ", "", " ".join(text.split()))  # Arrow puts its own words before strerror
    return text[:200].rstrip(".") or type(exc).__name__


def advise(exc: BaseException) -> str:
    """Return what to do about a system's error; empty if its cause doesn't say.

    >>> advise(OSError(errno.ENAMETOOLONG, "File name too long"))
    'use a shorter name'
    """
    if is_shared_memory_full(exc):
        return f"free some space in {SHARED_MEMORY}, or enlarge it (docker run --shm-size)"
    return _ADVICE.get(exc.errno or 0, "") if isinstance(exc, OSError) else ""


def is_disk_full(exc: BaseException) -> bool:
    """Whether the system refused to write for lack of space."""
    return isinstance(exc, OSError) and exc.errno in _DISK_FULL


def is_shared_memory_full(exc: BaseException) -> bool:
    """Whether no semaphore could be made, which is an error without a file name, for lack of space in /dev/shm."""
    if not is_disk_full(exc) or getattr(exc, "filename", None) or not os.path.isdir(SHARED_MEMORY):
        return False
    return shutil.disk_usage(SHARED_MEMORY).free < _SEMAPHORE_BYTES


def is_out_of_handles(exc: BaseException) -> bool:
    """Whether an error says that too many files are open, whichever file was tried."""
    return isinstance(exc, OSError) and exc.errno in (errno.EMFILE, errno.ENFILE)


def format_bytes(count: int) -> str:
    """Return a byte count in kB, MB or GB.

    >>> format_bytes(7_654), format_bytes(1_234_000_000)
    ('7.65 kB', '1.23 GB')
    """
    unit, size = ("GB", 1e9) if count >= 1e9 else ("MB", 1e6) if count >= 1e6 else ("kB", 1e3)
    return f"{count / size:,.2f} {unit}"


def install_hint(extra: str) -> str:
    """Say how to install one of vividset's extras, from a package index or from a clone of the repository.

    >>> install_hint("onnx")
    "pip install 'vividset[onnx]', or pip install '.[onnx]' in a clone of vividset"
    """
    return f"pip install 'vividset[{extra}]', or pip install '.[{extra}]' in a clone of vividset"


def wrap_line(line: str, width: int) -> list[str]:
    """Return a line in parts of at most `width` characters, broken at spaces; a longer word stays whole.

    Continuations are indented to the text after a short label, such as `recipe    `, or else by two spaces more than
    the line. A path stays beside its `written:`, and a hash beside its `sha256`.

    >>> wrap_line("recipe    96 channels, 100 epochs", 24)
    ['recipe    96 channels,', '          100 epochs']
    >>> wrap_line("  read now: 7; unchanged since an earlier scan: the rest", 40)
    ['  read now: 7; unchanged since an', '    earlier scan: the rest']
    """
    if len(line) <= width:
        return [line]
    label = re.match(r" *\S+ {2,}(?=\S)", line)
    indent = len(line) - len(line.lstrip(" "))
    hang = label.end() if label and label.end() <= width // 3 else indent + 2
    text = re.sub(r"\b(written:|sha256) ", "\\1\u00a0", line[indent:])
    parts = textwrap.wrap(
        text,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [part.replace("\u00a0", " ") for part in parts]
