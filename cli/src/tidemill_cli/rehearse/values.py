"""Values of rows as texts for a terminal and as JSON."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa


def type_name(kind: pa.DataType) -> str:
    """A type in the manifest's words where it has one."""
    types = pa.types
    if types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    if types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return {"double": "float64", "float": "float32", "bool": "boolean", "date32[day]": "date"}.get(str(kind), str(kind))


def as_json(value: Any) -> Any:
    """A value of a row as JSON has it: decimals, dates and times as texts, bytes in hexadecimal."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
        case list() | tuple():
            return [as_json(each) for each in value]
        case dict():
            return {str(key): as_json(each) for key, each in value.items()}
        case Decimal() | timedelta():
            return str(value)
        case _:
            return str(value)


def rows_as_json(table: pa.Table) -> list[dict[str, Any]]:
    """The rows, each by the names of its columns."""
    return [{name: as_json(value) for name, value in row.items()} for row in table.to_pylist()]


def shown(value: Any, width: int | None = None) -> str:
    """A value for a terminal: on one line, without control characters, cut to `width` characters."""
    plain = as_json(value)
    text = "NULL" if plain is None else plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    return cut(printable(text), width)


def printable(text: str) -> str:
    """What a terminal doesn't act on: control characters and line breaks as Python writes them."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def cut(text: str, width: int | None) -> str:
    """The text, no longer than `width` characters."""
    return text if width is None or len(text) <= width else f"{text[: width - 1]}…"
