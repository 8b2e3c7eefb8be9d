"""`plan`: check the snapshot, move the fences to this execution, and cut the sources into chunks, once."""

from __future__ import annotations

import asyncio

from temporalio import activity

from tidemill_api.errors import SpecError, SQLError
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker import engine
from tidemill_worker.activities.heartbeat import Heart
from tidemill_worker.activities.resources import Resources, Snapshot
from tidemill_worker.activities.translation import translated
from tidemill_worker.engine.schemas import schemas_of
from tidemill_worker.metastore import RunId, chunks, runs, schemas
from tidemill_worker.metastore.chunks import PlanSize
from tidemill_worker.metastore.store import Connection
from tidemill_worker.workflows.messages import PLAN, Planned, PlanTask


class Plan:
    """The activity and what it needs."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @activity.defn(name=PLAN)
    async def plan(self, task: PlanTask) -> Planned:
        """The plan's size. A repetition finds the plan that was kept."""
        with translated():
            run = RunId(task.uid, task.run_key, task.execution)
            work = plan_of(self._resources, run) if task.wave == 0 else _continued(self._resources, run, task)
            return await Heart().during(work, lambda _: False)


async def plan_of(resources: Resources, run: RunId) -> Planned:
    """The size of the plan that is kept for the run; if there is none, make one and keep it."""
    size = await chunks.planned(resources.store, run)
    return await new_plan(resources, run) if size is None else _told(await resources.snapshot(run), size)


async def new_plan(resources: Resources, run: RunId) -> Planned:
    """Make a plan for a run that has none, and keep it. Should there be one all the same, that one counts."""
    size = await _made(resources, run)
    return _told(await resources.snapshot(run), size)


async def _continued(resources: Resources, run: RunId, task: PlanTask) -> Planned:
    """The size of the plan with a later wave. It is added once: a repetition finds it."""
    snapshot = await resources.permitted(run)
    before = await chunks.chunks_of(resources.store, run)
    if len(before) > task.before:
        size = await chunks.planned(resources.store, run)
        assert size is not None
        return _told(snapshot, size)
    work = await engine.plan_wave(
        snapshot.spec, snapshot.parameters, snapshot.ref, task.wave, before, resources.connections
    )
    staged = engine.to_publish(snapshot.spec, (*before, *work))
    return _told(snapshot, await chunks.extend_plan(resources.store, run, len(before), work, staged))


def _told(snapshot: Snapshot, size: PlanSize) -> Planned:
    waves = 1 if snapshot.replay is not None else engine.waves(snapshot.spec)
    return Planned(chunks=size.chunks, bytes=size.bytes, staged=size.staged, waves=waves)


async def _made(resources: Resources, run: RunId) -> PlanSize:
    connections = resources.connections
    snapshot = await resources.permitted(run)
    await asyncio.to_thread(_check, snapshot.spec)
    if snapshot.replay is not None:
        from tidemill_worker.activities.replay import plan_replay

        return await plan_replay(resources, run, snapshot)
    await engine.claim(snapshot.spec, snapshot.ref, connections)
    marks = await engine.watermarks(snapshot.spec, snapshot.ref, connections) if snapshot.incremental else None
    known = marks.known if marks is not None else None
    planned = await engine.plan(snapshot.spec, snapshot.parameters, snapshot.ref, connections, known)
    staged = engine.to_publish(snapshot.spec, planned)

    async def also(connection: Connection) -> None:
        if marks is not None:
            await runs.keep_watermarks(connection, run, marks.versions)
        await schemas.keep(connection, run, schemas_of(planned))

    return await chunks.keep_plan(resources.store, run, planned, staged, also)


def _check(spec: DataPipelineSpec) -> None:
    """What the operator has checked before, checked where it counts. Raises SpecError for the first problem."""
    from tidemill_api import conditions
    from tidemill_check.verdict import check_pipeline

    for problem in check_pipeline(spec):
        kind = SQLError if problem.reason == conditions.INVALID_SQL else SpecError
        raise kind(problem.field, problem.message)
