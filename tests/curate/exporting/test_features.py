"""Arrow types as features of Hugging Face `datasets`."""

from __future__ import annotations

import pyarrow as pa

from curate.exporting.features import describe_features, describe_features_for_card


def test_nested_columns_and_pictures_are_described() -> None:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema(
        [
            ("image", image),
            ("masks", pa.list_(image)),
            ("box", pa.struct([("w", pa.float32()), ("labels", pa.list_(pa.int8()))])),
            ("objects", pa.list_(pa.struct([("id", pa.int64())]))),
            ("when", pa.timestamp("us", tz="UTC")),
            ("pair", pa.list_(pa.float32(), 2)),
            ("words", pa.large_list(pa.string())),
            ("word", pa.dictionary(pa.int32(), pa.string())),
        ]
    )
    assert describe_features(schema) == {
        "image": {"_type": "Image"},
        "masks": [{"_type": "Image"}],
        "box": {"w": {"dtype": "float32", "_type": "Value"}, "labels": [{"dtype": "int8", "_type": "Value"}]},
        "objects": [{"id": {"dtype": "int64", "_type": "Value"}}],
        "when": {"dtype": "timestamp[us, tz=UTC]", "_type": "Value"},
        "pair": {"feature": {"dtype": "float32", "_type": "Value"}, "length": 2, "_type": "Sequence"},
        "words": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "LargeList"},
        "word": {"dtype": "string", "_type": "Value"},
    }
    assert describe_features_for_card(schema) == [
        {"name": "image", "dtype": "image"},
        {"name": "masks", "list": "image"},
        {"name": "box", "struct": [{"name": "w", "dtype": "float32"}, {"name": "labels", "list": "int8"}]},
        {"name": "objects", "list": [{"name": "id", "dtype": "int64"}]},
        {"name": "when", "dtype": "timestamp[us, tz=UTC]"},
        {"name": "pair", "list": "float32", "length": 2},
        {"name": "words", "large_list": "string"},
        {"name": "word", "dtype": "string"},
    ]
