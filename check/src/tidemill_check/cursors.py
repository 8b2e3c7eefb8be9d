"""Values of cursors and key ranges: whole numbers, dates and timestamps, as numbers to reckon with and as texts.

A value's number is itself, a date's ordinal, or the microseconds since the year 1: each type's values next to each
other have numbers next to each other. Pure.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

from tidemill_api.v1alpha1 import parse_duration

Kind = Literal["bigint", "date", "timestamp", "timestamptz"]
"""A type of Postgres; `bigint` stands for all whole numbers."""

FAMILY: Final = {"bigint": "number", "date": "date", "timestamp": "moment", "timestamptz": "moment"}
"""Types whose values can be compared with each other."""
_BEGIN: Final = datetime.fromisoformat("0001-01-01")
_DAY: Final = timedelta(days=1)
_INSTANT: Final = timedelta(microseconds=1)
_LEAST: Final = {"bigint": -(2**63), "date": 1, "timestamp": 0, "timestamptz": 0}
_SAID: Final = {"bigint": "a whole number", "date": "a date such as 2026-01-31"}
_MOMENT: Final = "a moment such as 2026-01-31T00:00:00Z"


def kind_of(column_type: str) -> Kind | None:
    """How values of a declared type are kept; None: it has no order that a cursor could go by."""
    match column_type:
        case "int16" | "int32" | "int64":
            return "bigint"
        case "date" | "timestamp" | "timestamptz":
            return column_type
        case _:
            return None


def number(value: Any) -> int:
    """The number of a value as Postgres gives it: int, date or datetime."""
    match value:
        case datetime():
            naive = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            return (naive - _BEGIN) // _INSTANT
        case date():
            return value.toordinal()
        case _:
            return int(value)


def text(value: int, kind: Kind) -> str:
    """A number as Postgres reads the value: `7`, `2026-01-31`, `2026-01-31 10:00:00+00`."""
    match kind:
        case "bigint":
            return str(value)
        case "date":
            return date.fromordinal(value).isoformat()
        case "timestamp":
            return (_BEGIN + timedelta(microseconds=value)).isoformat(sep=" ")
        case "timestamptz":
            return f"{(_BEGIN + timedelta(microseconds=value)).isoformat(sep=' ')}+00"


def parsed(value: str | int, kind: Kind) -> int:
    """The number of a value as people write it. Moments without an offset are in UTC. Raises ValueError."""
    said = _SAID.get(kind, _MOMENT)
    try:
        if kind == "bigint":
            found = int(str(value)) if re.fullmatch(r"[+-]?[0-9]{1,19}", str(value)) else None
            if found is None or not -(2**63) <= found < 2**63:
                raise ValueError
            return found
        written = str(value)
        return date.fromisoformat(written).toordinal() if kind == "date" else number(datetime.fromisoformat(written))
    except (ValueError, OverflowError):
        raise ValueError(f"{value} is not {said}") from None


def lag(value: str | int, kind: Kind) -> int:
    """A lag as a number. Raises ValueError."""
    counted = isinstance(value, int) or value.isdigit()
    if kind == "bigint":
        if not counted or int(value) < 0:
            raise ValueError(f"{value} is no lag of whole numbers: write a number, such as 1000")
        return int(value)
    if counted:
        raise ValueError(f"{value} is no length of time: write it like 30s, 10m, 1h30m or 7d")
    length = parse_duration(str(value))
    if kind == "date" and length % _DAY:
        raise ValueError(f"{value} isn't whole days, and the cursor is a date: write it like 2d")
    return length // (_DAY if kind == "date" else _INSTANT)


def before(value: int, distance: int, kind: Kind) -> int | None:
    """So far before a value; None: that is before all values."""
    found = value - distance
    return found if found >= _LEAST[kind] else None
