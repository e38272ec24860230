"""The documented training recipe: every hyper-parameter, with its default and the reason for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from curate.errors import UsageError

Norm = Literal["batch", "group"]
Encoder = Literal["plain", "efficientnet-lite0"]
Augment = Literal["none", "film"]


def _hyper_parameter(default: Any, reason: str) -> Any:
    return field(default=default, metadata={"reason": reason})


@dataclass(frozen=True, slots=True)
class Recipe:
    """The hyper-parameters, which decide the final weights; the defaults are the documented recipe.

    Raises:
        UsageError: a value is out of range.
    """

    image_size: int = _hyper_parameter(
        256, "Side of the square training crops in px: large enough to tell sky from sea, small enough to train fast."
    )
    channels: int = _hyper_parameter(
        96,
        "Channels of the U-Net's first level. A model that is too small stays sepia; use 128 if the loss stays "
        "above 0.10.",
    )
    epochs: int = _hyper_parameter(100, "Passes over the training photos.")
    batch_size: int = _hyper_parameter(16, "Photos in a batch; use 8 if the loss oscillates.")
    accumulate: int = _hyper_parameter(
        1, "Batches whose gradients are added up for one optimizer step: large steps in little memory."
    )
    devices: int = _hyper_parameter(1, "GPUs or CPU processes that share a step; each takes batch_size photos.")
    lr: float = _hyper_parameter(
        5e-5,
        "Peak learning rate of AdamW. Too high a rate is the most common failure; use 2e-5 if the loss oscillates.",
    )
    weight_decay: float = _hyper_parameter(1e-5, "Decoupled weight decay of AdamW.")
    beta1: float = _hyper_parameter(
        0.9, "First beta of AdamW. OneCycleLR would change it during the run, so cycle_momentum is off."
    )
    beta2: float = _hyper_parameter(0.999, "Second beta of AdamW.")
    warmup: float = _hyper_parameter(
        0.1, "Share of the steps in which OneCycleLR raises the learning rate to its peak."
    )
    norm: Norm = _hyper_parameter(
        "batch",
        "`batch` is BatchNorm, as documented; `group` is GroupNorm, which doesn't depend on the rest of a batch.",
    )
    encoder: Encoder = _hyper_parameter(
        "plain",
        "`plain` is the U-Net's own encoder; `efficientnet-lite0` starts from ImageNet weights (extra encoder).",
    )
    neutral_weight: float = _hyper_parameter(
        0.5, "Loss weight of gray and sepia pixels: low, so that the network doesn't learn to predict the mean color."
    )
    saturated_weight: float = _hyper_parameter(
        1.5, "Loss weight of saturated pixels: high, because they are rare and matter most to viewers."
    )
    neutral_chroma: float = _hyper_parameter(
        20.0, "CIELAB chroma up to which a pixel gets neutral_weight; sepia has about 21."
    )
    saturated_chroma: float = _hyper_parameter(75.0, "CIELAB chroma from which a pixel gets saturated_weight.")
    perceptual_weight: float = _hyper_parameter(
        0.0,
        "Weight of a perceptual loss on features of efficientnet-lite0 (weights: extra encoder); 0 turns it off. Try "
        "0.01 if pictures stay sepia at a third of the neutral loss.",
    )
    augment: Augment = _hyper_parameter(
        "none",
        "`film` shows the network each training photo as old film and paper would show it, with random response, "
        "contrast, fading and damage, for colorizing old photographs; its colors stay the target. `none` doesn't.",
    )
    crop_borders: bool = _hyper_parameter(
        False,
        "Train and validate on what is inside of the bands at the sides of a photo, as the scan measured them. Not "
        "by default, because the network should also see whole photos as they are. A pack is cropped when it is made.",
    )
    clip_grad: float | None = _hyper_parameter(
        None, "Largest norm of a step's gradient; longer gradients are scaled down to it. None doesn't clip."
    )
    ema: float | None = _hyper_parameter(
        None,
        "Decay of an exponential moving average of the weights, for example 0.999. The average is validated and "
        "saved as best. None keeps no average.",
    )
    max_steps: int | None = _hyper_parameter(
        None, "Largest number of optimizer steps, even if that is within an epoch; None runs all epochs."
    )
    seed: int = _hyper_parameter(
        0, "Seed of the initial weights and of the photos' order, crops, flips and degradation."
    )

    def __post_init__(self) -> None:
        for name in ("channels", "epochs", "batch_size", "accumulate", "devices"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        self._check("image_size", 32 <= self.image_size <= 4096, "32 to 4096")
        self._check("lr", math.isfinite(self.lr) and self.lr > 0, "a finite number above 0")
        self._check(
            "weight_decay", math.isfinite(self.weight_decay) and self.weight_decay >= 0, "a finite number, 0 or more"
        )
        self._check("warmup", 0 <= self.warmup < 1, "from 0 to below 1")
        weight = self.perceptual_weight
        self._check("perceptual_weight", math.isfinite(weight) and weight >= 0, "a finite number, 0 or more, like 0.01")
        clip = self.clip_grad
        self._check("clip_grad", clip is None or (math.isfinite(clip) and clip > 0), "a finite number above 0")
        self._check("ema", self.ema is None or 0 < self.ema < 1, "a number between 0 and 1, like 0.999")
        self._check("encoder", self.encoder in ("plain", "efficientnet-lite0"), "plain or efficientnet-lite0")
        large_enough = self.encoder == "plain" or self.image_size >= 64
        self._check("image_size", large_enough, f"64 or more with --encoder {self.encoder}")
        self._check("augment", self.augment in ("none", "film"), "none or film")
        self._check("norm", self.norm in ("batch", "group"), "batch or group")
        self._check("max_steps", self.max_steps is None or self.max_steps >= 1, "at least 1")
        self._check("seed", 0 <= self.seed < 2**63, "0 to 9223372036854775807")

    def _check(self, name: str, valid: bool, wanted: str) -> None:
        if not valid:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)} is out of range: give {wanted}")

    @property
    def photos_per_step(self) -> int:
        """Photos in one optimizer step, over all devices."""
        return self.batch_size * self.accumulate * self.devices

    def steps_per_epoch(self, photos: int) -> int:
        """Return the number of steps in an epoch of `photos` photos; the last step may have fewer photos."""
        return math.ceil(photos / self.photos_per_step)

    def total_steps(self, photos: int) -> int:
        """Return the number of optimizer steps of a run on `photos` training photos.

        >>> Recipe().total_steps(100)
        700
        """
        steps = self.epochs * self.steps_per_epoch(photos)
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def describe_changes(self) -> str:
        """Return the hyper-parameters that differ from the documented recipe, as text.

        >>> Recipe(image_size=64, augment="film").describe_changes()
        'image_size 64, augment film; all else as documented'
        """
        values = ((entry.name, getattr(self, entry.name), entry.default) for entry in fields(self))
        changed = [f"{name} {value}" for name, value, default in values if value != default]
        return ", ".join(changed) + "; all else as documented" if changed else "the documented recipe"

    def describe(self) -> list[tuple[str, Any, str]]:
        """Return (name, value, reason) of each hyper-parameter."""
        return [(entry.name, getattr(self, entry.name), entry.metadata["reason"]) for entry in fields(self)]
