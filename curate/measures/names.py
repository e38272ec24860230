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
"""Value of --tone-network and --kind-network, and name of a network or of its input."""


@dataclass(frozen=True, slots=True)
class Networks:
    """How the networks for tone and kind are evaluated."""

    tone: NetworkSize = "small"
    """Input of the network for photos whose tone is in doubt: at 96 px, or with `large` at 224 px."""
    kind: NetworkSize = "small"
    """A network is evaluated at 64 px for all pictures. Another one is evaluated at 224 px for those that are then not
    clearly photos; with `large`, for all but the clearest photos."""


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
