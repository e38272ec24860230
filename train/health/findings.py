"""The texts of a diagnosis: kinds of problems, their documented remedies, and the documented scale of losses."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union

from curate.text import install_hint, pluralize
from train.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Losses = Union[Sequence[float], "NDArray[np.float64]"]
Kind = Literal["divergence", "oscillation", "plateau", "gray output", "sepia output", "overfitting"]
DOCUMENTED_KINDS: tuple[Kind, ...] = ("oscillation", "plateau", "gray output", "sepia output")
"""Problems that the documents behind the recipe describe; vividset added the others."""

DOCUMENTED_NEUTRAL = 0.12
"""Loss of predicting neutral gray in the documents behind the recipe."""
DOCUMENTED_LOSSES = (0.12, 0.10, 0.08, 0.06, 0.04)
"""The documents' scale: from an untrained network to a well trained one."""
NETWORK_OPTIONS = ("image_size", "channels", "norm", "encoder")
"""Fields of the recipe that a command in a remedy repeats where they differ from the documented ones."""
WINDOW_STEPS = 100
"""Losses are judged as means of this many steps: one step's loss depends more on its photos than on the weights."""
MIN_STEPS_TO_JUDGE = 4 * WINDOW_STEPS

LOWER_RATE_FIRST = "lower the learning rate first"
"""How a remedy begins that asks for a lower rate before anything else."""
LOWER_RATE_COMMAND = "`train fit MANIFEST --run-dir NEW --lr 2e-5 --batch-size 8 --warmup 0.2`"
_PERCEPTUAL_LOSS = f"--perceptual-weight 0.01 (it needs an extra: {install_hint('encoder')})"
REMEDIES: Mapping[Kind, str] = {
    "divergence": (
        f"use a lower rate, then smaller batches and a longer warm-up: {LOWER_RATE_COMMAND}, "
        "or --on-trouble rescue, which does this automatically"
    ),
    "oscillation": (
        "in the documented order: --lr 2e-5, then --batch-size 8, then a longer --warmup 0.2, then restart: "
        f"{LOWER_RATE_COMMAND}, or --on-trouble rescue, which does this automatically"
    ),
    "plateau": (
        "in the documented order: --channels 128; check that the photos are colorful (`curate filter "
        "--min-colorfulness 30`); train longer, with a new cycle from this run's weights: "
        "`train fit MANIFEST --run-dir NEW --init RUN`"
    ),
    "gray output": (
        "in the documented order: more capacity (--channels 128), then more colorful data (`curate filter "
        f"--min-colorfulness 30`), then {_PERCEPTUAL_LOSS}"
    ),
    "sepia output": (
        "in the documented order: more capacity (--channels 128, --encoder efficientnet-lite0), then data "
        "without sepia and with many hues (`curate filter` rejects sepia unless --keep-tone is given, and `curate "
        f"filter --balance N` evens out hues), then {_PERCEPTUAL_LOSS}"
    ),
    "overfitting": (
        "first of all more photos (`curate scan` more folders, then `curate filter`); until then use best.safetensors, "
        "of step {best_step}, where held-out photos had the best score, and train no longer than that: "
        "`train fit MANIFEST --run-dir NEW --max-steps {max_steps}`; a pretrained encoder learns more from the same "
        "photos: --encoder efficientnet-lite0"
    ),
}
"""By kind. That of overfitting has the places `{best_step}` and `{max_steps}`; see also `RunNames`."""


