"""The table of a sink: made if it is missing, looked at, and matched with the rows' columns."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg
import pyarrow as pa

from tidemill_api.errors import TableMismatch, TableMissing
from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_worker.engine.postgres.ddl import create_table
from tidemill_worker.engine.postgres.fence import Connection
from tidemill_worker.engine.postgres.types import Limit, column_type, limit_of, plain, written_as
from tidemill_worker.engine.quoting import literal, quoted, quoted_table

ORDER = (("_tidemill_chunk", "integer"), ("_tidemill_seq", "bigint"))
"""Columns of staging tables that say in which order the rows were read."""
MAKING = "hashtextextended('tidemill making ' || $1, 0)"
PUBLISHING = "hashtextextended('tidemill publishing ' || $1, 0)"


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table that is there."""

    name: str
    type: str
    """As Postgres writes it, `numeric(10,2)`."""
    base: str
    """Its typname, `numeric`; of a domain or an enum its own name."""
    free: str
    """The type without length or precision, `numeric`: a cast to it leaves it to the table to refuse what is too
    long, where a cast to `varchar(2)` would cut."""
    required: bool
    """NOT NULL, without a default, not generated."""
    generated: bool


@dataclass(frozen=True, slots=True)
class Field:
    """A column of the rows, and how it is written."""

    name: str
    type: pa.DataType
    """Arrow type that is encoded."""
    staged: str
    """Postgres type of the column when it is staged."""
    column: str
    """Postgres type of the table's column."""
    cast: str | None
    """Postgres type that it must be cast to on the way from staging to the table; None: it may go straight."""
    fitted: bool = False
    """Of another type than in the rows, or narrower: a value may not fit."""
    limit: Limit | None = None
    """What the column can't hold, though its type could."""


@dataclass(frozen=True, slots=True)
class Target:
    """A sink's table, matched with the rows."""

    sink: Sink
    fields: tuple[Field, ...]
    waits: bool = False
    """The rows wait in a staging table for the end of the run."""

    @property
    def name(self) -> str:
        """The table, quoted."""
        return quoted_table(self.sink.table)

    @property
    def checks(self) -> bool:
        """Whether the sink is itself a validating step: a row may lack its key, or not fit."""
        return bool(self.sink.primary_key) or any(field.fitted for field in self.fields)

    @property
    def straight(self) -> bool:
        """Whether rows can be copied into the table itself."""
        appends = self.sink.write_disposition == "Append" and not self.waits
        return appends and not any(field.cast for field in self.fields)


async def prepare(connection: Connection, sink: Sink, schema: pa.Schema) -> Target:
    """Make the sink's table if it may be made, and match it.

    Raises TableMissing, TableMismatch, asyncpg.PostgresError.
    """
    plains = plains_of(sink, schema)
    columns = await columns_of(connection, sink.table)
    if columns is None:
        await _make(connection, sink, plains)
        columns = await columns_of(connection, sink.table)
    return Target(sink, await _matched(connection, sink, plains, columns or {}))


def created(sink: Sink, schema: pa.Schema) -> Target:
    """As `prepare` on a table that it has made, without a database. Raises TableMismatch."""
    plains = plains_of(sink, schema)
    types = {name: column_type(kind) for name, kind in plains.items()}
    return Target(sink, tuple(Field(name, kind, types[name], types[name], None) for name, kind in plains.items()))


def plains_of(sink: Sink, schema: pa.Schema) -> dict[str, pa.DataType]:
    """The types in which rows are written, by column. Raises TableMismatch for what no table could hold."""
    plains = {}
    for field in schema:
        kind = plain(field.type)
        if kind is None:
            raise TableMismatch(
                f"sink {sink.name}: column {field.name} is of type {field.type}, which can't be written to "
                f"Postgres: cast it (to_json(...), ::VARCHAR)"
            )
        if len(field.name.encode()) > 63 or not field.name:
            raise TableMismatch(
                f"sink {sink.name}: column {field.name[:80]!r}: Postgres keeps names of 1 to 63 bytes; give it "
                f"another one"
            )
        plains[field.name] = kind
    for option, named in (
        ("primaryKey", sink.primary_key),
        ("dedupOrder", tuple(by.column for by in sink.dedup_order)),
        ("partitionBy", sink.partition_by),
    ):
        missing = [column for column in named if column not in plains]
        if missing:
            raise TableMismatch(f"sink {sink.name}: {option} names {', '.join(missing)}, which the rows don't have")
    for option, name in _history(sink).items():
        if name in plains:
            raise TableMismatch(
                f"sink {sink.name}: the rows have {name}, which the sink writes itself: give it another name by "
                f"scd2.{option}, or leave it out by a sql step"
            )
    return plains


