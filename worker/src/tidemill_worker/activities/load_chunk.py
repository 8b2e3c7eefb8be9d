"""`load_chunk`: a piece of a run's work. Read some rows, check and transform and load them; or compute over all."""

from __future__ import annotations

import logging
import time

from temporalio import activity

from tidemill_api.errors import TidemillError
from tidemill_check.contracts import allowed as alters
from tidemill_worker import engine
from tidemill_worker.activities.heartbeat import Heart
from tidemill_worker.activities.resources import Resources, Snapshot
from tidemill_worker.activities.translation import translated
from tidemill_worker.engine import spent
from tidemill_worker.engine.model import Chunk, ChunkOutcome, Stopped
from tidemill_worker.engine.postgres.altered import noted
from tidemill_worker.engine.work import Computation
from tidemill_worker.measures import Attempt
from tidemill_worker.metastore import RunId, chunks, schemas
from tidemill_worker.workflows.messages import LOAD_CHUNK, ChunkTask, Counts

_log = logging.getLogger(__name__)


class LoadChunk:
    """The activity and what it needs."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @activity.defn(name=LOAD_CHUNK)
    async def load_chunk(self, task: ChunkTask) -> Counts:
        """Counts of the chunk; the same however often it is tried. Heartbeats carry a `RunProgress` of this chunk."""
        with translated(), self._resources.measures.chunk() as attempt:
            began, heart, time_spent = time.monotonic(), Heart(), spent.begin()
            attempt.number = activity.info().attempt
            try:
                outcome = await heart.during(self._load(task, heart, attempt), lambda error: isinstance(error, Stopped))
            finally:
                self._resources.measures.phases(attempt.whose, time_spent.seconds)
            counts = Counts(
                chunks=1,
                rows_read=outcome.rows_read,
                rows_loaded=sum(sink.rows for sink in outcome.sinks),
                rows_rejected=sum(step.rejected for step in outcome.steps),
                rows_skipped=sum(step.skipped for step in outcome.steps),
                rows_kept=outcome.rows_kept,
                bytes_read=outcome.bytes_read,
            )
            self._resources.measures.rows(attempt.whose, counts, outcome.steps, outcome.sinks)
            _tell(task, counts, time.monotonic() - began)
            return counts

    async def _load(self, task: ChunkTask, heart: Heart, attempt: Attempt) -> ChunkOutcome:
        resources = self._resources
        run = RunId(task.uid, task.run_key, task.execution)
        snapshot = await resources.permitted(run)
        attempt.whose = snapshot.ref.namespace, snapshot.ref.pipeline
        attempt.exemplar = {"run_id": activity.info().workflow_run_id or ""}
        chunk, total = await chunks.chunk_of(resources.store, run, task.chunk)
        if isinstance(chunk, Computation):
            spec, connections = snapshot.spec, resources.connections
            report, stop = heart.report, heart.asked_to_stop
            await engine.compute(spec, snapshot.parameters, snapshot.ref, chunk, connections, report, stop)
            outcome = ChunkOutcome((), ())
        elif snapshot.replay is not None:
            from tidemill_worker.activities.replay import load_replayed

            outcome = await load_replayed(resources, snapshot, run, chunk, heart)
        else:
            outcome = await self._loaded(run, snapshot, chunk, total, heart)
        await resources.wrote(snapshot.spec, (sink.sink for sink in outcome.sinks))
        await chunks.keep_outcome(resources.store, run, chunk, outcome)
        if outcome.refused is not None:
            raise outcome.refused
        return outcome

    async def _loaded(self, run: RunId, snapshot: Snapshot, chunk: Chunk, total: int, heart: Heart) -> ChunkOutcome:
        """The chunk, loaded; what its run alters of tables is told, however it ends."""
        resources = self._resources
        try:
            # A run of one chunk publishes by itself, so it moves watermarks too; a chunk among others moves none.
            alone = total == 1 and not engine.to_publish(snapshot.spec, (chunk,))
            also = await resources.moves(run, snapshot, (chunk,)) if alone else None
            return await engine.load_chunk(
                snapshot.spec,
                snapshot.parameters,
                snapshot.ref,
                chunk,
                total,
                resources.connections,
                resources.letters(snapshot.spec, chunk),
                heart.report,
                heart.asked_to_stop,
                also,
            )
        finally:
            await _tell_altered(resources, run, snapshot)


async def _tell_altered(resources: Resources, run: RunId, snapshot: Snapshot) -> None:
    """Keep what the run has altered of tables with its result. Should that fail, a later chunk does it."""
    if not any(alters(snapshot.spec, sink) for sink in snapshot.spec.sinks):
        return
    try:
        what = await noted(snapshot.spec, snapshot.ref, resources.connections)
        await schemas.keep_altered(resources.store, run, what)
    except TidemillError as error:
        _log.warning("what run %s has altered of tables isn't told for now: %s", run.run_key, error)


def _tell(task: ChunkTask, counts: Counts, seconds: float) -> None:
    """One line for a chunk, whose numbers programs find as fields."""
    details = {
        "run": task.run_key,
        "execution": task.execution,
        "chunk": task.chunk,
        "rowsRead": counts.rows_read,
        "rowsLoaded": counts.rows_loaded,
        "rowsRejected": counts.rows_rejected,
        "seconds": round(seconds, 3),
    }
    _log.info(
        "run %s, chunk %d: %d rows read, %d loaded, %d rejected in %.2f s",
        *(task.run_key, task.chunk, counts.rows_read, counts.rows_loaded, counts.rows_rejected, seconds),
        extra={"details": details},
    )
