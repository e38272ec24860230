"""The numbers of the report compared with the manifest; its size, its safety, and the inputs that it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from curate import manifest
from curate.cli import main
from curate.filtering.filter import filter_manifest, filter_table
from curate.filtering.options import FilterOptions
from curate.manifest import ALL_COLUMNS, SCAN_SCHEMA, Lineage
from curate.measures.hash_groups import QUICK_BITS
from curate.measures.names import TONES
from curate.report import page as page_module
from curate.report import sample, write_report
from curate.report.counts import count_manifest, reason_kind
from curate.report.page import build_page
from curate.report.page_data import quote_words, rules_from_lineage
from curate.report.sample import MAX_PHOTOS, choose_photos, duplicate_groups
from curate.scanning.scan import ScanOptions, scan_photos
from curate.scanning.summary import ScanSummary

HTML_NAMES = [
    "</script><img onerror=alert(1) src=x>.jpg",
    "<!--<script>.jpg",
    "two\nlines\u2028and\u2029more.jpg",
    r"caf\xe9.jpg",
    "{{script}} & 'quotes\".jpg",
]


def report(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def data_of(html: Path) -> dict[str, Any]:
    """The JSON data of a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html.read_text("ascii"), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def make_scan(rows: int, seed: int = 0) -> pa.Table:
    """A scan of photos that don't exist: all tones, some exactly at a threshold, some unreadable, some duplicates."""
    rng = np.random.default_rng(seed)
    failed = rng.random(rows) < 0.1
    m = np.where(rng.random(rows) < 0.1, rng.integers(0, 1000, rows) / 10, rng.gamma(3, 14, rows))
    kinds = np.array(["BrokenPhoto: cut short", "Vanished: gone"])[rng.integers(0, 2, rows)]
    kind_score = np.random.default_rng(seed + 1).normal(-3, 3, rows).astype(np.float32)
    return pa.table(
        {
            "source": pa.array(["/nowhere"]).take(pa.array(np.zeros(rows, int))),
            "path": pa.array([f"{i // 1000}/{i}.jpg" for i in range(rows)]),
            "sha256": pa.array([f"{(i // 2 + 1) * 0x9E3779B97F4A7C15 % 2**64:016x}" * 4 for i in range(rows)]),
            "colorfulness": pa.array(m, mask=failed),
            "tone": pa.array(np.array(TONES)[rng.choice(4, rows, p=[0.7, 0.1, 0.1, 0.1])], mask=failed),
            "tone_confidence": pa.array(rng.uniform(0.5, 1, rows).astype(np.float32), mask=failed),
            "tone_hue_deg": pa.array(rng.uniform(0, 360, rows).astype(np.float32), mask=failed),
            "kind": pa.array(np.where(kind_score > 0, "graphic", "photo"), mask=failed),
            "kind_score": pa.array(kind_score, mask=failed),
            "error": pa.array(kinds, mask=~failed),
        }
    )


@pytest.fixture
def scan_path(tmp_path: Path) -> Path:
    out = tmp_path / "scan.parquet"
    manifest.write_manifest(out, make_scan(3000), Lineage("scan", "curate scan /nowhere", {}))
    return out


def kept_at(data: dict[str, Any], line: float, tones: set[str | None]) -> int:
    """The number of kept photos, without graphics, as the page counts it."""
    kept = [tone for tone in data["tones"] if tone["name"] in tones and not tone["graphic"]]
    return sum(sum(tone["bins"][round(line * 10) :]) for tone in kept)


def test_counts_for_any_threshold_match_the_filter(scan_path: Path) -> None:
    write_report(scan_path, scan_path.with_suffix(".html"))
    data, table = data_of(scan_path.with_suffix(".html")), manifest.read_manifest(scan_path).table
    for line in (0.0, 0.1, 0.3, 19.9, 20.0, 20.3, 33.0, 70.7, 99.9):
        for tones in ({"color"}, {"color", "sepia"}, set(TONES)):
            chosen = filter_table(table, FilterOptions(line, frozenset(tones)))
            assert kept_at(data, line, {*tones, None}) == chosen.kept.num_rows, (line, tones)
    assert data["rows"] == table.num_rows
    assert data["unreadable"] == len(table["error"].drop_null())
    assert {error["name"]: error["photos"] for error in data["errors"]} == {
        name: sum(text is not None and text.startswith(name) for text in table["error"].to_pylist())
        for name in ("BrokenPhoto", "Vanished")
    }