def _history(sink: Sink) -> dict[str, str]:
    """The columns that SCD2 writes by itself, by their fields; none for another sink."""
    return {} if sink.history is None else {"validFrom": sink.history.valid_from, "validTo": sink.history.valid_to}


async def columns_of(connection: Connection, table: str) -> dict[str, TableColumn] | None:
    """A table's columns by name, or None if there is no such table."""
    rows = await connection.fetch(
        """
        SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type, t.typname AS base,
            format_type(a.atttypid, -1) AS free,
            a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS required,
            a.attgenerated <> '' OR a.attidentity = 'a' AS generated
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
        """,
        quoted_table(table),
    )
    if not rows:
        return None
    return {
        row["attname"]: TableColumn(
            row["attname"], row["type"], row["base"], row["free"], row["required"], row["generated"]
        )
        for row in rows
    }


async def _make(connection: Connection, sink: Sink, plains: dict[str, pa.DataType]) -> None:
    table = sink.table
    if sink.postgres is not None and sink.postgres.create_table == "Never":
        raise TableMissing(f"sink {sink.name}: there is no table {table}, and createTable is Never")
    async with connection.transaction():
        # Chunks race to make it, and IF NOT EXISTS alone isn't safe against that.
        await connection.execute(f"SELECT pg_advisory_xact_lock({MAKING.replace('$1', literal(table))})")
        if await columns_of(connection, table) is None:
            for statement in create_table(sink, plains):
                await connection.execute(statement)


async def _matched(
    connection: Connection, sink: Sink, plains: dict[str, pa.DataType], columns: dict[str, TableColumn]
) -> tuple[Field, ...]:
    table = sink.table
    own = _history(sink)
    for option, name in own.items():
        if name not in columns or columns[name].base not in ("timestamptz", "timestamp"):
            raise TableMismatch(
                f"sink {sink.name}: {table} needs a column {name} (scd2.{option}) of the type timestamp with time zone"
            )
    unknown = [name for name in plains if name not in columns]
    if unknown:
        raise TableMismatch(
            f"sink {sink.name}: the rows have {', '.join(unknown)}, which {table} has not: add the column, or "
            f"leave it out by a sql step"
        )
    generated = [name for name in plains if columns[name].generated]
    if generated:
        raise TableMismatch(
            f"sink {sink.name}: {table} makes {', '.join(generated)} itself: leave it out by a sql step"
        )
    needed = [
        column.name for column in columns.values() if column.required and column.name not in {*plains, *own.values()}
    ]
    if needed:
        raise TableMismatch(f"sink {sink.name}: {table} needs {', '.join(needed)}, which the rows don't have")
    fields = []
    for name, kind in plains.items():
        column = columns[name]
        written = written_as(kind, column.base)
        if written is not None:
            limit = limit_of(column.type, written)
            fitted = written != kind or limit is not None
            fields.append(Field(name, written, column_type(written), column.type, None, fitted, limit))
            continue
        try:
            await connection.prepare(f"SELECT NULL::{column_type(kind)}::{column.free}")
        except (asyncpg.CannotCoerceError, asyncpg.UndefinedFunctionError):
            raise TableMismatch(
                f"sink {sink.name}: column {name} is {column_type(kind)} in the rows and {column.type} in "
                f"{table}: cast it by a sql step"
            ) from None
        fields.append(Field(name, kind, column_type(kind), column.type, column.free))
    return tuple(fields)


def staging_columns(target: Target) -> str:
    """Columns of a staging table, for CREATE TABLE."""
    own = [f"{quoted(field.name)} {field.staged}" for field in target.fields]
    return ", ".join([*own, *(f"{name} {kind}" for name, kind in ORDER)])
