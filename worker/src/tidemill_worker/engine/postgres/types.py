"""Types: from Arrow to what Postgres reads in binary, and what fits into a table that is there already."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

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
    if types.is_integer(kind) and base == "numeric":
        return pa.decimal128(19, 0)
    if types.is_floating(kind) and base in _FLOATS:
        return _FLOATS[base] if base == "float8" or kind == pa.float32() else None
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
