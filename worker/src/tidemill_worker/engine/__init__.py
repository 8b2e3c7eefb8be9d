"""The engine: reads, checks, transforms and loads rows, as columns. It knows nothing of Temporal.

    claim -> plan -> load_chunk (one a chunk, any order, any number of times) -> publish (a sink that `to_publish`
    names) -> clean

A pipeline with steps that need all rows has more waves: when all work of one has ended, plan_wave gives that of the
next, chunks to load and answers to compute.

The columnar libraries are imported by the call that needs them first, so that a worker starts fast.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_check.stages import stages
from tidemill_worker.engine.artifacts import RunFolder
from tidemill_worker.engine.incremental import Known, KnownFiles, KnownRows, Watermarks
from tidemill_worker.engine.model import (
    AlsoCommitted,
    AskedToStop,
    Chunk,
    ChunkOutcome,
    Connections,
    DeadLetters,
    Former,
    Parameters,
    Published,
    Report,
    RunRef,
    Stopped,
)
from tidemill_worker.engine.whole import publishes_itself
from tidemill_worker.engine.work import Computation, Work

if TYPE_CHECKING:
    import asyncpg

    from tidemill_api.v1alpha1.datapipeline import Sink

__all__ = [
    "AlsoCommitted",
    "AskedToStop",
    "Chunk",
    "ChunkOutcome",
    "Computation",
    "Connections",
    "DeadLetters",
    "Former",
    "KnownFiles",
    "KnownRows",
    "Parameters",
    "Published",
    "Report",
    "RunRef",
    "Stopped",
    "Watermarks",
    "Work",
    "claim",
    "clean",
    "compute",
    "load_chunk",
    "moves_watermarks",
    "plan",
    "plan_wave",
    "publish",
    "replayed",
    "to_publish",
    "watermarks",
    "waves",
]


async def claim(spec: DataPipelineSpec, run: RunRef, connections: Connections) -> None:
    """Move the fence in each sink's database to this execution; an older one can commit nothing from then on.

    Raises Fenced if a newer execution has been there, SinkRefused if a table can't be replaced as the sink says or a
    folder has files that aren't the sink's, PostgresUnavailable, and what a store of files raises.
    """
    from tidemill_worker.engine.postgres import fence

    await fence.claim(spec, run, connections)
    if any(sink.files is not None for sink in spec.sinks):
        from tidemill_worker.engine.filesink import claiming

        await claiming.claim_files(spec, run, connections)
    if any(sink.replace_strategy == "Swap" for sink in spec.sinks):
        from tidemill_worker.engine.postgres import swap

        await swap.check_swaps(spec, connections)


async def watermarks(spec: DataPipelineSpec, run: RunRef, connections: Connections) -> Watermarks:
    """What the sinks of incremental sources have. Raises WatermarksApart, PostgresUnavailable."""
    from tidemill_worker.engine.postgres import watermarks as kept

    return await kept.read(spec, run, connections)


async def plan(
    spec: DataPipelineSpec,
    parameters: Parameters,
    run: RunRef,
    connections: Connections,
    known: Mapping[str, Known] | None = None,
) -> tuple[Chunk, ...]:
    """Look at the files once and cut them into chunks. Another call may see other files: keep the result.

    Raises SourceMissing, SourceUnreadable, ColumnMissing, NewColumn, SpecError, ReprocessRefused (an earlier
    execution has appended rows that this plan wouldn't), PostgresUnavailable. Of incremental sources what is `known`
    is left out (`watermarks` tells them); there may be nothing left to do then.
    """
    from tidemill_worker.engine import planning

    return await planning.plan(spec, parameters, run, connections, known)


async def load_chunk(  # noqa: PLR0913, PLR0917 - all that a chunk needs, each of another owner
    spec: DataPipelineSpec,
    parameters: Parameters,
    run: RunRef,
    chunk: Chunk,
    chunks_in_run: int,
    connections: Connections,
    dead_letters: DeadLetters,
    progress: Report,
    asked_to_stop: AskedToStop,
    also: AlsoCommitted | None = None,
) -> ChunkOutcome:
    """Read a chunk, check and transform its rows, and commit them to its sinks (or to their staging tables).

    A chunk that has been committed before is not loaded again: the ledger tells what it came to. A chunk that would
    publish itself and has too many bad rows comes back with its counts and `refused`. `also` is written in each sink's
    transactions.
    Raises Stopped, Fenced, errors of DataError and SinkError, SpecError, PostgresUnavailable.
    """
    from tidemill_worker.engine import load

    return await load.load_chunk(
        spec, parameters, run, chunk, chunks_in_run, connections, dead_letters, progress, asked_to_stop, also
    )


async def replayed(pool: asyncpg.Pool, sink: Sink, uid: str, keys: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Which of these letters' rows a sink has by replays: the run key and execution that loaded each.

    Raises PostgresUnavailable.
    """
    from tidemill_worker.engine.postgres.errors import typed

    with typed(sink.name, sink.connection):
        rows = await pool.fetch(
            "SELECT letter_key, run_key, execution FROM tidemill.replayed "
            "WHERE uid = $1 AND sink = $2 AND letter_key = ANY ($3::text[])",
            *(uid, sink.name, list(keys)),
        )
    return {row["letter_key"]: (row["run_key"], row["execution"]) for row in rows}


def moves_watermarks(
    spec: DataPipelineSpec, run: RunRef, versions: Mapping[str, Mapping[str, int]], chunks: Sequence[Work]
) -> AlsoCommitted:
    """What a sink of an incremental source shall note with the rows: for `publish`, or for a chunk that does it itself.

    `versions` are those of the plan's `watermarks`. Its `write` raises WatermarkMoved.
    """
    from tidemill_worker.engine.incremental import called_of, files_of, incremental, range_of
    from tidemill_worker.engine.postgres.cursor_marks import origin_of
    from tidemill_worker.engine.postgres.watermarks import Move

    sources = incremental(spec)
    ranges = {source: found for source in sources if (found := range_of(chunks, source)) is not None}
    functions = {source: called for source in sources if (called := called_of(chunks, source)) is not None}
    files = {source: files_of(chunks, source) for source in sources if source not in {*ranges, *functions}}
    origins = {source.name: origin_of(source) for source in spec.sources if source.name in ranges}
    return Move(run, versions, files, ranges, origins, functions)


def to_publish(spec: DataPipelineSpec, chunks: Sequence[Work]) -> tuple[str, ...]:
    """Names of the sinks that need `publish` after all chunks.

    All but those that append chunk by chunk and have no check, unless the run is one chunk (that publishes itself);
    and but those that no rows come to, since an incremental source has none that are new.
    """
    first = chunks[0] if len(chunks) == 1 else None
    if isinstance(first, Chunk) and publishes_itself(spec, first, len(chunks)):
        return ()
    cut = stages(spec)
    fed = {name for chunk in chunks if isinstance(chunk, Chunk) for name in cut[chunk.stage].sinks}
    checked = {check.sink for check in spec.checks}
    return tuple(sink.name for sink in spec.sinks if sink.name in (fed if sink.at_end else checked))


async def publish(
    spec: DataPipelineSpec,
    run: RunRef,
    sink: str,
    chunks: Sequence[Work],
    connections: Connections,
    former: Former | None = None,
    also: AlsoCommitted | None = None,
) -> Published:
    """Move a sink's staged rows into its table and check it, in one transaction; a second time only returns the same.

    If a check of severity Error doesn't hold, nothing has been moved and `refused` says why. A sink that appends chunk
    by chunk is only checked. `former` are the values that checks are compared with; `also` is written in the
    transaction.

    Raises Fenced, OlderThanPublished, SinkRefused, TableMismatch, PostgresUnavailable; of files also what their store
    raises, and ArtifactGone.
    """
    files = next(each for each in spec.sinks if each.name == sink)
    if files.files is not None:
        from tidemill_worker.engine.filesink import publish as showing

        return await showing.publish_files(spec, run, files, chunks, connections, former or {}, also)
    from tidemill_worker.engine.postgres import publish as publishing

    return await publishing.publish(spec, run, sink, chunks, connections, former or {}, also)


def waves(spec: DataPipelineSpec) -> int:
    """How many waves of work a run of the pipeline has: 1 if every step is row-wise."""
    from tidemill_check.stages import cut

    return cut(spec).waves


async def plan_wave(
    spec: DataPipelineSpec,
    parameters: Parameters,
    run: RunRef,
    wave: int,
    before: Sequence[Work],
    connections: Connections,
) -> tuple[Work, ...]:
    """The work of a later wave, when all work of the waves before (`before`) has ended. Always some.

    Raises ArtifactGone, ArtifactsUnavailable, ConfigError, ReprocessRefused, PostgresUnavailable.
    """
    from tidemill_worker.engine import wave_plan

    return await wave_plan.plan_wave(spec, parameters, run, wave, before, connections)


async def compute(
    spec: DataPipelineSpec,
    parameters: Parameters,
    run: RunRef,
    computation: Computation,
    connections: Connections,
    progress: Report,
    asked_to_stop: AskedToStop,
) -> None:
    """The answer of a step that needs all rows, kept for later waves. One that is there isn't computed again.

    Raises Stopped, SQLError, StepFailed, ArtifactGone, ArtifactsUnavailable, ConfigError.
    """
    from tidemill_worker.engine import computing

    await computing.compute(spec, parameters, run, computation, connections, progress, asked_to_stop)


async def clean(spec: DataPipelineSpec, run: RunRef, connections: Connections) -> None:
    """Drop what the run has staged and kept. Call it when the run has ended, however it ended.

    Raises PostgresUnavailable, ArtifactsUnavailable, StoreUnavailable.
    """
    from tidemill_worker.engine.postgres import staging

    await staging.clean(spec, run, connections)
    if any(sink.files is not None for sink in spec.sinks):
        from tidemill_worker.engine.filesink import claiming

        await claiming.clean_files(spec, run, connections)
    if waves(spec) > 1:
        for execution in range(1, run.execution + 1):
            folder = RunFolder(run.uid, run.run_key, execution).path
            await asyncio.to_thread(connections.artifacts().drop, folder)
