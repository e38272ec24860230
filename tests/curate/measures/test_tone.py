"""Tone: gray photos, toning in any hue with damage, colour photos; the regression, the network and the features."""

import math
import random
from importlib.resources import files

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from curate.measures.measure import measure_batch, measure_pixels, summarize_pixels
from curate.measures.names import Networks, NetworkSize
from curate.measures.onnx import BATCH_PICTURES
from curate.measures.tone import network
from curate.measures.tone.classify import (
    classify_tone,
    classify_tones,
    regression_log_odds,
    tone_network_share,
)
from curate.measures.tone.features import compute_features, make_grids
from curate.measures.tone.pretrained import COLORFULNESS_RANGE, pretrained_log_odds
from curate.measures.tone.weights import BIAS, FEATURES, NETWORK_RANGES, NETWORK_WEIGHT, PRODUCTS

Levels = NDArray[np.float64]


def scene(seed: int = 0) -> Levels:
    """(120, 160) brightness 0..1: smooth gradients and rectangles with hard edges, as much structure as a photo."""
    rng = np.random.default_rng(seed)
    brightness = cv2.resize(rng.random((7, 9)), (160, 120), interpolation=cv2.INTER_CUBIC)
    for _ in range(60):
        top, left = rng.integers(0, 100), rng.integers(0, 140)
        brightness[top : top + rng.integers(4, 20), left : left + rng.integers(4, 20)] = rng.random()
    return np.clip(brightness, 0, 1)


def toned(tone_0_1: Levels, dark: tuple[int, ...], light: tuple[int, ...]) -> Levels:
    """A gradient map: brightness 0..1 to colours from dark to light."""
    mapped: Levels = np.array(dark) + tone_0_1[..., None] * (np.array(light) - np.array(dark, float))
    return mapped


def tone_of(levels: Levels) -> str:
    """The class of a picture with levels 0..255."""
    return classify_tone(np.clip(np.rint(levels), 0, 255).astype(np.uint8)).tone


SEPIA = toned(scene(), (45, 28, 12), (240, 220, 180))


def test_channels_with_different_scenes_are_color() -> None:
    picture = 255 * np.dstack([scene(1), scene(2), scene(3)])
    assert tone_of(picture) == "color"


@pytest.mark.parametrize("hue", ["sepia", "cyan", "purple", "green"])
def test_toning_in_any_hue_is_detected(hue: str) -> None:
    dark = {"sepia": (45, 28, 12), "cyan": (10, 40, 90), "purple": (60, 20, 60), "green": (15, 45, 20)}[hue]
    light = {"sepia": (240, 220, 180), "cyan": (225, 240, 250), "purple": (250, 230, 245), "green": (235, 245, 220)}
    assert tone_of(toned(scene(), dark, light[hue])) == ("sepia" if hue == "sepia" else "toned")


def test_sepia_is_detected_despite_a_caption_a_mount_or_noise() -> None:
    captioned = SEPIA.copy()
    captioned[-7:] = (30, 60, 200)
    mounted = np.full((150, 200, 3), (90.0, 105, 95))
    mounted[15:135, 20:180] = SEPIA
    noisy = SEPIA + np.random.default_rng(5).normal(0, 8, SEPIA.shape)
    assert [tone_of(picture) for picture in (captioned, mounted, noisy)] == ["sepia"] * 3


def test_sepia_is_detected_despite_a_vignette_with_a_cast() -> None:
    rows, columns = np.mgrid[-1:1:120j, -1:1:160j]
    edge = np.clip((rows**2 + columns**2) / 2, 0, 1)[..., None]
    assert tone_of(SEPIA * (1 - edge * [0.5, 0.45, 0.3])) != "color"


def test_sepia_is_detected_despite_a_stain_with_hard_edges() -> None:
    rows, columns = np.mgrid[0:120, 0:160]
    stain = ((rows - 80) ** 2 + (columns - 110) ** 2 < 30**2)[..., None]
    assert tone_of(SEPIA * (1 - 0.4 * stain * [0.1, 0.3, 0.6])) == "sepia"


def test_a_strong_tone_whose_hue_changes_with_lightness_is_detected() -> None:
    curves = np.dstack([(1.2 * scene()).clip(0, 1) ** 0.6, scene() ** 1.1, 0.75 * scene() ** 1.9])
    assert tone_of(255 * curves) == "sepia"


def test_confidence_is_the_logistic_function_of_the_score() -> None:
    measured = classify_tone(np.clip(SEPIA, 0, 255).astype(np.uint8))
    assert measured.tone_score > 0
    assert measured.tone_confidence == pytest.approx(1 / (1 + math.exp(-measured.tone_score)))


