"""How long the device waits for photos."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

MOST_WAITING = 0.03
"""A larger share of the time spent waiting for photos is worth a hint."""
Item = TypeVar("Item")


class Waiting:
    """Hands batches on and measures how long they are waited for; the first, for which readers start, doesn't count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waited_s = self._total_s = 0.0
        self._hinted = False

    def over(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The same batches."""
        handed_on: float | None = None
        asked = self._clock()
        for batch in batches:
            now = self._clock()
            if handed_on is not None:
                self._waited_s += now - asked
                self._total_s += now - handed_on
            handed_on = now
            yield batch
            asked = self._clock()

    @property
    def share(self) -> float:
        """Of the time since the first batch, 0 to 1."""
        return self._waited_s / self._total_s if self._total_s else 0.0

    def hint(self) -> str | None:
        """What to do if the device waits too much; once."""
        if self._hinted or self.share <= MOST_WAITING:
            return None
        self._hinted = True
        waits = f"the device waits for photos {self.share:.0%} of the time"
        return f"! {waits}; loader-bound: pack the photos, or raise --workers"
