"""Rows as Postgres' binary COPY format, and the rows that the table can't take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pgpq
import pyarrow as pa
import pyarrow.compute as pc

from tidemill_worker.engine.letters import Reason
from tidemill_worker.engine.postgres.tables import ORDER, Field, Target
from tidemill_worker.engine.postgres.types import beyond
from tidemill_worker.engine.steps import Batch

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
_ROW_BITS: Final = 23  # of the order: 2^40 bytes of a file, and 2^23 rows for each byte of a block
_ROWS: Final = 2048
"""Rows that are encoded and sent at once."""

Refused = tuple[Reason, str, list[str]]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows of one batch for one sink."""

    data: tuple[bytes, ...]
    rows: int
    refused: tuple[tuple[int, Refused], ...] = ()
    """Places in the batch of rows that the sink can't take, ascending, and why."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """Writes batches for one sink."""

    target: Target
    staged: bool
    """With the columns that say in which order the rows were read."""

    def encode(self, batch: Batch, chunk: int, offset: int) -> Encoded:
        """The rows of a batch as COPY data without header and trailer; `offset` is its block's in the file."""
        table = batch.table
        bad: dict[int, Refused] = {}
        self._without_key(table, bad)
        arrays = [self._fitted(batch, place, bad) for place in range(len(self.target.fields))]
        rows = pa.record_batch(arrays, names=[field.name for field in self.target.fields])
        if self.staged:
            rows = _ordered(rows, chunk, offset)
        if bad:
            rows = rows.filter(pa.array([place not in bad for place in range(table.num_rows)], pa.bool_()))
        return Encoded(encoded(rows), rows.num_rows, tuple(sorted(bad.items())))

    def _without_key(self, table: pa.Table, bad: dict[int, Refused]) -> None:
        for name in self.target.sink.primary_key:
            column = table.column(name)
            if column.null_count:
                for place in pc.indices_nonzero(pc.is_null(column)).to_pylist():
                    bad.setdefault(place, ("BadKey", f"{name} is in the primary key and has no value", []))

    def _fitted(self, batch: Batch, place: int, bad: dict[int, Refused]) -> pa.Array:
        """The column as the type that is written; null (and told) where a value doesn't fit."""
        field = self.target.fields[place]
        column = batch.table.column(place)
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if array.type != field.type:
            array = _converted(array, field, bad)
        if field.limit is not None:
            array = _without(array, field.limit.exceeded(array), field, bad)
        if not batch.changed:
            return array
        array = _without(array, beyond(array), field, bad)
        return _without_nul(array, field.name, bad) if field.type == pa.string() else array


def encoded(rows: pa.RecordBatch) -> tuple[bytes, ...]:
    """A record batch as COPY data without header and trailer, cut so that processors' caches hold a piece."""
    encoder = pgpq.ArrowToPostgresBinaryEncoder(rows.schema)
    encoder.write_header()
    data = [encoder.write_batch(rows.slice(first, _ROWS)) for first in range(0, rows.num_rows, _ROWS)]
    data.append(encoder.finish().removesuffix(TRAILER))  # it holds a short end back
    return tuple(filter(None, data))


def _converted(array: pa.Array, field: Field, bad: dict[int, Refused]) -> pa.Array:
    """The values as the type that is written; null (and told) where one doesn't fit into it."""
    try:
        values = array.cast(field.type)
    except pa.ArrowInvalid:
        misfits = pa.array([not _fits(array, index, field.type) for index in range(len(array))], pa.bool_())
        return _without(array, misfits, field, bad).cast(field.type)
    if pa.types.is_floating(array.type) and pa.types.is_floating(field.type):  # too large becomes infinite
        return _without(values, pc.fill_null(pc.and_not(pc.is_inf(values), pc.is_inf(array)), False), field, bad)
    return values


def _without(array: pa.Array, misfits: pa.Array | None, field: Field, bad: dict[int, Refused]) -> pa.Array:
    """Null where the mask says so, and told."""
    if misfits is None:
        return array
    places = pc.indices_nonzero(misfits).to_pylist()
    for place in places:
        bad.setdefault(place, ("BadValue", f"{field.name} doesn't fit into {field.column}", []))
    return pc.if_else(misfits, None, array) if places else array


def _fits(array: pa.Array, index: int, kind: pa.DataType) -> bool:
    try:
        array.slice(index, 1).cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _without_nul(texts: pa.StringArray, name: str, bad: dict[int, Refused]) -> pa.StringArray:
    """The reader refuses NUL bytes, but a query can make NUL characters, which no text of Postgres can hold."""
    if not pc.any(pc.match_substring(texts, "\0")).as_py():
        return texts
    holds = pc.fill_null(pc.match_substring(texts, "\0"), False)
    for index in pc.indices_nonzero(holds).to_pylist():
        bad.setdefault(index, ("BadValue", f"{name} holds a NUL character, which Postgres can't keep", []))
    return pc.if_else(holds, None, texts)


def _ordered(rows: pa.RecordBatch, chunk: int, offset: int) -> pa.RecordBatch:
    """With the chunk, and a number that ascends through the chunk's blocks and the rows of each."""
    first = offset << _ROW_BITS
    order = (
        pa.repeat(pa.scalar(chunk, pa.int32()), rows.num_rows),
        pa.array(range(first, first + rows.num_rows), pa.int64()),
    )
    for (name, _), values in zip(ORDER, order, strict=True):
        rows = rows.append_column(name, values)
    return rows
