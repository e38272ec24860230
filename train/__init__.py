"""Stage two of vividset: manifest in, colorizer out. This module is the public Python API.

Names are imported when they are first used: `import train` does not import torch. `fit` trains on a manifest, and
`Colorizer` uses the result.

The packages behind it, each of which imports only those below it:

- `train.cli`: the commands; they parse options, call a function of the API and print
- `train.api`: the functions of the public API, with keyword arguments named as the commands' options
- `train.trainer`, `train.evaluation`, `train.inference`: the training loop, metrics, and use of a trained network
- `train.lineage`: the photos and earlier checkpoints that a checkpoint was trained on
- `train.checkpoint`, `train.health`: what a run keeps, and whether its loss curve is healthy
- `train.checkpoint_file`: finds and checks a checkpoint's file without torch
- `train.models`, `train.data`, `train.recipe`: network and loss, batches of photos, hyper-parameters

Of `curate` it imports the manifest, the sources, the decoder, the measures and the errors, so that a photo is seen in
training exactly as it was measured.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from train.api.checkpoints import export_onnx, load_checkpoint
    from train.api.evaluation import compare, evaluate
    from train.api.health import diagnose
    from train.api.training import fit, load_datasets
    from train.inference.colorizer import Colorizer
    from train.models.losses import ColorizationWeightedLoss
    from train.models.unet import ColorUNet
    from train.recipe import Recipe

_MODULES = {
    "ColorUNet": "models.unet",
    "ColorizationWeightedLoss": "models.losses",
    "Colorizer": "inference.colorizer",
    "Recipe": "recipe",
    "compare": "api.evaluation",
    "diagnose": "api.health",
    "evaluate": "api.evaluation",
    "export_onnx": "api.checkpoints",
    "fit": "api.training",
    "load_checkpoint": "api.checkpoints",
    "load_datasets": "api.training",
}
"""The module that defines each public name."""
__all__ = [
    "ColorUNet",
    "ColorizationWeightedLoss",
    "Colorizer",
    "Recipe",
    "compare",
    "diagnose",
    "evaluate",
    "export_onnx",
    "fit",
    "load_checkpoint",
    "load_datasets",
]


if not TYPE_CHECKING:  # a type checker must report names that do not exist

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
