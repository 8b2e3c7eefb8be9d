"""A Python step over a batch of rows: called, and its answer traced back to the rows that it was made from.

Everything that the cache needs to know is here: what `answer` gives depends on the rows, the other inputs, the context
and the code.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

import tidemill
from tidemill_api.errors import PythonFailed
from tidemill_api.v1alpha1.step import PythonStep
from tidemill_worker.engine.python.answers import as_table, fitted, schema_of
from tidemill_worker.engine.python.calls import Calls
from tidemill_worker.engine.python.remembered import Form, Memory, from_ipc, memory_of, to_ipc


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a row was rejected."""

    rules: tuple[str, ...]
    """Empty: a value of the answer isn't of its column's type."""
    error: str
    """Without values of the row."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a batch."""

    table: pa.Table
    places: pa.Int64Array
    """For each row of `table`, the row of the batch that it was made from; ascending."""
    rejected: Mapping[int, Refusal]
    """Rows of the batch, ascending."""
    rows_out: int
    """Rows of the batch of which something is in the table. The others were rejected or skipped."""


@dataclass(frozen=True)
class Python:
    """The function of a step of mode Batch."""

    name: str
    inputs: tuple[str, ...]
    field: str
    step: PythonStep
    calls: Calls = dataclasses.field(compare=False)
    memory: Memory | None = dataclasses.field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "memory", memory_of(self.name, self.step, self.calls))

    @property
    def _who(self) -> str:
        return f"step {self.name}"

    def check(self, before: pa.Schema) -> pa.Schema:
        """The columns of the answer. Raises SpecError."""
        return schema_of(self.step, self.field, before)

    def answer(self, rows: pa.Table, whole: Mapping[str, pa.Table]) -> Made:
        """What the function makes of a batch; it isn't called for none. Raises PythonFailed, Stopped."""
        wanted = self.check(rows.schema)
        if not rows.num_rows:
            return Made(wanted.empty_table(), pa.array([], pa.int64()), {}, 0)
        others = {name: whole[name] for name in self.inputs[1:]}
        if self.memory is None:
            return self._made(rows, others, wanted)
        return self.memory.found(_KEPT, rows, others, lambda: self._made(rows, others, wanted))

    def _made(self, rows: pa.Table, others: Mapping[str, pa.Table], wanted: pa.Schema) -> Made:
        context = self.calls.context(self.name, timeless=self.step.cache is not None)
        batch = tidemill.Batch(rows, others, context)
        given = self.calls.call(self._who, self.step.entrypoint, batch)
        table, origin = self._traced(given, rows.num_rows)
        found = fitted(self._who, self.step.entrypoint, table, wanted)
        why = _rejected(batch.rejections)
        for row, column in found.bad.items():
            place = row if origin is None else origin[row].as_py()
            why.setdefault(place, Refusal((), f"{column}: its value is beyond the type that the step declares"))
        return _made(found.table, origin, rows.num_rows, batch.skipped, dict(sorted(why.items())))

    def _traced(self, given: object, total: int) -> tuple[pa.Table, pa.Int64Array | None]:
        """The table, and the row of the batch that each of its rows is made from; None: the same one."""
        entrypoint = self.step.entrypoint
        if not isinstance(given, tidemill.Rows):
            table = as_table(self._who, entrypoint, given)
            if table.num_rows != total:
                raise PythonFailed(
                    self._who,
                    f"{entrypoint} returned {table.num_rows} rows for {total}: return one for each, in their order "
                    "(batch.skip and batch.reject leave rows out), or tidemill.Rows with the row that each comes from",
                )
            return table, None
        table = as_table(self._who, entrypoint, given.table)
        return self._in_order(table, self._places(given.origin, table.num_rows, total))

    def _places(self, origin: object, rows: int, total: int) -> pa.Int64Array:
        try:
            given: Any = origin if isinstance(origin, pa.Array | pa.ChunkedArray) else pa.array(origin, pa.int64())
            places = pa.chunked_array([given] if isinstance(given, pa.Array) else given.chunks, given.type)
            places = places.cast(pa.int64()).combine_chunks()
        except (pa.ArrowException, TypeError):
            raise self._wrong("must be whole numbers") from None
        places = places.chunk(0) if isinstance(places, pa.ChunkedArray) else places
        if len(places) != rows:
            raise self._wrong(f"must name a row of the batch for each of the {rows} rows, and has {len(places)}")
        bounds = pc.min_max(places).as_py()
        if places.null_count or (rows and (bounds["min"] < 0 or bounds["max"] >= total)):
            raise self._wrong(f"must be numbers from 0 to {total - 1}")
        return places

    def _in_order(self, table: pa.Table, places: pa.Int64Array) -> tuple[pa.Table, pa.Int64Array]:
        if not _ascending(places):
            order = pc.sort_indices(places)  # stable
            table, places = table.take(order), places.take(order)
        if not self.step.may_multiply and pc.count_distinct(places).as_py() < len(places):
            raise self._wrong("names a row more than once: say mayMultiply: true, if a row may become several")
        return table, places

    def _wrong(self, what: str) -> PythonFailed:
        return PythonFailed(self._who, f"{self.step.entrypoint}: origin of the tidemill.Rows that it returned {what}")


def _rejected(rejections: Sequence[tidemill.Rejection]) -> dict[int, Refusal]:
    """By row, all rules that it breaks."""
    found: dict[int, Refusal] = {}
    for each in rejections:
        said = f"breaks {each.rule}{f': {each.message}' if each.message else ''}".replace("\0", "\ufffd")
        for row in each.rows.to_pylist():
            before = found.get(row)
            if before is None:
                found[row] = Refusal((each.rule,), said)
            else:
                rules = before.rules if each.rule in before.rules else (*before.rules, each.rule)
                found[row] = Refusal(rules, f"{before.error}; {said}")
    return found


def _made(
    table: pa.Table, origin: pa.Int64Array | None, total: int, skipped: pa.Int64Array, why: dict[int, Refusal]
) -> Made:
    places = pa.arange(0, total) if origin is None else origin
    out = pa.concat_arrays([skipped, pa.array(list(why), pa.int64())])
    if len(out):
        kept = pc.indices_nonzero(pc.invert(pc.is_in(places, out)))
        table, places = table.take(kept), places.take(kept)
    rows_out = len(places) if origin is None else pc.count_distinct(places).as_py()
    return Made(table.combine_chunks(), places, why, rows_out)


def _ascending(places: pa.Int64Array) -> bool:
    return len(places) < 2 or bool(pc.all(pc.less_equal(places.slice(0, len(places) - 1), places.slice(1))).as_py())


def _packed(made: Made) -> bytes:
    """As bytes: a line of JSON, and the rows with their places behind them."""
    head = {
        "rowsOut": made.rows_out,
        "rejected": [[row, list(why.rules), why.error] for row, why in made.rejected.items()],
    }
    arrays = [*made.table.columns, pa.chunked_array([made.places])]
    return json.dumps(head).encode() + b"\n" + to_ipc(pa.table(arrays, names=[*made.table.schema.names, ""]))


def _unpacked(value: bytes) -> Made:
    head, _, body = value.partition(b"\n")
    told, table = json.loads(head), from_ipc(body)
    last = table.num_columns - 1
    places = table.column(last).combine_chunks()
    rejected = {row: Refusal(tuple(rules), error) for row, rules, error in told["rejected"]}
    return Made(table.remove_column(last).combine_chunks(), places, rejected, told["rowsOut"])


_KEPT: Final = Form("batch", _packed, _unpacked)
