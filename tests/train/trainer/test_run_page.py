"""run.html: self-contained, safe, small, and complete."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from curate.measures.hue_spread import HueSpread
from train.checkpoint import Rollback
from train.health.curve import LossCurve, Validation
from train.health.findings import Finding
from train.recipe import Recipe
from train.trainer import run_page

STEPS = 5000
BROWN, COLORS = HueSpread(3.72, 0.82, 0.02, 0.0, 0.16), HueSpread(4.58, 0.59, 0.12, 0.13, 0.16)
EVIL = "<script>alert(1)</script>\"'&"
INFO = run_page.RunInfo(Recipe(lr=1e-3), STEPS, f"clean.parquet {EVIL}", (90, 10), f"train fit clean.parquet {EVIL}")


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
    last = Validation(5000, 0.6, 0.7, hue=BROWN, original_hue=COLORS)
    curve = LossCurve(ratios, 500, [Validation(100, 0.9, 0.2), last], mean_color=0.87)
    findings = [Finding("plateau", 1200, EVIL, "give --channels 128")]
    rescues = [Rollback(EVIL, 800, 400, 3, 2e-5, 8, 9000)]
    run_page.write_page(folder, INFO, curve, [1e-4] * STEPS, findings, rescues)
    return (folder / "run.html").read_text(encoding="utf-8")


def test_hues_of_predictions_are_beside_those_of_the_originals(tmp_path: Path) -> None:
    text = page_of(tmp_path, [Validation(5000, 0.7, 0.6, hue=BROWN, original_hue=COLORS)])
    assert "<td>3.72</td><td>4.58</td>" in text
    assert "<td>82%</td><td>59%</td>" in text
    assert "<h2>Hues</h2>" not in page_of(tmp_path, [Validation(5000, 0.7, 0.6)])  # resumed from an older log


def test_the_page_is_self_contained_and_has_no_scripts(folder: Path) -> None:
    text, tags = write_and_read(folder), Tags()
    tags.feed(text)
    assert "script" not in tags.tags
    assert tags.links
    assert all(link.startswith("data:image/jpeg;base64,") for link in tags.links)
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|url\(|@import", text)


def test_it_shows_documented_levels_findings_rescues_and_six_samples(folder: Path) -> None:
    text = write_and_read(folder)
    assert all(f">{level}</span>" in text for level in ("0.12", "0.10", "0.08", "0.06", "0.04"))
    assert "<b>plateau</b> at step 1,200" in text
    assert "give --channels 128" in text
    assert "went back to step 400, lr 2e-05, batch 8" in text
    shown = re.findall(r"<figcaption><b>step ([\d,]+)</b>", text)
    assert (len(shown), shown[0], shown[-1]) == (6, "100", "5,000")
    assert not re.search(r'd="[^"]*(nan|inf)', text)


def test_it_names_title_manifest_recipe_and_command(folder: Path) -> None:
    text = write_and_read(folder)
    assert "<title>a &lt;b&gt; &amp; c: vividset training run</title>" in text
    assert "<code>clean.parquet &lt;script&gt;" in text
    assert "<code>train fit clean.parquet &lt;script&gt;" in text
    assert "<code>90 for training, 10 for validation</code>" in text
    assert "<code>lr 0.001; all else as documented</code>" in text
    assert all(f"<tr><td>{name}</td><td>" in text for name in ("image_size", "saturated_chroma", "seed"))


def page_of(folder: Path, validations: list[Validation], steps: int = 1000) -> str:
    curve = LossCurve([1 - step / (2 * steps) for step in range(steps)], 10, validations)
    return run_page.render_page(folder, INFO, curve, [1e-4] * steps, [], [])


@pytest.mark.parametrize(("count", "dots"), [(1, 2), (50, 2), (51, 0), (3000, 0)])
def test_lines_of_more_than_50_points_have_no_dots(tmp_path: Path, count: int, dots: int) -> None:
    text = page_of(tmp_path, [Validation(step, 0.7, 0.6) for step in range(1, count + 1)], max(count, 100))
    assert text.count('class="val dots"') == dots  # loss and colorfulness
    assert len(text) < 150_000


def test_values_above_a_chart_are_marked_and_listed(tmp_path: Path) -> None:
    ratios = [2.9 if step == 300 else math.inf if step == 500 else 0.7 for step in range(10, 1000, 10)]
    text = page_of(tmp_path, [Validation(10 * row, ratio, 0.6) for row, ratio in enumerate(ratios, 1)])
    assert re.search(r'<span class="over val" style="left:30.0%" title="validation: 2.9 at step 300">▲', text)
    assert 'title="validation: infinite at step 500"' in text
    assert "▲ above the chart: validation: 2 of 99 values, the highest infinite at step 500." in text


def test_the_ladder_says_when_each_level_was_reached(tmp_path: Path) -> None:
    text = page_of(tmp_path, [Validation(500, 0.9, 0.5), Validation(1000, 0.66, 0.5)])
    # The training loss falls linearly from 1 to 0.5 in 1,000 steps, shown as means of 50.
    assert "<td>0.10</td><td>0.83</td><td>step 400</td><td>step 1,000</td>" in text
    assert "<td>0.04</td><td>0.33</td><td>not yet</td><td>not yet</td>" in text


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 400])
def test_nothing_is_cut_off_and_no_labels_overlap(browser: Browser, folder: Path, width: int, dark: bool) -> None:
    write_and_read(folder)
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light")
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.goto((folder / "run.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    boxes = page.evaluate(
        "[...document.querySelectorAll('.chart span, .chart, img, td, th, dd, p')].map(e => e.getBoundingClientRect())"
        ".map(b => [b.left, b.right, b.width])"
    )
    assert all(left >= 0 and right <= width for left, right, shown in boxes if shown)
    overlapping = page.evaluate(
        "[...document.querySelectorAll('.chart')].map(chart => ['.x', '.y', '.right'].map(kind => {"
        "  const boxes = [...chart.querySelectorAll(kind)].map(e => e.getBoundingClientRect());"
        "  return boxes.filter((a, i) => boxes.some((b, j) => i < j && a.left < b.right && b.left < a.right"
        "    && a.top + 2 < b.bottom && b.top + 2 < a.bottom)).length })).flat()"
    )
    assert set(overlapping) == {0}
    ground, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    assert (sum(map(int, re.findall(r"\d+", ground))) < sum(map(int, re.findall(r"\d+", ink)))) == dark
    context.close()
    assert problems == []


def test_a_long_run_has_a_small_page(folder: Path) -> None:
    assert len(write_and_read(folder)) < 1_000_000
    assert {entry.name for entry in folder.iterdir()} == {"run.html", "samples"}


def test_a_failed_write_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "run.html").mkdir()
    with pytest.raises(IsADirectoryError):
        run_page.write_page(tmp_path, INFO, LossCurve([1.0], 10), [5e-5], [], [])
    assert [path.name for path in tmp_path.iterdir()] == ["run.html"]


def test_a_run_of_one_step_has_a_page(tmp_path: Path) -> None:
    run_page.write_page(tmp_path, INFO, LossCurve([1.0], 10), [5e-5], [], [])
    assert "Too few steps to judge" in (tmp_path / "run.html").read_text(encoding="utf-8")