def test_a_rejected_manifest_shows_what_another_threshold_would_keep(scan_path: Path) -> None:
    clean = scan_path.with_name("clean.parquet")
    options = FilterOptions(30.0, where="path NOT LIKE '%7.jpg'")
    filter_manifest(scan_path, clean, options, command="curate filter scan.parquet --where x --min-colorfulness 30")
    for name in ("clean", "rejected"):
        path = clean.with_name(f"{name}.parquet")
        write_report(path, path.with_suffix(".html"))
    rejected, kept = (data_of(clean.with_name(f"{name}.html")) for name in ("rejected", "clean"))
    for line in (10.0, 20.0, 30.0, 40.0):
        options = FilterOptions(line, where="path NOT LIKE '%7.jpg'")
        chosen = filter_table(manifest.read_manifest(scan_path).table, options)
        assert kept_at(rejected, line, {"color"}) + kept_at(kept, line, {"color"}) == chosen.kept.num_rows
    counted = {reason["name"]: reason["photos"] for reason in rejected["reasons"]}
    reasons = manifest.read_manifest(clean.with_name("rejected.parquet")).table["reject_reasons"].to_pylist()
    assert counted == {name: sum(name in map(reason_kind, row) for row in reasons) for name in counted}
    assert len(counted) == 7
    assert rejected["lineBin"] == 300
    assert rejected["command"] == {"before": "curate filter", "after": "scan.parquet --where x"}


def test_hues_are_counted_for_the_kept_photos(scan_path: Path) -> None:
    write_report(scan_path, scan_path.with_suffix(".html"))
    color = data_of(scan_path.with_suffix(".html"))["tones"][0]
    table = manifest.read_manifest(scan_path).table.to_pandas()
    kept = table[(table.tone == "color") & (table.kind == "photo") & (table.colorfulness >= 25)]
    wanted = np.histogram(kept.tone_hue_deg, np.arange(0, 361, 10))[0].tolist()
    assert [sum(sector[250:]) for sector in color["hues"]] == wanted


def test_duplicates_are_grouped_by_fingerprint_or_content(scan_path: Path) -> None:
    groups = duplicate_groups(count_manifest(scan_path))
    table = manifest.read_manifest(scan_path).table.to_pandas()
    sizes = table[table.error.isna()].groupby("sha256").size()
    assert groups.groups == (sizes > 1).sum()
    assert groups.photos == sizes[sizes > 1].sum()
    for members in groups.shown:
        assert len(set(table.sha256.iloc[members])) == 1


def test_the_allowed_distance_of_duplicates_depends_on_the_number_of_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = ["0f" * 16, "0f" * 15 + "08", "0f" * 16, "f0" * 16, "00" * 16, None]
    rows = [
        {
            "source": "/a",
            "path": f"{i}",
            "colorfulness": 30.0,
            "fingerprint": text,
            "sha256": sha256(b"%d" % i).hexdigest(),
        }
        for i, text in enumerate(prints)
    ]
    path = tmp_path / "scan.parquet"
    manifest.write_manifest(path, pa.Table.from_pylist(rows, SCAN_SCHEMA), Lineage("scan", "", {}))
    assert [group.tolist() for group in duplicate_groups(count_manifest(path)).shown] == [[0, 1, 2]]
    monkeypatch.setattr(sample, "MAX_NEAR", 5)
    assert [group.tolist() for group in duplicate_groups(count_manifest(path)).shown] == [[0, 1, 2]]
    assert duplicate_groups(count_manifest(path)).bits == QUICK_BITS
    monkeypatch.setattr(sample, "MAX_QUICK", 5)
    assert duplicate_groups(count_manifest(path)).bits == 0
    assert [group.tolist() for group in duplicate_groups(count_manifest(path)).shown] == [[0, 2]]


