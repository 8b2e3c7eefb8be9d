"""A query over all rows of its inputs, asked of a DuckDB that sees these and nothing else, and spills to disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from tidemill_api.errors import Internal, SpecError, SQLError, StepFailed
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_check.columns import lossy
from tidemill_check.problem import listed
from tidemill_check.sql import whole_query
from tidemill_check.sql_whole import SAME_NAME, SAME_NAME_SAID
from tidemill_worker.engine.quoting import literal, quoted
from tidemill_worker.engine.sandbox import Sandbox, Values

BATCH_ROWS: Final = 1 << 16
_CONFIG: Final[dict[str, str | bool | int]] = {
    "threads": 1,  # what threads add up in parts would depend on how they share the rows
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,
}


@dataclass(frozen=True, slots=True)
class Whole:
    """A step that needs all rows of all its inputs."""

    name: str
    inputs: tuple[str, ...]
    field: str
    query: str
    """As it is to be asked: see `tidemill_check.sql.whole_query`."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a query may use."""

    memory: int
    """Bytes of memory."""
    disk: int
    """Bytes of files below `folder`."""
    folder: Path


def whole_step(spec: DataPipelineSpec, name: str) -> Whole:
    """The named step. Raises SpecError if it isn't one that needs all rows."""
    for place, step in enumerate(spec.steps):
        if step.name == name and step.sql is not None:
            field = f"spec.steps[{place}]"
            parameters = [parameter.name for parameter in spec.parameters]
            try:
                query = whole_query(step.sql.query, step.inputs, parameters)
            except ValueError as error:
                raise SpecError(f"{field}.sql.query", str(error)) from error
            return Whole(name, step.inputs, field, query)
    raise SpecError("spec.steps", f"there is no step {name} with a query")


def answer(step: Whole, tables: Mapping[str, pa.Table], sandbox: Sandbox) -> pa.Table:
    """The answer over rows that are held in memory. Raises SQLError, StepFailed."""
    with _typed(step, None):
        found = sandbox.beside({name: tables[name] for name in step.inputs}, step.query)
    usable(step, found.schema)
    return found


@contextmanager
def computer(inputs: Mapping[str, Sequence[Path]], room: Room) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB that reads just these files. From here on it can be interrupted."""
    with duckdb.connect(":memory:", config=dict(_CONFIG)) as connection:
        _lock_in(connection, inputs, room)
        yield connection


def asked(
    connection: duckdb.DuckDBPyConnection, step: Whole, inputs: Mapping[str, Sequence[Path]], values: Values, room: Room
) -> pa.RecordBatchReader:
    """The answer over Parquet files, batch by batch, in its order. The first batch of many queries is the work.

    Raises SQLError, StepFailed; duckdb.InterruptException.
    """
    with _typed(step, room):
        for name, files in inputs.items():
            listing = ", ".join(literal(str(file)) for file in files)
            connection.execute(f"CREATE VIEW {quoted(name)} AS SELECT * FROM read_parquet([{listing}])")
        statement = connection.extract_statements(step.query)[0]
        wanted = {key: values[key] for key in statement.named_parameters}
        relation = connection.sql(step.query, params=wanted or None)
        if why := lossy(zip(relation.columns, map(str, relation.types), strict=True)):
            raise SQLError(f"{step.field}.sql.query", why)
        reader = relation.to_arrow_reader(BATCH_ROWS)
        usable(step, reader.schema)
        return reader


def _lock_in(connection: duckdb.DuckDBPyConnection, inputs: Mapping[str, Sequence[Path]], room: Room) -> None:
    """Leave it the files of its inputs and a place to spill to."""
    connection.execute(f"SET memory_limit = '{room.memory} bytes'")
    connection.execute(f"SET temp_directory = {literal(str(room.folder))}")
    connection.execute(f"SET max_temp_directory_size = '{room.disk} bytes'")
    connection.execute("SET TimeZone = 'UTC'")
    listing = ", ".join(literal(str(file)) for files in inputs.values() for file in files)
    connection.execute(f"SET allowed_paths = [{listing}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def usable(step: Whole, schema: pa.Schema) -> None:
    """That later steps and sinks can tell the columns apart. Raises SQLError."""
    folded = [name.lower() for name in schema.names]
    twice = sorted({name for name in schema.names if folded.count(name.lower()) > 1})
    if twice:
        raise SQLError(
            f"{step.field}.sql.query",
            f"two columns of the answer are called {listed(twice)} (whatever the case): give one another name (AS)",
        )


@contextmanager
def _typed(step: Whole, room: Room | None) -> Iterator[None]:
    """DuckDB's errors as ours; its own words may quote values, unless it says what it couldn't bind."""
    try:
        yield
    except duckdb.InterruptException:
        raise
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException) as error:
        raise SQLError(f"{step.field}.sql.query", _sentence(str(error))) from error
    except duckdb.OutOfMemoryException as error:
        had = "" if room is None else f" ({room.memory >> 20} MiB, and {room.disk >> 20} MiB on disk)"
        raise StepFailed(
            f"step {step.name}: the query needs more memory than a step may have{had}; give the pool's workers more, "
            f"or let the query hold less (sums of whole numbers hold less than sums of fractions)"
        ) from error
    except (duckdb.InternalException, duckdb.FatalException) as error:
        raise Internal(f"DuckDB failed with an internal error ({type(error).__name__})") from error
    except duckdb.Error as error:
        kind = type(error).__name__.removesuffix("Exception")
        raise StepFailed(
            f"step {step.name}: the query fails ({kind} error); use TRY_CAST or TRY, or reject such rows in a "
            f"validate step before it"
        ) from error


def _sentence(text: str) -> str:
    if SAME_NAME in text:
        return SAME_NAME_SAID
    return text.partition("\n")[0]
