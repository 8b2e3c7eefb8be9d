"""What a run was given, and what it came to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from tidemill_api.contract import RunError, RunResult, SinkCount, StepCount
from tidemill_worker.metastore import checks
from tidemill_worker.metastore.replays import forget_rows
from tidemill_worker.metastore.slots import release
from tidemill_worker.metastore.store import Connection, Metastore, RunId, moment_of
from tidemill_worker.overlap import Owner

Ending = Literal["Succeeded", "Failed", "Cancelled"]

KEEP_CHUNKS = "7 days"
"""How long the plan and the counts of single chunks are kept after a run has ended; its summary stays."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A run as it was when it began."""

    run: RunId
    namespace: str
    pipeline: str
    run_time: datetime
    interval_start: datetime | None
    """None: it began before intervals were kept."""
    spec: dict[str, Any]
    parameters: dict[str, Any]
    replay: dict[str, Any] | None
    """Of a replay: `DataPipelineRun.spec.replay`."""
    backfill: str | None
    """Of a backfill's run: the backfill's name."""


async def opened(store: Metastore, run: RunId) -> Opened:
    """The snapshot that the run works by. Raises LookupError if there is no such run."""
    async with store.connection() as connection:
        row = await connection.fetchrow(
            "SELECT namespace, pipeline, run_time, interval_start, spec, parameters, replay, backfill "
            "FROM tidemill.runs WHERE uid = $1 AND run_key = $2 AND execution = $3",
            *run.columns,
        )
    if row is None:
        raise LookupError(f"the metastore has no execution {run.execution} of run {run.run_key}")
    return Opened(
        run,
        row["namespace"],
        row["pipeline"],
        row["run_time"],
        moment_of(row["interval_start"]),
        json.loads(row["spec"]),
        json.loads(row["parameters"]),
        None if row["replay"] is None else json.loads(row["replay"]),
        row["backfill"],
    )


async def keep_watermarks(connection: Connection, run: RunId, versions: Mapping[str, Mapping[str, int]]) -> None:
    """Keep with a plan how often the watermarks had moved: by sink, then by source. For use within a transaction."""
    told = json.dumps({sink: dict(sources) for sink, sources in versions.items()})
    await connection.execute(
        "UPDATE tidemill.runs SET watermarks = $4 WHERE uid = $1 AND run_key = $2 AND execution = $3",
        *(*run.columns, told),
    )


async def watermarks(store: Metastore, run: RunId) -> dict[str, dict[str, int]]:
    """How often the watermarks had moved when the run was planned."""
    async with store.connection() as connection:
        kept = await connection.fetchval(
            "SELECT watermarks FROM tidemill.runs WHERE uid = $1 AND run_key = $2 AND execution = $3", *run.columns
        )
    found: dict[str, dict[str, int]] = json.loads(kept) if kept is not None else {}
    return found


async def close(connection: Connection, run: RunId, ending: Ending, error: RunError | None) -> RunResult:
    """Sum up what the run came to and record it; a second time returns what the first recorded.

    For use within a transaction.
    """
    row = await connection.fetchrow(
        "SELECT pipeline, spec, summary, staged, chunks, schema_changes, (SELECT coalesce(sum(c.rows_read), 0)::bigint "
        "FROM tidemill.chunks c WHERE c.uid = $1 AND c.run_key = $2 AND c.execution = $3) AS rows_read, "
        "(SELECT k.letters FROM tidemill.dead_letter_keeping k WHERE k.uid = $1) AS letters, "
        "extract(epoch FROM clock_timestamp() - started_at)::float8 AS seconds "
        "FROM tidemill.runs WHERE uid = $1 AND run_key = $2 AND execution = $3 FOR UPDATE",
        *run.columns,
    )
    if row is None:
        raise LookupError(f"the metastore has no execution {run.execution} of run {run.run_key}")
    if row["summary"] is not None:
        return RunResult.model_validate_json(row["summary"])
    steps = await _steps(connection, run, _names(json.loads(row["spec"])))
    sinks = await _sinks(connection, run, _held_back(json.loads(row["spec"])) & frozenset(row["staged"] or ()))
    result = RunResult(
        pipeline=row["pipeline"],
        run_key=run.run_key,
        execution=run.execution,
        result=ending,
        rows_read=row["rows_read"],
        rows_loaded=sum(sink.rows for sink in sinks),
        rows_rejected=sum(step.rejected for step in steps),
        rows_skipped=sum(step.skipped for step in steps),
        chunks=row["chunks"] or 0,
        steps=steps,
        sinks=sinks,
        failed_checks=await checks.failed(connection, run),
        schema_changes=tuple(row["schema_changes"] or ()),
        error=error,
        duration_seconds=round(row["seconds"], 3),
        dead_letters=row["letters"] or 0,
    )
    await _record(connection, run, result)
    return result


async def end(connection: Connection, run: RunId, ending: Ending, error: RunError | None) -> RunResult:
    """Record the run's end, and keep nothing that was for the open run alone. For use within a transaction."""
    result = await close(connection, run, ending, error)
    if result.result == "Failed" and result.error is not None:
        await leave_letter(connection, run, result.error)
    await forget_rows(connection, run)
    await forget_old_chunks(connection, run.uid)
    return result


async def forget_old_chunks(connection: Connection, uid: str) -> None:
    """Drop plan and counts of single chunks of this pipeline's runs that ended long ago."""
    await connection.execute(_FORGET, uid)


