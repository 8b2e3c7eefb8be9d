"""What runs have altered of the sinks' tables, as it is noted in the sinks' databases. Light, as `fence` is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_check.contracts import allowed
from tidemill_worker.engine.model import Connections, RunRef
from tidemill_worker.engine.postgres.errors import typed
from tidemill_worker.engine.postgres.fence import Connection

KEPT: Final = "90 days"


async def note(connection: Connection, run: RunRef, sink: str, what: Sequence[str]) -> None:
    """Within the transaction that alters: a sentence for each thing that it has altered."""
    await connection.execute(
        "INSERT INTO tidemill.alterations (uid, sink, run_key, execution, what) "
        "SELECT $1, $2, $3, $4, unnest($5::text[]) ON CONFLICT DO NOTHING",
        *(run.uid, sink, run.run_key, run.execution, list(what)),
    )
    await connection.execute(
        f"DELETE FROM tidemill.alterations WHERE uid = $1 AND sink = $2 AND altered_at < now() - interval '{KEPT}'",
        *(run.uid, sink),
    )


async def noted(spec: DataPipelineSpec, run: RunRef, connections: Connections) -> tuple[str, ...]:
    """What this run has altered so far, whichever execution of it. Raises PostgresUnavailable."""
    found: list[str] = []
    for sink in spec.sinks:
        if not allowed(spec, sink):
            continue
        pool = await connections.postgres(sink.connection)
        with typed(sink.name, sink.connection):
            rows = await pool.fetch(
                "SELECT what FROM tidemill.alterations WHERE uid = $1 AND sink = $2 AND run_key = $3 "
                "ORDER BY altered_at, what",
                *(run.uid, sink.name, run.run_key),
            )
        found += [row["what"] for row in rows]
    return tuple(found)