def test_the_sample_has_all_kinds_and_most_photos_near_the_threshold(scan_path: Path) -> None:
    rows = count_manifest(scan_path)
    chosen = choose_photos(rows, 200, frozenset({"color"}), frozenset({"photo"}), duplicate_groups(rows))
    assert len(set(chosen.tolist())) == len(chosen) <= MAX_PHOTOS
    assert (
        chosen.tolist()
        == choose_photos(rows, 200, frozenset({"color"}), frozenset({"photo"}), duplicate_groups(rows)).tolist()
    )
    for first in (chosen, chosen[:300]):  # also the first part, in case the page is full
        assert set(rows.tones[first]) == {-1, 0, 1, 2, 3}
        assert set(rows.errors[first]) == {-1, 0, 1}
        assert {0, 2, 4, 6} <= set((rows.bins[first] // 100).tolist())
    color = rows.bins[chosen][rows.tones[chosen] == 0]
    density = [np.count_nonzero((color >= low) & (color < low + 20)) for low in (190, 400, 600)]
    assert density[0] > 1.5 * max(density[1:])


def test_the_page_never_exceeds_its_maximum_size(scan_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MAX_BYTES", 500_000)
    written = write_report(scan_path, scan_path.with_suffix(".html"))
    size = scan_path.with_suffix(".html").stat().st_size
    assert 490_000 < size <= 500_000
    assert written.bytes == size
    assert 0 < written.shown == len(data_of(scan_path.with_suffix(".html"))["photos"]) < 1000
    monkeypatch.undo()
    assert page_module.MAX_BYTES == 15_000_000
    heavy = [{"path": "x" * 20_000} for _ in range(1000)]
    text, fitting = build_page({"name": "m"}, heavy)
    assert 14_900_000 < len(text) <= 15_000_000
    assert 700 < fitting < 750


@pytest.mark.parametrize("name", HTML_NAMES)
def test_html_in_names_does_not_end_the_data_or_run(name: str, tmp_path: Path) -> None:
    table = pa.Table.from_pylist(
        [{"source": f"/{name}", "path": name, "colorfulness": 25.0, "tone": "color", "colorfulness_level": name}],
        SCAN_SCHEMA,
    )
    path = tmp_path / "<b>&.parquet"
    manifest.write_manifest(path, table, Lineage("scan", f"curate scan {name}", {}))
    out = tmp_path / "report.html"
    write_report(path, out)
    text = out.read_text("ascii")
    assert text.count("<script") == text.count("</script>") == 2
    assert "<img" not in text
    assert "<b>" not in text
    data = data_of(out)
    assert data["photos"][0]["path"] == name
    assert data["madeBy"] == f"curate scan {name}"


@pytest.mark.parametrize(
    "word", ["plain.parquet", "my scan.parquet", "it's", "caf\udce9 '\\x41", "two\nlines;", "$(rm)", ""]
)
def test_a_quoted_word_is_one_word_for_a_shell(word: str) -> None:
    quoted = quote_words([word])
    assert quoted.isprintable()
    printed = subprocess.run(["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True).stdout
    assert printed == os.fsencode(word)


def test_photos_in_tars_have_thumbnails(photos: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    with tarfile.open(shards / "0.tar", "w") as tar:
        tar.add(photos / "a-vivid.png", "a-vivid.png")
        tar.add(photos / "more" / "b-gray.png", "b-gray.png")
    scan_photos([shards], tmp_path / "scan.parquet", ScanOptions())
    moved = shards.rename(tmp_path / "moved")
    for roots, there in (((), 0), ((moved,), 2), ((tmp_path,), 0)):
        written = write_report(tmp_path / "scan.parquet", tmp_path / "page.html", roots)
        assert written.missing == 2 - there
    entry = data_of(tmp_path / "page.html")["photos"][0]
    assert entry["path"] == "0.tar/a-vivid.png"
    assert entry["href"] is None


def test_moved_and_missing_photos(
    scanned: tuple[Path, ScanSummary], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = scanned
    page = tmp_path / "page.html"
    assert "3 photos, 3 of them on the page\nwritten: " in report(out, "-o", page).stdout
    entries = {photo["path"]: photo for photo in data_of(page)["photos"]}
    vivid = entries["a-vivid.png"]
    assert vivid["size"] == [64, 48]
    assert vivid["thumbnail"]
    assert vivid["href"] == (photos / "a-vivid.png").as_uri()
    assert entries["c-cut.png"]["thumbnail"] is None
    assert entries["c-cut.png"]["errorKind"] == "BrokenPhoto"

    moved = tmp_path / "elsewhere"
    photos.rename(moved)
    assert (
        " 2  without a thumbnail: missing, changed or unreadable now; if the photos moved, use --root\n"
        in report(out, "-o", page).stdout
    )
    (moved / "a-vivid.png").write_bytes(b"no photo any more")
    assert " 1  without a thumbnail" in report(out, "-o", page, "--root", moved).stdout
    entries = {photo["path"]: photo for photo in data_of(page)["photos"]}
    assert entries["a-vivid.png"]["thumbnail"] is None
    assert entries["more/b-gray.png"]["thumbnail"]
    monkeypatch.chdir(tmp_path)
    assert report(out, "-o", page, "--root", "elsewhere").exit_code == 0
    entries = {photo["path"]: photo for photo in data_of(page)["photos"]}
    assert entries["more/b-gray.png"]["href"] == (moved / "more" / "b-gray.png").as_uri()


def test_missing_photos_are_counted_separately(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan_photos([photos], out, ScanOptions(engine="serial"))
    (photos / "a-vivid.png").unlink()
    scan_photos([photos], out, ScanOptions(engine="serial"))
    written = write_report(out, tmp_path / "page.html", workers=1)
    data = data_of(tmp_path / "page.html")
    assert (written.missing, data["rows"], data["unreadable"], data["missing"]) == (0, 3, 2, 1)
    assert {error["name"]: error["photos"] for error in data["errors"]} == {"BrokenPhoto": 1, "missing": 1}
    assert sum(tone["photos"] for tone in data["tones"]) == 1
    (gone,) = [photo for photo in data["photos"] if photo["path"] == "a-vivid.png"]
    assert (gone["error"], gone["errorKind"], gone["bin"], gone["tone"]) == ("missing", "missing", -1, None)


def test_a_manifest_saved_by_pandas_is_shown(scan_path: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(scan_path)
    frame = frame[["source", "path", "colorfulness", "tone"]].iloc[::3].assign(liked=True)
    frame["tone"] = frame["tone"].astype("category")
    saved = tmp_path / "mine.parquet"
    frame.to_parquet(saved)
    write_report(saved, tmp_path / "mine.html")
    data = data_of(tmp_path / "mine.html")
    assert data["kind"] is None
    assert kept_at(data, 20, {"color"}) == ((frame.colorfulness >= 20) & (frame.tone == "color")).sum()
    assert data["unreadable"] == frame.colorfulness.isna().sum()
    assert data["errors"] == [{"name": "it was not measured", "photos": data["unreadable"]}]
    assert ["liked", "True"] in data["photos"][0]["numbers"]
    assert data["command"] == {"before": f"curate filter {saved}", "after": f"-o {tmp_path / 'clean.parquet'}"}


def test_a_folder_of_parts_is_one_manifest(scan_path: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    table = manifest.read_manifest(scan_path).table
    for number, first in enumerate(range(0, 3000, 1000)):
        pq.write_table(table.slice(first, 1000), parts / f"{number}.parquet")
    assert duplicate_groups(count_manifest(parts)).groups == duplicate_groups(count_manifest(scan_path)).groups
    assert (count_manifest(parts).bins == count_manifest(scan_path).bins).all()


@pytest.mark.parametrize(
    ("command", "before", "after"),
    [
        ("curate filter a.parquet --min-colorfulness 35 -o b.parquet", "curate filter", "a.parquet -o b.parquet"),
        (
            "python -m curate filter --min-colorfulness=35 --keep-tone sepia --keep-tone=toned",
            "python -m curate filter",
            "",
        ),
        (
            "curate filter 'my scan.parquet' --where 'x; rm -rf /'",
            "curate filter",
            "'my scan.parquet' --where 'x; rm -rf /'",
        ),
        ("curate filter --keep-top 90% --keep-top=80% -o x", "curate filter", "-o x"),
        (
            "curate filter --keep-top sharpness:90% --keep-top=chroma-mean:80% --keep-top 5%",
            "curate filter",
            "--keep-top sharpness:90% --keep-top=chroma-mean:80%",
        ),
        ("rm -rf / ; curate filter", "curate filter m/rejected.parquet", "-o m/clean.parquet"),
    ],
)
def test_the_command_keeps_all_other_typed_options(command: str, before: str, after: str) -> None:
    rules = rules_from_lineage(Path("m/rejected.parquet"), Lineage("rejected", command, {"min_colorfulness": 35.0}))
    assert (rules.threshold_bin, rules.before, rules.after) == (350, before, after)


ODD: dict[str, list[Any]] = {
    "sha256": [None, "", "abc", "zz" * 32, "12345"],
    "fingerprint": [None, "", "f" * 31, "f" * 65, "zz" * 16],
    "split": [None, "", "holdout"],
    "colorfulness": [None, np.nan, np.inf, -np.inf, -5.0, 1e300],
    "bytes": [None, -5, 0, 2**62],
    "tar_offset": [-5, 2**62],
    "width": [None, -1, 2**31 - 1],
    "modified_ns": [-(2**63), 2**63 - 1],
    "tone_confidence": [np.nan, np.inf, -1.0],
    "hue_peak_deg": [np.nan, -400.0, 1e38],
    "reject_reasons": [[], [None], ["", "not ("]],
    "path": ["", "a\0b", "../..", "\\ud800", "x" * 5000],
    "source": ["", "\0", "http://[", "s3://none"],
}


def test_invalid_values_in_columns_still_give_a_page(photos: Path, tmp_path: Path) -> None:
    row = {"source": str(photos), "path": "a-vivid.png", "colorfulness": 30.0, "tone": "color", "sha256": "0" * 64}
    rows = [row | {column: value} for column, values in ODD.items() for value in values]
    pq.write_table(pa.Table.from_pylist(rows, ALL_COLUMNS), tmp_path / "m.parquet")
    made = write_report(tmp_path / "m.parquet", tmp_path / "m.html")
    assert len(data_of(tmp_path / "m.html")["photos"]) == made.photos == len(rows)


def assert_refused(result: Result, message: str) -> None:
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr


def test_invalid_inputs_and_outputs_are_one_line_errors(scan_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    assert_refused(report(tmp_path / "no.parquet", "-o", out), "doesn't exist")
    (tmp_path / "text.parquet").write_text("hello", encoding="utf-8")
    assert_refused(report(tmp_path / "text.parquet", "-o", out), "can't be read")
    pq.write_table(pa.table({"name": ["x"]}), tmp_path / "foreign.parquet")
    assert_refused(report(tmp_path / "foreign.parquet", "-o", out), "has no column 'source', 'path', 'colorfulness'")
    pq.write_table(make_scan(3).slice(0, 0), tmp_path / "empty.parquet")
    assert_refused(report(tmp_path / "empty.parquet", "-o", out), "has no rows")
    pq.write_table(pa.table({"source": ["a"], "path": ["b"], "colorfulness": ["much"]}), tmp_path / "odd.parquet")
    assert_refused(report(tmp_path / "odd.parquet", "-o", out), "has string in its column 'colorfulness'")
    pq.write_table(
        pa.table({"source": ["a"], "path": ["b"], "colorfulness": [1.5], "tone": [[7]]}), tmp_path / "odd.parquet"
    )
    assert_refused(
        report(tmp_path / "odd.parquet", "-o", out),
        "has list<element: int64> in its column 'tone'",
    )
    for name, value in (("bytes", "many"), ("tar_offset", 1.5), ("error", ["cut"])):
        pq.write_table(
            pa.table({"source": ["a"], "path": ["b"], "colorfulness": [1.5], name: [value]}), tmp_path / "odd.parquet"
        )
        assert_refused(report(tmp_path / "odd.parquet", "-o", out), f"in its column '{name}'")
    assert not out.exists()
    out.write_text("<!doctype html>my own page", encoding="utf-8")
    assert_refused(report(scan_path, "-o", out), "is not a vividset report")
    assert out.read_text(encoding="utf-8") == "<!doctype html>my own page"
    assert_refused(report(scan_path, "-o", scan_path), "is not a vividset report")
    assert_refused(report(scan_path, "-o", out / "page.html"), "can't be written")
    assert sorted(path.name for path in tmp_path.glob("*.html*")) == ["out.html"]


def test_a_report_is_beside_its_manifest_and_is_overwritten(scan_path: Path) -> None:
    for _ in range(2):
        assert report(scan_path).exit_code == 0
    assert data_of(scan_path.with_suffix(".html"))["name"] == "scan.parquet"
    assert sorted(path.name for path in scan_path.parent.iterdir()) == ["scan.html", "scan.parquet"]


def test_the_benchmark_prints_a_ratio() -> None:
    bench = [sys.executable, str(Path(__file__).parents[3] / "benchmarks" / "report.py"), "--rows", "300"]
    printed = subprocess.run(bench, check=True, capture_output=True, text=True).stdout
    assert re.search(r"curate report .* ratio \d+\.\d\d", printed)
