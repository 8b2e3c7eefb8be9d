"""Types of columns: from the manifest's words to Arrow, and from a file's text to the manifest's words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

TRUE: Final = ("true", "True", "TRUE", "t", "T", "1", "yes", "Yes", "YES", "y", "Y")
FALSE: Final = ("false", "False", "FALSE", "f", "F", "0", "no", "No", "NO", "n", "N")

_ARROW: Final[dict[str, pa.DataType]] = {
    "boolean": pa.bool_(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}
_DAY = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"[ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
_INFERRED: Final = (
    ("boolean", r"^(true|True|TRUE|false|False|FALSE)$"),
    ("int64", r"^(0|-?[1-9][0-9]{0,17})$"),
    ("float64", r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?$"),
    ("date", rf"^{_DAY}$"),
    ("timestamp", rf"^{_DAY}{_TIME}$"),
    ("timestamptz", rf"^{_DAY}{_TIME}(Z|[-+][0-9]{{2}}(:?[0-9]{{2}})?)$"),
)
"""The narrowest first. Numbers with leading zeros are text: they are codes, and zeros would be lost."""


@lru_cache(maxsize=256)
def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of a column type of the manifest."""
    decimal = re.fullmatch(r"decimal\(([0-9]+),([0-9]+)\)", name)
    return pa.decimal128(int(decimal[1]), int(decimal[2])) if decimal else _ARROW[name]


def infer(texts: Sequence[pa.StringArray]) -> str:
    """The narrowest type that all values of a column have, nulls aside; string if there are none.

    Each array is a sample of one file.
    """
    values = pa.chunked_array(list(texts), pa.string()).drop_null()
    if not len(values):
        return "string"
    for name, pattern in _INFERRED:
        if pc.all(pc.match_substring_regex(values, pattern)).as_py():
            return name
    return "string"


_WIDTHS: Final = {"int16": 5, "int32": 10, "int64": 19}
"""Most digits of each."""


def type_name(kind: pa.DataType) -> str:
    """The manifest's word for an Arrow type: one that holds all its values, string if there is no other.

    Of nanoseconds only whole microseconds are held.
    """
    types = pa.types
    if types.is_dictionary(kind):
        return type_name(kind.value_type)
    if types.is_integer(kind):
        if types.is_unsigned_integer(kind):
            return {8: "int16", 16: "int32", 32: "int64", 64: "decimal(20,0)"}[kind.bit_width]
        return {8: "int16", 16: "int16", 32: "int32", 64: "int64"}[kind.bit_width]
    if types.is_floating(kind):
        return "float64" if kind.bit_width == 64 else "float32"
    if types.is_decimal(kind) and kind.precision <= 38 and 0 <= kind.scale <= kind.precision:
        return f"decimal({kind.precision},{kind.scale})"
    if types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    if types.is_date(kind):
        return "date"
    return "boolean" if types.is_boolean(kind) else "string"


def common_type(names: Sequence[str]) -> str:
    """The narrowest type that holds the values of all these; string where only texts can."""
    found = set(names)
    if len(found) == 1:
        return names[0]
    if found <= {*_WIDTHS, "float32", "float64"} and found & {"float32", "float64"}:
        return "float64"
    if found <= {"date", "timestamp"}:
        return "timestamp"
    numbers = [_digits(name) for name in found]
    if None in numbers:
        return "string"
    whole, scale = (max(number[place] for number in numbers if number) for place in (0, 1))
    if not scale and found <= set(_WIDTHS):
        return max(found, key=lambda name: _WIDTHS[name])
    return f"decimal({whole + scale},{scale})" if whole + scale <= 38 else "string"


def _digits(name: str) -> tuple[int, int] | None:
    """Digits before and after the point of a whole or decimal number's type."""
    decimal = re.fullmatch(r"decimal\(([0-9]+),([0-9]+)\)", name)
    if decimal:
        return int(decimal[1]) - int(decimal[2]), int(decimal[2])
    return (_WIDTHS[name], 0) if name in _WIDTHS else None
