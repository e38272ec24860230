"""DataTimer: the share of time that training waits for photos, and the hint about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from train.data.loader import DataTimer
from train.trainer.callbacks import FitResult


class Clock:
    """A clock that only moves when its `now` is changed."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("wait_s", "work_s", "share"), [(0.0, 1.0, 0.0), (1.0, 3.0, 0.25), (0.02, 0.98, 0.02)])
def test_the_wait_share_excludes_the_first_batch(wait_s: float, work_s: float, share: float) -> None:
    clock = Clock()

    def slow() -> Iterator[int]:
        clock.now += 100  # workers start
        for number in range(11):
            yield number
            clock.now += wait_s

    timer, seen = DataTimer(clock), []
    for batch in timer.measure_wait(slow()):
        seen.append(batch)
        clock.now += work_s
    assert seen == list(range(11))
    assert timer.wait_share == pytest.approx(share)
    hint = timer.hint()
    assert (hint is not None) == (share > 0.03)
    assert hint is None or hint.endswith("25% of the time: pack them with `curate pack`, or raise --workers")
    assert timer.hint() is None


def test_a_run_logs_and_prints_its_wait_share(
    clean_manifest: Callable[..., Path], train_on: Callable[..., FitResult]
) -> None:
    said: list[str] = []
    outcome = train_on(clean_manifest(), say=said.append, max_steps=3)
    lines = [json.loads(line) for line in (outcome.run_dir / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    shares = [line["wait_share"] for line in lines if line["event"] == "step"]
    assert shares[0] == 0
    assert all(0 < share < 1 for share in shares[1:])
    shown = [line for line in said if line.startswith("step 3/3")]
    assert ["  wait " in line for line in shown] == [shares[-1] >= 0.01]
