"""SCD2: former versions of rows stay in the table, each with the time from which and until which it held.

A version begins at the nominal time of the run that brought it, so that the same runs leave the same rows whenever they
are carried out. Hence runs come in order: an older one is refused.
"""

from __future__ import annotations

from typing import Final

from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_worker.engine.model import RunRef
from tidemill_worker.engine.postgres.fence import Connection
from tidemill_worker.engine.postgres.replacing import refuse_older
from tidemill_worker.engine.postgres.staged import WINNER, Columns, changed
from tidemill_worker.engine.postgres.tables import TableColumn
from tidemill_worker.engine.quoting import literal, quoted, quoted_table

_WITHOUT_EQUALITY: Final = ("json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle")
"""Types that Postgres can't compare, or not by all of their value: their text is."""


async def keep(
    connection: Connection, run: RunRef, sink: Sink, columns: Columns, there: dict[str, TableColumn]
) -> tuple[int, int]:
    """Bring the versions of the winners into the table. Returns versions begun, and versions ended or put right.

    Raises OlderThanPublished, asyncpg.PostgresError.
    """
    await refuse_older(connection, run, sink, "it would come before versions that are there")
    steps = _Steps(run, sink, columns, there)
    ended = 0
    for statement in steps.ending():
        ended += changed(await connection.execute(statement))
    begun = changed(await connection.execute(steps.beginning()))
    return begun, ended


class _Steps:
    """The statements. `t` is the table, `w` a winner."""

    def __init__(self, run: RunRef, sink: Sink, columns: Columns, there: dict[str, TableColumn]) -> None:
        assert sink.history is not None
        self._table = quoted_table(sink.table)
        self._history = sink.history
        self._columns = columns
        self._others = columns.others(sink)
        self._there = there
        self._same = " AND ".join(f"t.{quoted(name)} = w.{quoted(name)}" for name in sink.primary_key)
        self._from, self._to = quoted(self._history.valid_from), quoted(self._history.valid_to)
        self._now = f"{literal(run.run_time.isoformat())}::timestamptz"
        self._newest = f"t.{self._to} IS NULL"

    def ending(self) -> list[str]:
        """What ends versions. One that began at this run's own time held for no time: it is put right instead."""
        differs = " OR ".join(map(self._differs, self._others))
        found = []
        if self._others:
            changes = ", ".join(f"{quoted(name)} = w.{quoted(name)}" for name in self._others)
            changed_row = f"FROM {WINNER} w WHERE {self._same} AND {self._newest} AND ({differs})"
            found += [
                f"UPDATE {self._table} t SET {changes} {changed_row} AND t.{self._from} >= {self._now}",
                f"UPDATE {self._table} t SET {self._to} = {self._now} {changed_row}",
            ]
        if self._history.absent_keys == "Retire":
            absent = f"{self._newest} AND NOT EXISTS (SELECT FROM {WINNER} w WHERE {self._same})"
            found += [
                f"DELETE FROM {self._table} t WHERE {absent} AND t.{self._from} >= {self._now}",
                f"UPDATE {self._table} t SET {self._to} = {self._now} WHERE {absent}",
            ]
        return found

    def beginning(self) -> str:
        """What adds a version for each winner that has no newest one (any more)."""
        names = self._columns.names
        return (
            f"INSERT INTO {self._table} ({names}, {self._from}) SELECT {names}, {self._now} FROM {WINNER} w "
            f"WHERE NOT EXISTS (SELECT FROM {self._table} t WHERE {self._same} AND {self._newest})"
        )

    def _differs(self, name: str) -> str:
        text = "::text" if self._there[name].base in _WITHOUT_EQUALITY else ""
        return f"t.{quoted(name)}{text} IS DISTINCT FROM w.{quoted(name)}{text}"
