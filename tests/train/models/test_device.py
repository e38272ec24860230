"""Which device `auto` is."""

from __future__ import annotations

import pytest
import torch

from train.models.device import choose_device


@pytest.mark.parametrize(("cuda", "mps", "expected"), [(0, 0, "cpu"), (1, 0, "cuda"), (0, 1, "mps")])
def test_auto_is_a_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch, cuda: int, mps: int, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    assert choose_device("auto") == expected
    assert choose_device("cuda:1") == "cuda:1"
