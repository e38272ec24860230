"""Device, precision and processes of a run, by Lightning Fabric; nothing here is part of the recipe."""

from __future__ import annotations

import logging
import multiprocessing
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
from curate.executors.worker import without_main_module
from train.data.loader import TIMEOUT_S

# No banners, and no advice about settings that were chosen on purpose. Here, so that it also holds for the processes of
# a run with several devices, which import this module before Fabric connects them.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

POLL_SECONDS = 0.05
"""Interval between two checks whether all processes have started."""
LOST_CONNECTION_WAIT_SECONDS = 3.0
"""Time in which the parent ends a process that lost its connection because another process failed."""


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """Device, precision and speed settings of a run; they don't change what is trained, up to rounding."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps`."""
    precision: str = "auto"
    """A name of Lightning Fabric: `32-true`, `bf16-mixed`, `16-mixed`; `auto` is bf16-mixed on GPUs that support it."""
    workers: int = 1
    """Processes that read photos; 0 reads in the training process."""
    encoder_weights: Path | None = None
    """Weights of efficientnet-lite0, for the encoder or the perceptual loss; None takes the extra's."""
    compile: bool = False
    """Compile the network with torch.compile: a slow first step, faster ones after it."""
    timeout_s: float = TIMEOUT_S
    """A photo that takes longer to read counts as unreadable."""

    def make_fabric(self, devices: int = 1) -> Fabric:
        """Return Lightning Fabric for this device, or for `devices` of its kind with one process each.

        Raises:
            UsageError: the device doesn't exist, there are too few, or it lacks the precision.
        """
        match = re.fullmatch(r"(auto|cpu|cuda|mps)(?::(\d+))?", self.device)
        if match is None:
            raise UsageError(f"there is no --device {self.device}: choose auto, cpu, cuda, cuda:1 or mps")
        accelerator, number = match.groups()
        if number and devices > 1:
            raise UsageError(
                f"--device {self.device} is one device: give --device {accelerator} with --devices {devices}"
            )
        if accelerator == "cuda" and not torch.cuda.is_available():
            raise UsageError(
                f"--device {self.device}: torch finds no CUDA GPU on this machine: give --device cpu, or install a "
                "torch build for your GPU"
            )
        try:
            return Fabric(
                accelerator=accelerator,
                strategy="ddp_spawn" if devices > 1 else "auto",
                devices=[int(number)] if number else devices,
                precision=self._precision(accelerator),  # type: ignore[arg-type]  # Fabric checks it
            )
        except (RuntimeError, ValueError, TypeError, ImportError, MisconfigurationException) as exc:
            raise UsageError(
                f"--device {self.device} --precision {self.precision} is not available: {' '.join(str(exc).split())}"
            ) from exc

    def _precision(self, accelerator: str) -> str:
        if self.precision != "auto":
            return self.precision
        gpu = accelerator in ("auto", "cuda") and torch.cuda.is_available()
        return "bf16-mixed" if gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"

    def fused_adamw(self, fabric: Fabric) -> bool | None:
        """Return AdamW's argument `fused`: True on GPUs, except in float16, which clips after unscaling."""
        return True if fabric.device.type == "cuda" and self.precision != "16-mixed" else None

    def compile_if_asked(self, network: nn.Module) -> Any:
        """Return the network, compiled if `compile` is set: once for each batch size, of which a run has two."""
        return torch.compile(network, dynamic=False) if self.compile else network


class StopRequest:
    """A flag that signal handlers set when the user asks to stop.

    Not a `threading.Event`: if a second signal interrupts `Event.set`, its handler waits forever for the lock that its
    own thread holds.
    """

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """Request a stop."""
        self._set = True

    def is_set(self) -> bool:
        """Whether a stop was requested."""
        return self._set


