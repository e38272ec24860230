"""film.png: training photos beside what the network sees of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from train.data import dataset
from train.recipe import Recipe
from train.trainer.fabric import DeviceConfig
from train.trainer.film_sheet import EPOCHS, make_film_sheet
from train.trainer.state import RunConfig, TrainState, build_state
from train.trainer.validation import CAPTION_PX, GAP_PX

SCALED_PX = 160
"""Crops of 32 px are enlarged to this size."""


def state_of(path: Path, run_dir: Path) -> TrainState:
    recipe = Recipe(image_size=32, channels=2, augment="film")
    config = RunConfig(dataset.load_datasets(path), recipe, DeviceConfig("cpu", "32-true", 0), run_dir)
    return build_state(config, config.device_config.make_fabric(), None)


def test_each_row_has_the_photo_in_color_and_then_gray_copies(
    clean_manifest: Callable[..., Path], tmp_path: Path
) -> None:
    state = state_of(clean_manifest(), tmp_path)
    (tmp_path / "photos" / "p01.png").unlink()  # left out
    sheet = make_film_sheet(state)
    assert sheet
    assert sheet.size == ((EPOCHS + 1) * (SCALED_PX + GAP_PX) - GAP_PX, CAPTION_PX + 3 * (SCALED_PX + GAP_PX))
    pixels = np.asarray(sheet)[CAPTION_PX:].astype(int)
    assert np.ptp(pixels[:, :SCALED_PX], axis=2).max() > 50
    assert np.ptp(pixels[:, SCALED_PX:], axis=2).max() == 0


def test_without_readable_photos_there_is_no_sheet(clean_manifest: Callable[..., Path], tmp_path: Path) -> None:
    state = state_of(clean_manifest(("train",)), tmp_path)
    (tmp_path / "photos" / "p00.png").unlink()
    assert make_film_sheet(state) is None
