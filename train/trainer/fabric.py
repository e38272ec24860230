"""Where a run happens, and how its arithmetic is done there; none of it is part of the recipe."""

from __future__ import annotations

import logging
import multiprocessing
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import distributed, nn
from torch.multiprocessing.spawn import ProcessException

from curate.errors import TrainingError, UsageError


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """Device, precision, and what makes steps quicker."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps`."""
    precision: str = "auto"
    """As Lightning Fabric names them: `32-true`, `bf16-mixed`, `16-mixed`; `auto` is bf16 on GPUs that multiply it."""
    workers: int = 1
    """Processes that read photos."""
    encoder_weights: Path | None = None
    """Of efficientnet-lite0, for the encoder or the perceptual loss; None takes its package's."""
    compile: bool = False
    """Compile the network with torch.compile: quicker steps after a slow first one."""

    def fabric(self, devices: int = 1) -> Fabric:
        """Lightning Fabric on this device, or on so many of its kind in as many processes.

        Raises:
            UsageError: no such device here, not so many, or not in that precision.
        """
        named = re.fullmatch(r"(auto|cpu|cuda|mps)(?::(\d+))?", self.device)
        if named is None:
            raise UsageError(f"there is no --device {self.device}: choose auto, cpu, cuda, cuda:1 or mps")
        accelerator, number = named.groups()
        if number and devices > 1:
            raise UsageError(
                f"--device {self.device} is one device: give --device {accelerator} with --devices {devices}"
            )
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it recommends what we chose not to do
        strategy = "ddp_spawn" if devices > 1 else "auto"
        if accelerator == "cuda" and not torch.cuda.is_available():
            raise UsageError(f"--device {self.device}: there is no CUDA GPU that torch can use here: give --device cpu")
        try:
            return Fabric(
                accelerator=accelerator,
                strategy=strategy,
                devices=[int(number)] if number else devices,
                precision=self._precision(accelerator),  # type: ignore[arg-type]  # checked there
            )
        except (RuntimeError, ValueError, TypeError, ImportError, MisconfigurationException) as exc:
            raise UsageError(
                f"--device {self.device} --precision {self.precision} can't be had: {' '.join(str(exc).split())}"
            ) from exc

    def _precision(self, accelerator: str) -> str:
        if self.precision != "auto":
            return self.precision
        gpu = accelerator in ("auto", "cuda") and torch.cuda.is_available()
        return "bf16-mixed" if gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"

    def fuses(self, fabric: Fabric) -> bool | None:
        """Whether AdamW is one kernel: on a GPU, but where gradients are unscaled before they are clipped (fp16)."""
        return True if fabric.device.type == "cuda" and self.precision != "16-mixed" else None

    def compiled(self, network: nn.Module) -> Any:
        """The network, compiled if asked for: once for each size of batch, of which a run has two."""
        return torch.compile(network, dynamic=False) if self.compile else network


LOOK_S = 0.05
"""Between two looks whether all processes have started."""


class Request:
    """Whether somebody asked to stop. A signal handler may set it; a `threading.Event` it may not.

    Where a second signal interrupts `Event.set`, the handler waits for a lock that its own thread holds.
    """

    def __init__(self) -> None:
        self._made = False

    def set(self) -> None:
        """Ask."""
        self._made = True

    def is_set(self) -> bool:
        """Whether it was asked."""
        return self._made


def launch(fabric: Fabric, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run `function(fabric, *arguments)` in every process; what the first one returned.

    Raises:
        TrainingError: one of them failed; the others are ended.
    """
    if fabric.world_size == 1:
        return fabric.launch(function, *arguments)
    try:
        with _passed_on() as asked, _starting_without_interrupts(fabric.world_size):
            return fabric.launch(_Sealed(function, arguments)).inside
    except ProcessException as exc:
        if asked.is_set():  # before it could stop after a step
            raise KeyboardInterrupt from exc
        last = str(exc).strip().splitlines()[-1]
        ours = re.fullmatch(r"curate\.errors\.\w+: (.*)", last)
        said = ours[1] if ours else f"{last}: --resume goes on from the last checkpoint"
        raise TrainingError(f"process {exc.error_index} of {fabric.world_size} failed: {said}") from exc


class _Sealed:
    """Keeps Fabric from looking for tensors inside of what it carries; it can't look into frozen dataclasses."""

    def __init__(self, inside: Any, arguments: tuple[Any, ...] = ()) -> None:
        self.inside, self.arguments = inside, arguments

    def __call__(self, fabric: Fabric) -> _Sealed:
        """In the process: call what is inside.

        The group is left before the process ends: its threads, still running then, would abort it now and then.
        Not where one fails: the others would fail of that first, and their words would hide the cause.
        """
        try:
            found = self.inside(fabric, *self.arguments)
        except KeyboardInterrupt:  # in all of them, after the same step
            distributed.destroy_process_group()
            raise
        distributed.destroy_process_group()
        return _Sealed(found)


def all_reduce_sum(fabric: Fabric, *numbers: float) -> list[float]:
    """Sums over the processes; every one of them must ask."""
    if fabric.world_size == 1:
        return list(numbers)
    sums = torch.tensor(numbers, dtype=torch.float64 if fabric.device.type != "mps" else torch.float32)
    sums = sums.to(fabric.device)
    distributed.all_reduce(sums)
    found: list[float] = sums.tolist()
    return found


def all_gather(fabric: Fabric, items: list[Any]) -> list[Any]:
    """The items of all processes; every one of them must ask."""
    if fabric.world_size == 1:
        return items
    lists: list[Any] = [None] * fabric.world_size
    distributed.all_gather_object(lists, items)
    return [item for part in lists for item in part]


@contextmanager
def _passed_on() -> Iterator[Request]:
    """Ask the processes to stop when this one is asked; they decide together after which step.

    As SIGTERM, of which any number mean the same. A second Ctrl-C does what Ctrl-C did before.
    """
    asked = Request()

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if asked.is_set() and number == signal.SIGINT:
            signal.signal(signal.SIGINT, before[signal.SIGINT])
        asked.set()
        for process in multiprocessing.active_children():
            process.terminate()

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _starting_without_interrupts(processes: int) -> Iterator[None]:
    """Block SIGINT until so many processes have started, which inherit that: a terminal sends its Ctrl-C to all.

    Fabric starts them and waits for them in one call, so a timer looks whether they have started.
    """

    def look(_number: int, _frame: FrameType | None) -> None:
        if len(multiprocessing.active_children()) >= processes:
            end()

    def end() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

    resource_tracker.ensure_running()  # first, as it ends by letting SIGINT through
    before = signal.signal(signal.SIGALRM, look)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    signal.setitimer(signal.ITIMER_REAL, LOOK_S, LOOK_S)
    try:
        yield
    finally:
        end()
        signal.signal(signal.SIGALRM, before)
