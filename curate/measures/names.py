"""Names of the classes into which measures divide photos. This module imports nothing, so commands start fast."""

from __future__ import annotations

from typing import Literal

Tone = Literal["color", "grayscale", "sepia", "toned"]
TONES: tuple[Tone, ...] = ("color", "grayscale", "sepia", "toned")
"""All classes, as in the manifest column `tone`."""

Kind = Literal["photo", "graphic"]
KINDS: tuple[Kind, ...] = ("photo", "graphic")
"""Both classes, as in the manifest column `kind`."""

ToneNetwork = Literal["small", "large"]
"""What the network sees of a photo whose tone is in doubt: the small copy at 96 x 96 px, or a larger one at 224 px."""

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
