"""Presets and their files, options that replace them, and thresholds of shares."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from curate import manifest
from curate.cli import main
from curate.errors import UsageError
from curate.filtering.dataset_rules import threshold_for_share
from curate.filtering.option_values import NUMERIC_MEASURES
from curate.filtering.options import (
    DEFAULT_PRESET,
    SETTING_NAMES,
    FilterOptions,
    build_options,
    load_preset,
    merge_settings,
    settings_to_toml,
)
from curate.manifest import SCAN_SCHEMA, Lineage
from curate.scanning.summary import ScanSummary


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_default_preset_is_the_default_options_and_nothing_else() -> None:
    assert build_options(load_preset(DEFAULT_PRESET)) == FilterOptions()


def test_every_measure_has_a_setting() -> None:
    assert {f"min-{name.replace('_', '-')}" for name in NUMERIC_MEASURES} < set(SETTING_NAMES)


def test_every_setting_is_an_option_of_filter() -> None:
    options = {word for parameter in main.commands["filter"].params for word in parameter.opts}
    assert {f"--{name}" for name in SETTING_NAMES} < options


def test_the_output_of_show_can_be_used_as_a_preset(tmp_path: Path) -> None:
    typed = (
        "--max-aspect",
        3,
        "--where",
        'path <> "a\x7f\\"',
        "--keep-tone",
        "sepia",
        "--keep-kind",
        "graphic",
        "--min-chroma-mean",
        "1e-5",
    )
    shown = run("filter", "--show", "--preset", "strict", *typed)
    assert shown.exit_code == 0
    (tmp_path / "mine.toml").write_text(shown.stdout, encoding="utf-8")
    assert run("filter", "--show", "--preset", tmp_path / "mine.toml").stdout == shown.stdout
    loaded = build_options(load_preset(str(tmp_path / "mine.toml")))
    assert (loaded.min_side_px, loaded.max_aspect, loaded.where) == (256, 3, 'path <> "a\x7f\\"')
    assert loaded.keep_tones == {"color", "sepia"}
    assert loaded.keep_kinds == {"photo", "graphic"}
    assert ("--min-chroma-mean", 1e-5) in [(bound.option, bound.limit) for bound in loaded.bounds]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False, allow_infinity=False))
def test_any_setting_can_be_read_back_from_toml(text: str, number: float) -> None:
    settings = {"where": text, "max-sharpness": number, "min-side": 7, "keep-tone": ["toned"], "split": "80/10/10"}
    settings |= {"keep-kind": ["graphic"]}
    assert tomllib.loads("\n".join(settings_to_toml(settings))) == settings


def test_typed_options_replace_those_of_the_preset(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('min-colorfulness = 30\nmin-side = 100\nkeep-tone = ["sepia"]\n')
    shown = run("filter", "--show", "--preset", tmp_path / "mine.toml", "--min-side", 50, "--keep-tone", "toned").stdout
    assert tomllib.loads(shown) == {
        "min-colorfulness": 30,
        "min-side": 50,
        "keep-tone": ["toned"],
        "keep-kind": [],
        "split": "90/5/5",
    }


def test_a_share_replaces_a_minimum_and_the_reverse_but_both_are_refused() -> None:
    minimum, share = {"min-colorfulness": 20}, {"keep-top": ["90%"]}
    assert merge_settings(minimum, share) == share
    assert merge_settings(minimum, {"keep-top": "90%"}) == share
    assert merge_settings(share, minimum) == minimum
    for both in (merge_settings(minimum, {**minimum, **share}), {**minimum, **share}):
        with pytest.raises(UsageError, match="give one of them"):
            build_options(both)


def test_shares_and_minimums_of_other_measures_are_kept() -> None:
    preset = {"min-colorfulness": 20, "min-sharpness": 2, "keep-top": ["chroma-mean:70%", "neutral_share:60.5%"]}
    typed = {"keep-top": ("sharpness:90%",), "min-chroma-mean": 3.0}
    assert merge_settings(preset, typed) == {
        "min-colorfulness": 20,
        "min-chroma-mean": 3.0,
        "keep-top": ["neutral-share:60.5%", "sharpness:90%"],
    }


def test_a_preset_without_a_setting_does_not_use_its_default() -> None:
    options = build_options({"min-side": 9})
    assert options == FilterOptions(min_colorfulness=None, min_side_px=9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min-colourfulness = 3", "use names of `curate filter` options, like min-colorfulness"),
        ("min-side = 2.5", "min-side = 2.5 is not valid: write it like min-side = 256"),
        ('max-sharpness = "much"', "write it like max-sharpness = 20.0"),
        ("max-sharpness = true", "write it like max-sharpness = 20.0"),
        ('keep-tone = ["purple"]', 'write it like keep-tone = ["sepia"]'),
        ('keep-kind = ["map"]', 'write it like keep-kind = ["graphic"]'),
        ("keep-tone = [[1]]", 'write it like keep-tone = ["sepia"]'),
        ("[min-side]\npx = 3", "write it like min-side = 256"),
        ("where = 1979-05-27", 'write it like where = "width > 800"'),
        ("min-side 3", "can't be read as a preset"),
        ("max-aspect = inf", "max-aspect"),
        ("keep-top = 'most'", "like 90%"),
        ("keep-top = 7", 'write it like keep-top = ["90%", "sharpness:80%"]'),
        ("keep-top = [7]", 'write it like keep-top = ["90%", "sharpness:80%"]'),
        ("keep-top = ['beauty:90%']", "--keep-top: there is no measure 'beauty': choose from colorfulness,"),
        ("keep-top = ['90%', 'colorfulness:80%']", "--keep-top is given twice for colorfulness"),
        (
            "keep-top = ['sharpness:90%']\nmin-sharpness = 2",
            "--keep-top and --min-sharpness both set the lowest sharpness",
        ),
        ("keep-top = '0%'", "like 90%"),
        ("keep-top = '101%'", "like 90%"),
        ("keep-top = '90'", "like 90%"),
        ("split = '90'", "90/5/5"),
        ("min-side = -1", "min-side"),
        ("balance = -1", "balance"),
        ("where = ' '", "--where is empty: write a condition"),
        ("balance = true", "write it like balance = 10000"),
        ("duplicates = 'drop'", "choose from keep, together, drop-exact, drop-near"),
        ("min-colorfulness = nan", "write it like min-colorfulness = 20.0"),
    ],
)
def test_an_invalid_preset_is_one_clear_error(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    result = run("filter", "--show", "--preset", tmp_path / "mine.toml")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_an_unreadable_preset_is_an_error_with_advice(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "mine.toml").write_bytes(content)
    result = run("filter", "--preset", tmp_path / "mine.toml")
    assert result.exit_code == 2
    assert ("--show" if content else "choose from colorization, strict") in result.stderr


random_values = st.lists(st.floats(0, 200) | st.sampled_from([0.0, 20.0, 20.5]), min_size=1, max_size=60)


@given(random_values, st.floats(0.01, 100))
def test_a_share_is_exact_except_for_equal_values(values: list[float], percent: float) -> None:
    threshold = threshold_for_share(np.array(values), percent)
    assert threshold is not None
    kept = sorted(value for value in values if value >= threshold)
    wanted = math.ceil(round(len(values) * percent / 100, 6))
    assert len(kept) >= wanted
    assert len([value for value in kept if value > kept[0]]) < wanted


def test_the_threshold_of_a_share_has_few_decimals() -> None:
    assert threshold_for_share(np.array([10.123, 17.345, 17.391, 40.0]), 75) == 17
    assert threshold_for_share(np.array([]), 75) is None


def test_a_share_refers_to_readable_photos_and_its_threshold_is_printed(
    scanned: tuple[Path, ScanSummary], tmp_path: Path
) -> None:
    scan, _ = scanned  # one vivid, one gray, one broken
    result = run("filter", scan, "--keep-top", "50%", "-o", tmp_path / "o" / "clean.parquet")
    assert result.exit_code == 0
    assert "3 photos: 1 kept, 2 rejected" in result.stdout
    threshold = result.stdout.split("the top 50 % by colorfulness: --min-colorfulness ")[1].split()[0]
    assert f"1  colorfulness < {threshold}" in result.stdout


def test_shares_by_several_measures_each_have_their_threshold(tmp_path: Path) -> None:
    row = {"source": "/p", "sha256": "0" * 64, "tone": "color", "error": None}
    table = pa.Table.from_pylist(
        [
            {**row, "path": f"{number}.jpg", "colorfulness": 50.0 + number, "sharpness": float(10 - number)}
            for number in range(10)
        ],
        SCAN_SCHEMA,
    )
    scan, out = tmp_path / "scan.parquet", tmp_path / "o" / "sharp.parquet"
    manifest.write_manifest(scan, table, Lineage("scan", "", {}))
    result = run("filter", scan, "--keep-top", "70%", "--keep-top", "sharpness:60%", "-o", out)
    assert result.exit_code == 0, result.output
    assert manifest.read_manifest(out).table["path"].to_pylist() == ["3.jpg", "4.jpg", "5.jpg"]
    assert "the top 70 % by colorfulness: --min-colorfulness 53\n" in result.stdout
    assert "the top 60 % by sharpness: --min-sharpness 5\n" in result.stdout
    same = run("filter", scan, "--min-colorfulness", "53", "--min-sharpness", "5", "--dry-run")
    assert same.stdout.splitlines()[0] == result.stdout.splitlines()[0]


def test_explain_uses_a_preset_without_its_shares(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('keep-top = "1%"\nmin-side = 49\n')
    result = run("explain", "--preset", tmp_path / "mine.toml", photos / "a-vivid.png")
    assert result.stdout.splitlines()[0].endswith("rejected: short side 48 < 49")
