"""Arguments without a meaning are refused by every function, in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import train
from curate import errors


def test_arguments_that_make_no_sense_are_one_line(clean_manifest: Callable[..., Path], tmp_path: Path) -> None:
    manifest, run_dir = clean_manifest(), tmp_path / "run"
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: train.fit(manifest, run_dir=run_dir, lr=-1), "--lr"),
        (lambda: train.fit(manifest, run_dir=run_dir, recipe=train.Recipe(), lr=1e-3), "recipe="),
        (lambda: train.fit(manifest, run_dir=run_dir, workers=-1), "workers"),
        (lambda: train.fit(manifest, run_dir=run_dir, on_trouble="ignore"), "warn, stop"),  # type: ignore[arg-type]
        (lambda: train.fit(manifest, run_dir=run_dir, device="tpu"), "tpu"),
        (lambda: train.fit(manifest, run_dir=run_dir, roots="nowhere"), "nowhere"),
        (lambda: train.evaluate(run_dir, manifest, split="dev"), "test, val"),  # type: ignore[arg-type]
        (lambda: train.evaluate(run_dir, manifest, image_size=16), "image_size must be 32 to 4096 px, not 16"),
        (lambda: train.evaluate(run_dir, manifest, limit=0), "limit must be a number of photos, 1 or more, not 0"),
        (lambda: train.evaluate(run_dir, manifest, timeout_s=0), "timeout_s"),
        (lambda: train.compare(tmp_path, tmp_path, split="dev"), "test, val"),  # type: ignore[arg-type]
        (lambda: train.compare(tmp_path, tmp_path, image_size=5000), "image_size must be 32 to 4096 px, not 5000"),
        (lambda: train.compare(tmp_path, tmp_path, timeout_s=float("nan")), "timeout_s"),
        (lambda: train.diagnose(run_dir, neutral=0), "neutral"),
        (lambda: train.diagnose(run_dir, means_of=0), "means_of"),
    ]
    for call, text in calls:
        with pytest.raises(errors.UsageError, match=text) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not run_dir.exists()
