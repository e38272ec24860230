"""Words that many rooms use."""

from __future__ import annotations


def counted(count: int, thing: str) -> str:
    """A number of things.

    >>> counted(1, "photo"), counted(2000, "step")
    ('1 photo', '2,000 steps')
    """
    more = "es" if thing.endswith("s") else "s"
    return f"{count:,} {thing}{'' if count == 1 else more}"
