"""Rows as bodies of requests, and what a body is known by. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

import orjson
import pyarrow as pa

from tidemill_api.errors import TableMismatch
from tidemill_api.v1alpha1.http_sink import SentRows
from tidemill_worker.engine.fit import plain

_OPTIONS: Final = orjson.OPT_UTC_Z
_ENCODED_AT_ONCE: Final = 4096
"""Rows that are made Python's objects at once."""


def check_columns(sink: str, schema: pa.Schema) -> None:
    """Raises TableMismatch for a column that JSON has no value for."""
    for column in schema:
        kind = column.type
        binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
        if binary or pa.types.is_interval(kind) or pa.types.is_duration(kind):
            raise TableMismatch(
                f"sink {sink}: the column {column.name} is of type {kind}, for which JSON has no value: cast it to a "
                "text in a sql step"
            )


def objects(rows: pa.Table) -> list[bytes]:
    """Each row as a JSON object.

    Moments are RFC 3339 (in UTC where they have a zone), decimals texts, and what is no number (NaN) is null.
    """
    found: list[bytes] = []
    for first in range(0, rows.num_rows, _ENCODED_AT_ONCE):
        part = _plain_rows(rows.slice(first, _ENCODED_AT_ONCE))
        found.extend(orjson.dumps(row, default=str, option=_OPTIONS) for row in part.to_pylist())
    return found


def _plain_rows(rows: pa.Table) -> pa.Table:
    """With moments of microseconds at most, which Python's have."""
    return pa.table([_plain(column) for column in rows.columns], names=rows.schema.names)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain(column)
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return column.cast(pa.timestamp("us", kind.tz), safe=False)
    return column


def batches(found: Sequence[bytes], settings: SentRows) -> Iterator[tuple[int, int]]:
    """From which row to which (not included) each request goes; each has one row at least."""
    first, size = 0, 0
    for place, row in enumerate(found):
        length = len(row) + 1
        full = place - first >= settings.rows_at_once or size + length > settings.bytes_at_once
        if place > first and full:
            yield first, place
            first, size = place, 0
        size += length
    if len(found) > first:
        yield first, len(found)


def body_of(found: Sequence[bytes], settings: SentRows) -> bytes:
    """The body of a request with these rows."""
    match settings.body:
        case "JSONLines":
            return b"\n".join((*found, b""))
        case "JSONObject":
            return found[0]
        case "JSONArray":
            rows = b"[" + b",".join(found) + b"]"
            return rows if settings.wrap is None else b"{" + orjson.dumps(settings.wrap) + b":" + rows + b"}"


def content_type(settings: SentRows) -> str:
    """What a body is."""
    return "application/x-ndjson" if settings.body == "JSONLines" else "application/json"


def key_of(names: Sequence[object], first: int, body: bytes) -> str:
    """What a request is known by: the run and place of its rows, and what they say.

    The place tells equal rows of a run apart. The body is part of it because a table that is read again may give other
    rows at a place: with the same key the receiver would take them for those that it has.
    """
    hashed = hashlib.sha256("\n".join(map(str, (*names, first))).encode() + b"\n\n")
    hashed.update(body)
    return hashed.hexdigest()[:32]
