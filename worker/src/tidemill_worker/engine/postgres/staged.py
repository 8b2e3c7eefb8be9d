"""What has been staged for a sink: its columns, and the words that every way into the table needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_worker.engine.postgres.fence import Connection
from tidemill_worker.engine.postgres.tables import ORDER, TableColumn, columns_of
from tidemill_worker.engine.postgres.types import TEXT
from tidemill_worker.engine.quoting import quoted

WINNER: Final = "tidemill_winner"
"""Temporary table: of each key the row that wins, with the values as the sink's table will hold them."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that go from staging to the table, each with the type that it must be cast to, if any."""

    casts: tuple[tuple[str, str | None], ...]
    texts: frozenset[str] = frozenset()
    """Those that are staged as text."""

    @property
    def names(self) -> str:
        """Quoted, for INSERT."""
        return ", ".join(quoted(name) for name, _ in self.casts)

    def values(self, alias: str) -> str:
        """Expressions over the staging table."""
        return ", ".join(self.value(alias, name) for name, _ in self.casts)

    def value(self, alias: str, name: str) -> str:
        """Expression of one column over the staging table."""
        cast = dict(self.casts)[name]
        return f"{alias}.{quoted(name)}" + (f"::{cast}" if cast else "")

    def others(self, sink: Sink) -> list[str]:
        """Names of the columns that aren't in the primary key."""
        return [name for name, _ in self.casts if name not in sink.primary_key]


async def append(connection: Connection, table: str, staging: str, columns: Columns) -> int:
    """Add all staged rows to a table (quoted). Returns their number."""
    return changed(
        await connection.execute(f"INSERT INTO {table} ({columns.names}) SELECT {columns.values('s')} FROM {staging} s")
    )


def held(column: TableColumn, name: str) -> str:
    """A staged column as the table will hold it, as an expression over the staging table `s`.

    Values that differ in the rows may be one there: '7' and '007' as integer, 1.001 and 1.002 as numeric(10,2). Only
    what a cast would cut isn't cast to its length: the table shall refuse it.
    """
    cut_by_a_cast = column.base in (*TEXT, "bit", "varbit")
    return f"s.{quoted(name)}::{column.free if cut_by_a_cast else column.type}"


async def columns_there(connection: Connection, sink: Sink) -> dict[str, TableColumn]:
    """The columns of the sink's table."""
    return await columns_of(connection, sink.table) or {}


def changed(status: str) -> int:
    """Rows that a statement changed: `INSERT 0 5` -> 5."""
    return int(status.rsplit(" ", 1)[-1])


def reading_order(alias: str) -> str:
    """For ORDER BY: the row that was read last first."""
    return ", ".join(f"{alias}.{name} DESC" for name, _ in ORDER)
