"""What checks measure of a sink's table, by queries within the transaction that publishes it."""

from __future__ import annotations

from collections.abc import Sequence

from tidemill_api.contract import CheckResult
from tidemill_api.errors import TableMismatch
from tidemill_api.v1alpha1.check import Check
from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_check.sql_postgres import to_postgres
from tidemill_worker.engine.checking import judged
from tidemill_worker.engine.model import Former
from tidemill_worker.engine.postgres.fence import Connection
from tidemill_worker.engine.postgres.tables import columns_of
from tidemill_worker.engine.quoting import quoted, quoted_table


async def results(
    connection: Connection, sink: Sink, checks: Sequence[Check], loaded: int, former: Former
) -> tuple[CheckResult, ...]:
    """What each check of a sink comes to; `loaded` are the rows of this run. The session's time zone must be UTC.

    Raises TableMismatch for a column that isn't there, asyncpg.PostgresError.
    """
    there = frozenset(await columns_of(connection, sink.table) or {}) if checks else frozenset()
    found = []
    for check in checks:
        value = float(loaded) if check.metric == "rowsLoaded" else await _measured(connection, sink, check, there)
        found.append(judged(check, value, former.get(check.name, ())))
    return tuple(found)


async def _measured(connection: Connection, sink: Sink, check: Check, there: frozenset[str]) -> float | None:
    expression, read = to_postgres(check.expression) if check.expression is not None else ("", ())
    missing = [name for name in (*check.columns, *read) if name not in there]
    if missing:
        raise TableMismatch(f"check {check.name}: {sink.table} has no column {', '.join(missing)}")
    arguments = [list(check.accepted_values)] if check.metric == "unacceptedRows" else []
    value = await connection.fetchval(_query(sink, check, expression), *arguments)
    return None if value is None else float(value)


def _query(sink: Sink, check: Check, expression: str) -> str:
    columns = [f"t.{quoted(name)}" for name in check.columns]
    newest = f"t.{quoted(sink.history.valid_to)} IS NULL" if sink.history is not None else "true"
    rows = f"FROM {quoted_table(sink.table)} t WHERE {newest}"
    match check.metric:
        case "duplicateRows":
            alike = f"SELECT count(*) - 1 AS more {rows} GROUP BY {', '.join(columns)} HAVING count(*) > 1"
            return f"SELECT coalesce(sum(more), 0) FROM ({alike}) d"
        case "nullRows":
            return f"SELECT count(*) {rows} AND ({' OR '.join(f'{column} IS NULL' for column in columns)})"
        case "unacceptedRows":
            return f"SELECT count(*) {rows} AND {columns[0]}::text <> ALL ($1::text[])"
        case "failedRows":
            return f"SELECT count(*) {rows} AND ({expression}) IS NOT TRUE"
        case "freshness":
            return f"SELECT extract(epoch FROM clock_timestamp() - max({columns[0]})::timestamptz) {rows}"
        case _:
            return f"SELECT count(*) {rows}"
