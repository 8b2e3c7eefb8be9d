"""Names and types of columns, where they are declared: queries and rules bound by DuckDB to empty tables.

Only where every column that a step sees is known beforehand: sources without declared columns are left to the worker,
which looks at the files. `tidemill lint` asks; the operator doesn't, because binding computes constants
(`strptime(x, <anything>)`), and an author's SQL shall not spend the operator's time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tidemill_api import conditions
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.datapipeline import Sink, Source, Step
from tidemill_check.datasets import unwritable
from tidemill_check.duckdb_parser import LOCKED_DOWN
from tidemill_check.graph import inputs_of, topological
from tidemill_check.parameters import OF_THE_RUN, ParameterValue
from tidemill_check.problem import Problem, listed, suggestion
from tidemill_check.python import given_columns
from tidemill_check.sql import whole_query
from tidemill_check.sql_whole import SAME_NAME, SAME_NAME_SAID
from tidemill_check.stages import whole_steps
from tidemill_check.verdict import unknown_redacted

if TYPE_CHECKING:
    import duckdb

Columns = Mapping[str, str]
"""DuckDB's type of each column, in order."""

_TYPES: Final[Mapping[str, str]] = {
    "boolean": "BOOLEAN",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "string": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
}
_EXAMPLES: Final[Mapping[str, ParameterValue]] = {
    "string": "",
    "integer": 1,
    "number": 0.5,
    "boolean": True,
    "date": date(2026, 1, 31),
    "timestamp": datetime(2026, 1, 31, tzinfo=UTC),
}
_NO_TYPE: Final = '"NULL"'
"""What DuckDB calls the type of a bare NULL."""
_LOSSY: Final = ("TIME WITH TIME ZONE", "BIT")
"""Types that DuckDB hands over as something else: a time without its offset, bits as its own bytes."""


def lossy(answer: Iterable[tuple[str, str]]) -> str:
    """Why an answer with these columns (name, DuckDB's type) can't be kept as it is; empty if it can."""
    found = next(((name, kind) for name, kind in answer if kind in _LOSSY), None)
    return f"the column {found[0]} is a {found[1]}, which can't be kept: cast it (::VARCHAR, say)" if found else ""


def check_columns(spec: DataPipelineSpec) -> tuple[Problem, ...]:
    """Columns that aren't there and types that don't fit, as far as columns are declared.

    For pipelines in which `check_pipeline` found nothing; a step that has a problem is not followed further.
    """
    return _Columns(spec).problems()


def known_columns(spec: DataPipelineSpec) -> Mapping[str, Columns]:
    """Columns of sources that declare them, and of steps as far as these say it. Queries are bound, not asked.

    For pipelines in which `check_pipeline` found nothing.
    """
    found = _Columns(spec)
    found.problems()
    return found.known


class _Columns:
    """Follows the columns of one pipeline from its sources to its sinks."""

    def __init__(self, spec: DataPipelineSpec) -> None:
        self._spec = spec
        self._known: dict[str, Columns] = {
            source.name: found for source in spec.sources if (found := _declared(source))
        }
        self._whole = whole_steps(spec)
        self._values = {parameter.name: _EXAMPLES[parameter.type] for parameter in spec.parameters}
        self._values |= dict.fromkeys(OF_THE_RUN, _EXAMPLES["timestamp"])

    @property
    def known(self) -> Mapping[str, Columns]:
        """Of sources and steps, by name, as far as they have been followed."""
        return self._known

    def problems(self) -> tuple[Problem, ...]:
        found: list[Problem] = []
        places = {step.name: place for place, step in enumerate(self._spec.steps)}
        for name in topological(inputs_of(self._spec)):
            if name in places:
                step = self._spec.steps[places[name]]
                if step.python is not None:
                    found += [problem.below(f"spec.steps[{places[name]}]") for problem in self._python(step)]
                elif all(needed in self._known for needed in step.inputs):
                    found += [problem.below(f"spec.steps[{places[name]}]") for problem in self._step(step)]
        return (
            *sorted(found, key=lambda problem: problem.field),
            *self._keys(),
            *self._checked(),
            *self._redacted(),
        )

    def _redacted(self) -> Iterator[Problem]:
        if all(name in self._known for name in inputs_of(self._spec)):
            yield from unknown_redacted(self._spec, [name for columns in self._known.values() for name in columns])

    def _step(self, step: Step) -> Iterator[Problem]:
        tables = {name: self._known[name] for name in step.inputs}
        if step.validate_ is not None:
            self._known[step.name] = self._known[step.inputs[0]]
            for place, rule in enumerate(step.validate_.rules_):
                why = self._rule(tables, rule.expression)
                if why:
                    yield _problem(f"validate.rules[{place}].expression", why)
        elif step.sql is not None:
            whole = step.name in self._whole
            query = whole_query(step.sql.query, step.inputs, self._values) if whole else step.sql.query
            answer = _bind(tables, query, self._values)
            why = answer if isinstance(answer, str) else _unusable(answer, {} if whole else tables[step.inputs[0]])
            if why:
                yield _problem("sql.query", why)
            elif not isinstance(answer, str) and all(kind != _NO_TYPE for _, kind in answer):
                self._known[step.name] = dict(answer)

    def _python(self, step: Step) -> Iterator[Problem]:
        """What it gives is what it says, so it can be known where its inputs' columns aren't."""
        assert step.python is not None
        before = self._known.get(step.inputs[0])
        if before is None and not step.python.columns:
            return
        added = [
            (column.name, _duckdb_type(column.type)) for column in (*step.python.columns, *step.python.add_columns)
        ]
        given = given_columns(step.python, before or {}, added)
        if isinstance(given, str):
            yield Problem("python.addColumns", conditions.INVALID_SPEC, given)
        else:
            self._known[step.name] = given

    def _rule(self, tables: Mapping[str, Columns], expression: str) -> str:
        (name,) = tables
        answer = _bind(tables, f'SELECT (\n{expression}\n) FROM "{name}"', self._values)
        if isinstance(answer, str):
            return answer
        kind = answer[0][1]
        return "" if kind in ("BOOLEAN", _NO_TYPE) else f"a rule must be true or false; this one is {kind}"

    def _keys(self) -> Iterator[Problem]:
        for index, sink in enumerate(self._spec.sinks):
            columns = self._known.get(sink.input)
            for field, name in _named_by(sink) if columns else ():
                if columns and name not in columns:
                    message = f"{sink.input} has no column {name}{suggestion(name, columns)}"
                    yield Problem(f"spec.sinks[{index}].{field}", conditions.INVALID_SPEC, message)
            if columns and sink.files is not None:
                yield from (problem.below(f"spec.sinks[{index}]") for problem in unwritable(sink.files, columns))

    def _checked(self) -> Iterator[Problem]:
        """Columns that checks name; a table of its own may have more, so only where the sink makes it."""
        sinks = {s.name: s for s in self._spec.sinks if s.postgres and s.postgres.create_table == "IfMissing"}
        for index, check in enumerate(self._spec.checks):
            sink = sinks.get(check.sink)
            columns = self._known.get(sink.input) if sink is not None else None
            if sink is None or columns is None:
                continue
            known = {*columns, *((sink.history.valid_from, sink.history.valid_to) if sink.history else ())}
            for place, name in enumerate(check.columns):
                if name not in known:
                    message = f"the table of {sink.name} has no column {name}{suggestion(name, known)}"
                    yield Problem(f"spec.checks[{index}].columns[{place}]", conditions.INVALID_SPEC, message)


