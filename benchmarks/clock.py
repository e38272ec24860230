"""What a command takes: clock and CPU seconds, those of processes included that outlive it for a moment."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Sequence

SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of <linux/prctl.h>."""


def clock_and_cpu_s(command: Sequence[str]) -> tuple[float, float]:
    """Seconds until the command ends, and those of CPU until its last process has (on Linux, which hands them over)."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    clock = time.perf_counter() - began
    try:
        while True:
            os.wait()
    except ChildProcessError:
        after = os.times()
    return clock, after.children_user + after.children_system - before.children_user - before.children_system
