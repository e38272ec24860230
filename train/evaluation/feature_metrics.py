"""LPIPS and FID, each computed with a network from a TorchScript file that the user names.

Sources: R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018); M. Heusel et
al., "GANs Trained by a Two Time-Scale Update Rule" (2017). The files are those of NVIDIA's StyleGAN2-ADA, network and
weights in one: docs/how-to/measure-lpips-and-fid.md. A TorchScript file is a program, which runs when it is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from curate.errors import UsageError
from curate.files import check_readable, sha256_of
from curate.process_settings import ignore_warnings
from curate.text import describe_error

MIN_FID_PHOTOS = 2_048
"""The number of InceptionV3's features: with fewer photos their covariance is singular."""
TRIAL_SIZE_PX = 64


class Features:
    """A network from a file that computes features of pictures.

    Args:
        path: a TorchScript file.
        device: device to run on.
        option: the command line option that names the file, and the file's usual name; for messages.
        dtype: of the pixel values 0..255 that it takes.
        arguments: keyword arguments for each call.

    Raises:
        UsageError: the file can't be read, or a trial with two pictures doesn't give two rows of features.
    """

    def __init__(
        self, path: Path, device: str, option: tuple[str, str], dtype: torch.dtype, arguments: Mapping[str, bool]
    ) -> None:
        self.device, self.dtype, self.arguments = device, dtype, arguments
        trial = torch.zeros(2, TRIAL_SIZE_PX, TRIAL_SIZE_PX, 3, dtype=torch.uint8)
        try:
            check_readable(path)
            with ignore_warnings:  # torch.jit is deprecated, but nothing newer reads these files
                self.network = torch.jit.load(path, map_location=device).eval()  # type: ignore[no-untyped-call]
                features = self(trial)
            self.sha256 = sha256_of(path)
        except (OSError, RuntimeError, ValueError) as exc:
            raise _wrong_file(path, option, describe_error(exc)[:150]) from exc
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(trial):
            result = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise _wrong_file(path, option, f"it returns {result} for {len(trial)} pictures, not one row for each")
        self.width = features.shape[1]

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Return (N, width) features of (N, H, W, 3) uint8 sRGB pictures."""
        features: Tensor = self.network(pictures.to(self.device, self.dtype).permute(0, 3, 1, 2), **self.arguments)
        return features


def _wrong_file(path: Path, option: tuple[str, str], reason: str) -> UsageError:
    name, usual_file = option
    return UsageError(
        f"{path} can't be used ({reason}): give {name} the file {usual_file}, see docs/how-to/measure-lpips-and-fid.md"
    )


class Lpips:
    """LPIPS, the perceptual distance between a picture and its original; 0 for identical ones.

    Args:
        path: `vgg16.pt`, or another network whose features' squared distance is LPIPS.
        device: device to run on.

    Raises:
        UsageError: the file is not such a network.
    """

    def __init__(self, path: Path, device: str) -> None:
        arguments = {"resize_images": False, "return_lpips": True}
        self.features = Features(path, device, ("--lpips-weights", "vgg16.pt"), torch.float32, arguments)

    def distances(self, originals: Tensor, pictures: Mapping[str, Tensor]) -> list[dict[str, float]]:
        """Return for each original the distance of each predictor's picture; all (N, H, W, 3) uint8 sRGB."""
        distances = []
        for row, original in enumerate(originals):  # one photo at a time: its features take 500 bytes a pixel
            target = self.features(original[None])
            distances.append(
                {
                    name: float((self.features(predicted[row][None]) - target).square().sum())
                    for name, predicted in pictures.items()
                }
            )
        return distances


class Fid:
    """FID, the Fréchet distance between the features of sets of pictures and of their originals.

    Memory doesn't grow with the number of pictures.

    Args:
        path: `inception-2015-12-05.pt`, or another network that computes features.
        device: device to run on.

    Raises:
        UsageError: the file is not such a network.
    """

    def __init__(self, path: Path, device: str) -> None:
        option = ("--fid-weights", "inception-2015-12-05.pt")
        self.features = Features(path, device, option, torch.uint8, {"return_features": True})
        self.sets: dict[str, FrechetInceptionDistance] = {}

    def update(self, originals: Tensor, pictures: Mapping[str, Tensor]) -> None:
        """Add originals, and each predictor's pictures of them; all (N, H, W, 3) uint8 sRGB."""
        target = self.features(originals).cpu()
        for name, predicted in pictures.items():
            metric = self.sets.setdefault(name, FrechetInceptionDistance(_Identity(self.features.width)))
            metric.update(target, real=True)
            metric.update(self.features(predicted).cpu(), real=False)

    def distances(self) -> dict[str, float]:
        """Return the FID of each predictor; NaN for a single photo, which has no covariance."""
        return {
            name: max(0.0, float(metric.compute())) if metric.real_features_num_samples > 1 else math.nan
            for name, metric in self.sets.items()
        }


class _Identity(nn.Module):
    """Lets torchmetrics take features instead of pictures, so that those of the originals are computed once."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features