@dataclass(frozen=True, slots=True)
class RunNames:
    """What the commands of a remedy name: the run's folder, its manifest, and the options that its network needs."""

    run_dir: str = "RUN"
    manifest: str = "MANIFEST"
    options: str = ""

    @classmethod
    def from_recipe(cls, run_dir: Path, manifest: str, recipe: Mapping[str, Any]) -> RunNames:
        """Return the names for a run; the options are those of size and network that differ from the documented recipe.

        >>> RunNames.from_recipe(Path("runs/a"), "my photos.parquet", {"channels": 8, "norm": "batch"})
        RunNames(run_dir='runs/a', manifest="'my photos.parquet'", options=' --channels 8')
        """
        documented = asdict(Recipe())
        changed = [name for name in NETWORK_OPTIONS if recipe.get(name, documented[name]) != documented[name]]
        options = "".join(f" --{name.replace('_', '-')} {recipe[name]}" for name in changed)
        return cls(shlex.quote(str(run_dir)), shlex.quote(manifest), options)

    def fill(self, remedy: str) -> str:
        """Return a remedy whose commands have these names in place of MANIFEST and RUN."""
        filled = remedy.replace(
            "train fit MANIFEST --run-dir NEW", f"train fit {self.manifest} --run-dir NEW{self.options}"
        )
        return filled.replace("--init RUN", f"--init {self.run_dir}")


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of a training run: its kind, the step where it was detected, the evidence, and what to do."""

    kind: Kind
    step: int
    evidence: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind} at step {self.step:,}: {self.evidence}. What to do: {self.remedy}"

    @property
    def is_documented(self) -> bool:
        """Whether the documents behind the recipe describe this problem."""
        return self.kind in DOCUMENTED_KINDS

    @property
    def needs_lower_rate(self) -> bool:
        """Whether a lower rate is the first remedy. A run can apply that one itself, with `--on-trouble rescue`."""
        return self.kind in ("divergence", "oscillation") or self.remedy.startswith(LOWER_RATE_FIRST)


def summarize_findings(findings: Sequence[Finding], steps: int) -> str:
    """Return the kinds that were found, documented ones first; or that there are none, or too few steps to judge."""
    documented, added = (
        ", ".join(finding.kind for finding in findings if finding.is_documented is wanted) for wanted in (True, False)
    )
    if findings:
        return "trouble: " + "; ".join(filter(None, (documented, added and f"{added} (not in the documents' list)")))
    return "no trouble seen" if steps >= MIN_STEPS_TO_JUDGE else f"too few steps to judge (under {MIN_STEPS_TO_JUDGE})"


def describe_ending(ratios: Losses, neutrals: Losses = (), baseline: str = "the neutral loss") -> str:
    """Describe the mean of the last `WINDOW_STEPS` losses, relative to the baseline.

    Args:
        ratios: loss ÷ baseline of each step.
        neutrals: loss of predicting gray on each step's own photos ÷ baseline, where known. The mean is then divided
            by theirs, so that it doesn't depend on how difficult the last photos are.
        baseline: name of what the losses were divided by.

    >>> describe_ending([1.0, 0.7, 0.4])
    'at 0.70 times the neutral loss (mean of the last 3 losses; below 0.10 on the documented scale)'
    >>> describe_ending([1.0, 0.6, 0.4], [1.25, 0.75, 0.5])
    'at 0.80 times the neutral loss (mean of the last 3 losses; below 0.10 on the documented scale)'
    """
    loss, gray = recent_means(ratios, neutrals)
    count = pluralize(len(ratios[-WINDOW_STEPS:]), "loss")
    if math.isnan(loss):
        return f"without a finite value among the last {count}"
    ratio = loss / max(1e-12, gray)
    level = documented_level(ratio)
    return f"at {ratio:.2f} times {baseline} (mean of the last {count}; {level} on the documented scale)"


def recent_means(ratios: Losses, neutrals: Losses = ()) -> tuple[float, float]:
    """Return the mean loss of the last `WINDOW_STEPS` steps, and the mean loss of gray on the same photos.

    Args:
        ratios: loss ÷ baseline of each step; steps whose loss isn't finite are left out of both means.
        neutrals: loss of predicting gray on each step's own photos ÷ baseline, where known; else it counts as 1.

    Returns:
        Both ÷ baseline; NaN if no loss is finite.

    >>> recent_means([0.4, 0.1, math.nan], [0.8, 0.2, 9.0])
    (0.25, 0.5)
    """
    recent = list(ratios[-WINDOW_STEPS:])
    grays = list(neutrals[-WINDOW_STEPS:]) if len(neutrals) else [1.0] * len(recent)
    finite = [(loss, gray) for loss, gray in zip(recent, grays, strict=True) if math.isfinite(loss)]
    if not finite:
        return math.nan, math.nan
    return math.fsum(loss for loss, _ in finite) / len(finite), math.fsum(gray for _, gray in finite) / len(finite)


def documented_level(ratio: float) -> str:
    """Return the lowest documented loss that a loss ÷ neutral reaches.

    >>> documented_level(1.0), documented_level(0.6), documented_level(0.2)
    ('above 0.10', 'below 0.08', 'below 0.04')
    """
    documented = ratio * DOCUMENTED_NEUTRAL
    reached = [loss for loss in DOCUMENTED_LOSSES[1:] if documented <= loss]
    return f"below {reached[-1]:.2f}" if reached else "above 0.10"
