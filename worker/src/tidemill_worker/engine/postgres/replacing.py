"""Replace: a table, or the partitions of it that a run has rows for, holds exactly the run's rows."""

from __future__ import annotations

from typing import Final

import asyncpg

from tidemill_api.errors import OlderThanPublished
from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_worker.engine.model import RunRef
from tidemill_worker.engine.postgres import swap
from tidemill_worker.engine.postgres.fence import Connection
from tidemill_worker.engine.postgres.staged import Columns, append, columns_there, held
from tidemill_worker.engine.quoting import quoted, quoted_table

_PARTITION: Final = "tidemill_partition"


async def replace(connection: Connection, run: RunRef, sink: Sink, staging: str, columns: Columns) -> int:
    """Returns the rows that the run put there. Raises OlderThanPublished, SinkRefused, asyncpg.PostgresError."""
    table = quoted_table(sink.table)
    if sink.partition_by:
        await _empty_partitions(connection, run, sink, staging)
    else:
        await refuse_older(connection, run, sink, "Replace would bring back old rows")
        if sink.replace_strategy == "Swap":
            return await swap.swap(connection, sink, staging, columns)
        await _empty(connection, table)
    return await append(connection, table, staging, columns)


async def refuse_older(connection: Connection, run: RunRef, sink: Sink, why: str) -> None:
    """Raises OlderThanPublished if the table holds a run of a later time."""
    newer = await connection.fetchrow(
        "SELECT run_key FROM tidemill.published WHERE uid = $1 AND sink = $2 AND run_time > $3 ORDER BY "
        "run_time DESC LIMIT 1",
        run.uid,
        sink.name,
        run.run_time,
    )
    if newer is not None:
        raise OlderThanPublished(
            f"sink {sink.name}: {sink.target} holds run {newer['run_key']}, which is newer than {run.run_key}: {why}"
        )


async def _empty(connection: Connection, table: str) -> None:
    try:
        async with connection.transaction():
            await connection.execute(f"TRUNCATE {table}")
    except asyncpg.FeatureNotSupportedError:  # another table refers to it: TRUNCATE won't look whether its rows do
        await connection.execute(f"DELETE FROM {table}")


async def _empty_partitions(connection: Connection, run: RunRef, sink: Sink, staging: str) -> None:
    """Delete the rows of the partitions that the run has rows for, and note whose these partitions are now."""
    there = await columns_there(connection, sink)
    values = ", ".join(f"{held(there[name], name)} AS {quoted(name)}" for name in sink.partition_by)
    await connection.execute(
        f"CREATE TEMP TABLE {_PARTITION} ON COMMIT DROP AS SELECT DISTINCT {values} FROM {staging} s"
    )
    await connection.execute(f"ANALYZE {_PARTITION}")
    await _refuse_older_partitions(connection, run, sink)
    table = quoted_table(sink.table)
    equal = " AND ".join(f"t.{quoted(name)} = p.{quoted(name)}" for name in sink.partition_by)
    await connection.execute(f"DELETE FROM {table} t USING {_PARTITION} p WHERE {equal}")
    # Apart from the others: IS NOT DISTINCT FROM can use neither an index nor a hash.
    empty = " OR ".join(f"p.{quoted(name)} IS NULL" for name in sink.partition_by)
    if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {_PARTITION} p WHERE {empty})"):
        alike = " AND ".join(f"t.{quoted(name)} IS NOT DISTINCT FROM p.{quoted(name)}" for name in sink.partition_by)
        await connection.execute(f"DELETE FROM {table} t USING {_PARTITION} p WHERE ({empty}) AND {alike}")
    await _note_partitions(connection, run, sink)
    await connection.execute(f"DROP TABLE {_PARTITION}")


def _hash(sink: Sink) -> str:
    """What a partition is noted as: its values are of rows, so they aren't kept."""
    values = ", ".join(f"p.{quoted(name)}" for name in sink.partition_by)
    return f"encode(sha256(convert_to(jsonb_build_array({values})::text, 'UTF8')), 'hex')"


async def _refuse_older_partitions(connection: Connection, run: RunRef, sink: Sink) -> None:
    newer = await connection.fetchrow(
        "SELECT count(*) AS partitions, max(n.run_key) AS run_key "
        f"FROM {_PARTITION} p JOIN tidemill.partitions n ON n.partition = {_hash(sink)} "
        "WHERE n.uid = $1 AND n.sink = $2 AND n.run_time > $3",
        run.uid,
        sink.name,
        run.run_time,
    )
    if newer is not None and newer["partitions"]:
        raise OlderThanPublished(
            f"sink {sink.name}: {newer['partitions']} of the partitions that run {run.run_key} has rows for are in "
            f"{sink.table} from a newer run ({newer['run_key']}): Replace would bring back old rows"
        )


async def _note_partitions(connection: Connection, run: RunRef, sink: Sink) -> None:
    await connection.execute(
        "INSERT INTO tidemill.partitions (uid, sink, partition, run_key, execution, run_time) "
        f"SELECT $1, $2, {_hash(sink)}, $3, $4, $5 FROM {_PARTITION} p "
        "ON CONFLICT (uid, sink, partition) DO UPDATE SET run_key = excluded.run_key, "
        "execution = excluded.execution, run_time = excluded.run_time",
        run.uid,
        sink.name,
        run.run_key,
        run.execution,
        run.run_time,
    )
