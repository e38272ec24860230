"""The report page in a browser: mouse, touch, keyboard, dark mode, small windows; compared with the manifest."""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import skimage
from click.testing import CliRunner
from PIL import Image
from playwright.sync_api import Browser, Page

from curate import manifest
from curate.cli import main
from curate.manifest import SCAN_SCHEMA, Lineage
from curate.report import write_report
from curate.scanning.scan import ScanOptions, scan_photos

HTML_NAME = "</script><img onerror=alert(1) src=x>.png"
PHONE_PX, DESK_PX = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def scanned_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan and a report of 42 files from gray to vivid: some sepia, two broken, one with HTML in its name."""
    home = tmp_path_factory.mktemp("report")
    photos = home / "my photos"
    (photos / HTML_NAME).parent.mkdir(parents=True)
    with Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png") as photo:
        vivid = np.asarray(photo.convert("RGB").resize((80, 60), Image.Resampling.BOX), float)
    gray = vivid.mean(axis=2, keepdims=True)
    for i in range(30):
        picture = gray + (vivid - gray) * (i / 20) + np.random.default_rng(i).normal(0, 2, gray.shape)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(photos / f"{i:02}.png")
    for i in range(6):
        sepia = (vivid * (0.6 + i / 15)) @ SEPIA.T
        Image.fromarray(sepia.clip(0, 255).astype(np.uint8)).save(photos / f"sepia-{i}.png")
    for i in (1, 2):
        Image.fromarray(np.roll(vivid, i, axis=2).clip(0, 255).astype(np.uint8)).save(photos / f"other-hue-{i}.png")
    shutil.copy(photos / "20.png", photos / "copy of 20.png")
    shutil.copy(photos / "25.png", photos / HTML_NAME)
    for name in ("cut.png", "cut-too.png"):
        (photos / name).write_bytes((photos / "10.png").read_bytes()[:900])
    out = home / "my scan.parquet"
    scan_photos([photos], out, ScanOptions(), command="curate scan 'my photos'")
    write_report(out, home / "scan.html")
    return home


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """A function that opens a page from disk. Console messages, network requests and exceptions fail the test."""
    problems: list[str] = []
    pages: list[Page] = []

    def open_page(html: Path, *, phone: bool = False, dark: bool = False, permissions: tuple[str, ...] = ()) -> Page:
        context = browser.new_context(
            viewport=PHONE_PX if phone else DESK_PX,  # type: ignore[arg-type]
            has_touch=phone,
            color_scheme="dark" if dark else "light",
            permissions=list(permissions),
        )
        page = context.new_page()
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(f"alert: {dialog.message}"))
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith(("data:", "blob:", html.as_uri())) else problems.append(asked.url)
            ),
        )
        page.goto(html.as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert problems == []


def number(page: Page, selector: str) -> int:
    """A count on the page."""
    return int((page.text_content(selector) or "").replace(",", ""))


def kept_of(folder: Path, line: float, *tones: str) -> int:
    """The number of kept photos, counted in the manifest."""
    table = manifest.read_manifest(folder / "my scan.parquet").table
    table = table.filter(pc.equal(table["kind"], "photo"))
    passes = pc.and_(
        pc.greater_equal(table["colorfulness"], line), pc.is_in(table["tone"], pa.array(tones or ("color",)))
    )
    return int(pc.sum(passes).as_py())


def threshold_of(page: Page) -> float:
    """The threshold of the page."""
    wait_for_drawing(page)
    return float(page.get_attribute("#handle", "aria-valuenow") or "nan")


def wait_for_drawing(page: Page) -> None:
    """Wait for two frames, so that the page is drawn."""
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")


def captions(page: Page, gallery: str) -> list[float]:
    return [float(text) for text in page.locator(f"{gallery} .caption").all_text_contents()]


def assert_page_matches(page: Page, folder: Path, line: float, *tones: str) -> None:
    """Counts, command and galleries match the threshold."""
    kept, rows = kept_of(folder, line, *tones), manifest.read_manifest(folder / "my scan.parquet").table.num_rows
    assert number(page, "#kept") == kept == number(page, "#above-count")
    assert number(page, "#dropped") == rows - kept
    words = shlex.split(page.text_content("#command") or "")
    assert words[:3] == ["curate", "filter", str(folder / "my scan.parquet")]
    assert float(words[words.index("--min-colorfulness") + 1]) == line
    assert all(m >= line for gallery in ("#just-above", "#above") for m in captions(page, gallery))
    assert all(m < line for gallery in ("#just-below", "#below") for m in captions(page, gallery))
    assert f"{kept:,} kept" in (page.get_attribute("#handle", "aria-valuetext") or "")


def drag(page: Page, to_m: float) -> None:
    """Drag the threshold with the mouse."""
    plot, handle = page.locator("#histogram").bounding_box(), page.locator("#handle").bounding_box()
    assert plot
    assert handle
    end_m = float(page.get_attribute("#handle", "aria-valuemax") or "nan")
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + 180)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] * to_m / end_m, handle["y"] + 150, steps=8)
    page.mouse.up()


def test_it_opens_with_the_default_threshold(opened: Open, scanned_folder: Path) -> None:
    page = opened(scanned_folder / "scan.html")
    assert threshold_of(page) == 20
    assert_page_matches(page, scanned_folder, 20.0)
    assert page.title() == "my scan.parquet: vividset report"


def test_dragging_the_threshold_updates_the_page(opened: Open, scanned_folder: Path) -> None:
    page = opened(scanned_folder / "scan.html")
    before = captions(page, "#just-above")
    for wanted in (8.0, 63.5, 41.0):
        drag(page, wanted)
        assert threshold_of(page) == pytest.approx(wanted, abs=0.3)
        assert_page_matches(page, scanned_folder, threshold_of(page))
    assert captions(page, "#just-above") != before


def test_the_threshold_can_be_dragged_by_touch(opened: Open, scanned_folder: Path) -> None:
    page = opened(scanned_folder / "scan.html", phone=True)
    page.locator("#histogram").scroll_into_view_if_needed()
    plot = page.locator("#histogram").bounding_box()
    assert plot
    fingers = page.context.new_cdp_session(page)
    x, y = plot["x"] + plot["width"] * 20 / 120, plot["y"] + 100
    fingers.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 11):
        point = {"x": x + step * 10, "y": y + step % 2}
        fingers.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert threshold_of(page) > 40
    assert_page_matches(page, scanned_folder, threshold_of(page))


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_labels_of_the_histogram_hide_no_bar_and_no_other_label(
    opened: Open, scanned_folder: Path, *, phone: bool
) -> None:
    page = opened(scanned_folder / "scan.html", phone=phone)
    boxes = page.locator(".level span").evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().toJSON())")
    assert len(boxes) == 7  # the levels of Hasler and Süsstrunk (2003)
    assert all(box["width"] and box["left"] >= 0 and box["right"] <= page.viewport_size["width"] for box in boxes)  # type: ignore[index]
    flag = page.locator("#flag").bounding_box()
    bars = page.locator("#histogram").bounding_box()
    assert flag
    assert bars
    assert flag["y"] + flag["height"] <= bars["y"]
    assert all(box["bottom"] <= flag["y"] for box in boxes)
    for one, other in itertools.combinations(boxes, 2):
        assert one["right"] <= other["left"] or other["right"] <= one["left"] or one["top"] != other["top"]


def test_keys_move_the_threshold_in_small_and_large_steps(opened: Open, scanned_folder: Path) -> None:
    page = opened(scanned_folder / "scan.html")
    page.focus("#handle")
    end = float(page.get_attribute("#handle", "aria-valuemax") or "nan")
    fine = (("ArrowRight", 20.1), ("ArrowUp", 20.2), ("Shift+ArrowRight", 21.2), ("ArrowLeft", 21.1))
    far = (("PageUp", 26.1), ("PageDown", 21.1), ("Home", 0.0), ("ArrowLeft", 0.0), ("End", end), ("ArrowRight", end))
    for key, line in (*fine, *far):
        page.keyboard.press(key)
        assert threshold_of(page) == line
        assert_page_matches(page, scanned_folder, line)
    page.fill("#number", "33.3")
    assert threshold_of(page) == 33.3
    assert_page_matches(page, scanned_folder, 33.3)


def test_other_tones_can_be_kept(opened: Open, scanned_folder: Path) -> None:
    page = opened(scanned_folder / "scan.html")
    page.locator("#keep-tones").get_by_role("checkbox", name="sepia").check()
    wait_for_drawing(page)
    assert kept_of(scanned_folder, 20.0, "color", "sepia") > kept_of(scanned_folder, 20.0)
    assert_page_matches(page, scanned_folder, 20.0, "color", "sepia")


def test_the_copied_command_keeps_as_many_photos_as_the_page_says(opened: Open, scanned_folder: Path) -> None:
    page = opened(scanned_folder / "scan.html", permissions=("clipboard-read", "clipboard-write"))
    page.fill("#number", "47.1")
    page.locator("#keep-tones").get_by_role("checkbox", name="sepia").check()
    wait_for_drawing(page)
    page.click("#copy")
    page.get_by_text("Copied").wait_for()
    program, *arguments = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert program == "curate"
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    kept = manifest.read_manifest(scanned_folder / "clean.parquet").table.num_rows
    assert kept == number(page, "#kept") == kept_of(scanned_folder, 47.1, "color", "sepia")


def test_a_photo_can_be_opened_and_closed_by_keyboard(opened: Open, scanned_folder: Path) -> None:
    page = opened(scanned_folder / "scan.html")
    page.fill("#number", "60")
    page.focus("#copy")
    page.keyboard.press("Tab")  # the first tile
    page.keyboard.press("ArrowRight")  # the second
    second = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("Enter")
    assert page.locator("#photo").is_visible()
    name = page.text_content("#photo-path") or ""
    assert second.startswith(name)
    place = page.text_content("#photo-place") or ""
    assert re.fullmatch(r"2 of \d+", place)
    assert "sharpness" in (page.text_content("#photo-numbers") or "")
    assert re.search(r"Rejected: colorfulness \d+\.\d\d < 60", page.text_content("#photo-verdict") or "")
    page.keyboard.press("ArrowRight")
    assert page.text_content("#photo-place") == place.replace("2", "3", 1)
    assert page.text_content("#photo-path") != name
    page.keyboard.press("ArrowLeft")
    assert page.text_content("#photo-path") == name
    page.keyboard.press("Escape")
    assert not page.locator("#photo").is_visible()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == second


def test_reasons_tones_errors_hues_and_duplicates_are_shown(opened: Open, scanned_folder: Path) -> None:
    page = opened(scanned_folder / "scan.html")
    table = manifest.read_manifest(scanned_folder / "my scan.parquet").table
    for section, column in (("#tones", "tone"), ("#kinds", "kind"), ("#errors", "error")):
        kinds = [text.partition(":")[0] for text in table[column].drop_null().to_pylist()]
        chips = {chip.split()[0]: int(chip.split()[1]) for chip in page.locator(f"{section} .chip").all_text_contents()}
        assert chips == {kind: kinds.count(kind) for kind in set(kinds)}
    page.locator("#reasons .chip", has_text="tone is sepia").click()
    labels = page.locator("#reasons .tile").evaluate_all("(all) => all.map((tile) => tile.getAttribute('aria-label'))")
    assert len(labels) == table["tone"].to_pylist().count("sepia")
    page.focus("#handle")
    page.keyboard.press("PageUp")  # what was chosen stays chosen while the line moves
    wait_for_drawing(page)
    assert (page.text_content("#reasons [aria-pressed=true]") or "").startswith("tone is sepia")
    assert page.locator("#twin-groups .tile").count() >= 4
    assert f"Half of the {kept_of(scanned_folder, 25.0)} photos" in (page.text_content("#hue-summary") or "")
    assert page.locator("#wheel .wedge").count() == 36


def test_a_hue_can_be_chosen_by_mouse_keyboard_and_name(opened: Open, scanned_folder: Path) -> None:
    page = opened(scanned_folder / "scan.html")
    names = [text.split()[0] for text in page.locator("#hues .chip").all_text_contents()]
    table = manifest.read_manifest(scanned_folder / "my scan.parquet").table.to_pandas()
    kept = table[(table["tone"] == "color") & (table["kind"] == "photo") & (table["colorfulness"] >= 20)]

    def assert_chosen(name: str) -> None:
        assert page.get_attribute("#wheel [aria-checked=true]", "aria-label") == (
            f"{name}: {(page.text_content('#hues [aria-pressed=true]') or '').split()[1]} photos"
        )
        ends = {"pink": (330, 15), "red": (15, 45), "orange": (45, 75), "yellow": (75, 110), "green": (110, 165)}
        first, last = (ends | {"teal": (165, 220), "blue": (220, 290), "violet": (290, 330)})[name]
        middles = kept["hue_peak_deg"] // 10 * 10 + 5
        own = kept[((middles - first) % 360) < (last - first) % 360]
        shown = page.locator("#hues .tile").evaluate_all("(all) => all.map((tile) => tile.getAttribute('aria-label'))")
        assert {label.rpartition(", ")[0] for label in shown} <= set(own["path"])
        assert len(shown) == min(24, len(own))

    assert len(names) > 1
    for name in names:
        page.locator(f"#wheel g[aria-label^={name}] text").click()
        assert_chosen(name)
    page.keyboard.press("ArrowLeft")  # from the last hue around to the first
    assert_chosen(names[0])
    page.locator("#hues .chip", has_text=names[1]).click()
    assert_chosen(names[1])


def ticked_lines(page: Page) -> list[str]:
    """The sha256 of each line of the list of ticked photos."""
    lines = page.input_value("#tick-list").splitlines()
    return [line.split("  ")[0] for line in lines if not line.startswith("#")]


def hash_of(folder: Path, path: str) -> str:
    table = manifest.read_manifest(folder / "my scan.parquet").table
    return str(table["sha256"][table["path"].to_pylist().index(path)])


def test_photos_are_ticked_by_mouse_and_keyboard_and_the_ticks_stay(opened: Open, scanned_folder: Path) -> None:
    page = opened(scanned_folder / "scan.html")
    assert not page.locator("#tick-bar").is_visible()
    box = page.locator("#just-above input").first
    first = (box.get_attribute("aria-label") or "").removeprefix("Tick ")
    box.click()
    assert not page.locator("#photo").is_visible()  # a tick doesn't open the photo
    assert ticked_lines(page) == [hash_of(scanned_folder, first)]
    boxes = page.locator(f'input[aria-label="Tick {first}"]')
    assert boxes.count() > 1  # the same photo is in several galleries
    assert all(boxes.nth(number).is_checked() for number in range(boxes.count()))
    page.focus("#just-above .tile >> nth=0")
    for key in ("ArrowRight", "t", "Tab", "ArrowRight", "Space"):  # the second by T, the third by its box
        page.keyboard.press(key)
    assert len(ticked_lines(page)) == 3
    assert (page.text_content("#tick-count") or "").startswith("3 ticked3 kept, 0 rejected")
    page.fill("#number", "90")  # moving the threshold keeps the ticks
    wait_for_drawing(page)
    assert (page.text_content("#tick-count") or "").startswith("3 ticked0 kept, 3 rejected")
    page.reload()
    wait_for_drawing(page)
    assert len(ticked_lines(page)) == 3
    page.locator("#ticked input[type=checkbox]").first.click()
    page.click("#tick-clear")
    assert ticked_lines(page) == []
    assert not page.locator("#tick-bar").is_visible()


def test_photos_are_ticked_by_touch_in_the_dialog_and_all_at_once(opened: Open, scanned_folder: Path) -> None:
    page = opened(scanned_folder / "scan.html", phone=True)
    page.locator("#above .tick").nth(1).tap()
    page.locator("#above .tile").first.tap()
    page.locator("#photo-tick").tap()
    page.keyboard.press("ArrowRight")
    assert page.locator("#photo-tick").is_checked()
    page.keyboard.press("t")
    page.locator("#close").tap()
    assert len(ticked_lines(page)) == 1
    every = page.locator("#above + .actions").get_by_text("Tick all")
    every.tap()
    shown = page.locator("#above .tick").count()
    assert page.locator("#above input:checked").count() == shown
    bar = page.locator("#tick-bar").bounding_box()
    assert bar
    assert bar["y"] + bar["height"] == PHONE_PX["height"]
    page.locator("#above + .actions").get_by_text(f"Untick all {shown} shown").tap()
    assert ticked_lines(page) == []
    assert page.locator("#errors .tick").count() == 0  # no list keeps a photo that can't be read
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE_PX["width"]


def test_the_filter_rejects_or_keeps_the_photos_of_the_saved_list(
    opened: Open, scanned_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = opened(scanned_folder / "scan.html", permissions=("clipboard-read", "clipboard-write"))
    names = ["00.png", "sepia-0.png", "26.png", "27.png"]  # gray, sepia, two vivid ones
    page.evaluate("(names) => setTicks(page.photos.filter((photo) => names.includes(photo.path)), true)", names)
    with page.expect_download() as download:
        page.click("#tick-download")
    assert download.value.suggested_filename == "my-scan-ticked.txt"
    download.value.save_as(tmp_path / "my-scan-ticked.txt")
    page.click("#tick-copy")
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == Path("my-scan-ticked.txt").read_text(encoding="utf-8")
    for use, is_kept in (("Reject them", False), ("Keep them", True)):
        page.get_by_role("radio", name=use).check()
        program, *arguments = shlex.split(page.text_content("#tick-command") or "")
        assert program == "curate"
        result = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "clean.parquet")])
        assert result.exit_code == 0, result.output
        assert "-list: 4 entries, 0 of them in no row of the scan\n" in result.output
        clean = manifest.read_manifest(tmp_path / "clean.parquet").table
        assert [name in clean["path"].to_pylist() for name in names] == [is_kept] * 4
    assert clean["waived_reasons"].null_count == clean.num_rows - 2
    write_report(tmp_path / "clean.parquet", tmp_path / "clean.html")
    again = opened(tmp_path / "clean.html")  # a report of the filtered photos counts those of the keep list as kept
    assert number(again, "#kept") == clean.num_rows


def test_without_scripts_the_page_says_what_to_do(browser: Browser, scanned_folder: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((scanned_folder / "scan.html").as_uri())
    text = page.locator("body").inner_text()
    assert "my scan.parquet" in text
    assert "Allow scripts" in text
    assert "Choose the threshold" not in text
    context.close()


def test_html_in_a_file_name_is_shown_as_text(opened: Open, scanned_folder: Path) -> None:
    page = opened(scanned_folder / "scan.html")
    page.get_by_role("button", name=HTML_NAME).first.click()
    assert page.text_content("#photo-path") == HTML_NAME
    sources = page.locator("img").evaluate_all("(all) => all.map((image) => image.getAttribute('src').slice(0, 16))")
    assert set(sources) == {"data:image/jpeg;"}
    assert page.locator("[onerror]").count() == 0


def test_other_scripts_and_network_requests_are_blocked(browser: Browser, scanned_folder: Path) -> None:
    page = browser.new_page()
    page.goto((scanned_folder / "scan.html").as_uri())
    refused = page.evaluate(
        """() => new Promise((done) => {
            const refused = [];
            document.addEventListener("securitypolicyviolation", (event) => {
                refused.push(event.effectiveDirective);
                if (refused.length === 3) done(refused.sort());
            });
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            const image = document.createElement("img");
            image.src = "http://127.0.0.1:9/x.png";
            document.body.append(script, image);
            fetch("http://127.0.0.1:9/").catch(() => {});
        })"""
    )
    assert refused == ["connect-src", "img-src", "script-src-elem"]
    assert page.evaluate("window.ran") is None
    page.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_has_enough_contrast_in_both_modes(
    opened: Open, scanned_folder: Path, tmp_path: Path, *, dark: bool
) -> None:
    page = opened(scanned_folder / "scan.html", dark=dark)
    names = ("--ground", "--raised", "--ink", "--quiet", "--accent", "--on-accent")
    read = "(names) => names.map((name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim())"
    ground, raised, ink, quiet, accent, on_accent = map(luminance, page.evaluate(read, names))
    assert (ground < 0.1) is dark
    pairs = [(ink, ground), (ink, raised), (quiet, ground), (quiet, raised), (accent, ground), (on_accent, accent)]
    assert min(contrast(*pair) for pair in pairs) >= 4.5
    page.screenshot(path=tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as picture:
        assert bool(np.median(np.asarray(picture.convert("L"))) < 60) is dark


def luminance(color: str) -> float:
    """WCAG relative luminance of #rrggbb, 0..1."""
    linear = [
        (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
        for c in (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    ]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_no_horizontal_scrolling_on_a_phone(opened: Open, scanned_folder: Path) -> None:
    page = opened(scanned_folder / "scan.html", phone=True)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE_PX["width"]
    page.locator("#above .tile").first.tap()
    dialog = page.locator("#photo").bounding_box()
    assert dialog
    assert dialog["x"] >= 0
    assert dialog["x"] + dialog["width"] <= PHONE_PX["width"]
    assert (
        page.evaluate(
            "(() => { const box = document.getElementById('photo'); return box.scrollWidth - box.clientWidth; })()"
        )
        == 0
    )


def one_photo(path: str, **columns: object) -> dict[str, object]:
    return {"source": "/nowhere", "path": path, **columns}


@pytest.mark.parametrize(
    ("rows", "kept", "hidden"),
    [
        ([one_photo("a.jpg", colorfulness=31.0, tone="color", tone_hue_deg=50.0)], 1, {"errors", "twins", "reasons"}),
        ([one_photo("a.jpg", error="BrokenPhoto: cut")] * 3, 0, {"tones", "twins"}),
        ([one_photo("a.jpg", colorfulness=0.0, tone="grayscale")], 0, {"errors", "twins"}),
        ([one_photo("a.jpg", colorfulness=25.5)], 1, {"errors", "twins", "reasons", "tones"}),
    ],
    ids=["one photo", "only errors", "only gray", "no tone"],
)
def test_manifests_without_some_kinds_of_photos_are_shown(
    opened: Open, tmp_path: Path, rows: list[dict[str, object]], kept: int, hidden: set[str]
) -> None:
    path = tmp_path / "scan.parquet"
    manifest.write_manifest(path, pa.Table.from_pylist(rows, SCAN_SCHEMA), Lineage("scan", "curate scan", {}))
    write_report(path, tmp_path / "scan.html")
    page = opened(tmp_path / "scan.html")
    assert number(page, "#kept") == kept
    assert number(page, "#dropped") == len(rows) - kept
    sections = page.locator("main > section[hidden]").evaluate_all("(all) => all.map((section) => section.id)")
    assert hidden <= set(sections)
