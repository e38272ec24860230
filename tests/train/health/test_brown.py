"""Sepia output found by hue: brown predictions beside colorful originals, when the run is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from curate.measures.hue_spread import HueSpread
from train.health.curve import LossCurve, Validation
from train.health.detectors import detect, detect_all

PLATES = HueSpread(4.58, 0.59, 0.12, 0.13, 0.16)
"""Thirty plates of 1910, and the predictions of a small network for them (loss ÷ neutral 0.71)."""
BROWN = HueSpread(3.72, 0.82, 0.02, 0.0, 0.16)
CURVE = LossCurve([1 - 0.29 * step / 1200 for step in range(1200)], 120, total_steps=1200)
LAST = Validation(1200, 0.71, 0.6, {"color": 60, "toned": 4}, 0.08, 133, BROWN, PLATES)


def kinds(validation: Validation, **changes: object) -> list[str]:
    curve = replace(CURVE, validations=[validation], **changes)  # type: ignore[arg-type]
    return [finding.kind for finding in detect(curve)]


def test_brown_predictions_of_a_finished_run_are_sepia_output() -> None:
    (finding,) = detect(replace(CURVE, validations=[LAST]))
    assert finding.kind == "sepia output"
    assert "82% of their chroma is in warm hues, where the originals have 59%" in finding.evidence
    assert "3.7 bits for 4.6" in finding.evidence
    order = [finding.remedy.index(word) for word in ("--channels 128", "many hues", "--perceptual-weight 0.01")]
    assert order == sorted(order)
    assert "4.6 bits, which is wide: the data is not the cause" in finding.remedy
    assert [entry.kind for entry in detect_all(replace(CURVE, validations=[LAST]))] == ["sepia output"]


def test_a_run_that_is_not_over_is_judged_only_at_the_documented_low_loss() -> None:
    early = replace(LAST, step=1100)
    assert kinds(early) == []
    assert kinds(LAST, total_steps=None) == []  # unknown
    assert kinds(replace(early, ratio=0.36)) == ["sepia output"]  # 0.04 on the documented scale, and a tenth


@pytest.mark.parametrize(
    "healthy",
    [
        replace(LAST, hue=replace(BROWN, entropy_bits=4.2)),  # as many hues as the originals, almost
        replace(LAST, hue=replace(BROWN, warm=0.65)),  # few hues, but not warm ones
        replace(LAST, ratio=0.85),  # has learned too little: at most a plateau
        replace(LAST, photos=4),  # may be chance
        replace(
            LAST, original_hue=HueSpread(3.54, 0.88, 0.01, 0.04, 0.07), hue=replace(BROWN, entropy_bits=3.0)
        ),  # sunrises
        replace(LAST, hue=None, original_hue=None),  # log of an earlier version
    ],
    ids=["wide", "not warm", "little learned", "few photos", "narrow data", "old log"],
)
def test_other_runs_have_no_finding(healthy: Validation) -> None:
    assert kinds(healthy) == []


def test_short_runs_are_not_judged() -> None:
    short = LossCurve([0.8] * 300, 30, total_steps=300, validations=[replace(LAST, step=300)])
    assert detect(short) == []


def test_a_narrow_data_set_is_named_as_a_cause() -> None:
    few_hues = replace(LAST, original_hue=HueSpread(3.9, 0.6, 0.3, 0.1, 0.0), hue=HueSpread(2.5, 0.95, 0.05, 0.0, 0.0))
    (finding,) = detect(replace(CURVE, validations=[few_hues]))
    assert "3.9 bits, which is narrow: train on photos with more hues" in finding.remedy
