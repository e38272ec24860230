"""Which photos each training step takes: a seeded order that a resumed run repeats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from train.data.dataset import Photos

CENTER = -1
"""As an epoch: the crop that validation uses, from the middle and not flipped."""


POOLED_SHARDS = 16
"""Of a pack, so many shards are mixed at a time: about 8,000 photos."""


class SampleKey(NamedTuple):
    """One photo in one epoch: all that decides its crop and flip."""

    epoch: int
    photo: int
    """Its place in the list."""


class StepSampler(Sampler[list[SampleKey]]):
    """The draws of each step of a whole run, starting at any step: a resumed run draws what the first would have.

    Every epoch is a permutation of all photos from (seed, epoch); its last batch may be smaller. Of a pack, whole
    shards (`starts` of the list) are drawn, and photos among `POOLED_SHARDS` of them, so that files are read from
    front to back.

    Args:
        photos: how many there are.
        batch_size: photos a step, over all processes.
        seed: of the order.
        first_step, last_step: of the draws to give; steps count from 0.
        starts: where a pack's shards begin in the list.
        began: (step, epoch) at which an epoch began anew, after a rescue.
        share: (rank, processes): of each step, every so manieth draw, so that all shares together are the step.
    """

    def __init__(
        self,
        photos: int,
        batch_size: int,
        seed: int,
        first_step: int,
        last_step: int,
        starts: NDArray[np.int64] | None = None,
        *,
        began: tuple[int, int] = (0, 0),
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.photos, self.batch_size, self.seed = photos, batch_size, seed
        self.shards = np.split(np.arange(photos), [] if starts is None else starts)
        self.first_step, self.last_step = first_step, last_step
        self.began, self.share = began, share

    def __iter__(self) -> Iterator[list[SampleKey]]:
        per_epoch = -(-self.photos // self.batch_size)
        for step in range(self.first_step, self.last_step):
            epoch, batch = divmod(step - self.began[0], per_epoch)
            epoch += self.began[1]
            if batch == 0 or step == self.first_step:
                order = self._order(np.random.default_rng((self.seed, epoch)))
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [SampleKey(epoch, int(index)) for index in chosen[self.share[0] :: self.share[1]]]

    def __len__(self) -> int:
        return self.last_step - self.first_step

    def _order(self, chance: np.random.Generator) -> NDArray[np.int64]:
        shards = chance.permutation(len(self.shards))
        pools = [shards[first : first + POOLED_SHARDS] for first in range(0, len(shards), POOLED_SHARDS)]
        return np.concatenate([chance.permutation(np.concatenate([self.shards[s] for s in pool])) for pool in pools])


class _Numbered(Sampler[tuple[int, list[SampleKey]]]):
    def __init__(self, steps: Iterable[list[SampleKey]]) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[tuple[int, list[SampleKey]]]:
        return enumerate(self.steps)


def sequential_batches(photos: Photos, batch_size: int, limit: int | None = None) -> list[list[SampleKey]]:
    """Draws of all photos (or `limit` of them, evenly spread), cropped from the middle."""
    count = len(photos) if limit is None else min(limit, len(photos))
    indices = np.linspace(0, len(photos) - 1, count).round().astype(int)
    draws = [SampleKey(CENTER, int(index)) for index in indices]
    return [draws[start : start + batch_size] for start in range(0, count, batch_size)]
