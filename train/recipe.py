"""The documented recipe: every hyper-parameter with its reason, in one frozen dataclass."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from curate.errors import UsageError

Norm = Literal["batch", "group"]
Encoder = Literal["plain", "efficientnet-lite0"]


def _setting(default: Any, reason: str) -> Any:
    return field(default=default, metadata={"reason": reason})


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the weights that a run ends with; the defaults are the documented recipe.

    Raises:
        UsageError: a value that can't be trained with.
    """

    image_size: int = _setting(
        256, "Side of the square crops in px: enough context to tell sky from sea, small enough to be quick."
    )
    channels: int = _setting(
        96, "Width of the U-Net's first level; too small a model stays sepia. 128 if the loss sticks above 0.10."
    )
    epochs: int = _setting(100, "Passes over the training photos.")
    batch_size: int = _setting(16, "Photos a step. 8 if the loss bounces.")
    accumulate: int = _setting(
        1, "Batches whose gradients are summed into one step, one after the other: a large step in little memory."
    )
    devices: int = _setting(1, "GPUs or CPU processes that share a step; each takes batch_size photos of its own.")
    lr: float = _setting(
        5e-5, "Peak learning rate of AdamW. Too high a rate is the plainest way to fail; 2e-5 if the loss bounces."
    )
    weight_decay: float = _setting(1e-5, "AdamW's decoupled weight decay.")
    beta1: float = _setting(0.9, "AdamW's first beta; OneCycleLR would cycle it, so cycle_momentum is off.")
    beta2: float = _setting(0.999, "AdamW's second beta.")
    warmup: float = _setting(0.1, "Share of all steps in which OneCycleLR climbs to the peak rate.")
    norm: Norm = _setting(
        "batch", "BatchNorm as the recipe discusses; `group` doesn't depend on the other photos of a batch."
    )
    encoder: Encoder = _setting(
        "plain", "What looks at the photo: the U-Net's own half, or one that ImageNet taught (vividset[encoder])."
    )
    neutral_weight: float = _setting(0.5, "Loss weight of gray and sepia: half, so that they don't teach the average.")
    saturated_weight: float = _setting(
        1.5, "Loss weight of saturated colours: they are rare, and what people look for."
    )
    neutral_chroma: float = _setting(
        20.0, "CIELAB chroma up to which a colour weighs neutral_weight; sepia has about 21."
    )
    saturated_chroma: float = _setting(75.0, "CIELAB chroma from which a colour weighs saturated_weight.")
    clip_grad: float | None = _setting(
        None, "Longest norm of a step's gradient; longer ones are scaled down. None leaves them alone."
    )
    ema: float | None = _setting(
        None,
        "Decay of a moving average of the weights, 0.999 for example; the average is what is validated and used. None "
        "keeps none.",
    )
    max_steps: int | None = _setting(
        None, "Stop after so many optimizer steps, even within an epoch; None runs all epochs."
    )
    seed: int = _setting(0, "Of the initial weights, the photos' order, crops and flips.")

    def __post_init__(self) -> None:
        for name in ("channels", "epochs", "batch_size", "accumulate", "devices"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        self._check("image_size", 32 <= self.image_size <= 4096, "32 to 4096")
        self._check("lr", math.isfinite(self.lr) and self.lr > 0, "a finite number above 0")
        self._check(
            "weight_decay", math.isfinite(self.weight_decay) and self.weight_decay >= 0, "a finite number, 0 or more"
        )
        self._check("warmup", 0 <= self.warmup < 1, "from 0 to below 1")
        clip = self.clip_grad
        self._check("clip_grad", clip is None or (math.isfinite(clip) and clip > 0), "a finite number above 0")
        self._check("ema", self.ema is None or 0 < self.ema < 1, "a number between 0 and 1, like 0.999")
        self._check("encoder", self.encoder in ("plain", "efficientnet-lite0"), "plain or efficientnet-lite0")
        enough = self.encoder == "plain" or self.image_size >= 64
        self._check("image_size", enough, f"64 or more with --encoder {self.encoder}")
        self._check("norm", self.norm in ("batch", "group"), "batch or group")
        self._check("max_steps", self.max_steps is None or self.max_steps >= 1, "at least 1")
        self._check("seed", 0 <= self.seed < 2**63, "0 to 9223372036854775807")

    def _check(self, name: str, good: bool, wanted: str) -> None:
        if not good:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)} can't be trained with: give {wanted}")

    @property
    def photos_per_step(self) -> int:
        """What one optimizer step learns from."""
        return self.batch_size * self.accumulate * self.devices

    def steps_per_epoch(self, photos: int) -> int:
        """Steps in an epoch; the last one may have fewer photos."""
        return math.ceil(photos / self.photos_per_step)

    def total_steps(self, photos: int) -> int:
        """Optimizer steps of the whole run.

        >>> Recipe().total_steps(100)
        700
        """
        every = self.epochs * self.steps_per_epoch(photos)
        return every if self.max_steps is None else min(every, self.max_steps)

    def described(self) -> list[tuple[str, Any, str]]:
        """(name, value, reason) of each hyper-parameter."""
        return [(entry.name, getattr(self, entry.name), entry.metadata["reason"]) for entry in fields(self)]
