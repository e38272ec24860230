"""What decided a manifest, or would by default: where the line stands at first, and the command that moves it."""

from __future__ import annotations

import itertools
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from curate.manifest import Lineage
from curate.measures.tone import TONES
from curate.report.gather import BINS, BINS_PER_M

_DEFAULT_LINE = 20.0
_MAKERS = (["curate", "filter"], ["python", "-m", "curate", "filter"])
_MOVED = ("--min-colorfulness", "--keep-top", "--keep-tone")
"""What the page itself decides, so that it isn't repeated from the command that was typed; of shares only that of M."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The decision that the page starts from."""

    line_bin: int
    """The threshold in tenths of M."""
    keep_tones: frozenset[str]
    before: str
    """The command up to its options, quoted for a shell."""
    after: str
    """What comes behind --min-colorfulness and --keep-tone."""


def rules_of(path: Path, lineage: Lineage | None) -> Rules:
    """From what a manifest says of its making; the filter's defaults where it says nothing."""
    options = lineage.options if lineage and lineage.kind in ("clean", "rejected") else {}
    line = options.get("min_colorfulness", _DEFAULT_LINE) or 0.0
    keep = frozenset(options.get("keep_tones", ["color"])) & set(TONES) or frozenset({"color"})
    before, after = _command(path, lineage)
    return Rules(min(BINS - 1, max(0, round(line * BINS_PER_M))), keep, before, after)


def _command(path: Path, lineage: Lineage | None) -> tuple[str, str]:
    """As it was typed, where a filter made the manifest, so that its other rules stay; else one for this manifest."""
    typed = shlex.split(lineage.command) if lineage and lineage.kind in ("clean", "rejected") else []
    for maker in _MAKERS:
        if typed[: len(maker)] == maker:
            return shlex.join(maker), _quoted(_without_moved(typed[len(maker) :]))
    return _quoted(["curate", "filter", str(path)]), _quoted(["-o", str(path.with_name("clean.parquet"))])


def _without_moved(words: list[str]) -> list[str]:
    """Leave out the options that the page sets, with their values."""
    left, rest = [], iter(words)
    for word in rest:
        name, is_joined, value = word.partition("=")
        given = [word] if is_joined or name not in _MOVED else [word, *itertools.islice(rest, 1)]
        if name not in _MOVED or (name == "--keep-top" and ":" in (value or given[-1])):
            left += given
    return left


def _quoted(words: list[str]) -> str:
    r"""For a POSIX shell, pure text even where a name is no UTF-8.

    >>> _quoted(["-o", "my clean.parquet", "caf\udce9"])
    "-o 'my clean.parquet' $'caf\\xe9'"
    """
    return " ".join(_quoted_bytes(word) if _NO_TEXT.search(word) else shlex.quote(word) for word in words)


_NO_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def _quoted_bytes(word: str) -> str:
    def escaped(match: re.Match[str]) -> str:
        return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape"))

    return "$'" + re.sub(r"[\x00-\x1f\x7f'\\\ud800-\udfff]", escaped, word) + "'"
