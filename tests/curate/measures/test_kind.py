"""Kind: photos of scikit-image, drawn graphics; the statistics, the regression and the network."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.measures.kind.classify import (
    REGRESSION_INPUTS,
    KindMeasure,
    combine_kind_scores,
    combine_network_scores,
    kind_large_share,
    kind_network_share,
)
from curate.measures.kind.features import compute_statistics
from curate.measures.kind.weights import FEATURES, NETWORK_RANGE, NETWORK_THRESHOLD
from curate.measures.measure import measure_batch, measure_pixels, summarize_pixels
from curate.measures.names import Networks
from curate.measures.pretrained import Output, PretrainedOdds

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


def statistics_of(picture: Pixels) -> dict[str, float]:
    luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    return {name: float(values[0]) for name, values in compute_statistics([picture], [picture], [luma]).items()}


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
    found = statistics_of(np.full((20, 30, 3), 255, np.uint8))
    assert (found["flat_share"], found["flat_color_share"], found["white_share"], found["top_color_share"]) == (
        1,
        1,
        1,
        1,
    )
    assert (found["edge_share"], found["luma_step_mean"], found["color_entropy_bits"], found["border_spread"]) == (
        0,
        0,
        0,
        0,
    )
    assert found["color_share"] == 1 / 600


def test_two_halves_have_one_edge_and_one_bit() -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:, 15:] = 255
    found = statistics_of(picture)
    assert found["edge_share"] == pytest.approx(20 / (20 * 29 + 19 * 30))
    assert found["color_entropy_bits"] == pytest.approx(1)
    assert (found["white_share"], found["black_share"], found["top_color_share"]) == (0.5, 0.5, 0.5)


def test_the_weights_name_all_inputs() -> None:
    assert tuple(FEATURES) == REGRESSION_INPUTS


def test_pictures_of_a_batch_do_not_influence_each_other(real_photo: Callable[[str], Pixels]) -> None:
    pictures = [real_photo("astronaut"), chart(), real_photo("coffee")]
    together = measure_batch([summarize_pixels(picture) for picture in pictures])
    assert [measured.kind for measured in together] == [kind_of(picture) for picture in pictures]


@given(st.floats(-20, 20))
def test_the_score_has_no_step_where_the_network_begins_and_ends(odds: float) -> None:
    regression = np.linspace(-8, 8, 3201)
    scores = combine_kind_scores(regression, np.full(regression.shape, odds), kind_network_share(regression))
    assert np.abs(np.diff(scores)).max() < 0.5
    certain = kind_network_share(regression) == 1
    assert np.allclose(scores[certain], odds)
    assert (scores[regression <= NETWORK_RANGE[0]] < 0).all()
    assert (scores[regression >= NETWORK_RANGE[3]] > 0).all()


def test_the_large_network_counts_fully_below_the_range_of_doubt() -> None:
    regression = np.array([-8, *NETWORK_RANGE, 8])
    assert kind_network_share(regression, "large").tolist() == [1, 1, 1, 1, 0, 0]
    assert kind_network_share(regression).tolist() == [0, 0, 1, 1, 0, 0]


def test_the_large_network_is_evaluated_at_224_px_only(
    real_photo: Callable[[str], Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated: list[str] = []

    def evaluate(_self: PretrainedOdds, output: Output, pictures: NDArray[np.intp]) -> NDArray[np.float64]:
        if len(pictures):
            evaluated.append(output)
        return np.zeros(len(pictures))

    monkeypatch.setattr(PretrainedOdds, "evaluate", evaluate)
    measure_pixels(real_photo("coffee"), networks=Networks(kind="large"))
    assert [output for output in evaluated if output.startswith("kind")] == ["kind_large"]


@given(st.floats(-20, 20))
def test_the_score_has_no_step_where_the_network_is_evaluated_at_224_px(large: float) -> None:
    small = np.linspace(-20, 20, 40001)
    share = kind_large_share(small)
    scores = combine_network_scores(small, np.full(small.shape, large), share)
    assert np.abs(np.diff(scores)).max() < 0.5
    assert np.allclose(scores[share == 1], large - NETWORK_THRESHOLD)
    assert (scores[share == 0] < 0).all()
