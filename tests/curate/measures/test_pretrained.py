"""The pretrained network: sizes, answers that don't depend on the batch, each copy read once."""

from __future__ import annotations

from importlib.resources import files

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from curate.measures import pretrained
from curate.measures.measure import measure_batch, measure_pixels, summarize_pixels
from curate.measures.names import Networks
from curate.measures.onnx import BATCH_PICTURES
from curate.measures.pretrained import LARGE_SIDE_PX, SIDE_PX, PretrainedOdds, network_input

Pixels = NDArray[np.uint8]
LARGE = Networks(tone="large", kind="large")


def pictures(count: int) -> list[Pixels]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (60 + i, 90, 3), dtype=np.uint8) for i in range(count)]


def everything(count: int) -> NDArray[np.intp]:
    return np.arange(count, dtype=np.intp)


@pytest.mark.parametrize("side", [SIDE_PX, LARGE_SIDE_PX])
def test_inputs_are_squares_around_0(side: int) -> None:
    made = network_input(np.full((5, 9, 3), 255, np.uint8), side)
    assert made.shape == (3, side, side)
    assert np.all(made == 1)


def test_answers_are_the_same_to_the_bit_in_batches_of_any_size() -> None:
    smalls = pictures(2 * BATCH_PICTURES + 1)
    together = PretrainedOdds(smalls).evaluate("tone", everything(len(smalls)))
    assert np.isfinite(together).all()
    assert [PretrainedOdds([small]).evaluate("tone", everything(1))[0] for small in smalls] == together.tolist()
    assert len(PretrainedOdds(smalls).evaluate("tone", everything(0))) == 0


def test_each_picture_is_read_at_most_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def read_input(picture: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
        read.append(len(picture))
        return network_input(picture, side)

    monkeypatch.setattr(pretrained, "network_input", read_input)
    odds = PretrainedOdds(pictures(4))
    first = odds.evaluate("tone", np.array([3, 1], np.intp))
    assert odds.evaluate("tone", np.array([1, 2, 3], np.intp))[[2, 0]].tolist() == first.tolist()
    odds.evaluate("kind", np.array([1, 2, 3], np.intp))
    assert read == [63, 61, 62]


def test_the_network_counts_fully_for_colorful_pictures_and_not_for_dull_ones() -> None:
    odds = PretrainedOdds(pictures(4), None, [5, 12, 13.5, 20])
    assert odds.share.tolist() == [0, 0, 0.5, 1]
    assert PretrainedOdds(pictures(2)).share.tolist() == [1, 1]


def test_the_outputs_at_224_px_are_those_of_the_larger_copy() -> None:
    smalls = pictures(2)
    larges = [np.repeat(np.repeat(small, 2, axis=0), 2, axis=1) for small in smalls]
    large = PretrainedOdds(smalls, larges).evaluate("tone_large", everything(2))
    assert not np.array_equal(large, PretrainedOdds(smalls).evaluate("tone_large", everything(2)))
    assert large[1] == PretrainedOdds(smalls[1:], larges[1:]).evaluate("tone_large", everything(1))[0]


@pytest.mark.parametrize("mirrored", [(True, False), (False, True), (True, True)])
def test_the_larger_copy_of_a_stored_photo_is_that_of_the_upright_one(mirrored: tuple[bool, bool]) -> None:
    upright = np.random.default_rng(1).integers(0, 256, (701, 523, 3), dtype=np.uint8)
    expected = summarize_pixels(upright).large
    axes = tuple(axis for axis, mirror in enumerate(mirrored) if mirror)
    stored = summarize_pixels(np.flip(upright, axes).copy(), None, mirrored).large
    assert expected.shape == (701 // 8 * 2, 523 // 8 * 2, 3)
    assert np.array_equal(np.flip(stored, axes), expected)


def test_measure_and_a_batch_agree_with_the_large_network() -> None:
    rng = np.random.default_rng(2)
    tones = [np.clip(rng.normal(120, 40, (200, 260, 1)) * [1, 0.85, 0.6 + 0.1 * i], 0, 255) for i in range(4)]
    photos = [tone.astype(np.uint8) for tone in tones]
    summaries = [summarize_pixels(photo) for photo in photos]
    assert [measured.tone for measured in measure_batch(summaries, LARGE)] == [
        measure_pixels(photo, networks=LARGE).tone for photo in photos
    ]


def test_copies_or_values_of_m_for_other_pictures_are_an_error() -> None:
    with pytest.raises(ValueError, match="1 larger copies for 2 pictures; give one for each picture"):
        PretrainedOdds(pictures(2), pictures(1))
    with pytest.raises(ValueError, match="3 values of M for 2 pictures"):
        PretrainedOdds(pictures(2), None, [5, 12, 13.5])


@pytest.mark.parametrize(
    ("height", "width"), [(160, 90), (161, 90), (320, 200), (321, 199), (700, 3), (1, 900), (2500, 1700)]
)
def test_the_larger_copy_is_twice_the_small_one_or_the_same(height: int, width: int) -> None:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    summary = summarize_pixels(pixels)
    small, large = summary.small, summary.large
    factor = 1 if max(height, width) <= 160 or min(height, width) < 2 else 2
    assert large.shape == (factor * small.shape[0], factor * small.shape[1], 3)
    assert (large is small) == (factor == 1)
    halved = [cv2.resize(plane, small.shape[1::-1], interpolation=cv2.INTER_AREA) for plane in cv2.split(large)]
    assert np.array_equal(cv2.merge(halved), small)


def test_invisible_pixels_of_the_larger_copy_have_the_mean_color_of_the_visible_ones() -> None:
    pixels, visible = np.full((400, 400, 3), 255, np.uint8), np.zeros((400, 400), bool)
    pixels[:, :200], visible[:, :200] = (200, 100, 50), True
    assert (summarize_pixels(pixels, visible).large == (200, 100, 50)).all()


def test_the_file_has_kernel_sizes_which_opencv_4_needs_and_is_small() -> None:
    data = (files("curate.measures") / "pretrained.onnx").read_bytes()
    assert len(data) + len((files("curate.measures.tone") / "network.onnx").read_bytes()) < 8e6
    convolutions = [node for node in onnx.load_from_string(data).graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        assert {entry.name for entry in node.attribute} >= {"kernel_shape"}
