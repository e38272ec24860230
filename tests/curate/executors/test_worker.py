"""Worker processes: how they come to be, and how little they take to start."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import curate
from curate.errors import EngineError
from curate.executors.engines import Done, processes

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers aren't forked")


def in_a_worker(program: str) -> object:
    """What an expression comes to in a worker."""
    (done,) = processes(eval, [program], workers=4)
    assert isinstance(done, Done)
    return done.result


@LINUX
def test_workers_are_forked_from_a_process_without_threads() -> None:
    status = in_a_worker("open(f'/proc/{__import__(\"os\").getppid()}/status').read()")
    assert "Threads:\t1\n" in str(status)


@LINUX
def test_no_more_workers_start_than_there_are_items() -> None:
    siblings = "open('/proc/{0}/task/{0}/children'.format(__import__('os').getppid())).read().split()"
    assert in_a_worker(f"len({siblings})") == 1


def test_workers_see_the_environment_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("one", "other"):
        monkeypatch.setenv("VIVIDSET_TEST", word)
        seen = "[__import__('os').environ.get(name) for name in ('VIVIDSET_TEST', 'PYTHONSAFEPATH')]"
        assert in_a_worker(seen) == [word, os.environ.get("PYTHONSAFEPATH")]


def test_workers_import_from_where_the_program_does(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('a file that lies beside photos was run')", encoding="utf-8")
    command = [sys.executable, "-P", "-c", SCAN, os.getcwd(), "m.parquet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == np.__file__ + "\n"


SCAN = """
import sys
sys.path.insert(0, sys.argv[1])
from curate.executors.engines import processes
from curate.executors.worker import start_fork_server
start_fork_server("curate.scanning.preload")
done, = processes(eval, ["__import__('numpy').__file__"])
print(done.result)
"""


def test_workers_start_where_there_is_no_place_for_a_socket(photos: Path, tmp_path: Path) -> None:
    too_long = tmp_path / ("x" * 110)
    too_long.mkdir()
    command = [sys.executable, "-m", "curate", "scan", str(photos), "-o", str(tmp_path / "m.parquet")]
    done = subprocess.run(
        command, env=os.environ | {"TMPDIR": str(too_long)}, capture_output=True, text=True, check=True
    )
    assert "3 photos: 2 measured, 1 failed" in done.stdout


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from curate.executors.engines import processes\nprint(list(processes(abs, [1])))\n", encoding="utf-8"
    )
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is a script that calls this guarded by `if __name__ == '__main__'`?" in done.stderr.splitlines()[-1]


def _from_a_worker() -> str:
    try:
        return str(list(processes(abs, [1])))
    except EngineError as exc:
        return str(exc)


def test_a_worker_of_another_pool_is_told_to_take_the_serial_engine() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_from_a_worker).endswith("choose the serial engine there")


HALF_STARTED = """
from curate.executors.worker import start_fork_server
class Bad:
    def __reduce__(self):
        return eval, ("1 / 0",)
if __name__ == "__main__":
    process = prepare("curate.scan").Process(target=print, args=[Bad()])
    process.start()
    process.join()
    print(process.exitcode)
"""


@LINUX
def test_a_worker_that_fails_as_it_starts_tells_the_terminal_nothing(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(HALF_STARTED, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")


ASK_THE_NETWORK = """
from curate.executors.engines import processes
from curate.executors.worker import start_fork_server
start_fork_server("curate.scanning.preload")
import numpy as np
from curate.measures.tone.network import log_odds
list(processes(log_odds, [np.zeros((2, 2, 3), np.uint8)]))
"""


@pytest.mark.parametrize("kept", [None, 0, 800_000], ids=["missing", "empty", "cut off"])
def test_a_damaged_network_is_one_line_whoever_meets_it(kept: int | None, tmp_path: Path) -> None:
    copy = shutil.copytree(Path(curate.__file__).parent, tmp_path / "curate")
    network = copy / "measures/tone_network.onnx"
    whole = network.read_bytes()
    network.unlink()
    if kept is not None:
        network.write_bytes(whole[:kept])
    command = [sys.executable, "-c", ASK_THE_NETWORK]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"curate.errors.VividsetError: {network} is missing or damaged: pip install")


@LINUX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_leaves_nothing_behind(number: signal.Signals, photos: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "curate", "scan", str(photos), "-o", str(tmp_path / "m.parquet")]
    environment = os.environ | {"TMPDIR": str(scratch)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not list(scratch.glob("*/listener-*")):
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert said == "Interrupted: finished work is kept; run the same command again to continue.\n"
    assert process.returncode == 130
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_streams_may_be_closed(closed: str, photos: Path, tmp_path: Path) -> None:
    command = f'"$0" -m curate scan "$1" -o "$2" {closed}'
    subprocess.run(["sh", "-c", command, sys.executable, str(photos), str(tmp_path / "m.parquet")], check=True)
    assert (tmp_path / "m.parquet").exists()


IN_A_THREAD = """
import sys, threading
from curate.cli import main
if __name__ == "__main__":
    command = ["scan", sys.argv[1], "-o", sys.argv[2]]
    thread = threading.Thread(target=main, args=[command], kwargs={"standalone_mode": False})
    thread.start()
    thread.join()
"""


def test_another_program_may_call_the_command_from_a_thread(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    command = [sys.executable, "-c", IN_A_THREAD, str(photos), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (out.exists(), done.stderr) == (True, "")
