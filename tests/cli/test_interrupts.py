"""Tests of curate/interrupts.py: Ctrl-C gives one line and exit code 130, and leaves no partial file and no process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from curate import manifest
from curate.interrupts import InterruptHandler
from curate.manifest import DECISION_FIELDS, SCAN_SCHEMA, Lineage
from curate.scanning.scan import ScanOptions, scan_photos
from curate.sources.listing.sources import ShardSpec
from train import checkpoint
from train.checkpoint import CheckpointMetadata
from train.models.unet import ColorUNet
from train.recipe import Recipe

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
TIMEOUT_S = 120
PHOTOS = 40
COMMANDS = (
    "curate scan IN/photos -o OUT/m.parquet --workers 2",
    "curate filter IN/scan.parquet -o OUT/clean.parquet",
    "curate merge IN/part1.parquet IN/part2.parquet -o OUT/m.parquet",
    "curate pack IN/clean.parquet -o OUT/pack --workers 2",
    "curate export IN/clean.parquet -o OUT/copies --to copy",
    "curate report IN/scan.parquet -o OUT/page.html --workers 2",
    "curate explain IN/photos/00.png",
    "curate inspect IN/clean.parquet",
    "train fit IN/clean.parquet --run-dir OUT/run --channels 2 --image-size 32 --max-steps 100000 --device cpu",
    "train evaluate IN/best.safetensors IN/clean.parquet --split train --html OUT/page.html",
    "train colorize IN/best.safetensors IN/photos -o OUT/colored",
    "train export IN/best.safetensors -o OUT/model.onnx",
    "train inspect IN/best.safetensors",
    "train diagnose IN/losses.csv",
    "train recipe",
)
FAST_COMMANDS = (*COMMANDS[:8], COMMANDS[9])
"""Commands that finish importing and start to work within a second."""
FIT, COLORIZE, EXPORT = COMMANDS[8], COMMANDS[10], COMMANDS[4]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, their manifests, a checkpoint and a CSV file of losses."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(PHOTOS):
        pixels = rng.integers(0, 256, (300, 300, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number:02}.png")
    scan_photos([folder / "photos"], folder / "scan.parquet", ScanOptions(engine="serial"))
    for number in (1, 2):
        options = ScanOptions(engine="serial", shard=ShardSpec(number, 2))
        scan_photos([folder / "photos"], folder / f"part{number}.parquet", options)
    rows = manifest.read_manifest(folder / "scan.parquet").table.to_pylist()
    rows = [row | {"split": "train", "tone": "color", "reject_reasons": []} for row in rows]
    table = pa.Table.from_pylist(rows, pa.schema([*SCAN_SCHEMA, *DECISION_FIELDS]))
    manifest.write_manifest(folder / "clean.parquet", table, Lineage("clean", "", {}))
    about = CheckpointMetadata(Recipe(channels=2, image_size=32), str(folder / "clean.parquet"), "ab" * 32, 5, 0.114)
    torch.manual_seed(0)
    checkpoint.save(folder / "best.safetensors", checkpoint.network_tensors(ColorUNet(2)), about)
    (folder / "losses.csv").write_text("step,loss\n" + "".join(f"{step},0.1\n" for step in range(500)))
    return folder


def handles_signals(process: subprocess.Popen[str], _out: Path) -> bool:
    """Whether the process has installed our signal handlers: Python itself doesn't handle SIGTERM."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    caught = next((line for line in status.splitlines() if line.startswith("SigCgt")), "SigCgt: 0").split()[1]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def has_workers(_process: subprocess.Popen[str], out: Path) -> bool:
    return any(out.glob("scratch/*/listener-*"))


def has_pictures(_process: subprocess.Popen[str], out: Path) -> bool:
    return any(path.suffix == ".png" for folder in ("copies", "colored") for path in (out / folder).rglob("*"))


def has_steps(_process: subprocess.Popen[str], out: Path) -> bool:
    log = out / "run" / "log.jsonl"
    return log.exists() and '"step"' in log.read_text(encoding="utf-8")


def run_and_interrupt(
    command: str, inputs: Path, out: Path, when: Callable[[subprocess.Popen[str], Path], bool], later_s: float = 0.0
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command whose session gets SIGINT, `later_s` seconds after `when` is true."""
    (out / "scratch").mkdir()
    arguments = command.replace("IN/", f"{inputs}/").replace("OUT/", f"{out}/").split()
    environment = os.environ | {"TMPDIR": str(out / "scratch"), "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + TIMEOUT_S
        while process.poll() is None and not when(process, out):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(later_s)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    while remaining := processes_in_session(process.pid):
        assert time.monotonic() < deadline, remaining
        time.sleep(0.01)
    return process.returncode, stdout, stderr


def processes_in_session(session: int) -> list[str]:
    """Names of the processes of a session that have not ended."""
    names = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                name, _, fields = (folder / "stat").read_text(encoding="utf-8").rpartition(") ")
            except OSError:
                continue
            state, _, _, leader = fields.split()[:4]
            if int(leader) == session and state not in "ZX":
                names.append(name)
    return names


def check_ending(code: int, stdout: str, stderr: str, out: Path) -> None:
    assert "Traceback" not in stdout + stderr
    if code == 130:
        assert stderr.startswith("Interrupted: ")
        assert stderr.count("\n") == 1
    else:  # the command ended before the signal arrived
        assert (code, stderr) == (0, "")
        assert stdout
    assert not list(out.rglob("*.draft"))
    assert not list(
        out.glob("scratch/pymp-*")
    )  # made by multiprocessing; torch leaves a cache folder, which is allowed


@LINUX
@pytest.mark.parametrize(
    ("command", "later_s"), [*((command, 0.0) for command in COMMANDS), *((command, 0.4) for command in FAST_COMMANDS)]
)
def test_ctrl_c_while_a_command_starts(command: str, later_s: float, inputs: Path, tmp_path: Path) -> None:
    code, stdout, stderr = run_and_interrupt(command, inputs, tmp_path, handles_signals, later_s)
    check_ending(code, stdout, stderr, tmp_path)
    if not later_s:
        assert code == 130


@LINUX
@pytest.mark.parametrize(
    ("command", "when"),
    [
        (COMMANDS[0], has_workers),
        (COMMANDS[3], has_workers),
        (COMMANDS[5], has_workers),
        (EXPORT, has_pictures),
        (COLORIZE, has_pictures),
        (FIT, has_steps),
        (f"{FIT} --devices 2", has_steps),
    ],
)
def test_ctrl_c_while_a_command_works(
    command: str, when: Callable[[subprocess.Popen[str], Path], bool], inputs: Path, tmp_path: Path
) -> None:
    code, stdout, stderr = run_and_interrupt(command, inputs, tmp_path, when)
    check_ending(code, stdout, stderr, tmp_path)
    if "fit" in command:
        kept = f"the training so far is saved in {tmp_path / 'run'}; run the same command with --resume to continue"
        assert (code, stderr) == (130, f"Interrupted: {kept}.\n")


def ignore_interrupt() -> None:
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    time.sleep(TIMEOUT_S)


def test_an_interrupt_that_was_ignored_is_raised_again() -> None:
    with InterruptHandler() as interrupts, pytest.raises(KeyboardInterrupt):
        ignore_interrupt()
    assert interrupts.requested
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def clean_up(cleaned: list[str]) -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        time.sleep(0.2)
        cleaned.append("all")


def test_an_interrupt_is_not_raised_again_during_clean_up() -> None:
    cleaned: list[str] = []
    with InterruptHandler(), pytest.raises(KeyboardInterrupt):
        clean_up(cleaned)
    assert cleaned == ["all"]
