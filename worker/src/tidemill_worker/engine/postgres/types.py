"""Types: from Arrow to what Postgres reads in binary, and what fits into a table that is there already."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

TEXT: Final = ("text", "varchar", "bpchar")
_INTEGERS: Final = {"int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64()}
_FLOATS: Final = {"float4": pa.float32(), "float8": pa.float64()}


def plain(kind: pa.DataType) -> pa.DataType | None:
    """The Arrow type in which a column of this type is written, or None if it can't be."""
    types = pa.types
    if types.is_dictionary(kind):
        return plain(kind.value_type)
    if types.is_null(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_integer(kind):
        narrow = {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}
        return narrow[kind.bit_width] if types.is_unsigned_integer(kind) or kind.bit_width == 8 else kind
    if types.is_floating(kind):
        return pa.float64() if kind.bit_width == 64 else pa.float32()
    if types.is_decimal(kind):
        return pa.decimal128(kind.precision, kind.scale) if kind.precision <= 38 else None
    if types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if types.is_date(kind):
        return pa.date32()
    if types.is_time(kind):
        return pa.time64("us")
    if types.is_binary(kind) or types.is_large_binary(kind):
        return pa.binary()
    return kind if types.is_boolean(kind) else None


def column_type(kind: pa.DataType) -> str:
    """The Postgres type of a column that is made for a `plain` type."""
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision},{kind.scale})"
    return {
        pa.string(): "text",
        pa.binary(): "bytea",
        pa.bool_(): "boolean",
        pa.int16(): "smallint",
        pa.int32(): "integer",
        pa.int64(): "bigint",
        pa.float32(): "real",
        pa.float64(): "double precision",
        pa.date32(): "date",
        pa.time64("us"): "time without time zone",
        pa.timestamp("us"): "timestamp without time zone",
        pa.timestamp("us", "UTC"): "timestamp with time zone",
    }[kind]


def written_as(kind: pa.DataType, base: str) -> pa.DataType | None:
    """The Arrow type in which a `plain` column goes straight into a column of the Postgres type `base` (its typname).

    None: only by way of a staging table and a cast of Postgres. Narrower integers are meant to fail value by value.
    """
    types = pa.types
    if types.is_integer(kind) and (base in _INTEGERS or base in _FLOATS):
        return _INTEGERS.get(base) or _FLOATS[base]
    if (types.is_floating(kind) or types.is_decimal(kind)) and base in _INTEGERS:
        return _INTEGERS[base]  # whole ones only: Postgres would round the others
    if types.is_integer(kind) and base == "numeric":
        return pa.decimal128(19, 0)
    if types.is_floating(kind) and base in _FLOATS:
        return _FLOATS[base]
    straight = {
        "numeric": types.is_decimal,
        "bool": types.is_boolean,
        "date": types.is_date,
        "time": types.is_time,
        "bytea": types.is_binary,
        "timestamp": lambda found: types.is_timestamp(found) and found.tz is None,
        "timestamptz": lambda found: types.is_timestamp(found) and found.tz is not None,
        **dict.fromkeys(TEXT, types.is_string),
    }
    return kind if base in straight and straight[base](kind) else None


_FIRST_DAY: Final = -2_440_588
"""4714-11-24 BC, in days from 1970: the first one that Postgres knows."""
_LAST_DAY: Final = 2_145_042_905
_FIRST_MICROSECOND: Final = _FIRST_DAY * 86_400_000_000
_LAST_MICROSECOND: Final = (1 << 63) - 2
"""The next one is DuckDB's infinity."""


def beyond(values: pa.Array) -> pa.Array | None:
    """Which dates or timestamps Postgres doesn't know (a mask, false for nulls), or None if it knows all.

    A file can't hold such, but a query can make them: `DATE 'infinity'`, years before 4713 BC.
    """
    if pa.types.is_date(values.type):
        numbers, first, last = values.cast(pa.int32()), _FIRST_DAY, _LAST_DAY
    elif pa.types.is_timestamp(values.type):
        numbers, first, last = values.cast(pa.int64()), _FIRST_MICROSECOND, _LAST_MICROSECOND
    else:
        return None
    extremes = pc.min_max(numbers).as_py()
    if extremes["min"] is None or (first <= extremes["min"] and extremes["max"] <= last):
        return None
    return pc.fill_null(pc.or_(pc.less(numbers, first), pc.greater(numbers, last)), False)


@dataclass(frozen=True, slots=True)
class Limit:
    """The length or precision of a column: `varchar(3)`, `numeric(10,2)`."""

    characters: int | None = None
    """Most characters; Postgres cuts spaces at the end."""
    below: Decimal | None = None
    """Numbers, without their sign, must be below this: it rounds what has more digits after the point."""

    def exceeded(self, values: pa.Array) -> pa.Array | None:
        """Which values the column can't hold (a mask, false for nulls), or None if it can hold all."""
        if self.characters is not None:
            if (pc.max(pc.utf8_length(values)).as_py() or 0) <= self.characters:
                return None
            longer = pc.greater(pc.utf8_length(pc.utf8_rtrim(values, " ")), self.characters)
            return pc.fill_null(longer, False)
        assert self.below is not None
        extremes = [value for value in pc.min_max(values).as_py().values() if value is not None]
        if all(value.copy_abs() < self.below for value in extremes):
            return None
        return pa.array(
            [value is not None and value.copy_abs() >= self.below for value in values.to_pylist()], pa.bool_()
        )


def limit_of(declared: str, kind: pa.DataType) -> Limit | None:
    """What a column declared as `varchar(3)` or `numeric(10,2)` can't hold of values written as `kind`.

    None if it can hold all. DuckDB's HUGEINT comes as decimal(38,0) and may have 39 digits.
    """
    found = re.fullmatch(r"(character varying|character|numeric)\((\d+)(?:,(-?\d+))?\)", declared)
    if found is None:
        return None
    if found[1] != "numeric":
        return Limit(characters=int(found[2]))
    precision, scale = int(found[2]), int(found[3] or 0)
    whole = kind.precision - kind.scale
    if whole <= precision - scale and kind.scale <= scale and whole < 38:
        return None
    with localcontext(prec=2000):  # enough for any numeric(1000,-1000)
        return Limit(below=Decimal(10) ** (precision - scale) - Decimal(5).scaleb(-scale - 1))
