"""What a stage does to the rows of a block: rules and queries, columns at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from tidemill_api.errors import SpecError, SQLError, StepFailed
from tidemill_api.v1alpha1.datapipeline import RowRule
from tidemill_worker.engine.carry import ROW, carrying
from tidemill_worker.engine.quoting import literal, quoted
from tidemill_worker.engine.sandbox import Sandbox

_OF_THE_QUERY: Final = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)
"""Errors whose words quote the query, and no values."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows within a stage, and where in the block they came from."""

    table: pa.Table
    origin: pa.Int32Array | None = None
    """For each row, which row of the block it came from, ascending; None: the same one."""
    changed: bool = False
    """A query made the columns: they aren't the file's any more."""

    def rows_of_block(self, places: pa.Array) -> pa.Array:
        """Which rows of the block the rows at these places came from."""
        return places if self.origin is None else self.origin.take(places)

    def filtered(self, mask: pa.Array) -> Batch:
        """Only the rows of the mask."""
        kept = pc.indices_nonzero(mask)
        return Batch(self.table.take(kept), self.rows_of_block(kept).cast(pa.int32()), self.changed)


@dataclass(frozen=True)
class Validate:
    """The rules of a validate step."""

    name: str
    input: str
    field: str
    rules: tuple[RowRule, ...]
    on_error: Literal["DeadLetter", "Skip", "Fail"]

    @cached_property
    def _conditions(self) -> tuple[str, ...]:
        return tuple(f"(\n{rule.expression}\n)" for rule in self.rules)

    @cached_property
    def _all(self) -> str:
        together = " AND ".join(f"({condition} IS TRUE)" for condition in self._conditions)
        return f"SELECT coalesce(bool_and({together}), true) FROM {quoted(self.input)}"

    def _broken(self, wrap: str) -> str:
        cases = (
            f"CASE WHEN {wrap.format(condition)} IS TRUE THEN NULL ELSE {literal(rule.name)} END"
            for rule, condition in zip(self.rules, self._conditions, strict=True)
        )
        names = f"list_filter([{', '.join(cases)}], lambda name: name IS NOT NULL)"
        return f"SELECT {names} AS rules FROM {quoted(self.input)}"

    def check(self, sandbox: Sandbox, schema: pa.Schema) -> None:
        """That each rule is a condition over these columns. Raises SQLError."""
        empty = schema.empty_table()
        try:  # all at once: a question costs more than what is asked
            found = sandbox.over(self.input, empty, f"SELECT {', '.join(self._conditions)} FROM {quoted(self.input)}")
        except duckdb.Error:
            pass
        else:
            if all(pa.types.is_boolean(kind) or pa.types.is_null(kind) for kind in found.schema.types):
                return
        for place, condition in enumerate(self._conditions):
            field = f"{self.field}.validate.rules[{place}].expression"
            try:
                found = sandbox.over(self.input, empty, f"SELECT {condition} FROM {quoted(self.input)}")
            except duckdb.Error as error:
                raise SQLError(field, str(error)) from error
            if not pa.types.is_boolean(found.schema.types[0]) and not pa.types.is_null(found.schema.types[0]):
                raise SQLError(field, f"a rule must be true or false; this one is {found.schema.types[0]}")

    def broken(self, sandbox: Sandbox, rows: pa.Table) -> pa.ListArray | None:
        """Names of the rules that each row breaks, or None if no row breaks any.

        A rule that can't be computed for a row (a cast that fails, an overflow) is broken by it.
        """
        if not rows.num_rows:
            return None
        try:
            if sandbox.holds(self.input, rows, self._all):
                return None
            found = sandbox.over(self.input, rows, self._broken("{}"))
        except duckdb.Error:
            found = sandbox.over(self.input, rows, self._broken("TRY({})"))
        names = found.column(0).combine_chunks()
        return names if pc.any(pc.greater(pc.list_value_length(names), 0)).as_py() else None


@dataclass(frozen=True)
class Query:
    """The query of a sql step."""

    name: str
    inputs: tuple[str, ...]
    field: str
    query: str

    @cached_property
    def _carrying(self) -> str:
        return carrying(self.query, f"{self.field}.sql.query")

    def check(self, sandbox: Sandbox, schema: pa.Schema, whole: Mapping[str, pa.Table]) -> pa.Schema:
        """The columns of the answer. Raises SQLError."""
        field = f"{self.field}.sql.query"
        if any(name.lower() == "rowid" for name in schema.names):
            raise SpecError(
                field, "the first input has a column rowid, which is DuckDB's own word: give it another name"
            )
        try:
            answer = self.run(sandbox, Batch(schema.empty_table()), whole).table.schema
        except duckdb.Error as error:
            # Over no rows only the query itself can be at fault; but tables that it needs whole have theirs.
            if any(table.num_rows for table in whole.values()) and not isinstance(error, _OF_THE_QUERY):
                kind = type(error).__name__.removesuffix("Exception")
                raise StepFailed(
                    f"step {self.name}: the query fails over the rows of its other inputs ({kind} error); use TRY_CAST "
                    "or TRY"
                ) from error
            raise SQLError(field, str(error)) from error
        folded = [name.lower() for name in answer.names]
        twice = sorted({name for name in answer.names if folded.count(name.lower()) > 1})
        if twice:  # later steps couldn't tell them apart
            raise SQLError(
                field,
                f"two columns of the answer are called {', '.join(twice)} (whatever the case): give one another "
                "name (AS)",
            )
        return answer

    def run(self, sandbox: Sandbox, batch: Batch, whole: Mapping[str, pa.Table]) -> Batch:
        """The answer over a batch, in the order of the rows it came from. Raises duckdb.Error."""
        others = {name: whole[name] for name in self.inputs[1:]}
        answer = sandbox.joining(self.inputs[0], batch.table, others, self._carrying)
        places = answer.column(answer.num_columns - 1).combine_chunks()
        if len(places) > 1 and not pc.all(pc.less_equal(places.slice(0, len(places) - 1), places.slice(1))).as_py():
            order = pc.sort_indices(places)  # stable
            answer, places = answer.take(order), places.take(order)
        shown = [place for place, name in enumerate(answer.schema.names) if name != ROW]
        return Batch(answer.select(shown), batch.rows_of_block(places).cast(pa.int32()), changed=True)

    def failing_row(self, sandbox: Sandbox, batch: Batch, whole: Mapping[str, pa.Table]) -> int | None:
        """The place in the batch of a row for which the query fails by itself, or None if each row alone is fine."""
        first, count = 0, batch.table.num_rows
        while count > 1:
            half = count // 2
            if not self._fails(sandbox, batch.table.slice(first, half), whole):
                first, half = first + half, count - half
            count = half
        return first if count and self._fails(sandbox, batch.table.slice(first, 1), whole) else None

    def _fails(self, sandbox: Sandbox, rows: pa.Table, whole: Mapping[str, pa.Table]) -> bool:
        try:
            self.run(sandbox, Batch(rows), whole)
        except duckdb.Error:
            return True
        return False
