"""Dead letters as columns: rows that were rejected, where they came from, and why."""

from __future__ import annotations

from typing import Final, Literal

import pyarrow as pa

Reason = Literal["BadValue", "BadRow", "RuleBroken", "BadKey"]
"""BadValue: a value of the wrong type, or a required one that is missing. BadRow: fields, quoting, encoding, NUL bytes, length.
RuleBroken: rules of a validate step. BadKey: a sink can't take the row (no value in its primary key)."""

SCHEMA: Final = pa.schema(
    [
        pa.field("step", pa.string(), nullable=False),  # source, validate step or sink that rejected the row
        pa.field("source", pa.string(), nullable=False),
        pa.field("chunk", pa.int32(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),  # of the source's row: its byte offset in the file
        pa.field("part", pa.int32(), nullable=False),  # which of the rows that a query made of it; else 0
        pa.field("file", pa.string(), nullable=False),  # `a.zip!b.csv` for a member
        pa.field("byte_offset", pa.int64(), nullable=False),  # in the uncompressed bytes
        pa.field("line", pa.int64(), nullable=False),  # from 1
        pa.field("reason", pa.string(), nullable=False),
        pa.field("rules", pa.list_(pa.string()), nullable=False),  # rules that the row broke; else empty
        pa.field("error", pa.string(), nullable=False),  # a sentence; may hold the value at fault
        pa.field("row_text", pa.string(), nullable=True),  # the row as it stands in the file, NUL bytes as U+FFFD
        pa.field("row_columns", pa.string(), nullable=True),  # JSON object of the columns, if a query changed the row
    ]
)
