"""The page of `train colorize --page`: what it contains, and its sliders in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from train.cli import main
from train.inference.slider_page import MAX_PHOTOS, THUMBNAIL_PX, is_shown, make_pair, render_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HTML_NAME = "<img onerror=alert(1) src=x>.png"
Picture = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def page_file(tmp_path: Path, picture: Picture) -> Path:
    """A page of a wide, a tall, and a small picture, colorized as their negatives."""
    pairs = []
    for number, (height, width) in enumerate(((300, 900), (900, 300), (30, 40))):
        pixels = np.asarray(Image.fromarray(picture(number + 1)).resize((width, height)))
        Image.fromarray(255 - pixels).save(tmp_path / f"{number}.png")
        pairs.append(make_pair(HTML_NAME if number else "a.png", pixels, tmp_path / f"{number}.png"))
    page = tmp_path / "before-after.html"
    page.write_text(render_page(pairs, ["Colorized by <me>."], 3), encoding="utf-8")
    return page


def test_copies_are_small_and_alike() -> None:
    assert [index for index in range(250) if is_shown(index, 250)][:3] == [2, 4, 7]
    assert sum(is_shown(index, 12_345) for index in range(12_345)) == MAX_PHOTOS


def test_transparent_pixels_are_shown_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2000, 1000), (255, 0, 0, 0)).save(tmp_path / "a.png")
    pair = make_pair("a.png", np.zeros((1000, 2000, 3), np.uint8), tmp_path / "a.png")
    assert pair.size == (THUMBNAIL_PX, THUMBNAIL_PX // 2)
    (tmp_path / "after.jpg").write_bytes(pair.after)
    with Image.open(tmp_path / "after.jpg") as after:
        assert after.size == pair.size
        assert after.getextrema() == ((255, 255),) * 3


def test_the_page_loads_nothing_and_escapes_names(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    assert not re.search(r"https?:", text)
    assert "<img onerror" not in text
    assert "Colorized by &lt;me&gt;." in text


def test_the_command_writes_and_replaces_its_page(
    checkpoint_file: Callable[..., Path], tmp_path: Path, picture: Picture
) -> None:
    photos, out = tmp_path / "old", tmp_path / "colored"
    photos.mkdir()
    for seed, name in enumerate(("a.png", "b.jpg")):
        Image.fromarray(picture(seed + 1)).save(photos / name)

    def run(*options: str) -> Result:
        return CliRunner().invoke(main, ["colorize", str(checkpoint_file()), str(photos), "-o", str(out), *options])

    assert run().exit_code == 0
    assert not (out / "before-after.html").exists()
    (photos / "c.png").write_bytes(b"no photo")
    result = run("--page")
    assert result.exit_code == 1
    assert f"written: {out / 'before-after.html'}" in result.stderr
    text = (out / "before-after.html").read_text(encoding="utf-8")
    assert text.count("<figure") == 2, "pictures that existed already are on the page, the unreadable photo is not"
    assert "2 photos. " in text
    assert "with strength 1; the network got copies whose short side is 32 px" in text
    (photos / "c.png").unlink()
    assert run("--page", "--strength", "0.5").exit_code == 0
    assert "with strength 0.5;" in (out / "before-after.html").read_text(encoding="utf-8")
    (out / "before-after.html").write_text("my own page")
    assert "already exists and is not a before/after page" in run("--page").stderr


@pytest.fixture(params=[(1400, False), (400, True)], ids=["desk", "dark phone"])
def opened(browser: Browser, page_file: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    width, phone = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 800}, has_touch=phone, color_scheme="dark" if phone else "light"
    )
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.goto(page_file.as_uri())
    yield page
    context.close()
    assert problems == []


def test_sliders_follow_mouse_touch_and_keyboard(opened: Page) -> None:
    assert opened.viewport_size
    width = opened.viewport_size["width"]
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    figure, slider = opened.locator("figure").first, opened.locator("input").first
    box = figure.locator(".pair").bounding_box()
    assert box
    assert 0 < box["x"] < box["x"] + box["width"] < width
    assert figure.locator(".after").evaluate("e => getComputedStyle(e).clipPath") == "inset(0px 0px 0px 50%)"
    x, y = box["x"] + 0.2 * box["width"], box["y"] + 20
    if width == 400:
        opened.touchscreen.tap(x, y)
    else:
        opened.mouse.move(box["x"] + 0.9 * box["width"], y)
        opened.mouse.down()
        opened.mouse.move(x, y)
        opened.mouse.up()
    assert slider.input_value() == "20"
    assert slider.get_attribute("aria-valuetext") == "20 % before, 80 % after"
    assert figure.locator(".after").evaluate("e => getComputedStyle(e).clipPath") == "inset(0px 0px 0px 20%)"
    opened.keyboard.press("ArrowRight")
    assert slider.input_value() == "21"
    opened.keyboard.press("Tab")
    opened.keyboard.press("End")
    assert opened.locator("input").nth(1).input_value() == "100"
    dark = opened.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 300) == dark


def test_tall_and_small_pictures_fit_the_window(opened: Page) -> None:
    boxes = opened.evaluate(
        "[...document.querySelectorAll('.pair')].map(e => e.getBoundingClientRect()).map(b => [b.width, b.height])"
    )
    ratios = [width / height for width, height in boxes]
    assert ratios == pytest.approx([3, 1 / 3, 4 / 3], rel=0.02)
    assert all(height <= 0.86 * 800 for _, height in boxes)
    assert boxes[2][0] >= 300
