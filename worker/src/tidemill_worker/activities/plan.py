"""`plan`: check the snapshot, move the fences to this execution, and cut the sources into chunks, once."""

from __future__ import annotations

import asyncio

from temporalio import activity

from tidemill_api.errors import SpecError, SQLError
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker import engine
from tidemill_worker.activities.heartbeat import Heart
from tidemill_worker.activities.resources import Resources
from tidemill_worker.activities.translation import translated
from tidemill_worker.metastore import RunId, chunks
from tidemill_worker.metastore.chunks import PlanSize
from tidemill_worker.workflows.messages import PLAN, Planned, RunTask


class Plan:
    """The activity and what it needs."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @activity.defn(name=PLAN)
    async def plan(self, task: RunTask) -> Planned:
        """The plan's size. A repetition finds the plan that was kept."""
        with translated():
            run = RunId(task.uid, task.run_key, task.execution)
            return await Heart().during(plan_of(self._resources, run), lambda _: False)


async def plan_of(resources: Resources, run: RunId) -> Planned:
    """The size of the plan that is kept for the run; if there is none, make one and keep it."""
    size = await chunks.planned(resources.store, run) or await _made(resources, run)
    return Planned(chunks=size.chunks, bytes=size.bytes, staged=size.staged)


async def _made(resources: Resources, run: RunId) -> PlanSize:
    connections = resources.connections
    snapshot = await resources.permitted(run)
    await asyncio.to_thread(_check, snapshot.spec)
    if snapshot.replay is not None:
        from tidemill_worker.activities.replay import plan_replay

        return await plan_replay(resources, run, snapshot)
    await engine.claim(snapshot.spec, snapshot.ref, connections)
    planned = await engine.plan(snapshot.spec, snapshot.parameters, snapshot.ref, connections)
    return await chunks.keep_plan(resources.store, run, planned, engine.to_publish(snapshot.spec, planned))


def _check(spec: DataPipelineSpec) -> None:
    """What the operator has checked before, checked where it counts. Raises SpecError for the first problem."""
    from tidemill_api import conditions
    from tidemill_check.verdict import check_pipeline

    for problem in check_pipeline(spec):
        kind = SQLError if problem.reason == conditions.INVALID_SQL else SpecError
        raise kind(problem.field, problem.message)
