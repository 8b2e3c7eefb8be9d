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
