"""Which photos each training step takes: a seeded order that a resumed run repeats exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from train.data.dataset import Photos

CENTER = -1
"""As the epoch of a `SampleKey`: the crop that validation uses, from the middle of the photo and not mirrored."""
POOLED_SHARDS = 16
"""The photos of this many shards of a pack are mixed at a time: about 8,000 photos."""


class SampleKey(NamedTuple):
    """One photo in one epoch. With the run's seed, it determines the crop and whether the crop is mirrored."""

    epoch: int
    photo: int
    """Index in the dataset."""


class StepSampler:
    """Yields the samples of each step, from any step of a run onwards, so that a resumed run repeats the order.

    Every epoch is a permutation of all photos, seeded by (seed, epoch); its last batch may be smaller. For a pack, the
    order of its shards is drawn first, then the order of the photos within each group of `POOLED_SHARDS` shards, so
    that each file is read once per epoch.

    Args:
        photos: number of photos.
        batch_size: photos per step, over all processes.
        seed: of the order.
        first_step: first step to yield; steps count from 0.
        last_step: end of the steps to yield, exclusive.
        shard_starts: indices at which a pack's shards begin, without the first.
        start_point: (step, epoch) at which the epochs were last counted from; not (0, 0) after a rollback.
        process: (rank, processes). A process takes every `processes`-th sample of a step, so that all processes
            together take the whole step.
    """

    def __init__(
        self,
        photos: int,
        batch_size: int,
        seed: int,
        first_step: int,
        last_step: int,
        shard_starts: NDArray[np.int64] | None = None,
        *,
        start_point: tuple[int, int] = (0, 0),
        process: tuple[int, int] = (0, 1),
    ) -> None:
        self.photos, self.batch_size, self.seed = photos, batch_size, seed
        self.shards = np.split(np.arange(photos), [] if shard_starts is None else shard_starts)
        self.first_step, self.last_step = first_step, last_step
        self.start_point, self.process = start_point, process

    def __iter__(self) -> Iterator[list[SampleKey]]:
        start_step, start_epoch = self.start_point
        rank, processes = self.process
        steps_per_epoch = -(-self.photos // self.batch_size)
        for step in range(self.first_step, self.last_step):
            epoch, batch = divmod(step - start_step, steps_per_epoch)
            epoch += start_epoch
            if batch == 0 or step == self.first_step:
                order = self._epoch_order(np.random.default_rng((self.seed, epoch)))
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [SampleKey(epoch, int(index)) for index in chosen[rank::processes]]

    def __len__(self) -> int:
        return self.last_step - self.first_step

    def _epoch_order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        shards = rng.permutation(len(self.shards))
        pools = [shards[first : first + POOLED_SHARDS] for first in range(0, len(shards), POOLED_SHARDS)]
        return np.concatenate([rng.permutation(np.concatenate([self.shards[s] for s in pool])) for pool in pools])


def sequential_batches(photos: Photos, batch_size: int, limit: int | None = None) -> list[list[SampleKey]]:
    """Return all photos in order, or `limit` of them evenly spread, as batches of center crops."""
    indices = spread_indices(len(photos), len(photos) if limit is None else limit)
    keys = [SampleKey(CENTER, int(index)) for index in indices]
    return [keys[start : start + batch_size] for start in range(0, len(keys), batch_size)]


def spread_indices(count: int, limit: int) -> NDArray[np.int64]:
    """Return up to `limit` indices from 0 to count − 1, evenly spread: photos of one folder follow each other.

    >>> spread_indices(9, 3).tolist()
    [0, 4, 8]
    """
    return np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64)
