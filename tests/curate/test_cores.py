"""The number of cores follows CPU affinity and cgroup quotas."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from curate import cores


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        # docker --cpus=1.5 in a cgroup namespace, cgroup version 2: the container's cgroup is the root
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        # the quota of a Kubernetes pod is set on the cgroup above the container's
        ("0::/pod/box", {"pod/cpu.max": "50000 100000", "pod/box/cpu.max": "max 100000"}, 0.5),
        # version 1, seen from the host
        (
            "4:cpu,cpuacct:/docker/1\n1:name=systemd:/",
            {"cpu,cpuacct/docker/1/cpu.cfs_quota_us": "300000", "cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000"},
            3.0,
        ),
        # version 1 in a container: the path is the host's, but the container's own files are at the root
        ("3:cpu:/docker/1", {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0),
        ("3:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        # version 2 beside version 1
        ("1:cpuset:/\n0::/job", {"unified/job/cpu.max": "400000 100000"}, 4.0),
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("damaged\n0::/", {"cpu.max": "what?"}, math.inf),
        ("", {}, math.inf),
    ],
)
def test_the_smallest_quota_of_all_cgroups_counts(
    lines: str, files: dict[str, str], expected: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(f"{text}\n")
    (tmp_path / "cgroup").write_text(lines)
    monkeypatch.setattr(cores, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "_CGROUP_FILES", tmp_path / "fs")
    assert cores.cgroup_quota() == expected


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"), [(8, math.inf, 8), (8, 1.5, 2), (1, 4.0, 1), (8, 0.25, 1), (8, 3.0, 3)]
)
def test_the_smaller_of_affinity_and_quota_counts_rounded_up(
    affinity: int, quota: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if hasattr(os, "process_cpu_count"):
        monkeypatch.setattr(os, "process_cpu_count", lambda: affinity)
    else:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(affinity)), raising=False)
    monkeypatch.setattr(cores, "cgroup_quota", lambda: quota)
    assert cores.available_cores() == expected
