"""What the metastore keeps of a sink of files: which there are, whose they are, and what is still to be done.

A file is Staged until the run's end decides; then Placing, and Placed when it can be seen. One that is superseded is
Removing until it is gone, and then has no row any more. From the decision on the store only follows the books: who
finds something left to do does it, so an end that broke off is carried out by whoever comes next.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_worker.engine.model import RunRef
from tidemill_worker.engine.postgres.fence import Connection

_MINE = "uid = $1 AND sink = $2 AND run_key = $3 AND execution = $4"
_HERE = "uid = $1 AND sink = $2 AND connection = $3 AND folder = $4"


@dataclass(frozen=True, slots=True)
class DataSet:
    """What a sink writes to."""

    uid: str
    sink: str
    connection: str
    folder: str

    @classmethod
    def of(cls, run: RunRef, sink: Sink) -> DataSet:
        """That of a sink of files."""
        assert sink.files is not None
        return cls(run.uid, sink.name, sink.connection, sink.files.folder)

    @property
    def columns(self) -> tuple[str, str, str, str]:
        """As `$1` to `$4`."""
        return self.uid, self.sink, self.connection, self.folder


async def lock(connection: Connection, data: DataSet) -> None:
    """Within a transaction: nobody else publishes to the data set, or carries out what was decided, until it ends."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('tidemill files ' || $1 || '/' || $2, 0))", data.uid, data.sink
    )


async def begin(connection: Connection | asyncpg.Pool, run: RunRef, data: DataSet, columns: dict[str, Any]) -> None:
    """Note that an execution writes to the data set, before it does: so nothing is left behind unknown."""
    await connection.execute(
        "INSERT INTO tidemill.file_runs (uid, sink, run_key, execution, connection, folder, run_time, columns) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb) ON CONFLICT DO NOTHING",
        *(run.uid, data.sink, run.run_key, run.execution, data.connection, data.folder, run.run_time),
        json.dumps(columns),
    )


async def last_columns(connection: Connection | asyncpg.Pool, data: DataSet) -> dict[str, Any] | None:
    """Columns of the run that published last; None if none has."""
    found = await connection.fetchval(
        f"SELECT columns::text FROM tidemill.file_runs WHERE {_HERE} AND decided_at IS NOT NULL "
        "ORDER BY decided_at DESC LIMIT 1",
        *data.columns,
    )
    return None if found is None else dict(json.loads(found))


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that a part of a chunk has staged."""

    staged: str
    name: str
    values: tuple[str | None, ...]
    rows: int
    bytes: int


async def stage(connection: Connection, run: RunRef, data: DataSet, chunk: int, part: int, files: list[Staged]) -> None:
    """Note a part's files, in the transaction of its ledger entry."""
    await connection.executemany(
        "INSERT INTO tidemill.files (uid, sink, run_key, execution, connection, folder, chunk, part, staged, name, "
        "partition, rows, bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::jsonb, $12, $13)",
        [
            (
                *(run.uid, data.sink, run.run_key, run.execution, data.connection, data.folder, chunk, part),
                *(each.staged, each.name, json.dumps(each.values), each.rows, each.bytes),
            )
            for each in files
        ],
    )


async def supersede(connection: Connection, run: RunRef, data: DataSet) -> None:
    """Older executions of the key give way: what they have shown, or were about to show, goes."""
    await connection.execute(
        "UPDATE tidemill.files SET state = 'Removing' WHERE uid = $1 AND sink = $2 AND connection = $3 AND folder = $4 "
        "AND run_key = $5 AND execution < $6 AND state IN ('Placing', 'Placed')",
        *(*data.columns, run.run_key, run.execution),
    )


async def newer_partitions(connection: Connection, run: RunRef, data: DataSet, places: Sequence[int]) -> list[str]:
    """Keys of newer runs whose files are in the partitions that this run has rows for."""
    rows = await connection.fetch(
        f"SELECT DISTINCT f.run_key FROM tidemill.files f JOIN tidemill.file_runs r "
        "USING (uid, sink, run_key, execution) WHERE f.uid = $1 AND f.sink = $2 AND f.connection = $3 "
        f"AND f.folder = $4 AND f.state IN ('Placing', 'Placed') AND r.run_time > $7 AND {_key('f', places)} IN "
        f"(SELECT {_key('m', places)} FROM tidemill.files m WHERE m.uid = $1 AND m.sink = $2 AND m.run_key = $5 "
        "AND m.execution = $6) ORDER BY f.run_key LIMIT 3",
        *(*data.columns, run.run_key, run.execution, run.run_time),
    )
    return [row["run_key"] for row in rows]


