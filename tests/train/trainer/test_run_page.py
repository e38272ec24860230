"""run.html: self-contained, safe, small, and complete."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train.checkpoint import Rollback
from train.health.detectors import LossCurve, Validation
from train.health.findings import Finding
from train.trainer import run_page

STEPS = 5000
EVIL = "<script>alert(1)</script>\"'&"


class Tags(HTMLParser):
    """Collects the tags of a page, and its links."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "a <b> & c"
    (folder / "samples").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for step in range(100, STEPS + 1, 100):
        pixels = noise.integers(0, 256, (960, 480, 3), np.uint8).astype(np.uint8)
        if step in (100, STEPS):
            Image.fromarray(pixels).save(folder / "samples" / f"step-{step:07d}.png")
        else:
            Image.new("RGB", (480, 960)).save(folder / "samples" / f"step-{step:07d}.png")
    return folder


def write_and_read(folder: Path) -> str:
    ratios = [1 - step / (2 * STEPS) for step in range(STEPS)]
    ratios[7] = float("nan")
    curve = LossCurve(ratios, 500, [Validation(100, 0.9, 0.2), Validation(5000, 0.6, 0.7)], mean_color=0.87)
    findings = [Finding("plateau", 1200, EVIL, "give --channels 128")]
    rescues = [Rollback(EVIL, 800, 400, 3, 2e-5, 8, 9000)]
    run_page.write_page(folder, curve, [1e-4] * STEPS, findings, rescues)
    return (folder / "run.html").read_text(encoding="utf-8")


def test_the_page_is_self_contained_and_has_no_scripts(folder: Path) -> None:
    text, tags = write_and_read(folder), Tags()
    tags.feed(text)
    assert "script" not in tags.tags
    assert tags.links
    assert all(link.startswith("data:image/jpeg;base64,") for link in tags.links)
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|url\(|@import", text)
    assert "<title>a &lt;b&gt; &amp; c</title>" in text


def test_it_shows_documented_levels_findings_rescues_and_six_samples(folder: Path) -> None:
    text = write_and_read(folder)
    assert all(f">{level}</text>" in text for level in ("0.12", "0.10", "0.08", "0.06", "0.04"))
    assert "<b>plateau</b> at step 1,200" in text
    assert "give --channels 128" in text
    assert "went back to step 400, lr 2e-05, batch 8" in text
    shown = re.findall(r"<figcaption>step ([\d,]+)</figcaption>", text)
    assert (len(shown), shown[0], shown[-1]) == (6, "100", "5,000")
    assert not re.search(r'points="[^"]*nan', text)


def test_a_long_run_has_a_small_page(folder: Path) -> None:
    assert len(write_and_read(folder)) < 1_000_000
    assert {entry.name for entry in folder.iterdir()} == {"run.html", "samples"}


def test_a_failed_write_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "run.html").mkdir()
    with pytest.raises(IsADirectoryError):
        run_page.write_page(tmp_path, LossCurve([1.0], 10), [5e-5], [], [])
    assert [path.name for path in tmp_path.iterdir()] == ["run.html"]


def test_a_run_of_one_step_has_a_page(tmp_path: Path) -> None:
    run_page.write_page(tmp_path, LossCurve([1.0], 10), [5e-5], [], [])
    assert "Too few steps to judge" in (tmp_path / "run.html").read_text(encoding="utf-8")
