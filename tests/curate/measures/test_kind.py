"""Kind: photos of scikit-image, drawn graphics; the two networks and the statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.measures.kind import classify
from curate.measures.kind.classify import (
    DOUBT_RANGES,
    THRESHOLD,
    KindMeasure,
    combine_kind_scores,
    large_network_share,
)
from curate.measures.kind.network import kind_log_odds
from curate.measures.kind.statistics import measure_color_share, measure_edge_shares
from curate.measures.measure import measure_batch, measure_pixels, summarize_pixels
from curate.measures.names import Networks, NetworkSize
from curate.measures.onnx import BATCH_PICTURES

Pixels = NDArray[np.uint8]


def kind_of(pixels: Pixels) -> KindMeasure:
    return measure_pixels(pixels).kind


def chart() -> Pixels:
    """(240, 320, 3) colored bars with text on white."""
    picture = np.full((240, 320, 3), 255, np.uint8)
    for number, height in enumerate((60, 120, 90, 170, 140)):
        color = (40 * number, 90, 220 - 30 * number)
        cv2.rectangle(picture, (30 + 55 * number, 220 - height), (70 + 55 * number, 220), color, -1)
    cv2.putText(picture, "Results 2025", (60, 30), cv2.FONT_HERSHEY_SIMPLEX, 1, (0, 0, 0), 2)
    return picture


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_photos_are_photos(name: str, real_photo: Callable[[str], Pixels]) -> None:
    measured = kind_of(real_photo(name))
    assert measured.kind == "photo"
    assert measured.kind_score < 0


def test_a_chart_is_a_graphic() -> None:
    measured = kind_of(chart())
    assert measured.kind == "graphic"
    assert measured.kind_score > 0
    assert measured.kind_confidence == pytest.approx(1 / (1 + np.exp(-measured.kind_score)))


def test_a_picture_of_one_color_has_the_extreme_statistics() -> None:
    assert measure_color_share(np.full((20, 30, 3), 255, np.uint8)) == 1 / 600
    assert measure_edge_shares(np.full((20, 30), 255, np.uint8)) == (1, 0)
    assert measure_edge_shares(np.zeros((1, 1), np.uint8)) == (0, 0)


def test_two_halves_have_one_edge_and_two_colors() -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:, 15:] = 255
    flat, edges = measure_edge_shares(picture[..., 0])
    assert edges == pytest.approx(20 / (20 * 29 + 19 * 30))
    assert flat == pytest.approx(1 - edges)
    assert measure_color_share(picture) == 2 / 600


@pytest.mark.parametrize("size", ["small", "large"])
def test_pictures_of_a_batch_do_not_influence_each_other(size: NetworkSize) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (60 + i, 90, 3), dtype=np.uint8) for i in range(BATCH_PICTURES + 1)]
    together = kind_log_odds(pictures, size)
    assert np.isfinite(together).all()
    assert [kind_log_odds([picture], size)[0] for picture in pictures] == together.tolist()
    assert len(kind_log_odds([], size)) == 0


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_batch_and_single_pictures_have_the_same_kind(size: NetworkSize, real_photo: Callable[[str], Pixels]) -> None:
    pictures, networks = [real_photo("astronaut"), chart(), real_photo("coffee")], Networks(kind=size)
    together = measure_batch([summarize_pixels(picture) for picture in pictures], networks)
    assert [measured.kind for measured in together] == [
        measure_pixels(picture, networks=networks).kind for picture in pictures
    ]
    assert measure_batch([], networks) == []


@given(st.floats(-20, 20), st.sampled_from(["small", "large"]))
def test_the_score_has_no_step_where_the_large_network_begins(large: float, size: NetworkSize) -> None:
    small = np.linspace(-20, 20, 40001)
    share = large_network_share(small, size)
    scores = combine_kind_scores(small, np.full(small.shape, large), share)
    assert np.abs(np.diff(scores)).max() < 0.5
    first, full = DOUBT_RANGES[size]
    assert (scores[small <= first] < 0).all()
    assert np.allclose(scores[small >= full], large - THRESHOLD)


def test_the_large_network_reads_the_larger_copies_of_doubtful_pictures_and_with_the_option_of_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = DOUBT_RANGES["small"][1]
    odds = np.array([DOUBT_RANGES["large"][0], full + 3, DOUBT_RANGES["large"][1], full])
    smalls = [np.full((4, 5 + place, 3), place, np.uint8) for place in range(4)]
    larges = [np.full((8, 10 + 2 * place, 3), place, np.uint8) for place in range(4)]
    read: list[list[tuple[int, ...]]] = []

    def log_odds(copies: Sequence[Pixels], size: NetworkSize) -> NDArray[np.float64]:
        read.append([copy.shape for copy in copies])
        return odds if size == "small" else np.array([THRESHOLD + copy[0, 0, 0] for copy in copies])

    monkeypatch.setattr(classify, "kind_log_odds", log_odds)
    lumas = [small[..., 0] for small in smalls]
    scores = {
        size: [one.kind_score for one in classify.classify_kinds(smalls, smalls, larges, lumas, size)]
        for size in DOUBT_RANGES
    }
    every = [copy.shape for copy in smalls]
    assert read == [every, [larges[1].shape, larges[3].shape], every, [large.shape for large in larges[1:]]]
    assert (scores["small"][1], scores["small"][3]) == pytest.approx((1, 3))
    assert scores["small"][2] < 0
    assert scores["large"][1:] == pytest.approx([1, 2, 3])


def test_a_number_of_copies_that_differs_is_an_error() -> None:
    small, luma = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="1 samples, 1 small and 2 larger copies, 1 lumas"):
        classify.classify_kinds([small], [small], [small, small], [luma])


@pytest.mark.parametrize("name", ["kind/small.onnx", "kind/large.onnx", "tone/pretrained.onnx"])
def test_the_files_have_kernel_sizes_which_opencv_4_needs(name: str) -> None:
    data = (files("curate.measures") / name).read_bytes()
    convolutions = [node for node in onnx.load_from_string(data).graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        assert {entry.name for entry in node.attribute} >= {"kernel_shape"}
