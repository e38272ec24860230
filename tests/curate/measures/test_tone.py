"""Tone: gray in any encoding, toning in any hue with the damage of age, and colour that looks like it."""

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

from curate.measures.tone import network
from curate.measures.tone.classify import classify_tone, classify_tones, combine_scores, is_doubtful, log_odds
from curate.measures.tone.features import compute_features
from curate.measures.tone.weights import BIAS, FEATURES, PRODUCTS

Levels = NDArray[np.float64]


def scene(seed: int = 0) -> Levels:
    """(120, 160) 0..1: smooth clouds with hard-edged things, as much structure as a photo has."""
    rng = np.random.default_rng(seed)
    clouds = cv2.resize(rng.random((7, 9)), (160, 120), interpolation=cv2.INTER_CUBIC)
    for _ in range(60):
        top, left = rng.integers(0, 100), rng.integers(0, 140)
        clouds[top : top + rng.integers(4, 20), left : left + rng.integers(4, 20)] = rng.random()
    return np.clip(clouds, 0, 1)


def toned(tone_0_1: Levels, dark: tuple[int, ...], light: tuple[int, ...]) -> Levels:
    """A gradient map from a dark to a light colour."""
    mapped: Levels = np.array(dark) + tone_0_1[..., None] * (np.array(light) - np.array(dark, float))
    return mapped


def said(levels: Levels) -> str:
    """The verdict on levels 0..255."""
    return classify_tone(np.clip(np.rint(levels), 0, 255).astype(np.uint8)).tone


SEPIA = toned(scene(), (45, 28, 12), (240, 220, 180))


def test_three_colours_in_three_scenes_are_colour() -> None:
    picture = 255 * np.dstack([scene(1), scene(2), scene(3)])
    assert said(picture) == "color"


@pytest.mark.parametrize("hue", ["sepia", "cyan", "purple", "green"])
def test_any_hue_of_toning_is_found(hue: str) -> None:
    dark = {"sepia": (45, 28, 12), "cyan": (10, 40, 90), "purple": (60, 20, 60), "green": (15, 45, 20)}[hue]
    light = {"sepia": (240, 220, 180), "cyan": (225, 240, 250), "purple": (250, 230, 245), "green": (235, 245, 220)}
    assert said(toned(scene(), dark, light[hue])) == ("sepia" if hue == "sepia" else "toned")


def test_a_caption_a_mount_and_noise_do_not_hide_a_sepia() -> None:
    captioned = SEPIA.copy()
    captioned[-7:] = (30, 60, 200)
    mounted = np.full((150, 200, 3), (90.0, 105, 95))
    mounted[15:135, 20:180] = SEPIA
    noisy = SEPIA + np.random.default_rng(5).normal(0, 8, SEPIA.shape)
    assert [said(picture) for picture in (captioned, mounted, noisy)] == ["sepia"] * 3


def test_a_vignette_with_a_cast_does_not_hide_a_sepia() -> None:
    rows, columns = np.mgrid[-1:1:120j, -1:1:160j]
    edge = np.clip((rows**2 + columns**2) / 2, 0, 1)[..., None]
    assert said(SEPIA * (1 - edge * [0.5, 0.45, 0.3])) != "color"


def test_a_stain_with_hard_edges_does_not_hide_a_sepia() -> None:
    rows, columns = np.mgrid[0:120, 0:160]
    stain = ((rows - 80) ** 2 + (columns - 110) ** 2 < 30**2)[..., None]
    assert said(SEPIA * (1 - 0.4 * stain * [0.1, 0.3, 0.6])) == "sepia"


def test_a_strong_tone_whose_hue_turns_with_lightness_is_found() -> None:
    curves = np.dstack([(1.2 * scene()).clip(0, 1) ** 0.6, scene() ** 1.1, 0.75 * scene() ** 1.9])
    assert said(255 * curves) == "sepia"


def test_pieces_in_lightness_explain_a_strong_tone_and_not_three_scenes() -> None:
    strong, scenes = [scene() ** 0.6, scene(), scene() ** 1.9], [scene(1), scene(2), scene(3)]
    found = compute_features(
        [np.clip(np.rint(255 * np.dstack(planes)), 0, 255).astype(np.uint8) for planes in (strong, scenes)]
    )
    for name in ("flat_p75_ab", "flat_p75_levels"):
        assert 3 * found[name][0] < 15 < found[name][1], found[name]
    assert found["strength_levels"].min() > 20


def test_squares_that_differ_in_their_colour_alone_leave_nothing_in_the_squares() -> None:
    quarters = np.kron([[0, 1], [1, 0]], np.ones((80, 80)))[..., None] * [20.0, -10, 0]
    plain = toned(np.tile(scene(), (2, 1))[:160], (60, 60, 60), (200, 200, 200))
    found = compute_features([np.clip(np.rint(plain[:, :160] + quarters), 0, 255).astype(np.uint8)])
    assert found["all_curve_p90_ab"] > 5
    assert max(found["block_p75_ab"], found["local_p50_ab"]) < 1.5


