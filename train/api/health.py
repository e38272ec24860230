"""Diagnose the loss curve of a training run."""

from __future__ import annotations

import train.health.diagnose
from curate.errors import UsageError
from curate.locations import local_path
from train.api.arguments import StrPath
from train.health.diagnose import Diagnosis, read_loss_curve


def diagnose(run: StrPath, *, neutral: float | None = None, means_of: int | None = None) -> Diagnosis:
    """Check whether a training run is healthy, and return what to do if it is not.

    Args:
        run: a run's folder, or a CSV file of any trainer with the columns step,loss.
        neutral: loss of predicting neutral gray, for a CSV file; None takes the mean of its first 10 to 100 losses.
        means_of: each row of the CSV file is the mean of this many steps; None: each row is one step.

    Returns:
        `verdict`, one line, and `findings`, each with kind, step, evidence and remedy; no findings means healthy.

    Raises:
        TrainingError: there is nothing to judge.
        UsageError: an argument has no meaning.

    Example:
        >>> [finding.kind for finding in train.diagnose("runs/clean").findings]  # doctest: +SKIP
        []
    """
    if neutral is not None and not neutral > 0:
        raise UsageError(f"neutral must be a loss above 0, not {neutral!r}")
    if means_of is not None and means_of < 1:
        raise UsageError(f"means_of must be a number of steps, 1 or more, not {means_of!r}")
    return train.health.diagnose.diagnose_curve(read_loss_curve(local_path(run), neutral, means_of))
