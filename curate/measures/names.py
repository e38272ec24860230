"""Names of the classes into which measures divide photos. This module imports nothing, so commands start fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["color", "grayscale", "sepia", "toned"]
TONES: tuple[Tone, ...] = ("color", "grayscale", "sepia", "toned")
"""All classes, as in the manifest column `tone`."""

Kind = Literal["photo", "graphic"]
KINDS: tuple[Kind, ...] = ("photo", "graphic")
"""Both classes, as in the manifest column `kind`."""

NetworkSize = Literal["small", "large"]
"""Input of the pretrained network: the small copy of a photo at 96 x 96 px, or the larger one at 224 x 224 px."""


@dataclass(frozen=True, slots=True)
class Networks:
    """How the pretrained network is evaluated."""

    tone: NetworkSize = "small"
    """Input size for photos whose tone is in doubt."""
    kind: NetworkSize = "small"
    """`small`: at 96 px for pictures whose kind is in doubt, and at 224 px for those that still are. `large`: at 224 px
    for all pictures with M of 12 or more that the statistics don't call graphics."""


SMALL_NETWORKS = Networks()
"""The default of a scan."""
LEVELS: tuple[tuple[int, str], ...] = (
    (0, "not"),
    (15, "slightly"),
    (33, "moderately"),
    (45, "averagely"),
    (59, "quite"),
    (82, "highly"),
    (109, "extremely"),
)
"""Table 2 of Hasler and Süsstrunk (2003): the lowest M of each level of colorfulness, and the level's name."""
LEVEL_STARTS = tuple(start for start, _ in LEVELS)
