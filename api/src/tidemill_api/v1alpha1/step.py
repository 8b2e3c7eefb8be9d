"""What a pipeline does to rows between reading and loading."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import ListKey, Model, Rule
from tidemill_api.v1alpha1._types import ConfigMapKeyRef, Identifier, PartName
from tidemill_api.v1alpha1.cache import FunctionCache
from tidemill_api.v1alpha1.python import Entrypoint
from tidemill_api.v1alpha1.source import COLUMN_TYPE_PATTERN, Column


class RowRule(Model):
    """A condition that each row must meet."""

    name: PartName
    """Name, kept with each dead letter."""
    expression: Annotated[str, Field(min_length=1, max_length=4096, examples=["month BETWEEN 1 AND 12"])]
    """SQL condition over the row's columns (DuckDB's dialect) and `$parameters`. A row breaks it when it is false or
    NULL."""


class ValidateStep(Model):
    """Rules over rows."""

    rules_: Annotated[tuple[RowRule, ...], Field(alias="rules", min_length=1, max_length=128), ListKey("name")]
    """The rules; all are checked, a dead letter names each one that it broke."""
    on_error: Literal["DeadLetter", "Skip", "Fail"] = "DeadLetter"
    """What happens to a row that breaks a rule: kept as a dead letter, left out and counted, or the run
    fails."""


class QueryFrom(Model):
    """Where a query stands."""

    config_map_key_ref: ConfigMapKeyRef
    """A key of a ConfigMap of the same namespace whose text is the query."""


class SQLStep(Model):
    """A query over the step's inputs: exactly one of query and queryFrom."""

    query: Annotated[str, Field(min_length=1, max_length=32768)] = ""
    """One SELECT (DuckDB's dialect) over the inputs, by their names, and `$parameters`. If it is row-wise in the first
    input (no aggregate, window, DISTINCT, LIMIT, ORDER BY, set operation, RIGHT or FULL join) it runs chunk by
    chunk, else over all rows at once. No volatile function, and nothing that depends on the order of rows."""
    query_from: QueryFrom | None = None
    """The query stands elsewhere, for one that is long or has tools of its own; as a run begins, its text is part of
    the run."""

    rules = (
        Rule(
            cel="has(self.query) != has(self.queryFrom)",
            message="a sql step has exactly one of: query, queryFrom",
            holds=lambda s: (s.query == "") != (s.query_from is None),
        ),
    )


class StepColumn(Model):
    """A column that a Python step gives."""

    name: Identifier
    """Name of the column, as later steps and sinks see it."""
    type: Annotated[str, Field(pattern=COLUMN_TYPE_PATTERN, max_length=16, examples=["int32", "decimal(18,2)"])]
    """boolean, int16, int32, int64, float32, float64, decimal(P,S), string, date, timestamp or timestamptz."""

    rules = Column.rules


class PythonStep(Model):
    """A function of your own, which gets rows as Arrow tables and gives some."""

    entrypoint: Entrypoint
    """Module and function, `travel.steps:enrich`. The pool must allow it (`spec.python.allowedEntrypoints`)."""
    mode: Literal["Batch", "Whole"] = "Batch"
    """Batch: called again and again with some rows of the first input, as they are read; what it gives for a row must
    depend on that row alone (and on the other inputs, which it has whole). Whole: called once, with all rows of all
    inputs, in a stage of its own."""
    columns: Annotated[tuple[StepColumn, ...], Field(max_length=256), ListKey("name")] = ()
    """All columns that it gives, if they aren't those of the first input."""
    add_columns: Annotated[tuple[StepColumn, ...], Field(max_length=128), ListKey("name")] = ()
    """Columns that it gives beside those of the first input."""
    may_multiply: bool = False
    """It may make several rows of one. Rows that were rejected behind it can't be replayed then."""
    cache: FunctionCache | None = None
    """The function is pure: what it gives depends on its rows, its other inputs, the parameters and its code alone, so
    that it may be kept and found again (`cache: {}` as long as the pool says). Such a function can't ask for the run's
    times."""

    rules = (
        Rule(
            cel="!has(self.columns) || !has(self.addColumns) || size(self.columns) == 0 || size(self.addColumns) == 0",
            message="a python step has columns (all that it gives) or addColumns (beside its input's), not both",
            holds=lambda s: not s.columns or not s.add_columns,
        ),
        Rule(
            cel="!has(self.mayMultiply) || !self.mayMultiply || !has(self.mode) || self.mode == 'Batch'",
            message="mayMultiply has an effect for mode Batch only",
            holds=lambda s: not s.may_multiply or s.mode == "Batch",
            field=".mayMultiply",
        ),
    )


class Step(Model):
    """Something done to rows: exactly one of validate, sql and python."""

    name: PartName
    """Name; later steps, sinks and SQL call it so."""
    inputs: Annotated[tuple[PartName, ...], Field(min_length=1, max_length=16)]
    """Sources or steps. The first one drives: its rows are worked on chunk by chunk; the others are joined whole."""
    validate_: Annotated[ValidateStep | None, Field(alias="validate")] = None
    """Rules over rows."""
    sql: SQLStep | None = None
    """A query over the inputs."""
    python: PythonStep | None = None
    """A function over the inputs."""

    rules = (
        Rule(
            cel="[has(self.validate), has(self.sql), has(self.python)].filter(x, x).size() == 1",
            message="a step is exactly one of: validate, sql, python",
            holds=lambda s: [s.validate_, s.sql, s.python].count(None) == 2,
        ),
        Rule(
            cel="!has(self.validate) || size(self.inputs) == 1",
            message="a validate step has exactly one input",
            holds=lambda s: s.validate_ is None or len(s.inputs) == 1,
            field=".inputs",
        ),
        Rule(
            cel="self.inputs.all(i, self.inputs.exists_one(j, j == i))",
            message="inputs must differ from each other",
            holds=lambda s: len(set(s.inputs)) == len(s.inputs),
            field=".inputs",
        ),
    )
