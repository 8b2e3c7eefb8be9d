"""Tables of sinks that get columns, and wider columns, since a contract says so. What is altered is a pure decision.

It is done before the first row of a run goes in, by whichever chunk comes first: all chunks of a run read the same
columns, as planned, so the others find it done. The transaction is short and of its own, it holds the fence, and it
notes what it has altered. A run that ends after it leaves a column without values, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg
import pyarrow as pa

from tidemill_api.errors import SinkRefused, TableMismatch
from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_check.contracts import Allowed
from tidemill_worker.engine.model import RunRef
from tidemill_worker.engine.postgres import fence
from tidemill_worker.engine.postgres.altered import note
from tidemill_worker.engine.postgres.fence import Connection
from tidemill_worker.engine.postgres.tables import MAKING, TableColumn, Target, columns_of, plains_of, prepare
from tidemill_worker.engine.postgres.types import column_type
from tidemill_worker.engine.quoting import literal, quoted, quoted_table

LOCK_TIMEOUT: Final = "5s"
"""How long others that use the table are waited for; whoever comes after us waits as long. Then it is tried again."""
MOST_REWRITTEN: Final = 1 << 30
"""Bytes of a table (without its indexes) that may be written anew for a wider column, while nobody can read it."""


@dataclass(frozen=True, slots=True)
class Alteration:
    """One column of a table."""

    clause: str
    """Of ALTER TABLE."""
    what: str
    """What has been done, when it has been: a sentence for status and Events."""
    rewrites: bool = False
    """Postgres writes the table anew."""


def alterations(
    sink: Sink, plains: Mapping[str, pa.DataType], columns: Mapping[str, TableColumn], allowed: Allowed
) -> tuple[Alteration, ...]:
    """What is to be altered for rows with these `plain` types. Raises TableMismatch for a name that differs in case."""
    found: list[Alteration] = []
    folded = {name.lower(): name for name in columns}
    for name, kind in plains.items():
        column = columns.get(name)
        if column is None and allowed.add:
            if name.lower() in folded:
                raise TableMismatch(
                    f"sink {sink.name}: the rows have {name}, and {sink.table} has {folded[name.lower()]}: a column "
                    f"that differs only in case isn't added; declare it under that name (from: {name}), or rename it "
                    "by a sql step"
                )
            new = column_type(kind)
            what = f"sink {sink.name}: {sink.table} has the column {name} ({new}) now"
            found.append(Alteration(f"ADD COLUMN {quoted(name)} {new}", what))
        elif column is not None and allowed.widen and not column.generated and (wider := widened(kind, column)):
            rewrites = _rewrites(column, wider)
            what = f"sink {sink.name}: {name} of {sink.table} is {wider} now, and was {column.type}"
            anew = " (the table was written anew)" if rewrites else ""
            found.append(Alteration(f"ALTER COLUMN {quoted(name)} TYPE {wider}", what + anew, rewrites))
    return tuple(found)


def widened(kind: pa.DataType, column: TableColumn) -> str | None:
    """The Postgres type that holds the values of a column and those of rows of the type `kind` (a `plain` one).

    None: the column needn't be altered, or no type holds all of both as they are.
    """
    types, base = pa.types, column.base
    if base == "date":
        return column_type(kind) if types.is_timestamp(kind) and kind.tz is None else None
    if base == "float4":
        return "double precision" if kind == pa.float64() else None
    if base in _DIGITS and types.is_integer(kind):
        return column_type(kind) if _INTEGERS[kind.bit_width] > _DIGITS[base] else None
    if base in _DIGITS and types.is_floating(kind):
        if base == "int8":  # has more digits than any of them
            return None
        return "real" if base == "int2" and kind == pa.float32() else "double precision"
    held, wanted = (_DIGITS[base], 0) if base in _DIGITS else _numeric(column.type), _digits(kind)
    if held is None or wanted is None:
        return None
    whole, scale = max(held[0], wanted[0]), max(held[1], wanted[1])
    return None if (whole, scale) == held else f"numeric({whole + scale},{scale})"


_DIGITS: Final = {"int2": 5, "int4": 10, "int8": 19}
_INTEGERS: Final = {16: 5, 32: 10, 64: 19}
"""Most digits of whole numbers, by Postgres' typname and by their bits."""


