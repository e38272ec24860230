"""The scores of `train evaluate`, their table, JSON and page."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn

from curate.errors import UsageError
from curate.manifest import Lineage, read_manifest, write_manifest
from curate.measures.colorfulness import colorfulness
from train.cli import main
from train.data import dataset
from train.evaluation import evaluator
from train.evaluation.evaluator import Evaluation
from train.evaluation.report import PAGE, PSNR_WARNING
from train.evaluation.scores import PhotoResult, Predictor, Scores, originals_hue, summarize
from train.models.losses import ColorizationWeightedLoss
from train.models.strength import StrengthSamples

Manifest = Callable[..., Path]


class Constant(nn.Module):
    """Predicts one color everywhere."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.ab = torch.tensor([a, b]).reshape(1, 2, 1, 1)

    def forward(self, lightness: Tensor) -> Tensor:
        return self.ab.expand(len(lightness), 2, *lightness.shape[2:])


def evaluate(manifest: Path, network: nn.Module) -> tuple[Evaluation, list[PhotoResult]]:
    chosen, _ = dataset.load_split(manifest, "test")
    evaluation = Evaluation(network, chosen, 32, ColorizationWeightedLoss(), "cpu")
    return evaluation, evaluation.run(None, lambda done, total: None)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def test_psnr_ssim_and_colorfulness_agree_with_skimage_and_curate(clean_manifest: Manifest) -> None:
    evaluation, results = evaluate(clean_manifest(["test"] * 3), Constant(0.4, 0.9))
    for photo in results:
        _, ours, original = evaluation.render(photo.index)
        scores = photo.scores["network"]
        assert scores.psnr_db == pytest.approx(peak_signal_noise_ratio(original, ours), abs=1e-3)  # type: ignore[no-untyped-call]
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
        mirrored = [np.pad(pixels, ((5, 5), (5, 5), (0, 0)), mode="reflect") for pixels in (original, ours)]
        ssim = structural_similarity(*mirrored, **options)  # type: ignore[no-untyped-call]
        assert scores.ssim == pytest.approx(ssim, abs=1e-4)
        assert scores.colorfulness == pytest.approx(colorfulness(ours), abs=1e-6)
        assert scores.colorfulness_absolute == pytest.approx(colorfulness(ours, variant="absolute"), abs=1e-6)
        assert scores.colorfulness_difference == pytest.approx(abs(colorfulness(ours) - colorfulness(original)))


def test_the_strength_is_measured_on_evenly_spread_photos(
    clean_manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Tensor] = []
    monkeypatch.setattr(evaluator, "MAX_PHOTOS", 2)
    monkeypatch.setattr(StrengthSamples, "add", lambda _self, lightness, ab, rgb: measured.append(rgb[0]))
    evaluation, results = evaluate(clean_manifest(["test"] * 3), Constant(0.4, 0.9))
    expected = [evaluation.render(results[number].index)[2] for number in (0, 2)]
    assert np.array_equal(np.stack([pixels.numpy() for pixels in measured]), np.stack(expected))


def test_gray_is_neutral_and_no_constant_beats_the_mean_color(clean_manifest: Manifest) -> None:
    _, results = evaluate(clean_manifest(["test"] * 5), Constant(0.0, 0.0))
    rows = summarize(results)
    assert rows["network"].loss_to_neutral == 1.0
    assert rows["network"].psnr_db == rows["neutral gray"].psnr_db
    assert rows["neutral gray"].colorfulness_share < 0.01
    assert rows["neutral gray"].tones == {"grayscale": 5}
    for a, b in ((0.1, 0.0), (0.3, 0.3), (-0.2, 0.4)):
        _, other = evaluate(clean_manifest(["test"] * 5), Constant(a, b))
        assert rows["mean color"].loss <= summarize(other)["network"].loss + 1e-6


def test_brown_predictions_have_a_narrow_hue_spread(clean_manifest: Manifest) -> None:
    _, results = evaluate(clean_manifest(["test"] * 5), Constant(0.1, 0.4))
    rows = summarize(results)
    assert (rows["network"].hue.entropy_bits, rows["network"].hue.warm) == (0, 1)
    assert rows["mean color"].hue.entropy_bits == rows["neutral gray"].hue.entropy_bits == 0
    originals = originals_hue(results)
    assert originals.entropy_bits > 4
    assert 0.1 < originals.warm < 0.5


