"""Describe Parquet columns as the features of Hugging Face `datasets`, which then decodes the pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

_DTYPES = {
    "float": "float32",
    "double": "float64",
    "halffloat": "float16",
    "date32[day]": "date32",
    "date64[ms]": "date64",
}
"""Names of types that `datasets` calls otherwise than Arrow."""


def hub_metadata(schema: pa.Schema, known: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Metadata of a Parquet file with which `datasets` knows the columns, by the key `huggingface`."""
    return {"huggingface": json.dumps({"info": {"features": describe_features(schema, known)}})}


def describe_features(schema: pa.Schema, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The features of the columns, as the class `Features` of `datasets` reads them.

    Args:
        schema: the columns.
        known: features that the source of the photos recorded; those that say more than a type are taken.

    >>> describe_features(pa.schema([("n", pa.float64()), ("tags", pa.list_(pa.string()))]))
    {'n': {'dtype': 'float64', '_type': 'Value'}, 'tags': [{'dtype': 'string', '_type': 'Value'}]}
    """
    return {
        column.name: (known or {})[column.name] if has_labels(column, known) else _describe(column.type)
        for column in schema
    }


def has_labels(column: pa.Field, known: Mapping[str, Any] | None) -> bool:
    """Whether the known feature of a column gives names to its whole numbers (`ClassLabel`)."""
    feature = (known or {}).get(column.name)
    if not (pa.types.is_int64(column.type) and isinstance(feature, dict) and feature.get("_type") == "ClassLabel"):
        return False
    names = feature.get("names")
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _describe(kind: pa.DataType) -> Any:
    if is_image(kind):
        return {"_type": "Image"}
    if pa.types.is_dictionary(kind):
        return _describe(kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _describe(kind.value_type), "length": kind.list_size, "_type": "Sequence"}
    if pa.types.is_large_list(kind):
        return {"feature": _describe(kind.value_type), "_type": "LargeList"}
    if pa.types.is_list(kind):
        return [_describe(kind.value_type)]
    if pa.types.is_struct(kind):
        return {kind.field(number).name: _describe(kind.field(number).type) for number in range(kind.num_fields)}
    return {"dtype": _DTYPES.get(str(kind), str(kind)), "_type": "Value"}


def is_image(kind: pa.DataType) -> bool:
    """Whether a type is that of pictures: their bytes, and a path."""
    if not pa.types.is_struct(kind) or {field.name for field in kind} != {"bytes", "path"}:
        return False
    data = kind.field("bytes").type
    return bool(pa.types.is_binary(data) or pa.types.is_large_binary(data))


def describe_features_for_card(schema: pa.Schema, known: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The features of the columns in the form of the header of a dataset card; arguments as for `describe_features`.

    >>> describe_features_for_card(pa.schema([("n", pa.int64()), ("tags", pa.list_(pa.string()))]))
    [{'name': 'n', 'dtype': 'int64'}, {'name': 'tags', 'list': 'string'}]
    """
    return [
        {"name": column.name}
        | (
            _labels_for_card((known or {})[column.name])
            if has_labels(column, known)
            else _describe_for_card(column.type)
        )
        for column in schema
    ]


def _labels_for_card(feature: Mapping[str, Any]) -> dict[str, Any]:
    names = {str(number): name for number, name in enumerate(feature["names"])}
    return {"dtype": {"class_label": {"names": names}}}


def _describe_for_card(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _describe_for_card(kind.value_type)
        length = {"length": kind.list_size} if pa.types.is_fixed_size_list(kind) else {}
        name = "large_list" if pa.types.is_large_list(kind) else "list"
        return {name: inner["dtype"] if set(inner) == {"dtype"} else inner.get("struct", inner)} | length
    described = _describe(kind)
    if described.get("_type") == "Image":
        return {"dtype": "image"}
    if described.get("_type") == "Value" and not pa.types.is_struct(kind):
        return {"dtype": described["dtype"]}
    return {"struct": describe_features_for_card(pa.schema(list(kind)))}
