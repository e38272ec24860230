"""LPIPS and FID with small networks whose results can be calculated by hand."""

from __future__ import annotations

import hashlib
import itertools
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn

from curate.errors import UsageError
from train.cli import main
from train.evaluation.feature_metrics import Fid, Lpips

Made = Callable[..., Path]


class PixelFeatures(nn.Module):
    """Called as NVIDIA's vgg16.pt: the features are the pixels, whose squared distance is easy to work out."""

    def forward(self, img: Tensor, resize_images: bool = True, return_lpips: bool = False) -> Tensor:
        assert return_lpips
        assert not resize_images
        assert img.dtype == torch.float32
        return img.flatten(1) / 255


class MeanColor(nn.Module):
    """Called as NVIDIA's inception-2015-12-05.pt: the features are the mean R, G and B."""

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        assert return_features
        assert img.dtype == torch.uint8
        return img.to(torch.float32).mean(dim=[2, 3])


class Pictures(nn.Module):
    """Returns pictures instead of features."""

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        return img.to(torch.float32) if return_features else img


class Pair(nn.Module):
    """Returns a tuple instead of features."""

    def forward(self, img: Tensor, return_features: bool = False) -> tuple[Tensor, bool]:
        return img.to(torch.float32).flatten(1), return_features


def script(network: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        torch.jit.script(network).save(str(path))  # type: ignore[no-untyped-call]
    return path


@pytest.fixture
def pixel_features(tmp_path: Path) -> Path:
    return script(PixelFeatures(), tmp_path / "vgg16.pt")


@pytest.fixture
def mean_color(tmp_path: Path) -> Path:
    return script(MeanColor(), tmp_path / "inception.pt")


def flat(colors: object) -> Tensor:
    """(N, 8, 8, 3) pictures of one color each."""
    return torch.as_tensor(np.array(colors, np.uint8))[:, None, None].expand(-1, 8, 8, 3)


def test_lpips_is_the_squared_distance_of_features_and_0_for_the_same(pixel_features: Path) -> None:
    originals = flat([(10, 20, 30), (200, 100, 0)])
    far = flat([(10, 20, 81), (200, 100, 0)])
    found = Lpips(pixel_features, "cpu").distances(originals, {"ours": far, "itself": originals})
    assert [row["itself"] for row in found] == [0, 0]
    assert [row["ours"] for row in found] == pytest.approx([64 * (51 / 255) ** 2, 0])


def test_fid_of_independent_channels_agrees_with_a_calculation_by_hand(mean_color: Path) -> None:
    one = flat(list(itertools.product((100, 120), (50, 90), (0, 200))))
    other = flat(list(itertools.product((100, 160), (60, 80), (0, 200))))
    measured = Fid(mean_color, "cpu")
    for half in (slice(0, 3), slice(3, 8)):
        measured.update(one[half], {"other": other[half], "itself": one[half]})
    found = measured.distances()
    sample = 8 / 7
    means, spreads = (110 - 130) ** 2, sample * ((10 - 30) ** 2 + (20 - 10) ** 2)
    assert found["other"] == pytest.approx(means + spreads, rel=1e-5)
    assert found["itself"] == pytest.approx(0, abs=1e-3)


def test_fid_agrees_with_the_published_formula(mean_color: Path) -> None:
    rng = np.random.default_rng(0)
    mix = np.array([[0.5, 0.3, 0.0], [0.1, 0.6, 0.2], [0.2, 0.0, 0.7]])
    one, other = rng.integers(0, 256, (60, 3)), rng.integers(0, 256, (60, 3)) @ mix
    one, other = one.astype(np.uint8), other.astype(np.uint8)
    measured = Fid(mean_color, "cpu")
    measured.update(flat(one), {"other": flat(other)})
    first, second = (np.cov(colors.astype(float), rowvar=False) for colors in (one, other))
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(values) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second @ root)).sum()
    apart = ((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum()
    assert measured.distances()["other"] == pytest.approx(apart + np.trace(first + second) - 2 * shared, rel=1e-5)


def test_one_photo_has_no_fid(mean_color: Path) -> None:
    measured = Fid(mean_color, "cpu")
    measured.update(flat([(1, 2, 3)]), {"other": flat([(3, 2, 1)])})
    assert np.isnan(measured.distances()["other"])


def test_a_file_that_is_not_such_a_network_is_an_error(pixel_features: Path, mean_color: Path, tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "weights.pth")
    script(Pictures(), tmp_path / "pictures.pt")
    script(Pair(), tmp_path / "pair.pt")
    wrong = [tmp_path / name for name in ("text.pt", "weights.pth", "gone.pt", ".")]
    for path in (*wrong, mean_color):
        with pytest.raises(UsageError, match=r"can't be used .*: give --lpips-weights the file vgg16\.pt") as caught:
            Lpips(path, "cpu")
        assert "\n" not in str(caught.value)
    for path in (*wrong, pixel_features, tmp_path / "pictures.pt", tmp_path / "pair.pt"):
        with pytest.raises(UsageError, match="give --fid-weights the file inception-2015-12-05"):
            Fid(path, "cpu")


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def test_table_json_and_page_have_lpips_and_fid_of_every_predictor(
    clean_manifest: Made, checkpoint_file: Made, pixel_features: Path, mean_color: Path, tmp_path: Path
) -> None:
    manifest, checkpoint, page = clean_manifest(["train", *["test"] * 3]), checkpoint_file(), tmp_path / "page.html"
    arguments = (checkpoint, manifest, "--lpips-weights", pixel_features, "--fid-weights", mean_color)
    table = evaluate(*arguments, "--html", page)
    assert table.exit_code == 0, table.output
    facts = json.loads(evaluate(*arguments, "--json").stdout)
    by_predictor = facts["predictions"]
    assert all(row["lpips"] > 0 and row["fid"] > 0 for row in by_predictor.values())
    assert by_predictor["network"]["lpips"] == pytest.approx(np.mean([photo["lpips"] for photo in facts["photos"]]))
    assert facts["protocol"]["lpips_weights_sha256"] == hashlib.sha256(pixel_features.read_bytes()).hexdigest()
    assert facts["protocol"]["fid_weights_sha256"] == hashlib.sha256(mean_color.read_bytes()).hexdigest()
    cells = {line.split()[0]: line.split()[1:] for line in table.stdout.splitlines()[2:17]}
    assert cells["LPIPS"] == [f"{row['lpips']:.3f}" for row in by_predictor.values()]
    assert cells["FID"] == [f"{row['fid']:.1f}" for row in by_predictor.values()]
    for text in (table.stdout, page.read_text()):
        assert "compare it only with results on these same 3 photos" in text
        assert "--fid-weights" not in text
    assert f"<td>{cells['FID'][-1]}</td>" in page.read_text()


def test_without_weights_lpips_and_fid_are_not_measured(clean_manifest: Made, checkpoint_file: Made) -> None:
    manifest, checkpoint = clean_manifest(["test"] * 2), checkpoint_file()
    table = evaluate(checkpoint, manifest).stdout
    assert not [line for line in table.splitlines() if line.startswith("LPIPS  ")]
    assert "--lpips-weights" in table
    assert "--fid-weights" in table
    assert json.loads(evaluate(checkpoint, manifest, "--json").stdout)["predictions"]["network"]["fid"] is None


def test_a_wrong_weights_file_ends_the_command_with_one_line(
    clean_manifest: Made, checkpoint_file: Made, mean_color: Path
) -> None:
    result = evaluate(checkpoint_file(), clean_manifest(["test"]), "--lpips-weights", mean_color)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.output