def test_log_odds_are_those_of_the_weights_in_the_tables() -> None:
    found = compute_features([np.clip(SEPIA, 0, 255).astype(np.uint8)])
    inputs = {name: np.clip((np.log1p(found[name][0]) - mean) / sd, -4, 4) for name, (mean, sd, _) in FEATURES.items()}
    linear = sum(weight * inputs[name] for name, (_, _, weight) in FEATURES.items())
    products = sum(weight * inputs[first] * inputs[second] for (first, second), weight in PRODUCTS.items())
    assert regression_log_odds(found)[0] == pytest.approx(BIAS + linear + products, abs=1e-6)


def network_odds(picture: Levels) -> float:
    grids = make_grids([np.clip(np.rint(picture), 0, 255).astype(np.uint8)])
    return float(network.network_log_odds([grids.lab[0]])[0])


def pretrained_odds(picture: NDArray[np.uint8]) -> float:
    return float(pretrained_log_odds([picture])[0])


def test_where_the_regression_is_in_doubt_the_score_is_the_sum_of_all() -> None:
    colour = 255 * np.dstack([scene(1), scene(2), scene(3)])
    mixed = [np.rint(SEPIA + share * (colour - SEPIA)).astype(np.uint8) for share in np.linspace(0, 0.5, 26)]
    alone = regression_log_odds(compute_features(mixed))
    low, high = NETWORK_RANGES["small"][1:3]
    doubted = (alone > low) & (alone < high)
    assert 0 < doubted.sum() < (tone_network_share(alone) > 0).sum() < len(mixed)
    for picture, score, doubt, share in zip(mixed, alone, doubted, tone_network_share(alone), strict=True):
        added = NETWORK_WEIGHT * network_odds(picture) + pretrained_odds(picture) if share else 0
        assert share == 1 or not doubt
        assert classify_tone(picture).tone_score == pytest.approx(score + share * added, abs=1e-6)


@pytest.mark.parametrize("tone_network", ["small", "large"])
def test_the_share_of_the_networks_has_no_step(tone_network: NetworkSize) -> None:
    regression = np.linspace(-10, 8, 3601)
    share = tone_network_share(regression, tone_network)
    outer, inner, last_inner, last = NETWORK_RANGES[tone_network]
    assert not share[(regression <= outer) | (regression >= last)].any()
    assert np.all(share[(regression >= inner) & (regression <= last_inner)] == 1)
    assert np.abs(np.diff(share)).max() < 0.006


def test_the_score_of_a_photo_that_is_gradually_toned_has_no_step() -> None:
    colour = 255 * np.dstack([scene(1), scene(2), scene(3)])
    mixed = [np.rint(SEPIA + share * (colour - SEPIA)).astype(np.uint8) for share in np.linspace(0, 0.3, 201)]
    regression = regression_log_odds(compute_features(mixed))
    assert regression.min() < NETWORK_RANGES["small"][0]
    assert regression.max() > NETWORK_RANGES["small"][3]
    scores = np.array([measured.tone_score for measured in classify_tones(mixed)])
    assert np.abs(np.diff(scores)).max() < 1  # 2.1 if the network counted from one value of the regression on


def test_the_network_separates_a_print_on_a_coloured_mount_from_a_colour_photo() -> None:
    mounted = np.full((150, 200, 3), (60.0, 105, 125))
    mounted[15:135, 20:180] = SEPIA
    assert network_odds(mounted) > 3
    colour = 255 * np.dstack([scene(1), scene(2), scene(3)])
    assert network_odds(colour) < -3


@pytest.mark.parametrize("size", ["small", "large"])
def test_answers_of_the_pretrained_network_are_the_same_to_the_bit_in_batches_of_any_size(size: NetworkSize) -> None:
    rng = np.random.default_rng(0)
    copies = [rng.integers(0, 256, (60 + i, 90, 3), dtype=np.uint8) for i in range(2 * BATCH_PICTURES + 1)]
    together = pretrained_log_odds(copies, size)
    assert np.isfinite(together).all()
    assert [pretrained_log_odds([copy], size)[0] for copy in copies] == together.tolist()
    assert len(pretrained_log_odds([], size)) == 0


def doubtful() -> NDArray[np.uint8]:
    """A picture for which the regression is in doubt, so that the networks count fully."""
    colour = 255 * np.dstack([scene(1), scene(2), scene(3)])
    mixed: list[NDArray[np.uint8]] = [
        np.rint(SEPIA + share * (colour - SEPIA)).astype(np.uint8) for share in np.linspace(0, 0.5, 26)
    ]
    return mixed[int(tone_network_share(regression_log_odds(compute_features(mixed))).argmax())]


