"""Write values of any column as JSON."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
from typing import Any


def to_json(value: Any) -> str:
    """JSON of a value of Arrow: times as in ISO 8601, decimals as text, bytes as {"base64": ...}.

    >>> to_json({"a": b"x", "b": [1, None]})
    '{"a": {"base64": "eA=="}, "b": [1, null]}'
    """
    return json.dumps(value, default=_encode, ensure_ascii=False)


def _encode(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta | decimal.Decimal):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__} has no form in JSON")
