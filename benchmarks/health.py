"""False alarms and delay of the health check, on simulated loss curves with the noise of real batches.

    python benchmarks/health.py [--seeds 500] [--only WORD]

For each kind of curve, with and without each step's neutral loss, it prints: for healthy curves at batch sizes 8 and
16, the number of false alarms; for bad curves at batch size 16 (a tenth of the seeds), the number that is found and the
delay after the onset in steps (median and 90th percentile). Then the same for overfitting, by the number of held-out
photos: false alarms on healthy curves, and delays on overfitted ones. Then, for healthy CSV tables without --neutral
(half of the seeds), the number of false alarms; tables of means are read with --means.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from train.health.curve import LossCurve, Validation
from train.health.detectors import CHECK_INTERVAL_STEPS, detect_all
from train.health.diagnose import diagnose_curve, read_loss_curve
from train.health.overfitting import detect_overfitting

Level = NDArray[np.float64]
STEPS = 3000


def add_noise(level: Level, seed: int, batch_size: int, *, without_neutral: bool) -> LossCurve:
    """Return a loss curve with the noise of real batches, as measured at batch size 16 (docs/results/health.md).

    The neutral loss varies by a third from batch to batch. The loss relative to it varies by up to 12 %, less while the
    network still predicts almost gray.
    """
    chance = np.random.default_rng(seed)
    scatter = (16 / batch_size) ** 0.5
    neutrals = chance.lognormal(0, 0.33 * scatter, len(level))
    neutrals /= neutrals.mean()
    own = np.minimum(0.12, 0.54 * np.abs(1 - level)) * scatter
    ratios = neutrals * level * (1 + own * chance.normal(0, 1, len(level)))
    return LossCurve(ratios, len(level) // 10, neutrals=() if without_neutral else neutrals, photos_per_step=batch_size)


def add_validations(curve: LossCurve, held_out: Level, seed: int, photos: int) -> LossCurve:
    """Return a loss curve with 25 validations on `photos` held-out photos, whose expected loss ÷ neutral is `held_out`.

    A few photos may be easier or more difficult than all photos for the whole run: by a factor whose logarithm has the
    standard deviation 0.8 ÷ √n, as measured (docs/results/health.md). Each validation varies by 2 %, and one in twenty
    is a spike.
    """
    chance = np.random.default_rng(seed)
    difficulty = chance.lognormal(0, 0.8 / photos**0.5)
    steps = np.linspace(len(held_out) / 25, len(held_out), 25).astype(int)
    spikes = np.where(chance.random(25) < 0.05, chance.lognormal(0, 0.3, 25), 1)
    ratios = held_out[steps - 1] * difficulty * spikes * chance.normal(1, 0.02, 25)
    validations = [
        Validation(int(step), float(ratio), 0.7, {"color": photos}, photos=photos)
        for step, ratio in zip(steps, ratios, strict=True)
    ]
    return replace(curve, validations=validations)


def overfitted(seed: int, since: int = 1000) -> tuple[Level, Level]:
    """Return training and held-out levels: from `since` on, the one still falls, to a third, the other rises."""
    chance = np.random.default_rng(seed)
    shared = np.geomspace(1, chance.uniform(0.7, 0.8), since)
    memorized, forgotten = (shared[-1] * np.geomspace(1, end, STEPS - since) for end in (1 / 3, chance.uniform(1, 1.2)))
    return np.concatenate([shared, memorized]), np.concatenate([shared, forgotten])


def falling(seed: int, steps: int = STEPS) -> Level:
    """Return an exponential fall from neutral to between a third and two thirds of it."""
    level: Level = np.random.default_rng(seed).uniform(0.33, 0.67) ** (np.arange(steps) / steps)
    return level


def power_law(seed: int) -> Level:
    """Return a power law from neutral over 2,000 to 12,000 steps."""
    chance = np.random.default_rng(seed)
    steps = int(chance.uniform(2000, 12_000))
    level: Level = (1 + np.arange(steps) / chance.uniform(50, 500)) ** -chance.uniform(0.1, 0.4)
    return level


def late_start(seed: int) -> Level:
    """Return a curve that is almost flat during the warm-up and then falls."""
    return np.concatenate([np.full(STEPS // 10, 0.97), 0.97 * falling(seed, STEPS - STEPS // 10)])


HEALTHY: dict[str, Callable[[int], Level]] = {
    "1 down to 0.33 to 0.67": falling,
    "slowly, 0.95 to 0.80": lambda seed: np.linspace(0.95, 0.80, STEPS),
    "slowly, 1.0 to 0.75": lambda seed: np.linspace(1.0, 0.75, STEPS),
    "power laws": power_law,
    "0.97 through the warm-up, then down": late_start,
}


def plateau(at: float, since: int) -> Level:
    """Return a curve that falls to the level `at` until the step `since` and is flat from then on."""
    return np.concatenate([np.geomspace(1, at, since), np.full(STEPS, at)]) if since else np.full(STEPS, at)


def square_wave(hold: int, high: float = 0.8, low: float = 0.6, since: int = 600) -> Level:
    """Return a curve that falls until `since`, then alternates between two levels, each held for `hold` steps."""
    bouncing = np.where(np.arange(STEPS) // hold % 2, high, low)
    return np.concatenate([np.geomspace(1, (high + low) / 2, since), bouncing])


BAD: dict[str, tuple[Level, int]] = {
    **{f"stuck at {at} from the start": (plateau(at, 0), STEPS // 10) for at in (0.98, 0.95, 0.92, 0.9, 0.88, 0.86)},
    **{f"stuck at {at} since step 1,000": (plateau(at, 1000), 1000) for at in (0.95, 0.9, 0.86)},
    **{
        f"0.8, 0.6, each for {hold} steps": (square_wave(hold), 600)
        for hold in (40, 50, 60, 75, 100, 130, 150, 200, 300)
    },
}


def healthy_losses(seed: int, steps: int, batch_size: int) -> Level:
    """Return losses that fall from 0.12 exponentially, by a power law or linearly, with noise."""
    chance = np.random.default_rng(seed)
    time, low = np.arange(steps) / steps, chance.uniform(0.33, 0.67)
    levels = (
        low**time,
        (1 + np.arange(steps) / chance.uniform(50, 500)) ** -chance.uniform(0.2, 0.4),
        1 - (1 - low) * time,
    )
    losses: Level = 0.12 * levels[seed % 3] * chance.lognormal(0, 0.33 * (16 / batch_size) ** 0.5, steps)
    return losses


HELD_OUT_PHOTOS = (1, 2, 4, 8, 16, 64, 142)


def first_overfitting(curve: LossCurve) -> int | None:
    """Return the step at which overfitting is reported; None if it is not."""
    for end in range(CHECK_INTERVAL_STEPS, len(curve.ratios) + 1, CHECK_INTERVAL_STEPS):
        if detect_overfitting(curve.until(end)):
            return end
    return None


def count_overfitting_alarms(photos: int, seeds: int) -> str:
    """Return the number of false alarms on healthy curves; held-out photos gain 75 to 100 % of what others gain."""
    alarmed = 0
    for make in HEALTHY.values():
        for seed in range(seeds):
            level, share = make(seed), np.random.default_rng(seed).uniform(0.75, 1)
            curve = add_noise(level, seed, 16, without_neutral=False)
            alarmed += first_overfitting(add_validations(curve, 1 - share * (1 - level), seed, photos)) is not None
    return f"{alarmed} of {seeds * len(HEALTHY)}"


def measure_overfitting_delays(photos: int, seeds: int) -> str:
    """Return how many overfitted curves are found, and how many steps after the onset, as text."""
    steps = []
    for seed in range(seeds):
        level, held_out = overfitted(seed)
        curve = add_noise(level, seed, 16, without_neutral=False)
        steps.append(first_overfitting(add_validations(curve, held_out, seed, photos)))
    found = [step - 1000 for step in steps if step]
    median, p90 = np.percentile(found, [50, 90]) if found else (np.nan, np.nan)
    return f"{len(found)} of {seeds}, after {median:,.0f} ({p90:,.0f})"


def every_nth(apart: int, steps: int = 2 * STEPS) -> Callable[[int, int], pd.DataFrame]:
    """Return a maker of tables with every `apart`-th loss."""
    return lambda seed, batch: _table(healthy_losses(seed, steps, batch)[apart - 1 :: apart], apart)


def means(count: int, rows: int) -> Callable[[int, int], pd.DataFrame]:
    """Return a maker of tables with `rows` means of `count` losses."""
    return lambda seed, batch: _table(healthy_losses(seed, count * rows, batch).reshape(-1, count).mean(axis=1), count)


def smoothed(share: float, apart: int) -> Callable[[int, int], pd.DataFrame]:
    """Return a maker of tables with exponentially smoothed losses, as TensorBoard shows them."""

    def make(seed: int, batch: int) -> pd.DataFrame:
        losses = pd.Series(healthy_losses(seed, 2 * STEPS, batch)).ewm(alpha=1 - share, adjust=False).mean().to_numpy()
        return _table(losses[apart - 1 :: apart], apart)

    return make


def _table(losses: Level, apart: int) -> pd.DataFrame:
    return pd.DataFrame({"step": apart * (1 + np.arange(len(losses))), "loss": losses})


TABLES: dict[str, tuple[Callable[[int, int], pd.DataFrame], int | None]] = {
    **{f"each {apart}th loss": (every_nth(apart), None) for apart in (1, 10, 50, 100)},
    **{f"each 100th loss of {steps}": (every_nth(100, steps), None) for steps in (400, 1000, 2000)},
    **{f"means of {count}": (means(count, 6000 // count), count) for count in (10, 50, 100)},
    **{f"{rows} means of {count}": (means(count, rows), count) for rows in (12, 40, 150) for count in (35, 350)},
    **{
        f"smoothed by {share}, each {apart}th": (smoothed(share, apart), None)
        for share in (0.9, 0.98, 0.99)
        for apart in (1, 10)
    },
}
"""By name: a function that makes a table from seed and batch size, and the value of --means."""


def count_table_alarms(make: Callable[[int, int], pd.DataFrame], means_of: int | None, seeds: int) -> str:
    """Return the number of false alarms on healthy tables at batch sizes 8 and 16, as text."""
    alarmed = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "losses.csv"
        for seed in range(seeds):
            for batch_size in (8, 16):
                make(seed, batch_size).to_csv(path, index=False)
                alarmed += bool(diagnose_curve(read_loss_curve(path, means_of=means_of)).findings)
    return f"{alarmed} of {2 * seeds}"


def main() -> None:
    """Print one line for each kind of curve and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--only", default="", help="Only kinds whose name contains this.")
    options = parser.parse_args()
    for name, make in HEALTHY.items():
        if options.only in name:
            print(
                f"{name:40}",
                *(count_alarms(make, options.seeds, without_neutral=without) for without in (False, True)),
                flush=True,
            )
    for name, (level, onset) in BAD.items():
        if options.only in name:
            cells = (
                measure_delays(level, onset, options.seeds // 10, without_neutral=without) for without in (False, True)
            )
            print(f"{name:40}", *cells, flush=True)
    for photos in HELD_OUT_PHOTOS:
        if options.only in (name := f"overfitting, {photos} held-out photos"):
            alarms = count_overfitting_alarms(photos, options.seeds)
            print(f"{name:40}", f"{alarms:40}", measure_overfitting_delays(photos, options.seeds // 10), flush=True)
    for name, (table, means_of) in TABLES.items():
        if options.only in name:
            print(f"{name:40}", count_table_alarms(table, means_of, options.seeds // 2), flush=True)


def count_alarms(make: Callable[[int], Level], seeds: int, *, without_neutral: bool) -> str:
    """Return the number and kinds of false alarms on healthy curves at batch sizes 8 and 16, as text."""
    found = [
        detect_all(add_noise(make(seed), seed, batch_size, without_neutral=without_neutral))
        for seed in range(seeds)
        for batch_size in (8, 16)
    ]
    kinds = sorted({finding.kind for findings in found for finding in findings})
    return f"{sum(map(bool, found))} of {len(found)} {', '.join(kinds)}".ljust(40)


def measure_delays(level: Level, onset: int, seeds: int, *, without_neutral: bool) -> str:
    """Return how many bad curves are found at batch size 16, and how many steps after the onset, as text."""
    first = []
    for seed in range(seeds):
        found = detect_all(add_noise(level, seed, 16, without_neutral=without_neutral))
        first += [finding.step - onset for finding in found[:1]]
    if not first:
        return f"0 of {seeds}".ljust(40)
    median, p90 = np.percentile(first, [50, 90])
    return f"{len(first)} of {seeds}, after {median:,.0f} ({p90:,.0f})".ljust(40)


if __name__ == "__main__":
    main()