def test_the_pretrained_network_counts_fully_for_colourful_photos_and_not_for_dull_ones() -> None:
    low, high = COLORFULNESS_RANGE
    values = [low - 1, low, (low + high) / 2, high, high + 1]
    scores = np.array([one.tone_score for one in classify_tones([doubtful()] * 5, colorfulness=values)])
    assert scores[0] == scores[1] != scores[4] == scores[3]
    assert scores[2] == pytest.approx((scores[1] + scores[3]) / 2)
    assert classify_tone(doubtful()).tone_score == scores[4]


def test_the_large_network_reads_the_larger_copy() -> None:
    small = doubtful()
    large = np.asarray(cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)
    sizes: tuple[NetworkSize, ...] = ("small", "large")
    scores = [classify_tones([small], larges, None, size)[0].tone_score for size in sizes for larges in (None, [large])]
    assert scores[0] == scores[1]
    assert len(set(scores)) == 3


def test_copies_or_values_of_m_for_other_photos_are_an_error() -> None:
    small = doubtful()
    with pytest.raises(ValueError, match="1 larger copies for 2 photos; give one for each photo"):
        classify_tones([small] * 2, [small])
    with pytest.raises(ValueError, match="3 values of M for 2 photos"):
        classify_tones([small] * 2, None, [5, 12, 13.5])


def test_measure_and_a_batch_agree_with_the_large_network() -> None:
    rng = np.random.default_rng(2)
    tones = [np.clip(rng.normal(120, 40, (200, 260, 1)) * [1, 0.85, 0.6 + 0.1 * i], 0, 255) for i in range(4)]
    photos = [tone.astype(np.uint8) for tone in tones]
    large, summaries = Networks(tone="large"), [summarize_pixels(photo) for photo in photos]
    assert [measured.tone for measured in measure_batch(summaries, large)] == [
        measure_pixels(photo, networks=large).tone for photo in photos
    ]


def test_network_inputs_include_chroma_relative_to_the_photos_own() -> None:
    lab = np.zeros((3, 32, 40), np.float32)
    lab[0], lab[1] = 75, 30
    lightness, a, b, own_a, own_b = network.tone_network_inputs(lab)
    assert [plane.mean().round(4) for plane in (lightness, a, b, own_b)] == [1, 1.5, 0, 0]
    assert own_a.mean() == pytest.approx(30 / 33)


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_photos_of_a_batch_do_not_change_each_others_numbers(rng: random.Random) -> None:
    smalls = [np.clip(SEPIA[: 20 + 7 * i, i:], 0, 255).astype(np.uint8) for i in range(12)]
    smalls += [np.random.default_rng(i).integers(0, 256, (1 + 9 * i, 160 - 12 * i, 3), np.uint8) for i in range(12)]
    alone = [classify_tone(small) for small in smalls]
    order = rng.sample(range(24), 24)
    cut = rng.randrange(24)
    parts = (order[:cut], order[cut:])
    together = {
        i: said for part in parts for i, said in zip(part, classify_tones([smalls[i] for i in part]), strict=True)
    }
    assert [together[i] for i in range(24)] == alone


@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))))
def test_any_pixels_give_finite_numbers(pixels: NDArray[np.uint8]) -> None:
    measured = classify_tone(pixels)
    numbers = (
        measured.tone_score,
        measured.tone_residual,
        measured.tone_ratio_residual,
        measured.tone_hue_deg,
    )
    assert all(math.isfinite(number) for number in numbers)
    assert 0.5 <= measured.tone_confidence <= 1


@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24))))
def test_equal_channels_are_grayscale(plane: NDArray[np.uint8]) -> None:
    assert classify_tone(np.dstack([plane] * 3)).tone == "grayscale"


@pytest.mark.parametrize("colours", [[(220, 40, 40), (40, 60, 220)], [(90, 150, 230), (60, 160, 50)]])
def test_two_flat_colours_are_color(colours: list[tuple[int, int, int]]) -> None:
    assert tone_of(np.array([colours], np.float64).repeat(96, axis=0).repeat(48, axis=1)) == "color"


def test_the_network_file_has_kernel_sizes_which_opencv_4_needs() -> None:
    graph = onnx.load_from_string((files("curate.measures.tone") / "network.onnx").read_bytes()).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        assert {entry.name: list(entry.ints) for entry in node.attribute}["kernel_shape"] == [3, 3]