def _named_by(sink: Sink) -> Iterator[tuple[str, str]]:
    """The columns that a sink names, each with its field."""
    for place, name in enumerate(sink.primary_key):
        yield f"primaryKey[{place}]", name
    for place, by in enumerate(sink.dedup_order):
        yield f"dedupOrder[{place}].column", by.column
    for place, name in enumerate(sink.partition_by):
        yield f"partitionBy[{place}]", name
    for place, name in enumerate(sink.files.partition_by if sink.files is not None else ()):
        yield f"files.partitionBy[{place}]", name


def _declared(source: Source) -> Columns:
    """Nothing for a source that may have more of them than it declares."""
    if source.contract.new_columns == "Add":
        return {}
    return {column.name: _duckdb_type(column.type) for column in source.columns}


def _duckdb_type(name: str) -> str:
    """DuckDB's word for a type of the manifest."""
    return _TYPES.get(name, name.upper())


def _problem(field: str, message: str) -> Problem:
    return Problem(field=field, reason=conditions.INVALID_SQL, message=message)


def _unusable(answer: Sequence[tuple[str, str]], first: Columns) -> str:
    names = [name for name, _ in answer]
    folded = [name.lower() for name in names]  # a later step's SQL couldn't tell `a` from `A`
    twice = sorted({name for name in names if folded.count(name.lower()) > 1})
    if twice:
        return (
            f"two columns of the answer are called {listed(twice)}: name one otherwise (AS), or leave it out (EXCLUDE)"
        )
    if any(name.lower() == "rowid" for name in first):
        return "the first input has a column rowid, which is DuckDB's own word: give it another name"
    return lossy(answer)


def _bind(
    tables: Mapping[str, Columns], query: str, values: Mapping[str, ParameterValue]
) -> list[tuple[str, str]] | str:
    """Names and types of the query's answer, or why it can't be bound. The query is a proved one."""
    import duckdb

    connection, lock = _connection()
    with lock:
        try:
            for name, columns in tables.items():
                fields = ", ".join(f"{_quoted(column)} {kind}" for column, kind in columns.items())
                connection.execute(f"CREATE OR REPLACE TEMP TABLE {_quoted(name)} ({fields})")
            wanted = connection.extract_statements(query)[0].named_parameters
            answer = connection.sql(query, params={name: values[name] for name in wanted} or None)
            return [(name, str(kind)) for name, kind in zip(answer.columns, answer.types, strict=True)]
        except duckdb.Error as error:
            return _sentence(str(error))
        finally:
            for name in tables:
                connection.execute(f"DROP TABLE IF EXISTS {_quoted(name)}")


@lru_cache(maxsize=1)
def _connection() -> tuple[duckdb.DuckDBPyConnection, threading.Lock]:
    """A connection that holds nothing between two questions."""
    import duckdb

    connection = duckdb.connect(":memory:", config=dict(LOCKED_DOWN))
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET lock_configuration = true")
    return connection, threading.Lock()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _sentence(text: str) -> str:
    """DuckDB's words without its list of candidates and its picture of the line."""
    if SAME_NAME in text:
        return SAME_NAME_SAID
    for end in ("\n\nLINE ", "\n\tCandidate functions", "\nUse SET "):
        text = text.partition(end)[0]
    return " ".join(text.partition(": ")[2].split())