def test_confidence_follows_from_the_score() -> None:
    sure = classify_tone(np.clip(SEPIA, 0, 255).astype(np.uint8))
    assert sure.tone_score > 0
    assert sure.tone_confidence == pytest.approx(1 / (1 + math.exp(-sure.tone_score)))


def test_the_regression_is_what_its_tables_say() -> None:
    found = compute_features([np.clip(SEPIA, 0, 255).astype(np.uint8)])
    inputs = {name: np.clip((np.log1p(found[name][0]) - mean) / sd, -4, 4) for name, (mean, sd, _) in FEATURES.items()}
    linear = sum(weight * inputs[name] for name, (_, _, weight) in FEATURES.items())
    bent = sum(weight * inputs[one] * inputs[other] for (one, other), weight in PRODUCTS.items())
    assert log_odds(found)[0] == pytest.approx(BIAS + linear + bent, abs=1e-6)


def test_where_the_regression_is_in_doubt_both_make_the_score() -> None:
    colour = 255 * np.dstack([scene(1), scene(2), scene(3)])
    mixed = [np.rint(SEPIA + share * (colour - SEPIA)).astype(np.uint8) for share in np.linspace(0, 0.5, 26)]
    alone = log_odds(compute_features(mixed))
    doubted = is_doubtful(alone)
    assert 0 < doubted.sum() < len(mixed)
    for picture, score, doubt in zip(mixed, alone.tolist(), doubted.tolist(), strict=True):
        both = combine_scores(score, network.log_odds(picture)) if doubt else score
        assert classify_tone(picture).tone_score == pytest.approx(both, abs=1e-6)


def test_the_network_knows_a_print_on_a_coloured_mount_from_a_colour_photo() -> None:
    mounted = np.full((150, 200, 3), (60.0, 105, 125))
    mounted[15:135, 20:180] = SEPIA
    assert network.log_odds(mounted.astype(np.uint8)) > 3
    colour = 255 * np.dstack([scene(1), scene(2), scene(3)])
    assert network.log_odds(colour.astype(np.uint8)) < -3


def test_the_network_reads_chroma_in_its_own_unit_too() -> None:
    lab = np.zeros((3, 32, 40), np.float32)
    lab[0], lab[1] = 75, 30
    lightness, a, b, own_a, own_b = network.network_inputs(lab)
    assert [plane.mean().round(4) for plane in (lightness, a, b, own_b)] == [1, 1.5, 0, 0]
    assert own_a.mean() == pytest.approx(30 / 33)


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_no_photo_changes_what_is_said_of_another_by_a_bit(dice: random.Random) -> None:
    smalls = [np.clip(SEPIA[: 20 + 7 * i, i:], 0, 255).astype(np.uint8) for i in range(12)]
    smalls += [np.random.default_rng(i).integers(0, 256, (1 + 9 * i, 160 - 12 * i, 3), np.uint8) for i in range(12)]
    alone = [classify_tone(small) for small in smalls]
    order = dice.sample(range(24), 24)
    cut = dice.randrange(24)
    parts = (order[:cut], order[cut:])
    together = {
        i: said for part in parts for i, said in zip(part, classify_tones([smalls[i] for i in part]), strict=True)
    }
    assert [together[i] for i in range(24)] == alone


@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))))
def test_any_pixels_give_finite_numbers(pixels: NDArray[np.uint8]) -> None:
    measure = classify_tone(pixels)
    numbers = (measure.tone_score, measure.tone_residual, measure.tone_ratio_residual, measure.tone_hue_deg)
    assert all(math.isfinite(number) for number in numbers)
    assert 0.5 <= measure.tone_confidence <= 1


@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24))))
def test_equal_channels_are_grayscale(plane: NDArray[np.uint8]) -> None:
    assert classify_tone(np.dstack([plane] * 3)).tone == "grayscale"


@pytest.mark.parametrize("colours", [[(220, 40, 40), (40, 60, 220)], [(90, 150, 230), (60, 160, 50)]])
def test_two_flat_colours_are_no_toning(colours: list[tuple[int, int, int]]) -> None:
    assert said(np.array([colours], np.float64).repeat(96, axis=0).repeat(48, axis=1)) == "color"


def test_the_network_says_its_kernels_sizes_which_opencv_4_needs() -> None:
    graph = onnx.load_from_string((files("curate.measures.tone") / "network.onnx").read_bytes()).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        assert {entry.name: list(entry.ints) for entry in node.attribute}["kernel_shape"] == [3, 3]
