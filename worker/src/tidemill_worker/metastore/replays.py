"""Letters that a replay works on: chosen, kept as they were, and marked when they are loaded or rejected again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from tidemill_api.names import content_hash
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1._types import parse_moment
from tidemill_api.v1alpha1.datapipelinerun import DeadLetterFilter
from tidemill_worker.engine.model import Chunk
from tidemill_worker.engine.replaying import Rejected, Target
from tidemill_worker.engine.text_layout import TextLayout
from tidemill_worker.metastore.store import Connection, Metastore, RunId

if TYPE_CHECKING:
    from asyncpg import Record

MOST: Final = 500_000
"""Letters of one replay: they are held in memory while it is planned."""


@dataclass(frozen=True, slots=True)
class ReplayChunk:
    """Rows that are read and loaded together."""

    target: Target
    layout: TextLayout
    letters: tuple[int, ...]
    keys: tuple[str, ...]
    texts: tuple[str, ...]


async def chosen(store: Metastore, uid: str, asked: DeadLetterFilter, now: datetime) -> list[Rejected]:
    """The letters that are asked for, the oldest first; at most one more than `MOST`.

    By numbers whatever they are, else new ones of executions that have succeeded. Raises LookupError for a number
    that isn't there or isn't new.
    """
    values: list[object] = [uid]
    conditions = ["d.uid = $1", "d.status = 'New'"]
    for value, condition in _conditions(asked, now):
        values.append(value)
        conditions.append(condition.format(len(values)))
    if not asked.ids:
        conditions.append("r.result = 'Succeeded' AND d.reason <> 'RunFailed'")
    async with store.connection() as connection:
        rows = await connection.fetch(_CHOSEN.format(" AND ".join(conditions), MOST + 1), *values)
        runs = sorted({(row["run_key"], row["execution"]) for row in rows})
        specs = await connection.fetch(_SPECS, uid, [key for key, _ in runs], [number for _, number in runs])
    missing = sorted(set(asked.ids) - {row["id"] for row in rows})
    if missing:
        raise LookupError(f"the pipeline has no new letter {', '.join(map(str, missing))}")
    parsed = {text: _spec(text) for text in {row["spec"] for row in specs}}
    of_run = {(row["run_key"], row["execution"]): parsed[row["spec"]] for row in specs}
    return [_rejected(row, of_run[row["run_key"], row["execution"]]) for row in rows]


def _conditions(asked: DeadLetterFilter, now: datetime) -> list[tuple[object, str]]:
    found: list[tuple[object | None, str]] = [
        (list(asked.ids) or None, "d.id = ANY (${}::bigint[])"),
        (asked.step, "d.step = ${}"),
        (asked.rule, "${} = ANY (d.rules)"),
        (asked.type, "d.reason = ${}"),
        (asked.run_key, "d.run_key = ${}"),
        (_moment(asked.since, now), "d.first_seen >= ${}"),
        (_moment(asked.until, now), "d.first_seen < ${}"),
    ]
    return [(value, condition) for value, condition in found if value is not None]


def _moment(text: str | None, now: datetime) -> datetime | None:
    try:
        return None if text is None else parse_moment(text, now)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


_CHOSEN: Final = """
SELECT d.id, d.run_key, d.execution, d.step, d.source, d.chunk, d.position, d.part, d.reason, d.stored, d.redacted,
    coalesce(d.edited_text, d.row_text) AS text, d.edited_text IS NOT NULL AS mended, r.result,
    l.columns, l.delimiter, l.quote, l.types
FROM tidemill.dead_letters d JOIN tidemill.runs r ON (r.uid, r.run_key, r.execution) = (d.uid, d.run_key, d.execution)
    LEFT JOIN tidemill.dead_letter_layouts l ON l.layout = d.layout
