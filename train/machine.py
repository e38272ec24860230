"""Where a run happens, and how its arithmetic is done there; none of it is part of the recipe."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from curate.errors import UsageError


@dataclass(frozen=True, slots=True)
class Machine:
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
