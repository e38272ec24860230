"""Run the jobs of an export on an engine, after compressed tars have been copied for reading in another order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import pyarrow as pa

from curate.errors import OutputError
from curate.executors.engines import ENGINES, WorkerLost
from curate.executors.retry import Progress
from curate.exporting.items import ExportOptions
from curate.files import write_errors
from curate.locations import Location
from curate.sources.tar.copies import TarCopies, TarCopy, copy_tar

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(
    write: Callable[[Location, Job], Result], out: Location, jobs: Iterable[Job], options: ExportOptions
) -> Iterator[tuple[Job, Result]]:
    """Yield each job and its result, in the order in which they finish.

    Args:
        write: called in a worker with the output folder and a job.
        out: the output folder.
        jobs: read as workers become free.
        options: where to run.

    Raises:
        OutputError: `out` can't be written, a source of photos is gone, or a worker died.
    """
    for outcome in ENGINES[options.engine](partial(_write_job, write, out), jobs, workers=options.workers):
        if isinstance(outcome, WorkerLost):
            raise OutputError(
                f"a process that wrote {out} ended: is the memory full? Run the same command again with fewer "
                "--workers; what is finished is kept"
            )
        yield outcome.item, outcome.result


def _write_job(write: Callable[[Location, Job], Result], out: Location, job: Job) -> Result:
    with write_errors(out, OutputError, "-o", resumable=True):
        return write(out, job)


@contextmanager
def copied_tars(rows: pa.Table, out: Location, options: ExportOptions, progress: Progress | None) -> Iterator[None]:
    """Copy the photos of compressed tars for this block; after an error the copies stay, for the next run.

    Args:
        rows: of a manifest.
        out: the output folder.
        options: where to run.
        progress: called with the number of copied photos and the total.
    """
    copies = TarCopies(rows, out)
    done = 0
    for copy, _ in run_jobs(_write_copy, out, copies.unfinished(), options):
        done += len(copy.photos)
        if progress:
            progress(done, copies.photos)
    yield
    copies.remove()


def _write_copy(_out: Location, copy: TarCopy) -> None:
    copy_tar(copy)
