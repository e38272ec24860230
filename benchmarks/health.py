"""How often the health check is wrong, and how soon it is right, on simulated traces with real batches' noise.

    python benchmarks/health.py [--seeds 500] [--only WORD]

Prints, for each kind of trace, with and without each step's neutral loss: of healthy ones at batch 8 and 16 how many
raise an alarm; of bad ones at batch 16, a tenth as many seeds, how many are found and how long after the onset (median
and 90th percentile, steps). Then, of healthy tables without --neutral, half as many seeds, how many raise an alarm;
tables of means are read with --means.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from train.health.detectors import LossCurve, detect_all
from train.health.diagnose import diagnose, read_loss_curve

Level = NDArray[np.float64]
STEPS = 3000


def noisy(level: Level, seed: int, batch_size: int, *, losses_alone: bool) -> LossCurve:
    """A curve with the noise that real batches have, as measured at batch 16 (docs/results/health.md).

    What gray costs varies by a third from batch to batch, and a step's loss by up to 12 % around its share of that,
    less while the network still paints almost gray.
    """
    chance = np.random.default_rng(seed)
    scatter = (16 / batch_size) ** 0.5
    neutrals = chance.lognormal(0, 0.33 * scatter, len(level))
    neutrals /= neutrals.mean()
    own = np.minimum(0.12, 0.54 * np.abs(1 - level)) * scatter
    ratios = neutrals * level * (1 + own * chance.normal(0, 1, len(level)))
    return LossCurve(ratios, len(level) // 10, neutrals=() if losses_alone else neutrals, photos_per_step=batch_size)


def falling(seed: int, steps: int = STEPS) -> Level:
    """From neutral down to between a third and two thirds of it."""
    level: Level = np.random.default_rng(seed).uniform(0.33, 0.67) ** (np.arange(steps) / steps)
    return level


def power_law(seed: int) -> Level:
    """From neutral, quickly and then ever more slowly, over 2,000 to 12,000 steps."""
    chance = np.random.default_rng(seed)
    steps = int(chance.uniform(2000, 12_000))
    level: Level = (1 + np.arange(steps) / chance.uniform(50, 500)) ** -chance.uniform(0.1, 0.4)
    return level


def late(seed: int) -> Level:
    """Near gray through the warm-up, then down."""
    return np.concatenate([np.full(STEPS // 10, 0.97), 0.97 * falling(seed, STEPS - STEPS // 10)])


HEALTHY: dict[str, Callable[[int], Level]] = {
    "1 down to 0.33 to 0.67": falling,
    "slowly, 0.95 to 0.80": lambda seed: np.linspace(0.95, 0.80, STEPS),
    "slowly, 1.0 to 0.75": lambda seed: np.linspace(1.0, 0.75, STEPS),
    "power laws": power_law,
    "0.97 through the warm-up, then down": late,
}


def stuck(at: float, since: int) -> Level:
    """Falling to a level until a step, and flat from there on."""
    return np.concatenate([np.geomspace(1, at, since), np.full(STEPS, at)]) if since else np.full(STEPS, at)


def square(hold: int, high: float = 0.8, low: float = 0.6, since: int = 600) -> Level:
    """Falling, then up and down between two levels, each held for so many steps."""
    bouncing = np.where(np.arange(STEPS) // hold % 2, high, low)
    return np.concatenate([np.geomspace(1, (high + low) / 2, since), bouncing])


BAD: dict[str, tuple[Level, int]] = {
    **{f"stuck at {at} from the start": (stuck(at, 0), STEPS // 10) for at in (0.98, 0.95, 0.92, 0.9, 0.88, 0.86)},
    **{f"stuck at {at} since step 1,000": (stuck(at, 1000), 1000) for at in (0.95, 0.9, 0.86)},
    **{f"0.8, 0.6, each for {hold} steps": (square(hold), 600) for hold in (40, 50, 60, 75, 100, 130, 150, 200, 300)},
}


def healthy_losses(seed: int, steps: int, batch_size: int) -> Level:
    """From 0.12, as a power, a power law or a straight line."""
    chance = np.random.default_rng(seed)
    time, low = np.arange(steps) / steps, chance.uniform(0.33, 0.67)
    levels = (
        low**time,
        (1 + np.arange(steps) / chance.uniform(50, 500)) ** -chance.uniform(0.2, 0.4),
        1 - (1 - low) * time,
    )
    losses: Level = 0.12 * levels[seed % 3] * chance.lognormal(0, 0.33 * (16 / batch_size) ** 0.5, steps)
    return losses


def each(apart: int, steps: int = 2 * STEPS) -> Callable[[int, int], pd.DataFrame]:
    """One loss of so many is logged."""
    return lambda seed, batch: _table(healthy_losses(seed, steps, batch)[apart - 1 :: apart], apart)


def mean_of(count: int, rows: int) -> Callable[[int, int], pd.DataFrame]:
    """Means of so many are logged."""
    return lambda seed, batch: _table(healthy_losses(seed, count * rows, batch).reshape(-1, count).mean(axis=1), count)


def smoothed(share: float, apart: int) -> Callable[[int, int], pd.DataFrame]:
    """Running means are logged, as TensorBoard smooths."""

    def make(seed: int, batch: int) -> pd.DataFrame:
        losses = pd.Series(healthy_losses(seed, 2 * STEPS, batch)).ewm(alpha=1 - share, adjust=False).mean().to_numpy()
        return _table(losses[apart - 1 :: apart], apart)

    return make


def _table(losses: Level, apart: int) -> pd.DataFrame:
    return pd.DataFrame({"step": apart * (1 + np.arange(len(losses))), "loss": losses})


TABLES: dict[str, tuple[Callable[[int, int], pd.DataFrame], int | None]] = {
    **{f"each {apart}th loss": (each(apart), None) for apart in (1, 10, 50, 100)},
    **{f"each 100th loss of {steps}": (each(100, steps), None) for steps in (400, 1000, 2000)},
    **{f"means of {count}": (mean_of(count, 6000 // count), count) for count in (10, 50, 100)},
    **{f"{rows} means of {count}": (mean_of(count, rows), count) for rows in (12, 40, 150) for count in (35, 350)},
    **{
        f"smoothed by {share}, each {apart}th": (smoothed(share, apart), None)
        for share in (0.9, 0.98, 0.99)
        for apart in (1, 10)
    },
}
"""Makes a table from seed and batch size; and what --means says of it."""


def table_alarms(make: Callable[[int, int], pd.DataFrame], means_of: int | None, seeds: int) -> str:
    """Of healthy tables at batch 8 and 16, how many raise an alarm."""
    alarmed = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "losses.csv"
        for seed in range(seeds):
            for batch_size in (8, 16):
                make(seed, batch_size).to_csv(path, index=False)
                alarmed += bool(diagnose(read_loss_curve(path, means_of=means_of)).findings)
    return f"{alarmed} of {2 * seeds}"


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--only", default="", help="Kinds whose name has this in it.")
    given = parser.parse_args()
    for name, make in HEALTHY.items():
        if given.only in name:
            print(f"{name:40}", *(alarms(make, given.seeds, losses_alone=alone) for alone in (False, True)), flush=True)
    for name, (level, onset) in BAD.items():
        if given.only in name:
            cells = (delays(level, onset, given.seeds // 10, losses_alone=alone) for alone in (False, True))
            print(f"{name:40}", *cells, flush=True)
    for name, (table, means_of) in TABLES.items():
        if given.only in name:
            print(f"{name:40}", table_alarms(table, means_of, given.seeds // 2), flush=True)


def alarms(make: Callable[[int], Level], seeds: int, *, losses_alone: bool) -> str:
    """Of healthy traces at batch 8 and 16, how many raise which alarm."""
    found = [
        detect_all(noisy(make(seed), seed, batch_size, losses_alone=losses_alone))
        for seed in range(seeds)
        for batch_size in (8, 16)
    ]
    kinds = sorted({finding.kind for findings in found for finding in findings})
    told = ", ".join(kinds)
    return f"{sum(map(bool, found))} of {len(found)} {told}".ljust(40)


def delays(level: Level, onset: int, seeds: int, *, losses_alone: bool) -> str:
    """At batch 16, how many bad traces are found, and how many steps after the onset."""
    first = []
    for seed in range(seeds):
        found = detect_all(noisy(level, seed, 16, losses_alone=losses_alone))
        first += [finding.step - onset for finding in found[:1]]
    if not first:
        return f"0 of {seeds}".ljust(40)
    middle, late_ones = np.percentile(first, [50, 90])
    return f"{len(first)} of {seeds}, after {middle:,.0f} ({late_ones:,.0f})".ljust(40)


if __name__ == "__main__":
    main()
