"""Tests on a Ray cluster of two nodes on this machine: the same rows as other engines, even if a worker is killed.

`test_ray.py` runs this file in a separate process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from curate import manifest
from curate.executors.engines import ENGINES, EngineName, TaskResult, WorkerLost, map_on_ray
from curate.packing.pack import PackOptions, pack_photos
from curate.scanning.scan import ScanOptions, scan_photos

Pixels = NDArray[np.uint8]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Start two nodes of one core each, and let RAY_ADDRESS name them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("PYTHONWARNINGS", "ignore")
        import ray as library
        from ray.cluster_utils import Cluster

        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes.add_node(num_cpus=1)
        patch.setenv("RAY_ADDRESS", nodes.address)
        yield
        library.shutdown()
        nodes.shutdown()  # type: ignore[no-untyped-call]


def kill_worker_once(marker: str) -> None:
    """Kill the own process at the first call; later calls do nothing."""
    if not os.path.exists(marker):
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("engine", ["serial", "processes", "ray"])
def test_all_engines_give_the_same_results(engine: EngineName) -> None:
    expected = {TaskResult(number, abs(number)) for number in range(-9, 5)}
    assert set(ENGINES[engine](abs, range(-9, 5), workers=2)) == expected
    with pytest.raises(ValueError, match="invalid literal"):
        list(ENGINES[engine](int, ["1", "x"], workers=1))


@pytest.mark.usefixtures("cluster")
def test_a_task_whose_worker_dies_is_repeated_once(tmp_path: Path) -> None:
    marker = str(tmp_path / "died")
    assert list(map_on_ray(kill_worker_once, [marker])) == [TaskResult(marker, None)]
    assert list(map_on_ray(os._exit, [3])) == [WorkerLost(3, "died")]


@pytest.mark.usefixtures("cluster")
def test_a_scan_gives_the_same_rows_if_a_worker_is_killed(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (140, 140, 3), dtype=np.uint8)
    complete = encoded(pixels, "PNG")
    for number in range(600):
        (folder / f"{number:03}.png").write_bytes(complete[:5000] if number % 40 == 7 else complete)
    tables = []
    killed: list[int] = []
    engines: tuple[EngineName, ...] = ("ray", "serial")
    for engine in engines:
        work = tmp_path / f".{engine}.parquet.scan"
        killer = threading.Thread(target=kill_busy_worker, args=(work, killed))
        if engine == "ray":
            killer.start()
        scan_photos([folder], tmp_path / f"{engine}.parquet", ScanOptions(engine=engine))
        if engine == "ray":
            killer.join()
        tables.append(manifest.read_manifest(tmp_path / f"{engine}.parquet").table)
    assert killed
    assert tables[0].num_rows == 600
    assert tables[0].equals(tables[1])


@pytest.mark.usefixtures("cluster")
def test_ray_packs_the_same_shards(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (50, 40, 3), dtype=np.uint8)
        (folder / f"{number}.png").write_bytes(encoded(pixels, "PNG"))
    scan_photos([folder], tmp_path / "scan.parquet", ScanOptions(engine="serial"))
    engines: tuple[EngineName, ...] = ("ray", "serial")
    for engine in engines:
        assert (
            pack_photos(tmp_path / "scan.parquet", tmp_path / engine, PackOptions(size_px=32, engine=engine)).photos
            == 5
        )
    shards = [(tmp_path / engine / "shard-000000.arrow").read_bytes() for engine in engines]
    assert shards[0] == shards[1]


def kill_busy_worker(work: Path, killed: list[int]) -> None:
    """Kill a Ray worker as soon as it measures photos of this scan; append its process id to `killed`."""
    deadline = time.monotonic() + 60
    while not killed and time.monotonic() < deadline:
        time.sleep(0.01)
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdigit() and (work / "listing.parquet").exists():
                    title = (process / "cmdline").read_bytes()
                    if title.startswith(b"ray::") and b"IDLE" not in title:
                        os.kill(int(process.name), signal.SIGKILL)
                        killed.append(int(process.name))
                        break


@pytest.mark.usefixtures("cluster")
def test_a_photo_that_hangs_is_an_error_row(photos: Path, tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    from PIL import Image

    whole = encoded(Image.new("L", (2000, 2000), 128), "JPEG", progressive=True, quality=90)
    start, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    (photos / "endless.jpg").write_bytes(whole[:end] + whole[start:end] * 20_000 + whole[end:])
    scan_photos([photos], tmp_path / "m.parquet", ScanOptions(engine="ray", timeout_s=4.0))
    errors = manifest.read_manifest(tmp_path / "m.parquet").table.select(["path", "error"]).to_pylist()
    kinds = {row["path"]: (row["error"] or "fine").partition(":")[0] for row in errors}
    assert kinds == {
        "a-vivid.png": "fine",
        "c-cut.png": "BrokenPhoto",
        "endless.jpg": "TimedOut",
        "more/b-gray.png": "fine",
    }
