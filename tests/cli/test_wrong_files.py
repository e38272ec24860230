"""Every command with every wrong kind of input file: a one-line error with advice, and no file is changed."""

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
from safetensors.numpy import save_file

import curate.cli
import train.cli
from curate import manifest
from curate.manifest import DECISION_FIELDS, SCAN_SCHEMA, Lineage
from train.checkpoint_file import METADATA_KEY

COLUMNS = pa.schema([*SCAN_SCHEMA, *DECISION_FIELDS])
MANIFEST_COMMANDS = (
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
    "train evaluate CHECKPOINT FILE",
)
OTHER_COMMANDS = (
    "curate explain FILE",
    "curate scan --from-file FILE -o OUT/scan.parquet",
    "curate filter SCAN --preset FILE --show",
    "train evaluate FILE SCAN --split all",
    "train inspect FILE",
    "train colorize FILE PHOTOS -o OUT/colored",
    "train colorize CHECKPOINT FILE -o OUT/colored",
    "train diagnose FILE",
    "train export FILE -o OUT/x.onnx",
)
VALID = (
    ("curate scan PHOTOS -o FILE", "missing.parquet"),  # the scan makes it
    ("curate inspect FILE", "other.parquet"),  # any Parquet file can be inspected
    ("curate explain FILE", "photo.png"),
    ("curate filter SCAN --preset FILE --show", "empty.parquet"),  # a preset without settings
    ("curate scan --from-file FILE -o OUT/scan.parquet", "pipe.parquet"),  # waits for the writer of the pipe
    ("train diagnose FILE", "pipe.parquet"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photo, its manifest, and one file of every wrong kind."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "photos").mkdir()
    save_file({}, folder / "checkpoint.safetensors", {METADATA_KEY: "{}"})  # its header is right, its content isn't
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(folder / "photos" / "a.png")
    size = (folder / "photos" / "a.png").stat().st_size
    row = {"source": str(folder / "photos"), "path": "a.png", "bytes": size, "sha256": "0" * 64, "tone": "color"}
    table = pa.Table.from_pylist([row | {"colorfulness": 30.0, "split": "train"}], COLUMNS)
    manifest.write_manifest(folder / "scan.parquet", table, Lineage("clean", "", {}))
    for name, content in make_wrong_files(folder, table):
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        elif isinstance(content, pa.Table):
            pq.write_table(content, folder / name)
    return folder


def make_wrong_files(folder: Path, table: pa.Table) -> Iterator[tuple[str, bytes | pa.Table | None]]:
    """Yield the name and the content of each wrong file; a content of None is not written as a file."""
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


def run_and_fail(command: str, folder: Path, name: str, out: Path) -> str:
    """Run a command and return its error line."""
    names = {"FILE": str(folder / name), "PHOTOS": str(folder / "photos"), "SCAN": str(folder / "scan.parquet")}
    names["CHECKPOINT"] = str(folder / "checkpoint.safetensors")
    words = [names.get(word, word.replace("OUT", str(out))) for word in command.split()]
    main = curate.cli.main if words[0] == "curate" else train.cli.main
    result = CliRunner().invoke(main, words[1:])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (1, 2)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.exit_code == 2 or result.stderr.strip() == line
    return line


@pytest.mark.parametrize("name", [*NOT_MANIFESTS, *FOREIGN])
def test_a_wrong_manifest_is_a_one_line_error_and_no_file_is_changed(name: str, folder: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for command in MANIFEST_COMMANDS:
        if (command, name) in VALID:
            continue
        line = run_and_fail(command, folder, name, tmp_path)
        assert name in line, command
        assert ":" in line.removeprefix("Error: "), command
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize(
    "name",
    ["empty.parquet", "binary.parquet", "photo.png", "folder", "scan.parquet", "pipe.parquet", "loop.parquet"],
)
@pytest.mark.parametrize("command", OTHER_COMMANDS)
def test_a_wrong_file_of_another_kind_is_a_one_line_error(
    command: str, name: str, folder: Path, tmp_path: Path
) -> None:
    if (command, name) in VALID:
        return
    line = run_and_fail(command, folder, name, tmp_path)
    assert name in line or "checkpoint.safetensors" in line or "no photos in" in line


def test_explain_with_a_manifest_advises_inspect(folder: Path, tmp_path: Path) -> None:
    line = run_and_fail("curate explain FILE", folder, "scan.parquet", tmp_path)
    assert line.endswith("is not a photo: give photos, or use `curate inspect` for a manifest")


@pytest.mark.parametrize("write_statistics", [True, False])
def test_rows_without_a_path_are_refused_with_and_without_statistics(
    write_statistics: bool, folder: Path, tmp_path: Path
) -> None:
    nullable = pa.schema([field.with_nullable(True) for field in COLUMNS])
    table = manifest.read_manifest(folder / "scan.parquet").table.cast(nullable)
    some = pa.concat_tables([table, table.set_column(1, nullable.field("path"), pa.array([None], pa.string()))])
    for rows, fine in ((table, True), (some, False)):
        pq.write_table(rows, tmp_path / "m.parquet", write_statistics=write_statistics)
        if fine:
            assert manifest.read_manifest(tmp_path / "m.parquet", required=("path",)).table.num_rows == 1
        else:
            with pytest.raises(curate.errors.ManifestError, match="has rows without path"):
                manifest.read_manifest(tmp_path / "m.parquet", required=("path",))
