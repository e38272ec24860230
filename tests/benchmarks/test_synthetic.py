"""Pictures made of photos, from which the classifier of photos and graphics learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks/kind"


@pytest.mark.parametrize("kind", ["caption", "frame", "collage", "gradient", "watermark"])
def test_pictures_have_a_long_side_of_320_px_and_are_repeatable(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    from synthetic import LONG_SIDE_PX, MAKERS

    photos = [np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)]
    first, second = ([MAKERS[kind](photos, rng) for _ in range(20)] for rng in map(np.random.default_rng, (1, 1)))
    for picture, again in zip(first, second, strict=True):
        assert (max(picture.shape[:2]), picture.shape[2]) == (LONG_SIDE_PX, 3)
        assert picture.dtype == np.uint8
        assert np.array_equal(picture, again)


def test_small_text_covers_at_most_a_twentieth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    from synthetic import MAKERS

    plain = np.full((200, 300, 3), (255, 0, 255), np.uint8)
    rng = np.random.default_rng(2)
    for _ in range(50):
        made = MAKERS["watermark"]([plain], rng)
        assert (np.abs(made.astype(int) - plain[0, 0]).max(axis=2) >= 3).mean() <= 0.05