def test_strength_multiplies_the_colors_and_the_one_to_use_is_printed(
    clean_manifest: Manifest, checkpoint_file: Manifest
) -> None:
    path, arguments = checkpoint_file(strength=4.0), (clean_manifest(["test"] * 4), "--device", "auto", "--json")
    plain, strong = (json.loads(run(path, *arguments, "--strength", number).stdout) for number in (1, 2))
    assert strong["protocol"]["strength"] == 2
    assert strong["auto_strength"] == plain["auto_strength"] == 2  # the originals are far more colorful
    shares = [result["predictions"]["network"]["colorfulness_share"] for result in (plain, strong)]
    assert shares[1] == pytest.approx(2 * shares[0], rel=0.1)
    assert strong["predictions"]["mean color"] == plain["predictions"]["mean color"]
    text = run(path, *arguments[:-1], "--strength", "0.5").stdout
    assert "; strength 0.5" in text.splitlines()[0]
    assert "automatic strength: 2 makes these as colorful as their originals (at most 2)" in text
    error = run(path, *arguments, "--strength", "auto")
    assert error.exit_code == 1
    assert "has no automatic strength" in error.stderr


@pytest.mark.parametrize("width", [40, 60, 80, 132])
def test_the_table_fits_the_terminal(
    clean_manifest: Manifest, checkpoint_file: Manifest, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr("curate.cli.common.output_width", lambda: width)
    lines = run(checkpoint_file(), clean_manifest(["train", "test"])).stdout.splitlines()
    numbers = [line for line in lines if "0.000" in line or "1.000" in line]
    assert numbers  # 1.000 is the loss of gray divided by itself
    assert all(len(line) <= width for line in lines if "/" not in line)  # a path stays whole
    head = next(index for index, line in enumerate(lines) if "loss ÷ neutral loss" in line)
    if width == 40:
        assert [line.split()[:2] for line in lines[head + 1 : head + 4]] == [
            ["network", lines[head + 1].split()[-1]],
            ["mean", "color"],
            ["neutral", "gray"],
        ]


def test_ratios_are_of_sums_and_other_scores_are_means() -> None:
    def scores(loss: float, m: float) -> Scores:
        return Scores(20.0 + loss, 0.5, m, m - 3, abs(40 - m), loss, "color", None)

    def photo(index: int, network: Scores, mean_color: Scores, gray: Scores) -> PhotoResult:
        scores: dict[Predictor, Scores] = {"network": network, "mean color": mean_color, "neutral gray": gray}
        return PhotoResult(index, "a", 40.0, 37.0, scores, {**dict.fromkeys(scores, np.eye(36)[6 + 12 * index])})

    results = [
        photo(0, scores(0.1, 10), scores(0.2, 4), scores(0.2, 0)),
        photo(1, scores(0.2, 30), scores(0.5, 4), scores(0.4, 0)),
    ]
    row = summarize(results)["network"]
    assert row.loss_to_neutral == pytest.approx((0.1 + 0.2) / (0.2 + 0.4))
    assert row.colorfulness_share == pytest.approx((10 + 30) / 80)
    assert row.colorfulness_difference == pytest.approx((30 + 10) / 2)
    assert row.psnr_db == pytest.approx(20.15)
    assert (row.hue.entropy_bits, row.hue.warm, row.hue.blue) == (1, 0.5, 0.5)
    assert [photo.gain for photo in results] == pytest.approx([0.1, 0.2])


def test_gray_photos_have_no_ratio_and_infinite_psnr_is_null_in_json(
    clean_manifest: Manifest, checkpoint_file: Manifest
) -> None:
    manifest = clean_manifest(["test"])
    photo = manifest.parent / "photos" / "p00.png"
    gray = io.BytesIO()
    Image.new("RGB", (48, 40), (90, 90, 90)).save(gray, "PNG")
    photo.write_bytes(gray.getvalue().ljust(photo.stat().st_size, b"\0"))
    table = read_manifest(manifest).table.drop_columns(["sha256"])  # of the earlier photo
    write_manifest(manifest, table, Lineage("clean", "curate filter", {}))
    facts = json.loads(run(checkpoint_file(strength=0.0), manifest, "--json").stdout)
    assert facts["predictions"]["network"]["psnr_db"] is None


def test_table_json_and_page_state_the_protocol(
    clean_manifest: Manifest, checkpoint_file: Manifest, tmp_path: Path
) -> None:
    manifest, checkpoint, page = clean_manifest(["train", *["test"] * 3]), checkpoint_file(), tmp_path / "page.html"
    table = run(checkpoint, manifest, "--html", page)
    assert table.exit_code == 0, table.output
    facts = json.loads(run(checkpoint, manifest, "--json").stdout)
    assert facts["protocol"]["photos"] == 3
    assert (facts["protocol"]["size_px"], facts["protocol"]["split"]) == (32, "test")
    assert set(facts["predictions"]) == {"network", "mean color", "neutral gray"}
    assert facts["predictions"]["neutral gray"]["loss_to_neutral"] == 1
    for hue in (facts["originals"]["hue"], facts["predictions"]["network"]["hue"]):
        assert set(hue) == {"entropy_bits", "warm", "green", "blue", "magenta"}
    assert len(facts["photos"]) == 3
    for text in (table.stdout, page.read_text()):
        assert "3 photos of" in text
        assert "at 32 px" in text
        assert "square cut from the middle" in text
        assert PSNR_WARNING in text


class Tags(HTMLParser):
    """Every tag and address of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def test_names_are_escaped_and_the_page_is_self_contained(
    clean_manifest: Manifest, checkpoint_file: Manifest, tmp_path: Path
) -> None:
    manifest, page = clean_manifest(["train", "test"]), tmp_path / "page.html"
    folder = tmp_path / "<script src=x>"
    folder.mkdir()
    checkpoint = checkpoint_file().rename(folder / "best.safetensors")
    assert run(checkpoint, manifest, "--html", page).exit_code == 0
    tags = Tags()
    tags.feed(page.read_text())
    assert "script" not in tags.tags
    assert tags.sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in tags.sources)
    assert "color-scheme:light dark" in page.read_text()


def test_best_and_worst_are_by_gain_over_gray(
    clean_manifest: Manifest, checkpoint_file: Manifest, tmp_path: Path
) -> None:
    manifest, page = clean_manifest(["train", *["test"] * 9]), tmp_path / "page.html"
    facts = json.loads(run(checkpoint_file(), manifest, "--json", "--html", page).stdout)
    ranked = [photo["path"] for photo in sorted(facts["photos"], key=lambda photo: -photo["gain"])]
    named = re.findall(r"<figcaption>(p\d+\.png)", page.read_text())
    assert named == [*ranked[:4], *ranked[2:6], *ranked[::-1][:4]]


def test_a_few_photos_are_shown_only_once(clean_manifest: Manifest, checkpoint_file: Manifest, tmp_path: Path) -> None:
    run(checkpoint_file(), clean_manifest(["train", "test", "test"]), "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<figcaption>") == 2
    for label in ("gray", "predicted, M ", "original, M "):  # on each picture
        assert page.count(f'<span class="label">{label}') == 2


def test_an_empty_split_and_a_foreign_page_are_refused(
    clean_manifest: Manifest, checkpoint_file: Manifest, tmp_path: Path
) -> None:
    manifest, checkpoint = clean_manifest(["train", "train"]), checkpoint_file()
    result = run(checkpoint, manifest)
    assert result.exit_code == 1
    assert "choose another with --split" in result.stderr
    assert run(checkpoint, manifest, "--split", "all").exit_code == 0
    (tmp_path / "mine.html").write_text("<p>mine</p>")
    with pytest.raises(UsageError, match="is not an evaluation page"):
        PAGE.write(tmp_path / "mine.html", "ours")
    assert (tmp_path / "mine.html").read_text() == "<p>mine</p>"