def launch(fabric: Fabric, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run `function(fabric, *arguments)` in every process and return the result of rank 0.

    Raises:
        TrainingError: a process failed; the others are ended.
    """
    if fabric.world_size == 1:
        return fabric.launch(function, *arguments)
    try:
        with _forward_stop_signals() as stop, _starting_processes(fabric.world_size):
            return fabric.launch(_OpaqueCall(function, arguments)).value
    except ProcessException as exc:
        if stop.is_set():  # a process ended before it could stop after a step
            raise KeyboardInterrupt from exc
        last_line = str(exc).strip().splitlines()[-1]
        own_error = re.fullmatch(r"curate\.errors\.\w+: (.*)", last_line)
        reason = own_error[1] if own_error else f"{last_line}: --resume continues from the last checkpoint"
        raise TrainingError(f"process {exc.error_index} of {fabric.world_size} failed: {reason}") from exc


class _OpaqueCall:
    """A function before the call, its result after it: an object in which Fabric doesn't search for tensors.

    Fabric fails at frozen dataclasses when it searches arguments and results for tensors to move.
    """

    def __init__(self, value: Any, arguments: tuple[Any, ...] = ()) -> None:
        self.value, self.arguments = value, arguments

    def __call__(self, fabric: Fabric) -> _OpaqueCall:
        """Make the call in a process of the group, then leave the group.

        A process that ends without leaving the group is sometimes aborted by the group's threads. A process that fails
        doesn't leave it: the others would then fail too, and their messages would hide the cause. For the same reason a
        process that only lost its connection waits, so that the parent learns first of the one that failed.
        """
        try:
            result = self.value(fabric, *self.arguments)
        except KeyboardInterrupt:  # raised in all processes after the same step
            distributed.destroy_process_group()
            raise
        except RuntimeError:  # as gloo and NCCL report a lost connection; our own errors are of other types
            time.sleep(LOST_CONNECTION_WAIT_SECONDS)
            raise
        distributed.destroy_process_group()
        return _OpaqueCall(result)


def all_reduce_sum(fabric: Fabric, *values: float) -> list[float]:
    """Return the sum of each value over the processes; every process must call this."""
    if fabric.world_size == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64 if fabric.device.type != "mps" else torch.float32)
    sums = sums.to(fabric.device)
    distributed.all_reduce(sums)
    result: list[float] = sums.tolist()
    return result


def all_gather(fabric: Fabric, items: list[Any]) -> list[Any]:
    """Return the items of all processes, in rank order; every process must call this."""
    if fabric.world_size == 1:
        return items
    lists: list[Any] = [None] * fabric.world_size
    distributed.all_gather_object(lists, items)
    return [item for part in lists for item in part]


@contextmanager
def _forward_stop_signals() -> Iterator[StopRequest]:
    """Forward SIGINT and SIGTERM to the processes as SIGTERM; they agree after which step to stop.

    SIGTERM may arrive any number of times. A second Ctrl-C gets the handler that was installed before.
    """
    stop = StopRequest()

    def forward(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            signal.signal(signal.SIGINT, old_handlers[signal.SIGINT])
        stop.set()
        for process in multiprocessing.active_children():
            process.terminate()

    old_handlers = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)


@contextmanager
def _starting_processes(processes: int) -> Iterator[None]:
    """Until all processes have started, block SIGINT, which they inherit, and hide the user's script from them.

    A terminal sends Ctrl-C to every process, but only the parent may handle it. Fabric starts the processes and waits
    for their end in one call, so a timer checks whether they have started.
    """

    def check(_number: int, _frame: FrameType | None) -> None:
        if len(multiprocessing.active_children()) >= processes:
            end()

    start = ExitStack()

    def end() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        start.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

    resource_tracker.ensure_running()  # start it before blocking: starting it unblocks SIGINT
    old_handler = signal.signal(signal.SIGALRM, check)
    start.enter_context(without_main_module())
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    signal.setitimer(signal.ITIMER_REAL, POLL_SECONDS, POLL_SECONDS)
    try:
        yield
    finally:
        end()
        signal.signal(signal.SIGALRM, old_handler)