def _old(table: str) -> str:
    return (
        f"DELETE FROM tidemill.{table} c USING tidemill.runs r "
        "WHERE c.uid = $1 AND r.uid = c.uid AND r.run_key = c.run_key AND r.execution = c.execution "
        f"AND r.finished_at < now() - interval '{KEEP_CHUNKS}'"
    )


_FORGET = f"WITH steps AS ({_old('chunk_steps')}), sinks AS ({_old('chunk_sinks')}) {_old('chunks')}"


async def leave_letter(connection: Connection, run: RunId, error: RunError) -> None:
    """A failed run leaves a dead letter too, without a row."""
    await connection.execute(
        "INSERT INTO tidemill.dead_letters "
        "(uid, run_key, execution, step, source, chunk, position, part, namespace, pipeline, reason, rules, error, "
        "cause, stored) "
        "SELECT uid, run_key, execution, $4, '', -1, -1, 0, namespace, pipeline, 'RunFailed', '{}', $5, $6, 'None' "
        "FROM tidemill.runs WHERE uid = $1 AND run_key = $2 AND execution = $3 ON CONFLICT DO NOTHING",
        *run.columns,
        error.step or "",
        f"{error.type}: {error.message}",
        error.type,
    )


def _names(spec: dict[str, Any]) -> tuple[str, ...]:
    """Sources, steps and sinks in the manifest's order."""
    return tuple(part["name"] for field in ("sources", "steps", "sinks") for part in spec.get(field, ()))


def _held_back(spec: dict[str, Any]) -> frozenset[str]:
    """Sinks whose rows aren't loaded before the end. Others are at the end only to be checked."""
    return frozenset(
        sink["name"]
        for sink in spec.get("sinks", ())
        if sink.get("writeDisposition") != "Append" or sink.get("commit") == "AtEnd"
    )


async def _steps(connection: Connection, run: RunId, order: tuple[str, ...]) -> tuple[StepCount, ...]:
    rows = await connection.fetch(
        "SELECT step, sum(rows_in)::bigint AS rows_in, sum(rows_out)::bigint AS rows_out, "
        "sum(rejected)::bigint AS rejected, sum(skipped)::bigint AS skipped FROM tidemill.chunk_steps "
        "WHERE uid = $1 AND run_key = $2 AND execution = $3 GROUP BY step",
        *run.columns,
    )
    nulled = await connection.fetch(
        "SELECT step, key, sum(value::bigint)::bigint AS count FROM tidemill.chunk_steps, jsonb_each_text(nulled) "
        "WHERE uid = $1 AND run_key = $2 AND execution = $3 GROUP BY step, key ORDER BY step, key",
        *run.columns,
    )
    by_step: dict[str, dict[str, int]] = {}
    for row in nulled:
        by_step.setdefault(row["step"], {})[row["key"]] = row["count"]
    place = {name: index for index, name in enumerate(order)}
    counts = (StepCount(**dict(row), nulled=by_step.get(row["step"], {})) for row in rows)
    return tuple(sorted(counts, key=lambda count: (place.get(count.step, len(place)), count.step)))


async def _sinks(connection: Connection, run: RunId, staged: frozenset[str]) -> tuple[SinkCount, ...]:
    """Counts of each sink; what was only staged, not published, isn't loaded."""
    rows = await connection.fetch(
        "SELECT sink, coalesce(sum(rows) FILTER (WHERE chunk >= 0), 0)::bigint AS rows, "
        "sum(inserted)::bigint AS inserted, sum(updated)::bigint AS updated, bool_or(chunk < 0) AS published "
        "FROM tidemill.chunk_sinks WHERE uid = $1 AND run_key = $2 AND execution = $3 GROUP BY sink ORDER BY sink",
        *run.columns,
    )
    return tuple(
        SinkCount(
            sink=row["sink"],
            rows=row["rows"] if row["published"] or row["sink"] not in staged else 0,
            inserted=row["inserted"],
            updated=row["updated"],
        )
        for row in rows
    )


async def _record(connection: Connection, run: RunId, result: RunResult) -> None:
    await connection.execute(
        "UPDATE tidemill.runs SET result = $4, rows_read = $5, rows_loaded = $6, rows_rejected = $7, "
        "rows_skipped = $8, error_type = $9, error_message = $10, summary = $11, finished_at = now() "
        "WHERE uid = $1 AND run_key = $2 AND execution = $3",
        *run.columns,
        *(result.result, result.rows_read, result.rows_loaded, result.rows_rejected, result.rows_skipped),
        *(result.error and result.error.type, result.error and result.error.message),
        result.model_dump_json(by_alias=True),
    )


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a run, and who waits for its slot, the first first. No result: it had not begun."""

    result: RunResult | None
    staged: bool
    """It may have left rows in staging."""
    waiting: tuple[Owner, ...]


async def finish(
    store: Metastore, uid: str, run_key: str, owner: Owner, ending: Ending, error: RunError | None
) -> Finished:
    """Record the end of the owner's run and leave the slot or the queue, at once."""
    async with store.transaction() as connection:
        row = await connection.fetchrow(
            "SELECT execution, staged FROM tidemill.runs "
            "WHERE uid = $1 AND run_key = $2 AND workflow_run_id = $3 AND execution > 0 "
            "ORDER BY execution DESC LIMIT 1",
            *(uid, run_key, owner.run_id),
        )
        result = None
        if row is not None:
            run = RunId(uid, run_key, row["execution"])
            result = await end(connection, run, ending, error)
        return Finished(result, bool(row and row["staged"]), await release(connection, uid, owner))
