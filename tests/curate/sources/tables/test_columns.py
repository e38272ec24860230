"""Which columns of a Parquet or Arrow file hold images."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from curate.errors import SourceError, UnsupportedFormat
from curate.packing.shards import SHARD_SCHEMA
from curate.sources.tables.columns import (
    PACK_SHARD_COLUMNS,
    ColumnChoice,
    binary_columns,
    describe_columns,
    image_columns,
    take_rows,
)

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
JPEG, TEXT = b"\xff\xd8\xff\xe0 jpeg", b"{}"


def chosen(table: pa.Table) -> list[str]:
    columns = image_columns(table.schema, lambda column: table[column.name].to_pylist())
    return [column.name for column in columns]


def test_columns_of_images_are_found_by_their_first_values() -> None:
    table = pa.table(
        {
            "id": [b"1", b"2"],
            "large": pa.array([None, JPEG], pa.large_binary()),
            "view": pa.array([b"", JPEG], pa.binary_view()),
            "json": [TEXT, TEXT],
            "late": [TEXT, JPEG],
            "nothing": pa.nulls(2, pa.binary()),
            "image": pa.array([{"bytes": TEXT, "path": "a.jpg"}, {"bytes": JPEG, "path": None}], IMAGE),
            "sound": pa.array([{"bytes": TEXT, "path": "a.wav"}, None], IMAGE),
            "only_paths": pa.array([{"bytes": None, "path": "a.jpg"}, None], IMAGE),
            "text": ["\xff\xd8\xff", ""],
            "list": pa.array([[JPEG], []], pa.list_(pa.binary())),
        }
    )
    assert chosen(table) == ["large", "view", "late", "image", "only_paths"]


def test_features_of_hugging_face_decide_without_values() -> None:
    features = {"a": {"_type": "Audio"}, "b": {"_type": "Image"}, "c": {"feature": {}}}
    schema = pa.schema([(name, IMAGE) for name in "abc"], {"huggingface": json.dumps({"info": {"features": features}})})
    assert [column.name for column in image_columns(schema, lambda _: [{"bytes": JPEG}])] == ["b", "c"]
    for damaged in ("", "{", "[]", '{"info": {"features": [1]}}', '{"info": {"features": {"b": 1}}}', "[" * 100_000):
        schema = schema.with_metadata({"huggingface": damaged})
        assert image_columns(schema, lambda _: []) == ()


def test_places_depend_on_the_types_alone() -> None:
    schema = pa.schema(
        [("x", pa.binary()), ("n", pa.int8()), ("image", IMAGE), ("y", pa.struct([("bytes", pa.int8())]))]
    )
    assert [(column.name, column.number) for column in binary_columns(schema)] == [("x", 0), ("image", 1)]
    with pytest.raises(UnsupportedFormat, match="two columns 'x'"):
        binary_columns(pa.schema([("x", pa.binary()), ("x", pa.int8())]))


def test_own_tables_have_no_images() -> None:
    assert tuple(SHARD_SCHEMA.names[:5]) == PACK_SHARD_COLUMNS
    assert image_columns(SHARD_SCHEMA, lambda _: [JPEG]) == ()
    assert image_columns(pa.schema([("a", pa.binary())], {"vividset.kind": '"scan"'}), lambda _: [JPEG]) == ()


def test_named_columns_are_taken_whatever_they_hold() -> None:
    schema = pa.schema([("image", pa.binary()), ("mask", pa.binary()), ("url", pa.string())])
    choice = ColumnChoice(("mask", "nowhere"))
    assert [column.name for column in choice.choose("/a.parquet", schema, lambda _: [TEXT])] == ["mask"]
    with pytest.raises(SourceError, match="'nowhere': correct --image-column"):
        choice.check_found()
    text = "^/a.parquet has no column of images called 'url', but 'image', 'mask' .its columns: image, mask, url.: "
    with pytest.raises(SourceError, match=text):
        ColumnChoice(("url",)).choose("/a.parquet", schema, lambda _: [JPEG])
    assert ColumnChoice(("url",)).choose("/a.parquet", schema, lambda _: [TEXT]) == ()


def test_a_choice_excludes_photos_of_other_columns() -> None:
    choice = ColumnChoice((r"a\b",))
    assert choice.excludes("/s/0.parquet/000000001/mask")
    for location in (r"/s/0.parquet/000000001/a\x5cb", "/s/0.parquet/000000001", "/s/0.parquet/mask.jpg", "/s/mask"):
        assert not choice.excludes(location)
    assert not ColumnChoice().excludes("/s/0.parquet/000000001/mask")


def test_descriptions_and_parts_of_tables() -> None:
    assert describe_columns(pa.schema([(f"c{number}", pa.int8()) for number in range(22)])).endswith("c19 and 2 more")
    assert describe_columns(pa.schema([])) == "none"
    table = pa.table({"a": range(9)})
    for rows in ([], [0], [2, 2, 3], [0, 1, 5, 8]):
        assert [row["a"] for part in take_rows(table, rows) for row in part.to_pylist()] == rows
