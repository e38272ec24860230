"""How many CPU cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/proc/self/cgroup")
_CGROUP_FILES = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Return the number of CPU cores that this process may use, at least 1.

    It is the smaller of two numbers: the cores of the CPU affinity (`taskset`, Slurm, cpusets, `docker --cpuset-cpus`),
    and the CPU quota of the cgroup (`docker --cpus`, Kubernetes limits), rounded up: a quota of 1.5 cores gives 2.
    """
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        cores = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:  # macOS and Windows
        cores = os.cpu_count() or 1
    return max(1, min(cores, math.ceil(min(cgroup_quota(), cores))))


def cgroup_quota() -> float:
    """Return the CPU quota of this process's cgroup and of all cgroups above, in cores; infinity without a quota."""
    quota = math.inf
    for line in _read(_CGROUPS).splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0":
            bases = [_CGROUP_FILES, _CGROUP_FILES / "unified"]  # version 2, alone or beside version 1
        elif "cpu" in controllers.split(","):
            bases = [_CGROUP_FILES / controllers, _CGROUP_FILES / "cpu"]
        else:
            continue
        inner = PurePosixPath(path.lstrip("/"))
        folders = [base / part for base in bases for part in (inner, *inner.parents)]
        quota = min([quota, *map(_quota_of, folders)])
    return quota


def _quota_of(folder: Path) -> float:
    """The quota that the files of one cgroup hold, in cores: `max 100000` and -1 are no quota."""
    limit, period = (*_read(folder / "cpu.max").split(), "", "")[:2]
    if not limit:
        limit, period = _read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()
    return int(limit) / int(period) if limit.isdecimal() and period.isdecimal() and int(period) else math.inf


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
