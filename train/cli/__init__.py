"""The `train` commands: they parse options, call one function of the package, and print its result.

- `fit`, `colorize`, `evaluate`, `compare`, `export`: the commands of these names
- `inspect`: `train inspect`, `train diagnose` and `train recipe`
- `common`: options that several commands share

Heavy libraries are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import math
import os

import click

from curate.cli.common import CONTEXT_SETTINGS, READ_ONLY, RESUMABLE, WRITES_AT_END, ErrorHandlingGroup
from curate.cores import available_cores, cgroup_quota
from curate.version import __version__
from train.cli.colorize import colorize
from train.cli.compare import compare
from train.cli.evaluate import evaluate
from train.cli.export import export
from train.cli.fit import fit
from train.cli.inspect import diagnose, inspect, recipe


@click.group(cls=ErrorHandlingGroup, context_settings=CONTEXT_SETTINGS)
@click.version_option(__version__, prog_name="train")
def main() -> None:
    """Train a colorizer on a curated manifest, and use it.

    \b
    train fit manifests/clean.parquet                    train with the documented recipe
    train diagnose runs/clean                            check whether the run is healthy
    train evaluate runs/clean manifests/clean.parquet    score it on the test split
    train colorize runs/clean old.jpg -o colored         use it
    """
    # OpenMP threads that wait actively make a step thirty times slower if another process needs a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if math.isfinite(cgroup_quota()):  # torch follows the CPU affinity by itself, but not the quota
        os.environ.setdefault("OMP_NUM_THREADS", str(available_cores()))


main.add_commands(
    {
        fit: "no training step was saved yet; run the same command again",  # `fit` itself says more once it has started
        recipe: READ_ONLY,
        diagnose: READ_ONLY,
        inspect: READ_ONLY,
        evaluate: WRITES_AT_END,
        compare: WRITES_AT_END,
        colorize: RESUMABLE,
        export: WRITES_AT_END,
    }
)
