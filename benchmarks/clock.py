"""Measure the clock and CPU time of a command, including processes that end shortly after it. Linux only."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Sequence

SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of <linux/prctl.h>."""


def clock_and_cpu_s(command: Sequence[str]) -> tuple[float, float]:
    """Run a command; return its clock seconds, and the CPU seconds of all its processes.

    This process becomes the parent of processes whose parent ended, so that it can wait for the last one.
    """
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    before, start_s = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    clock = time.perf_counter() - start_s
    try:
        while True:
            os.wait()
    except ChildProcessError:
        after = os.times()
    return clock, after.children_user + after.children_system - before.children_user - before.children_system