WHERE {} ORDER BY d.id LIMIT {}
"""
_SPECS: Final = """
SELECT r.run_key, r.execution, r.spec FROM tidemill.runs r
JOIN unnest($2::text[], $3::integer[]) AS asked (run_key, execution) USING (run_key, execution) WHERE r.uid = $1
"""


def _spec(text: str | None) -> DataPipelineSpec | None:
    try:
        return None if text is None else DataPipelineSpec.model_validate(json.loads(text))
    except ValidationError:
        return None


def _rejected(row: Record, spec: DataPipelineSpec | None) -> Rejected:
    layout = None
    if row["columns"] is not None:
        types = None if row["types"] is None else tuple(row["types"])
        layout = TextLayout(tuple(row["columns"]), row["delimiter"], row["quote"], types)
    names = ("run_key", "execution", "step", "source", "chunk", "position", "part")
    return Rejected(
        id=row["id"],
        key=content_hash([row[name] for name in names]),
        step=row["step"],
        source=row["source"],
        reason=row["reason"],
        stored=row["stored"],
        redacted=tuple(row["redacted"]),
        text=row["text"],
        mended=row["mended"],
        layout=layout,
        run=row["run_key"],
        result=row["result"],
        spec=spec,
    )


async def keep_rows(connection: Connection, run: RunId, chunks: Mapping[int, ReplayChunk]) -> None:
    """Keep what each chunk reads, beside its plan, and note it in the audit. For use within a transaction."""
    await connection.executemany(
        "UPDATE tidemill.chunks SET replay = $5 WHERE uid = $1 AND run_key = $2 AND execution = $3 AND chunk = $4",
        [(*run.columns, index, json.dumps(_plan(chunk))) for index, chunk in chunks.items()],
    )
    await connection.copy_records_to_table(
        "replay_rows",
        schema_name="tidemill",
        columns=("uid", "run_key", "execution", "chunk", "place", "letter", "letter_key", "row_text"),
        records=(
            (*run.columns, index, place, *row)
            for index, chunk in chunks.items()
            for place, row in enumerate(zip(chunk.letters, chunk.keys, chunk.texts, strict=True))
        ),
    )
    ids = sorted(letter for chunk in chunks.values() for letter in chunk.letters)
    await connection.execute(
        "INSERT INTO tidemill.dead_letter_audit (action, person, letters, ids, filter) SELECT 'Replay', "
        "'run ' || namespace || '/' || pipeline || '/' || run_key, $4, $5, coalesce(replay -> 'deadLetters', '{}') "
        "FROM tidemill.runs WHERE uid = $1 AND run_key = $2 AND execution = $3",
        *(*run.columns, len(ids), ids[:1000]),
    )


def _plan(chunk: ReplayChunk) -> dict[str, Any]:
    layout = chunk.layout
    shown = {"columns": layout.columns, "delimiter": layout.delimiter, "quote": layout.quote, "types": layout.types}
    return {"source": chunk.target.source, "sinks": chunk.target.sinks, "layout": shown}


async def rows_of(store: Metastore, run: RunId, chunk: Chunk) -> ReplayChunk:
    """What a chunk reads, as it was when it was planned. Raises LookupError if the replay has ended."""
    async with store.connection() as connection:
        plan = await connection.fetchval(
            "SELECT replay FROM tidemill.chunks WHERE uid = $1 AND run_key = $2 AND execution = $3 AND chunk = $4",
            *(*run.columns, chunk.index),
        )
        rows = await connection.fetch(
            "SELECT letter, letter_key, row_text FROM tidemill.replay_rows "
            "WHERE uid = $1 AND run_key = $2 AND execution = $3 AND chunk = $4 ORDER BY place",
            *(*run.columns, chunk.index),
        )
    if plan is None or not rows:
        raise LookupError(f"the replay {run.run_key} has ended: it has no rows any more")
    value = json.loads(plan)
    layout = value["layout"]
    return ReplayChunk(
        Target(value["source"], tuple(value["sinks"])),
        TextLayout(tuple(layout["columns"]), layout["delimiter"], layout["quote"], tuple(layout["types"])),
        tuple(row["letter"] for row in rows),
        tuple(row["letter_key"] for row in rows),
        tuple(row["row_text"] for row in rows),
    )


async def rejected_again(
    store: Metastore, run: RunId, letters: Sequence[int], said: Sequence[tuple[str, str, str, list[str]]]
) -> None:
    """Note why each letter's row was rejected again (reason, error, cause, rules); a repetition counts once."""
    async with store.transaction() as connection:
        await connection.executemany(
            "UPDATE tidemill.dead_letters SET reason = $2, error = $3, cause = $4, rules = $5, last_seen = now(), "
            "attempts = attempts + CASE WHEN (replayed_by, replayed_execution) "
            "IS DISTINCT FROM ($6::text, $7::integer) THEN 1 ELSE 0 END, "
            "replayed_by = $6, replayed_execution = $7, replayed_at = now() "
            "WHERE id = $1 AND status = 'New'",
            [(letter, *why, run.run_key, run.execution) for letter, why in zip(letters, said, strict=True)],
        )


async def loaded(store: Metastore, run: RunId, letters: Sequence[int]) -> None:
    """Mark letters as replayed by this run, but for those that it has rejected again."""
    async with store.connection() as connection:
        await connection.execute(
            "UPDATE tidemill.dead_letters SET status = 'Replayed', replayed_by = $2, replayed_execution = $3, "
            "replayed_at = now() WHERE id = ANY ($1::bigint[]) AND status = 'New' "
            "AND (replayed_by, replayed_execution) IS DISTINCT FROM ($2::text, $3::integer)",
            *(list(letters), run.run_key, run.execution),
        )


async def loaded_before(store: Metastore, found: Mapping[int, tuple[str, int]]) -> None:
    """Mark letters that an earlier replay (its key and execution) has loaded, but could not mark."""
    async with store.transaction() as connection:
        await connection.executemany(
            "UPDATE tidemill.dead_letters SET status = 'Replayed', replayed_by = $2, replayed_execution = $3, "
            "replayed_at = now() WHERE id = $1 AND status = 'New'",
            [(letter, *by) for letter, by in sorted(found.items())],
        )


async def forget_rows(connection: Connection, run: RunId) -> None:
    """A replay that has ended needs its rows no more. For use within a transaction."""
    await connection.execute(
        "DELETE FROM tidemill.replay_rows WHERE uid = $1 AND run_key = $2 AND execution = $3", *run.columns
    )
