"""The picture film.png of a run with `--augment film`: training photos beside what the network sees of them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from train.data.loader import CropLoader, load_batches
from train.data.sampler import SampleKey
from train.trainer.state import TrainState
from train.trainer.validation import SAMPLE_PHOTOS, picture_grid

EPOCHS = 4


def make_film_sheet(state: TrainState) -> Image.Image | None:
    """Return a grid of training photos, each beside what the network sees in the first epochs; None if none is read.

    These are the crops and the degraded copies of the training itself. Photos that can't be read are left out.
    """
    photos, recipe, device_config = state.datasets.train, state.recipe, state.config.device_config
    crops = CropLoader(photos, recipe.image_size, recipe.seed, recipe.augment)
    chosen = np.linspace(0, len(photos) - 1, min(SAMPLE_PHOTOS, len(photos))).round().astype(int)
    samples = [[SampleKey(epoch, int(photo)) for epoch in range(EPOCHS)] for photo in chosen]
    batches = load_batches(
        crops, samples, 0, timeout_s=device_config.timeout_s, is_stopping=state.stop.is_set, say=state.say
    )
    rows = [
        [batch.rgb[0].numpy(), *np.repeat(batch.gray.numpy()[..., None], 3, axis=-1)]
        for batch in batches
        if batch.gray is not None and len(batch.gray) == EPOCHS
    ]
    captions = ["photo", *(f"seen in epoch {epoch}" for epoch in range(EPOCHS))]
    return picture_grid(rows, captions) if rows else None
