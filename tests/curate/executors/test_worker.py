"""Tests of curate/executors/worker.py: how workers are started, and which errors and signals they survive."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest

import curate
from curate.errors import EngineError
from curate.executors.engines import TaskResult, map_in_processes

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="on other systems workers aren't forked")


def evaluate_in_worker(expression: str) -> object:
    """The value of an expression in a worker process."""
    (outcome,) = map_in_processes(eval, [expression], workers=4)
    assert isinstance(outcome, TaskResult)
    return outcome.result


@LINUX
def test_workers_are_forked_from_a_process_without_threads() -> None:
    status = evaluate_in_worker("open(f'/proc/{__import__(\"os\").getppid()}/status').read()")
    assert "Threads:\t1\n" in str(status)


@LINUX
def test_no_more_workers_start_than_there_are_items() -> None:
    siblings = "open('/proc/{0}/task/{0}/children'.format(__import__('os').getppid())).read().split()"
    assert evaluate_in_worker(f"len({siblings})") == 1


def test_workers_get_the_current_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("first", "second"):
        monkeypatch.setenv("VIVIDSET_TEST", value)
        variables = "[__import__('os').environ.get(name) for name in ('VIVIDSET_TEST', 'PYTHONSAFEPATH')]"
        assert evaluate_in_worker(variables) == [value, os.environ.get("PYTHONSAFEPATH")]


def test_workers_do_not_import_from_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('a file in the current folder was run')", encoding="utf-8")
    command = [sys.executable, "-P", "-c", PRINT_NUMPY_PATH, os.getcwd(), "m.parquet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == np.__file__ + "\n"


PRINT_NUMPY_PATH = """
import sys
sys.path.insert(0, sys.argv[1])
from curate.executors.engines import map_in_processes
from curate.executors.worker import start_fork_server
start_fork_server("curate.scanning.preload")
outcome, = map_in_processes(eval, ["__import__('numpy').__file__"])
print(outcome.result)
"""


def test_workers_start_where_the_socket_of_the_fork_server_cannot_be_created(photos: Path, tmp_path: Path) -> None:
    too_long = tmp_path / ("x" * 110)
    too_long.mkdir()
    command = [sys.executable, "-m", "curate", "scan", str(photos), "-o", str(tmp_path / "m.parquet")]
    done = subprocess.run(
        command, env=os.environ | {"TMPDIR": str(too_long)}, capture_output=True, text=True, check=True
    )
    assert "3 photos: 2 measured, 1 failed" in done.stdout


def test_workers_do_not_run_the_script_that_starts_them(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from curate.executors.engines import map_in_processes\nprint(list(map_in_processes(abs, [-1])))\n",
        encoding="utf-8",
    )
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[TaskResult(item=-1, result=1)]\n", "")


def _map_in_pool_worker() -> str:
    try:
        return str(list(map_in_processes(abs, [1])))
    except EngineError as exc:
        return str(exc)


def test_a_worker_of_another_pool_is_advised_to_use_the_serial_engine() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_map_in_pool_worker).endswith("use the serial engine there")


FAILING_WORKER = """
from curate.executors.worker import start_fork_server
class Bad:
    def __reduce__(self):
        return eval, ("1 / 0",)
if __name__ == "__main__":
    process = start_fork_server("curate.scanning.scan").Process(target=print, args=[Bad()])
    process.start()
    process.join()
    print(process.exitcode)
"""


@LINUX
def test_a_worker_that_fails_while_it_starts_prints_nothing(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(FAILING_WORKER, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")


RUN_TONE_NETWORK = """
from curate.executors.engines import map_in_processes
from curate.executors.worker import start_fork_server
start_fork_server("curate.scanning.preload")
import numpy as np
from curate.measures.tone.network import network_log_odds
list(map_in_processes(network_log_odds, [[np.zeros((2, 2, 3), np.uint8)]]))
"""


@pytest.mark.parametrize("bytes_kept", [None, 0, 800_000], ids=["missing", "empty", "truncated"])
def test_a_damaged_tone_network_is_one_line(bytes_kept: int | None, tmp_path: Path) -> None:
    copy = shutil.copytree(Path(curate.__file__).parent, tmp_path / "curate")
    network = copy / "measures/tone/network.onnx"
    whole = network.read_bytes()
    network.unlink()
    if bytes_kept is not None:
        network.write_bytes(whole[:bytes_kept])
    command = [sys.executable, "-c", RUN_TONE_NETWORK]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"curate.errors.VividsetError: {network} is missing or damaged: pip install")


@LINUX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_scan_leaves_no_temporary_file(number: signal.Signals, photos: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "curate", "scan", str(photos), "-o", str(tmp_path / "m.parquet")]
    environment = os.environ | {"TMPDIR": str(scratch)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not list(scratch.glob("*/listener-*")):
            time.sleep(0.01)
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
    assert error == "Interrupted: run the same command again; it continues from what is finished.\n"
    assert process.returncode == 130
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_a_scan_runs_with_closed_standard_streams(closed: str, photos: Path, tmp_path: Path) -> None:
    command = f'"$0" -m curate scan "$1" -o "$2" {closed}'
    subprocess.run(["sh", "-c", command, sys.executable, str(photos), str(tmp_path / "m.parquet")], check=True)
    assert (tmp_path / "m.parquet").exists()


SCAN_IN_THREAD = """
import sys, threading
from curate.cli import main
if __name__ == "__main__":
    command = ["scan", sys.argv[1], "-o", sys.argv[2]]
    thread = threading.Thread(target=main, args=[command], kwargs={"standalone_mode": False})
    thread.start()
    thread.join()
"""


def test_another_program_can_call_the_command_in_a_thread(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    command = [sys.executable, "-c", SCAN_IN_THREAD, str(photos), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (out.exists(), done.stderr) == (True, "")


@LINUX
@pytest.mark.parametrize("stopped", ["worker", "server"])
def test_a_stopped_worker_or_fork_server_is_continued(stopped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.executors.worker.STOPPED_CHECK_S", 0.1)
    if stopped == "worker":
        outcomes = map_in_processes(signal.raise_signal, [signal.SIGSTOP], workers=1)
        assert list(outcomes) == [TaskResult(signal.SIGSTOP, None)]
    else:
        assert list(map_in_processes(abs, [-1], workers=1)) == [TaskResult(-1, 1)]
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGSTOP)  # type: ignore[attr-defined]
        assert list(map_in_processes(abs, [-2], workers=1)) == [TaskResult(-2, 2)]