def _numeric(kind: str) -> tuple[int, int] | None:
    """Digits before and after the point of `numeric(P,S)`; None of other types, and where it has no limit."""
    found = re.fullmatch(r"numeric\((\d+),(\d+)\)", kind)
    return (int(found[1]) - int(found[2]), int(found[2])) if found else None


def _digits(kind: pa.DataType) -> tuple[int, int] | None:
    """The same of rows: whole and decimal numbers."""
    if pa.types.is_integer(kind):
        return _INTEGERS[kind.bit_width], 0
    return (kind.precision - kind.scale, kind.scale) if pa.types.is_decimal(kind) else None


def _rewrites(column: TableColumn, wider: str) -> bool:
    """Whether Postgres writes the table anew: only more digits before the point are a matter of the catalogue."""
    before, after = _numeric(column.type), _numeric(wider)
    return before is None or after is None or before[1] != after[1]


async def prepared(connection: Connection, run: RunRef, sink: Sink, schema: pa.Schema, allowed: Allowed) -> Target:
    """The sink's table, made if it may be made, altered as far as it may be, and matched with the rows.

    Raises Fenced, SinkRefused, TableMissing, TableMismatch, asyncpg.PostgresError.
    """
    if allowed:
        await _altered(connection, run, sink, plains_of(sink, schema), allowed)
    return await prepare(connection, sink, schema)


async def _altered(
    connection: Connection, run: RunRef, sink: Sink, plains: Mapping[str, pa.DataType], allowed: Allowed
) -> None:
    columns = await columns_of(connection, sink.table)
    if columns is None or not alterations(sink, plains, columns, allowed):
        return
    async with connection.transaction():
        # Other chunks, and other pipelines with the same table, may be about to do the same.
        await connection.execute(f"SELECT pg_advisory_xact_lock({MAKING.replace('$1', literal(sink.table))})")
        found = alterations(sink, plains, await columns_of(connection, sink.table) or {}, allowed)
        if found:
            await _alter(connection, run, sink, found)


async def _alter(connection: Connection, run: RunRef, sink: Sink, found: tuple[Alteration, ...]) -> None:
    await fence.hold(connection, run)
    table = quoted_table(sink.table)
    statement = f"ALTER TABLE {table} {', '.join(each.clause for each in found)}"
    if any(each.rewrites for each in found):
        await _refuse_large(connection, sink, table, statement)
    await connection.execute(f"SET LOCAL lock_timeout = {literal(LOCK_TIMEOUT)}")
    try:
        async with connection.transaction():
            await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        role = await connection.fetchval("SELECT current_user")
        raise SinkRefused(
            f"sink {sink.name}: only the owner of {sink.table} may alter it, and {role} isn't that: have it done "
            f"({statement}), or make it the owner (`tidemill ddl` says how)"
        ) from None
    except (asyncpg.FeatureNotSupportedError, asyncpg.InvalidTableDefinitionError) as error:
        raise TableMismatch(
            f"sink {sink.name}: something keeps {sink.table} from being altered, a view that uses the column say "
            f"(SQLSTATE {error.sqlstate}): have it done by hand ({statement})"
        ) from error
    await connection.execute("SET LOCAL lock_timeout = DEFAULT")
    await note(connection, run, sink.name, [each.what for each in found])


async def _refuse_large(connection: Connection, sink: Sink, table: str, statement: str) -> None:
    size = await connection.fetchval(
        "SELECT coalesce((SELECT sum(pg_table_size(relid)) FROM pg_partition_tree(to_regclass($1))), "
        "pg_table_size(to_regclass($1)))::bigint",
        table,
    )
    if size > MOST_REWRITTEN:
        raise TableMismatch(
            f"sink {sink.name}: {sink.table} has {size / (1 << 30):.1f} GiB, and would be written anew for a wider "
            f"column while nobody can read it, which isn't done unasked for more than {MOST_REWRITTEN / (1 << 30):.0f} "
            f"GiB: do it when it suits ({statement}), or set widerTypes to Keep"
        )
