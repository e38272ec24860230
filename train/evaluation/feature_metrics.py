"""What two other networks say of pictures: LPIPS and FID, each by a TorchScript file that the user names.

Sources: R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018); M. Heusel et
al., "GANs Trained by a Two Time-Scale Update Rule" (2017). The files are those of NVIDIA's StyleGAN2-ADA, network and
weights in one; docs/how-to/measure-lpips-and-fid.md says more. TorchScript is a program: naming a file runs it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from curate.errors import UsageError
from curate.files import check_readable, sha256_of
from curate.text import describe_error

ENOUGH_PHOTOS = 2_048
"""As many as InceptionV3 has features: fewer can't fill their covariance."""
TRIED_AT_PX = 64


class Features:
    """A network from a file, which turns pictures into features.

    Args:
        path: a TorchScript file.
        device: where it runs.
        option: how it was named on the command line, and the file that belongs there.
        dtype: of the 0..255 that it wants.
        how: what it is called with, besides pictures.

    Raises:
        UsageError: the file is no such network.
    """

    def __init__(
        self, path: Path, device: str, option: tuple[str, str], dtype: torch.dtype, how: Mapping[str, bool]
    ) -> None:
        self.device, self.dtype, self.how = device, dtype, how
        trial = torch.zeros(2, TRIED_AT_PX, TRIED_AT_PX, 3, dtype=torch.uint8)
        try:
            check_readable(path)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)  # nothing newer reads these files
                self.network = torch.jit.load(path, map_location=device).eval()  # type: ignore[no-untyped-call]
                found = self(trial)
            self.sha256 = sha256_of(path)
        except (OSError, RuntimeError, ValueError) as exc:
            raise _wrong_file(path, option, describe_error(exc)[:150]) from exc
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(trial):
            gives = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise _wrong_file(path, option, f"it gives {gives} for {len(trial)} pictures")
        self.width = found.shape[1]

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 sRGB to (N, features)."""
        features: Tensor = self.network(pictures.to(self.device, self.dtype).permute(0, 3, 1, 2), **self.how)
        return features


def _wrong_file(path: Path, option: tuple[str, str], why: str) -> UsageError:
    name, wanted = option
    return UsageError(
        f"{path} can't be used ({why}): give {name} the file {wanted}: docs/how-to/measure-lpips-and-fid.md"
    )


class Lpips:
    """How different a picture looks from its original.

    Args:
        path: `vgg16.pt`, or another network whose features' squared distance is LPIPS.
        device: where it runs.

    Raises:
        UsageError: the file is no such network.
    """

    def __init__(self, path: Path, device: str) -> None:
        how = {"resize_images": False, "return_lpips": True}
        self.features = Features(path, device, ("--lpips-weights", "vgg16.pt"), torch.float32, how)

    def distances(self, originals: Tensor, pictures: Mapping[str, Tensor]) -> list[dict[str, float]]:
        """Of each original, by the way that its picture was made; all (N, H, W, 3) uint8 sRGB."""
        found = []
        for row, original in enumerate(originals):  # one photo at a time: its features take 500 bytes a pixel
            true = self.features(original[None])
            found.append(
                {way: float((self.features(made[row][None]) - true).square().sum()) for way, made in pictures.items()}
            )
        return found


class Fid:
    """How far sets of pictures lie from their originals, as a whole; memory doesn't grow with their number.

    Args:
        path: `inception-2015-12-05.pt`, or another network that gives features.
        device: where it runs.

    Raises:
        UsageError: the file is no such network.
    """

    def __init__(self, path: Path, device: str) -> None:
        option = ("--fid-weights", "inception-2015-12-05.pt")
        self.features = Features(path, device, option, torch.uint8, {"return_features": True})
        self.sets: dict[str, FrechetInceptionDistance] = {}

    def see(self, originals: Tensor, pictures: Mapping[str, Tensor]) -> None:
        """Take in originals, and their pictures by the way that they were made; all (N, H, W, 3) uint8 sRGB."""
        true = self.features(originals).cpu()
        for way, made in pictures.items():
            one = self.sets.setdefault(way, FrechetInceptionDistance(_Given(self.features.width)))
            one.update(true, real=True)
            one.update(self.features(made).cpu(), real=False)

    def distances(self) -> dict[str, float]:
        """FID by the way that pictures were made; not a number for a single photo."""
        return {
            way: max(0.0, float(one.compute())) if one.real_features_num_samples > 1 else math.nan
            for way, one in self.sets.items()
        }


class _Given(nn.Module):
    """Tells torchmetrics that features come ready, so that the originals' are found once."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features