async def replace_partitions(connection: Connection, run: RunRef, data: DataSet, places: Sequence[int]) -> None:
    """What is in the partitions that this run has rows for goes; `places` are of the columns that tell them."""
    await connection.execute(
        "UPDATE tidemill.files f SET state = 'Removing' WHERE f.uid = $1 AND f.sink = $2 AND f.connection = $3 "
        f"AND f.folder = $4 AND f.state IN ('Placing', 'Placed') AND {_key('f', places)} IN "
        f"(SELECT {_key('m', places)} FROM tidemill.files m WHERE m.uid = $1 AND m.sink = $2 AND m.run_key = $5 "
        "AND m.execution = $6)",
        *(*data.columns, run.run_key, run.execution),
    )


def _key(alias: str, places: Sequence[int]) -> str:
    return f"jsonb_build_array({', '.join(f'{alias}.partition -> {place}' for place in places)})"


async def replace_all(connection: Connection, data: DataSet) -> None:
    """All that is in the data set goes."""
    await connection.execute(
        f"UPDATE tidemill.files SET state = 'Removing' WHERE {_HERE} AND state IN ('Placing', 'Placed')", *data.columns
    )


async def decide(connection: Connection, run: RunRef, data: DataSet) -> int:
    """What this execution has staged shall be seen. Returns its rows."""
    arguments = (run.uid, data.sink, run.run_key, run.execution)
    await connection.execute(
        f"UPDATE tidemill.files SET state = 'Placing' WHERE {_MINE} AND state = 'Staged'", *arguments
    )
    await connection.execute(f"UPDATE tidemill.file_runs SET decided_at = clock_timestamp() WHERE {_MINE}", *arguments)
    rows: int = await connection.fetchval(
        f"SELECT coalesce(sum(rows), 0)::bigint FROM tidemill.files WHERE {_MINE} AND state = 'Placing'", *arguments
    )
    return rows


async def rows_there(connection: Connection, data: DataSet) -> int:
    """Rows of the data set, as it has been decided."""
    rows: int = await connection.fetchval(
        f"SELECT coalesce(sum(rows), 0)::bigint FROM tidemill.files WHERE {_HERE} AND state IN ('Placing', 'Placed')",
        *data.columns,
    )
    return rows


@dataclass(frozen=True, slots=True)
class Left:
    """What was decided and isn't carried out."""

    placing: tuple[tuple[str, str, str], ...]
    """Staged name, name, and the run's key."""
    removing: tuple[str, ...]
    runs: tuple[tuple[str, int], ...]
    """Key and execution of those that have been decided."""


async def left(connection: Connection, data: DataSet) -> Left:
    """What is still to be done of a data set, with its lock held."""
    files = await connection.fetch(
        f"SELECT staged, name, run_key, state FROM tidemill.files WHERE {_HERE} AND state IN ('Placing', 'Removing') "
        "ORDER BY run_key, execution, chunk, part, name",
        *data.columns,
    )
    runs = await connection.fetch(
        f"SELECT run_key, execution FROM tidemill.file_runs WHERE {_HERE} AND decided_at IS NOT NULL "
        "AND done_at IS NULL",
        *data.columns,
    )
    return Left(
        tuple((row["staged"], row["name"], row["run_key"]) for row in files if row["state"] == "Placing"),
        tuple(row["name"] for row in files if row["state"] == "Removing"),
        tuple((row["run_key"], row["execution"]) for row in runs),
    )


async def listing(connection: Connection, data: DataSet) -> list[tuple[str, int, int]]:
    """Name, rows and bytes of each file of the data set, as it has been decided."""
    rows = await connection.fetch(
        f"SELECT name, rows, bytes FROM tidemill.files WHERE {_HERE} AND state IN ('Placing', 'Placed') ORDER BY name",
        *data.columns,
    )
    return [(row["name"], row["rows"], row["bytes"]) for row in rows]


