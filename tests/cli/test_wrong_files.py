"""Every command, given every wrong kind of file: one line that says what to do, and nothing is touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

import curate.cli
import train.cli
from curate import manifest
from curate.manifest import DECISION_FIELDS, SCAN_SCHEMA, Lineage

COLUMNS = pa.schema([*SCAN_SCHEMA, *DECISION_FIELDS])
TAKE_A_MANIFEST = (
    "curate filter FILE -o OUT/clean.parquet",
    "curate filter FILE --dry-run",
    "curate report FILE -o OUT/page.html",
    "curate pack FILE -o OUT/pack",
    "curate export FILE -o OUT/copies --to copy",
    "curate export FILE -o OUT/tars --to webdataset",
    "curate merge FILE -o OUT/m.parquet",
    "curate inspect FILE",
    "curate scan PHOTOS -o FILE",
    "train fit FILE --run-dir OUT/run --device cpu",
    "train evaluate OUT/none.safetensors FILE",
)
TAKE_ANOTHER = (
    "curate explain FILE",
    "curate scan --from-file FILE -o OUT/scan.parquet",
    "curate filter SCAN --preset FILE --show",
    "train evaluate FILE SCAN --split all",
    "train inspect FILE",
    "train colorize FILE PHOTOS -o OUT/colored",
    "train colorize OUT/none.safetensors FILE -o OUT/colored",
    "train diagnose FILE",
    "train export FILE -o OUT/x.onnx",
)


NO_MISTAKE = (
    ("curate scan PHOTOS -o FILE", "missing.parquet"),  # which is how one makes it
    ("curate inspect FILE", "other.parquet"),  # its lineage is unknown
    ("curate explain FILE", "photo.png"),
    ("curate filter SCAN --preset FILE --show", "empty.parquet"),  # a preset that changes nothing
    ("curate scan --from-file FILE -o OUT/scan.parquet", "pipe.parquet"),  # whose other end may yet write
    ("train diagnose FILE", "pipe.parquet"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photo and its manifest, and one file of every wrong kind."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "photos").mkdir()
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(folder / "photos" / "a.png")
    size = (folder / "photos" / "a.png").stat().st_size
    row = {"source": str(folder / "photos"), "path": "a.png", "bytes": size, "sha256": "0" * 64, "tone": "color"}
    table = pa.Table.from_pylist([row | {"colorfulness": 30.0, "split": "train"}], COLUMNS)
    manifest.write_manifest(folder / "scan.parquet", table, Lineage("clean", "", {}))
    for name, made in wrong_files(folder, table):
        if isinstance(made, bytes):
            (folder / name).write_bytes(made)
        elif isinstance(made, pa.Table):
            pq.write_table(made, folder / name)
    return folder


def wrong_files(folder: Path, table: pa.Table) -> Iterator[tuple[str, bytes | pa.Table | None]]:
    """Names, and what is in them."""
    whole = (folder / "scan.parquet").read_bytes()
    yield "photo.png", (folder / "photos" / "a.png").read_bytes()
    yield "empty.parquet", b""
    yield "cut.parquet", whole[: len(whole) // 2]
    yield "binary.parquet", bytes(range(256)) * 40
    yield "other.parquet", pa.table({"image": ["a"], "caption": ["b"]})
    yield "text.txt", b"a diary\nof one\x00day\n"
    wrong: dict[str, Any] = {"path": [7], "colorfulness": [b"9"], "sha256": [1.5], "error": [True], "bytes": ["x"]}
    wrong |= {"split": [["train"]], "reject_reasons": ["dull"], "tone": [{"a": 1}]}
    for column, values in wrong.items():
        yield f"{column}.parquet", table.set_column(table.column_names.index(column), column, pa.array(values))
    yield "twice.parquet", pa.table([*table.columns, table["path"]], names=[*table.column_names, "path"])
    for field, text in {"options": "[7]", "kind": "7", "ancestors": "7", "counts": '{"a": "b"}', "metric": "{"}.items():
        ours = Lineage("clean", "", {}).to_metadata() | {f"vividset.{field}": text}
        yield f"lineage-{field}.parquet", table.replace_schema_metadata(ours)
    deep = Lineage("clean", "", {}).to_metadata() | {"vividset.options": "[" * 100_000}
    yield "lineage-deep.parquet", table.replace_schema_metadata(deep)
    (folder / "folder").mkdir()
    shutil.copy(folder / "photos" / "a.png", folder / "folder" / "x.parquet")
    yield "folder", None
    os.mkfifo(folder / "pipe.parquet")
    (folder / "loop.parquet").symlink_to("loop.parquet")
    yield "pipe.parquet", None
    yield "loop.parquet", None
    (folder / "folder.parquet").mkdir()
    yield "folder.parquet", None
    yield "missing.parquet", None


NOT_MANIFESTS: tuple[str, ...] = (
    "photo.png",
    "empty.parquet",
    "cut.parquet",
    "binary.parquet",
    "other.parquet",
    "text.txt",
    "folder",
)
NOT_MANIFESTS += ("folder.parquet", "missing.parquet", "pipe.parquet", "loop.parquet")
FOREIGN: tuple[str, ...] = tuple(
    f"{name}.parquet" for name in ("path", "colorfulness", "sha256", "error", "bytes", "split", "tone")
)
FOREIGN += ("reject_reasons.parquet", "twice.parquet", "lineage-deep.parquet")
FOREIGN += tuple(f"lineage-{name}.parquet" for name in ("options", "kind", "ancestors", "counts", "metric"))


def error_of(command: str, place: Path, name: str, out: Path) -> str:
    """The one line that a command ends in."""
    names = {"FILE": str(place / name), "PHOTOS": str(place / "photos"), "SCAN": str(place / "scan.parquet")}
    words = [names.get(word, word.replace("OUT", str(out))) for word in command.split()]
    main = curate.cli.main if words[0] == "curate" else train.cli.main
    result = CliRunner().invoke(main, words[1:])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (1, 2)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.exit_code == 2 or result.stderr.strip() == line
    return line


@pytest.mark.parametrize("name", [*NOT_MANIFESTS, *FOREIGN])
def test_a_command_that_takes_a_manifest_says_what_is_wrong_with_it(name: str, place: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    for command in TAKE_A_MANIFEST:
        if (command, name) in NO_MISTAKE:
            continue
        line = error_of(command, place, name, tmp_path)
        assert name in line, command
        assert ":" in line.removeprefix("Error: "), command
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize(
    "name",
    ["empty.parquet", "binary.parquet", "photo.png", "folder", "scan.parquet", "pipe.parquet", "loop.parquet"],
)
@pytest.mark.parametrize("command", TAKE_ANOTHER)
def test_a_command_that_takes_something_else_says_so(command: str, name: str, place: Path, tmp_path: Path) -> None:
    if (command, name) in NO_MISTAKE:
        return
    line = error_of(command, place, name, tmp_path)
    assert name in line or "none.safetensors" in line or "no photos in" in line


def test_explaining_a_manifest_says_what_does(place: Path, tmp_path: Path) -> None:
    line = error_of("curate explain FILE", place, "scan.parquet", tmp_path)
    assert line.endswith("is not a photo: give photos, or use `curate inspect` for a manifest")


@pytest.mark.parametrize("write_statistics", [True, False])
def test_rows_without_a_name_are_found_with_statistics_and_without(
    write_statistics: bool, place: Path, tmp_path: Path
) -> None:
    nullable = pa.schema([field.with_nullable(True) for field in COLUMNS])
    table = manifest.read_manifest(place / "scan.parquet").table.cast(nullable)
    some = pa.concat_tables([table, table.set_column(1, nullable.field("path"), pa.array([None], pa.string()))])
    for rows, fine in ((table, True), (some, False)):
        pq.write_table(rows, tmp_path / "m.parquet", write_statistics=write_statistics)
        if fine:
            assert manifest.read_manifest(tmp_path / "m.parquet", required=("path",)).table.num_rows == 1
        else:
            with pytest.raises(curate.errors.ManifestError, match="has rows without path"):
                manifest.read_manifest(tmp_path / "m.parquet", required=("path",))
