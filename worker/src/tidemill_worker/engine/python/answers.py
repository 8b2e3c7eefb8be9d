"""What a function gives, held against the columns that the manifest says."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tidemill_api.errors import PythonFailed, SpecError
from tidemill_api.v1alpha1.step import PythonStep
from tidemill_check.problem import listed
from tidemill_check.python import given_columns
from tidemill_worker.engine.columns import arrow_type, type_name
from tidemill_worker.engine.fit import fit, goes_over, is_text, plain


@dataclass(frozen=True, slots=True)
class Answer:
    """A table with the wanted columns, in their order and of their types."""

    table: pa.Table
    bad: dict[int, str]
    """Rows with a value that isn't one of its column's type (it is null in the table), and the column."""


def schema_of(step: PythonStep, field: str, before: pa.Schema) -> pa.Schema:
    """The columns that a step gives, from those of its first input. Raises SpecError."""
    added = [(column.name, arrow_type(column.type)) for column in (*step.columns, *step.add_columns)]
    given = given_columns(step, dict(zip(before.names, before.types, strict=True)), added)
    if isinstance(given, str):
        raise SpecError(f"{field}.python.addColumns", given)
    return pa.schema(list(given.items()))


def as_table(who: str, entrypoint: str, given: object) -> pa.Table:
    """What a function gave as a table. Raises PythonFailed."""
    if isinstance(given, pa.Table):
        return given
    if isinstance(given, pa.RecordBatch):
        return pa.Table.from_batches([given])
    if hasattr(given, "__arrow_c_stream__"):
        return pa.table(given)
    raise PythonFailed(who, f"{entrypoint} must return an Arrow table, and returned {_kind(given)}")


def _kind(given: object) -> str:
    return "nothing (None)" if given is None else f"a {type(given).__name__}"


def fitted(who: str, entrypoint: str, given: pa.Table, wanted: pa.Schema) -> Answer:
    """The columns that are wanted. Raises PythonFailed if others are there, or types of another sort."""
    names = given.schema.names
    missing = [name for name in wanted.names if name not in names]
    more = sorted({name for name in names if name not in wanted.names or names.count(name) > 1})
    if missing or more:
        lacks = [f"lacks {listed(missing)}"] if missing else []
        has = [f"has {listed(more)} beside them"] if more else []
        raise PythonFailed(
            who,
            f"{entrypoint} must return the columns {listed(wanted.names)}; its table {' and '.join((*lacks, *has))} "
            "(columns and addColumns of the step say which they are)",
        )
    arrays: list[pa.ChunkedArray | pa.Array] = []
    bad: dict[int, str] = {}
    for column in wanted:
        found = given.column(column.name)
        if found.type == column.type:
            arrays.append(found)
            continue
        raw = plain(found)
        if not _same_sort(raw.type, column.type):
            kinds = f"{type_name(column.type)}, not {found.type}"
            raise PythonFailed(who, f"{entrypoint}: the column {column.name} must be of type {kinds}")
        values, mask = fit(raw, column.type)
        arrays.append(values)
        for row in [] if mask is None else pc.indices_nonzero(mask).to_pylist():
            bad.setdefault(row, column.name)
    return Answer(pa.table(arrays, schema=wanted), bad)


def _same_sort(kind: pa.DataType, target: pa.DataType) -> bool:
    """Whether values go from one type to the other without being read as text."""
    if pa.types.is_null(kind):
        return True
    if pa.types.is_string(target):
        return is_text(kind)
    return goes_over(kind, target)