async def done(connection: Connection, data: DataSet) -> None:
    """What was left has been carried out."""
    await connection.execute(
        f"UPDATE tidemill.files SET state = 'Placed' WHERE {_HERE} AND state = 'Placing'", *data.columns
    )
    await connection.execute(f"DELETE FROM tidemill.files WHERE {_HERE} AND state = 'Removing'", *data.columns)
    await connection.execute(
        f"UPDATE tidemill.file_runs SET done_at = clock_timestamp() WHERE {_HERE} AND decided_at IS NOT NULL "
        "AND done_at IS NULL",
        *data.columns,
    )


async def is_new(pool: asyncpg.Pool, data: DataSet) -> bool:
    """Whether no run has published to the data set yet."""
    found: bool = await pool.fetchval(
        f"SELECT NOT EXISTS (SELECT FROM tidemill.file_runs WHERE {_HERE} AND decided_at IS NOT NULL)", *data.columns
    )
    return found


@dataclass(frozen=True, slots=True)
class Undecided:
    """An execution that has staged files, or was about to, and whose end hasn't come to a decision."""

    data: DataSet
    run_key: str
    execution: int


async def forget(connection: Connection, each: Undecided) -> None:
    """Its files are gone."""
    arguments = (each.data.uid, each.data.sink, each.run_key, each.execution)
    await connection.execute(f"DELETE FROM tidemill.files WHERE {_MINE} AND state = 'Staged'", *arguments)
    await connection.execute(f"DELETE FROM tidemill.file_runs WHERE {_MINE} AND decided_at IS NULL", *arguments)


async def undecided(pool: asyncpg.Pool, run: RunRef, newest: int) -> list[Undecided]:
    """Of this run's key, up to an execution."""
    rows = await pool.fetch(
        "SELECT * FROM tidemill.file_runs WHERE uid = $1 AND run_key = $2 AND execution <= $3 AND decided_at IS NULL",
        *(run.uid, run.run_key, newest),
    )
    return list(map(_undecided, rows))


async def undecided_of_ended(pool: asyncpg.Pool) -> list[Undecided]:
    """Of runs that have ended, as the metastore says."""
    rows = await pool.fetch(
        "SELECT f.* FROM tidemill.file_runs f JOIN tidemill.runs r USING (uid, run_key, execution) "
        "WHERE f.decided_at IS NULL AND r.result <> 'Running' LIMIT 1000"
    )
    return list(map(_undecided, rows))


async def left_by_ended(pool: asyncpg.Pool) -> list[DataSet]:
    """Data sets for which something was decided by runs that have ended without carrying it out."""
    rows = await pool.fetch(
        "SELECT DISTINCT f.uid, f.sink, f.connection, f.folder FROM tidemill.file_runs f "
        "JOIN tidemill.runs r USING (uid, run_key, execution) "
        "WHERE f.decided_at IS NOT NULL AND f.done_at IS NULL AND r.result <> 'Running' LIMIT 100"
    )
    return [DataSet(row["uid"], row["sink"], row["connection"], row["folder"]) for row in rows]


async def forget_old(pool: asyncpg.Pool, kept: timedelta) -> None:
    """Forget executions whose files are all superseded, but for each data set's last: its columns are compared."""
    await pool.execute(
        "DELETE FROM tidemill.file_runs r WHERE r.done_at < now() - $1::interval "
        "AND NOT EXISTS (SELECT FROM tidemill.files f WHERE (f.uid, f.sink, f.run_key, f.execution) = "
        "(r.uid, r.sink, r.run_key, r.execution)) "
        "AND EXISTS (SELECT FROM tidemill.file_runs n WHERE (n.uid, n.sink, n.connection, n.folder) = "
        "(r.uid, r.sink, r.connection, r.folder) AND n.decided_at > r.decided_at)",
        kept,
    )


def _undecided(row: asyncpg.Record) -> Undecided:
    data = DataSet(row["uid"], row["sink"], row["connection"], row["folder"])
    return Undecided(data, row["run_key"], row["execution"])
