"""Merge: staged rows by their primary key into a table, by one of four strategies."""

from __future__ import annotations

from typing import assert_never

from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_worker.engine.model import RunRef
from tidemill_worker.engine.postgres import history
from tidemill_worker.engine.postgres.fence import Connection
from tidemill_worker.engine.postgres.staged import WINNER, Columns, changed, columns_there, held, reading_order
from tidemill_worker.engine.postgres.tables import TableColumn
from tidemill_worker.engine.quoting import quoted, quoted_table


async def merge(connection: Connection, run: RunRef, sink: Sink, staging: str, columns: Columns) -> tuple[int, int]:
    """Returns rows inserted and updated. Raises OlderThanPublished, asyncpg.PostgresError."""
    there = await columns_there(connection, sink)
    match sink.merge_strategy:
        case None | "Upsert":
            return await _upsert(connection, sink, _winners(sink, staging, columns, there), columns)
        case "InsertOnly":
            return await _insert_only(connection, sink, _winners(sink, staging, columns, there), columns), 0
        case "DeleteInsert":
            return await _delete_insert(connection, sink, _winners(sink, staging, columns, there), columns)
        case "SCD2":
            winners = _winners(sink, staging, columns, there, whole=True)
            await _kept(connection, winners)
            done = await history.keep(connection, run, sink, columns, there)
            await _dropped(connection)
            return done
        case other:
            assert_never(other)


def _winners(sink: Sink, staging: str, columns: Columns, there: dict[str, TableColumn], *, whole: bool = False) -> str:
    """A query for the row of each key that wins; `whole`: not only its key as the table will hold it."""
    kept = {name: held(there[name], name) for name in sink.primary_key}
    keys = ", ".join(kept.values())
    values = []
    for name, _ in columns.casts:
        value = kept.get(name) or (held(there[name], name) if whole else columns.value("s", name))
        values.append(f"{value} AS {quoted(name)}")
    best = ", ".join((*_preferred(sink, columns), reading_order("s")))
    return f"SELECT DISTINCT ON ({keys}) {', '.join(values)} FROM {staging} s ORDER BY {keys}, {best}"


def _preferred(sink: Sink, columns: Columns) -> list[str]:
    """`dedupOrder`, for ORDER BY: the winner first."""
    found = []
    for by in sink.dedup_order:
        bytewise = ' COLLATE "C"' if by.column in columns.texts else ""
        found.append(f"s.{quoted(by.column)}{bytewise} {'DESC' if by.order == 'Desc' else 'ASC'} NULLS LAST")
    return found


async def _upsert(connection: Connection, sink: Sink, winners: str, columns: Columns) -> tuple[int, int]:
    table, others = quoted_table(sink.table), columns.others(sink)
    if await _has_unique_index(connection, sink):
        action = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in others)
        row = await connection.fetchrow(
            f"""
            WITH winner AS ({winners}), written AS (
                INSERT INTO {table} AS t ({columns.names}) SELECT * FROM winner
                ON CONFLICT ({", ".join(quoted(name) for name in sink.primary_key)})
                DO {f"UPDATE SET {action}" if others else "NOTHING"} RETURNING (t.xmax = 0) AS new
            )
            SELECT (SELECT count(*) FROM winner) AS total, count(*) FILTER (WHERE new) AS inserted FROM written
            """
        )
        assert row is not None
        return row["inserted"], row["total"] - row["inserted"]
    await _kept(connection, winners)
    changes = ", ".join(f"{quoted(name)} = w.{quoted(name)}" for name in others or sink.primary_key)
    updated = changed(await connection.execute(f"UPDATE {table} t SET {changes} FROM {WINNER} w WHERE {same(sink)}"))
    inserted = await _insert_missing(connection, sink, columns)
    await _dropped(connection)
    return inserted, updated


async def _insert_only(connection: Connection, sink: Sink, winners: str, columns: Columns) -> int:
    if await _has_unique_index(connection, sink):
        keys = ", ".join(quoted(name) for name in sink.primary_key)
        return changed(
            await connection.execute(
                f"INSERT INTO {quoted_table(sink.table)} ({columns.names}) "
                f"SELECT * FROM ({winners}) w ON CONFLICT ({keys}) DO NOTHING"
            )
        )
    await _kept(connection, winners)
    inserted = await _insert_missing(connection, sink, columns)
    await _dropped(connection)
    return inserted


async def _delete_insert(connection: Connection, sink: Sink, winners: str, columns: Columns) -> tuple[int, int]:
    table = quoted_table(sink.table)
    await _kept(connection, winners)
    replaced = await connection.fetchval(
        f"WITH gone AS (DELETE FROM {table} t USING {WINNER} w WHERE {same(sink)} RETURNING w.ctid AS winner) "
        "SELECT count(DISTINCT winner) FROM gone"
    )
    total = changed(
        await connection.execute(f"INSERT INTO {table} ({columns.names}) SELECT {columns.names} FROM {WINNER}")
    )
    await _dropped(connection)
    return total - replaced, replaced


async def _insert_missing(connection: Connection, sink: Sink, columns: Columns) -> int:
    """Add the winners whose key isn't in the table."""
    table = quoted_table(sink.table)
    return changed(
        await connection.execute(
            f"INSERT INTO {table} ({columns.names}) SELECT {columns.names} FROM {WINNER} w "
            f"WHERE NOT EXISTS (SELECT FROM {table} t WHERE {same(sink)})"
        )
    )


def same(sink: Sink) -> str:
    """That a row `t` of the table and a winner `w` have the same key."""
    return " AND ".join(f"t.{quoted(name)} = w.{quoted(name)}" for name in sink.primary_key)


async def _kept(connection: Connection, winners: str) -> None:
    """The winners as a table of their own, which the planner knows: a guess of its size could cost hours."""
    await connection.execute(f"CREATE TEMP TABLE {WINNER} ON COMMIT DROP AS {winners}")
    await connection.execute(f"ANALYZE {WINNER}")


async def _dropped(connection: Connection) -> None:
    await connection.execute(f"DROP TABLE {WINNER}")


async def _has_unique_index(connection: Connection, sink: Sink) -> bool:
    """Whether ON CONFLICT finds an index over exactly the key's columns.

    Not of a partitioned table: it can't tell which rows were new.
    """
    found = await connection.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
            WHERE i.indrelid = to_regclass($1) AND c.relkind = 'r'
            AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
            AND (
                SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE "C")
                FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k JOIN pg_attribute a ON a.attrelid =
                i.indrelid AND a.attnum = k
            ) = $2::text[]
        )
        """,
        quoted_table(sink.table),
        sorted(sink.primary_key),
    )
    return bool(found)
