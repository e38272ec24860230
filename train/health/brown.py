"""Detection of brown predictions by their hues: sepia output that neither the loss nor the tone of a picture shows.

The documents behind the recipe describe sepia output at a loss of 0.04, but a run may end far above that and predict
brown for grass, sky and water. docs/results/health.md has the runs that the constants were chosen by.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from train.health.findings import MIN_STEPS_TO_JUDGE, REMEDIES, Finding

if TYPE_CHECKING:
    from curate.measures.hue_spread import HueSpread
    from train.health.curve import LossCurve

MAX_RATIO = 0.10 / 0.12
"""Loss ÷ neutral of held-out photos, the documented 0.10. Above it, a run has learned too little to be judged by its
colors; it may be a plateau."""
MIN_ENTROPY_LOSS = 0.5
"""Bits: how much lower the hue entropy of the predictions is than that of the originals."""
MIN_WARM_EXCESS = 0.15
"""How much more of the chroma of the predictions lies in warm hues."""
ENTROPY_NOISE, WARM_NOISE = 1.25, 0.7
"""Divided by √n and added to the two limits: how much both differ by chance where only n photos are held out."""
WIDE_ENTROPY = 4.0
"""Bits. Photos of many subjects have 4.2 to 4.6, sunrises 3.5, blue skies 3.7."""


def detect_brown(curve: LossCurve, *, has_learned: bool) -> Finding | None:
    """Return a finding if the predictions have fewer hues than the originals, and warmer ones, and won't get more.

    Both must be beyond what a few held-out photos show by chance. Nothing is found where the originals themselves have
    few hues: then their entropy can't be much higher than that of the predictions.

    Args:
        curve: of the run so far.
        has_learned: whether the loss is so low that the documents expect colorful predictions. Otherwise a run is
            judged by its last step only: brown is what every run predicts first.
    """
    last = curve.validations[-1]
    is_finished = curve.total_steps is not None and last.step >= curve.total_steps
    if last.hue is None or last.original_hue is None:  # the log of a version that did not measure it
        return None
    if not (has_learned or is_finished) or len(curve.ratios) - curve.first_step < MIN_STEPS_TO_JUDGE:
        return None
    spread = 1 / math.sqrt(max(1, last.photos))
    is_narrow = last.original_hue.entropy_bits - last.hue.entropy_bits >= MIN_ENTROPY_LOSS + ENTROPY_NOISE * spread
    is_warm = last.hue.warm - last.original_hue.warm >= MIN_WARM_EXCESS + WARM_NOISE * spread
    if last.ratio > MAX_RATIO or not (is_narrow and is_warm):
        return None
    evidence = (
        f"the predictions for held-out photos are brown: {last.hue.warm:.0%} of their chroma is in warm hues, where "
        f"the originals have {last.original_hue.warm:.0%}, and their hue entropy is {last.hue.entropy_bits:.1f} bits "
        f"for {last.original_hue.entropy_bits:.1f}"
    )
    return Finding("sepia output", last.step, evidence, sepia_remedy(last.original_hue))


def sepia_remedy(original_hue: HueSpread | None) -> str:
    """Return the documented remedies, with what the hue spread of the data suggests.

    Args:
        original_hue: hue spread of the held-out originals; None if not measured.
    """
    remedy = REMEDIES["sepia output"]
    if original_hue is None:
        return remedy
    verdict = (
        "which is wide: the data is not the cause"
        if original_hue.entropy_bits >= WIDE_ENTROPY
        else "which is narrow: train on photos with more hues"
    )
    return f"{remedy}; the hue entropy of the held-out originals is {original_hue.entropy_bits:.1f} bits, {verdict}"
