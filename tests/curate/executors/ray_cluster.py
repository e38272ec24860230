"""Tests on a Ray cluster of two nodes on this machine: the same results as other engines, even if a node is lost.

`test_ray.py` runs this file in a separate process.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curate
from curate.executors.engines import EngineName, TaskResult, WorkerLost, map_on_ray
from curate.executors.retry import Progress, with_watchdog
from curate.exporting import export, parquet
from curate.packing import pack
from curate.scanning import work_dir

ROOT = Path(__file__).parents[3]
WAIT_S = 60.0


@pytest.fixture(scope="module")
def cluster(s3: Any) -> Iterator[Any]:  # noqa: ARG001 - its address is in the environment of the nodes
    """Two nodes of one core each, which know the S3 server of the tests; RAY_ADDRESS names them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("PYTHONWARNINGS", "ignore")
        patch.setenv("RAY_worker_niceness", "0")  # not 15, with which a busy machine hardly runs them
        import ray
        from ray.cluster_utils import Cluster

        small = {"num_cpus": 1, "include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
        nodes = Cluster(initialize_head=True, head_node_args=small)
        nodes.add_node(num_cpus=1)
        patch.setenv("RAY_ADDRESS", nodes.address)
        yield nodes
        ray.shutdown()
        nodes.shutdown()  # type: ignore[no-untyped-call]


def meet(folder: str, number: int) -> str:
    """Wait until a process per node has called this; return the id of the node."""
    import ray

    (Path(folder) / str(number)).touch()
    deadline = time.monotonic() + WAIT_S
    while len(os.listdir(folder)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return str(ray.get_runtime_context().get_node_id())


def hang(seconds: float) -> None:
    """Take longer than a photo may."""
    for _ in with_watchdog([None], 0.1):
        time.sleep(seconds)


@pytest.mark.usefixtures("cluster")
def test_tasks_run_on_both_nodes_and_raise_their_exceptions(tmp_path: Path) -> None:
    outcomes = list(map_on_ray(partial(meet, str(tmp_path)), range(2)))
    assert len({outcome.result for outcome in outcomes if isinstance(outcome, TaskResult)}) == 2
    with pytest.raises(ValueError, match="invalid literal"):
        list(map_on_ray(int, ["1", "x"], workers=1))


def test_scan_export_and_pack_of_a_bucket_give_the_same_if_nodes_are_lost(
    s3: Any, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_photos(s3, "bucket/photos")
    for module, name, value in (
        *((work_dir, "CHUNK_PHOTOS", 1), (pack, "SHARD_PHOTOS", 4), (parquet, "_BYTES_PER_MB", 25_000)),
        *((export, "TAR_PHOTOS", 4), (export, "PART_PHOTOS", 4)),
    ):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "1000")
    run_all(tmp_path / "ray", "ray", cluster)
    assert not cluster.worker_nodes
    run_all(tmp_path / "serial", "serial", None)
    for name in ("scan.parquet", "clean.parquet", "rejected.parquet", "pack/manifest.parquet"):
        tables = [curate.read_manifest(tmp_path / engine / name).table for engine in ("ray", "serial")]
        assert tables[0].num_rows > 0
        assert tables[0].equals(tables[1]), name
    for folder, pattern, count in (
        *(("pack", "*.arrow", 6), ("parquet", "data/*.parquet", 6)),
        *(("webdataset", "*.tar", 6), ("imagefolder", "*/**/*", 28)),
    ):
        first, second = (tmp_path / engine / folder for engine in ("ray", "serial"))
        files = [path for path in sorted(second.glob(pattern)) if path.is_file()]
        assert len(files) >= count, folder
        assert [path.relative_to(second) for path in files] == [
            path.relative_to(first) for path in sorted(first.glob(pattern)) if path.is_file()
        ]
        for path in files:
            other = first / path.relative_to(second)
            if path.suffix == ".parquet":
                assert pq.read_table(other).equals(pq.read_table(path))
            else:
                assert other.read_bytes() == path.read_bytes()


def put_photos(s3: Any, folder: str) -> None:
    """Put 20 photos of different content, two of them cut off, and 12 in a tar into a bucket."""
    rng, shard, files = np.random.default_rng(0), io.BytesIO(), {}
    with tarfile.open(fileobj=shard, mode="w") as tar:
        for number in range(32):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(file, "PNG")
            if number < 20:
                files[f"{folder}/{number:03}.png"] = file.getvalue()[: 900 if number % 10 == 7 else None]
            else:
                member = tarfile.TarInfo(f"{number:03}.png")
                member.size = len(file.getvalue())
                tar.addfile(member, io.BytesIO(file.getvalue()))
    s3.pipe(files | {f"{folder}/more.tar": shard.getvalue()})


def run_all(out: Path, engine: EngineName, cluster: Any) -> None:
    """Scan, filter, export and pack the bucket; if there is a cluster, a node is lost in the scan and in the pack."""
    scan, clean, kinds = out / "scan.parquet", out / "clean.parquet", ("photo", "graphic")
    progress = remove_at_work(cluster, next(iter(cluster.worker_nodes))) if cluster else None
    curate.scan_photos("s3://bucket/photos", scan, engine=engine, progress=progress)
    curate.filter_manifest(scan, clean, keep_kind=kinds, min_colorfulness=0, split="80/10/10")
    progress = remove_at_work(cluster, cluster.add_node(num_cpus=1)) if cluster else None
    curate.export_photos(clean, out / "parquet", "parquet", shard_mb=1, engine=engine)
    curate.export_photos(clean, out / "webdataset", "webdataset", engine=engine)
    curate.export_photos(clean, out / "imagefolder", "imagefolder", engine=engine)
    curate.pack_photos(clean, out / "pack", size_px=32, engine=engine, progress=progress)


def remove_at_work(cluster: Any, node: Any) -> Progress:
    """A progress callback that kills the processes of a node when some photos are done and it works on others."""
    raylet = node.all_processes["raylet"][0].process.pid

    def is_busy() -> bool:
        children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text(encoding="ascii").split()
        with contextlib.suppress(OSError):  # one has just ended
            return any(Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"ray::_run") for child in children)
        return False

    def report(done: int, total: int) -> None:
        if 0 < done < total and node in cluster.worker_nodes:
            deadline = time.monotonic() + WAIT_S
            while not is_busy() and time.monotonic() < deadline:
                time.sleep(0.005)
            cluster.remove_node(node, allow_graceful=False)

    return report


@pytest.mark.usefixtures("cluster")
def test_a_task_that_hangs_is_repeated_once() -> None:
    assert list(map_on_ray(hang, [WAIT_S])) == [WorkerLost(WAIT_S, "died")]
