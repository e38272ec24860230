"""Write twelve generated colour photos and two gray ones into a folder: python photos.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIZE_PX = 160


def main(folder: Path) -> None:
    """Smooth colour fields with noise, so that no two are alike and all are colourful."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(14):
        field = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize((SIZE_PX, SIZE_PX))
        pixels = np.asarray(field, np.int16) + random.integers(-12, 13, (SIZE_PX, SIZE_PX, 3))
        photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        (photo if number < 12 else photo.convert("L")).save(folder / f"{number:03}.jpg", quality=95)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
