"""`begin`: take the pipeline's slot under the overlap policy, and become an execution of the run key."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import assert_never

from temporalio import activity

from tidemill_api.contract import RunError, RunResult
from tidemill_api.errors import Overlap, ReprocessRefused
from tidemill_api.v1alpha1 import DataPipelineSpec, parse_duration
from tidemill_api.v1alpha1.schedule import Schedule
from tidemill_worker import engine
from tidemill_worker.activities.plan import new_plan, plan_of
from tidemill_worker.activities.resources import Resources, Snapshot, parsed
from tidemill_worker.activities.translation import translated
from tidemill_worker.activities.workflows_elsewhere import Elsewhere
from tidemill_worker.engine.model import RunRef
from tidemill_worker.metastore import RunId, evictions, slots
from tidemill_worker.metastore.slots import AlreadyDone, Began, Request
from tidemill_worker.overlap import Cancel, Decision, GiveUp, Owner, Place, Take, Terminate, Wait
from tidemill_worker.workflows.messages import BEGIN, Begun, Claimant, Limits, Planned

_log = logging.getLogger(__name__)

OVERDUE = timedelta(minutes=15)
"""So long after its timeout a run in another Temporal is taken for ended: workers have let go of its chunks by then."""
AT_ONCE_SECONDS = 5.0
"""A plan that takes longer is made by a step of its own."""


class Begin:
    """The activity and what it needs."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @activity.defn(name=BEGIN)
    async def begin(self, claimant: Claimant) -> Begun:
        """Began, Waiting or Skipped. A repetition by the same run finds what it had."""
        with translated():
            spec = parsed(claimant.order.spec)
            elsewhere = Elsewhere(activity.client())
            request = request_of(claimant, elsewhere.name)
            while True:
                found = await slots.try_to_begin(self._resources.store, request, claimant.order.overlap_policy)
                match found:
                    case Began(execution, replay=replay):
                        planned = await self._planned(request, spec, found)
                        limits = limits_of(spec) if replay is None else limits_of_replay(spec)
                        lineage = self._resources.config.lineage is not None
                        return Begun(
                            state="Began", execution=execution, limits=limits, planned=planned, lineage=lineage
                        )
                    case AlreadyDone(execution):
                        return await self._skip(request, _done(request, execution))
                    case slots.Blocked(decision, others):
                        if await self._evict_closed(claimant, others, elsewhere):
                            continue
                        begun = await self._as_decided(request, decision, elsewhere)
                        if begun is not None:
                            return begun
                    case _:
                        assert_never(found)

    async def _as_decided(self, request: Request, decision: Decision, elsewhere: Elsewhere) -> Begun | None:
        """What the policy says about a slot that is taken; None: ask for it again."""
        match decision:
            case Wait():
                return await self._wait(request)
            case Cancel(blocking):
                waiting = await self._wait(request)
                await elsewhere.cancel(place.owner for place in blocking)
                return waiting
            case Terminate(blocking):
                await elsewhere.terminate(
                    (place.owner for place in blocking),
                    f"run {request.run_key} takes its place: overlapPolicy is TerminateOther",
                )
                ended = any(elsewhere.is_here(place.owner) for place in blocking)
                return None if ended else await self._wait(request)
            case GiveUp(reason):
                return await self._skip(request, _result(request, Overlap.__name__, reason))
            case Take():
                return None  # decided again within the transaction that takes
            case _:
                assert_never(decision)

    async def _wait(self, request: Request) -> Begun:
        await slots.queue(self._resources.store, request)
        return Begun(state="Waiting")

    async def _planned(self, request: Request, spec: DataPipelineSpec, began: Began) -> Planned | None:
        """The plan, if it can be made at once: that spares the run a step. Else that step has the time, and the say."""
        if not activity.info().is_local:
            return None
        order = request.order
        run = RunId(order.uid, request.run_key, began.execution)
        run_time, start = began.run_time.astimezone(UTC), began.interval_start.astimezone(UTC)
        ref = RunRef(*run.columns, order.namespace, order.pipeline, run_time, start)
        self._resources.remember(run, Snapshot(spec, order.parameters, ref, began.replay, order.backfill))
        try:
            async with asyncio.timeout(AT_ONCE_SECONDS):
                return await (plan_of(self._resources, run) if began.again else new_plan(self._resources, run))
        except Exception as error:  # noqa: BLE001 - whatever it is, the step `plan` meets it too and tells it
            _log.debug("run %s isn't planned at once: %s", request.run_key, type(error).__name__)
            return None

    async def _evict_closed(self, claimant: Claimant, others: Sequence[Place], elsewhere: Elsewhere) -> bool:
        """Whether any of those in the way has ended without saying so; they are off the slot then."""
        closed = await elsewhere.closed(place.owner for place in others)
        far = [place.owner for place in others if not elsewhere.is_here(place.owner) and place.owner not in closed]
        if far:
            closed |= await self._overdue(claimant, far)
        if not closed:
            return False
        for evicted in await evictions.evict(self._resources.store, claimant.order.uid, closed):
            _log.warning("run %s ended without releasing its slot; it is released now", evicted.run.run_key)
            self._resources.measures.run((claimant.order.namespace, claimant.order.pipeline), evicted.result)
            await self._clean(claimant, evicted)
        return True

    async def _overdue(self, claimant: Claimant, owners: Sequence[Owner]) -> frozenset[Owner]:
        """Those of another Temporal, which can't be asked, that must have ended: their run's timeout is long over."""
        opened = await evictions.opened_by(self._resources.store, claimant.order.uid, owners)
        over = set()
        for owner in owners:
            if owner not in opened:
                continue
            began, spec = opened[owner]
            if began + parse_duration(parsed(json.loads(spec)).execution.timeout) + OVERDUE < datetime.now(UTC):
                over.add(owner)
            else:
                _log.warning("the slot is held by a run in another Temporal, %s, until its timeout", owner.temporal)
        return frozenset(over)

    async def _clean(self, claimant: Claimant, evicted: evictions.Evicted) -> None:
        """Drop what a terminated run has staged; if that fails, staging stays behind and does no harm."""
        order = claimant.order
        ref = RunRef(*evicted.run.columns, order.namespace, order.pipeline, datetime.now(UTC))
        try:
            await engine.clean(parsed(evicted.spec), ref, self._resources.connections)
        except Exception as error:  # noqa: BLE001 - as the docstring says
            _log.warning("staging of run %s stays for now: %s", evicted.run.run_key, type(error).__name__)

    async def _skip(self, request: Request, result: RunResult) -> Begun:
        if result.execution == 0:
            await slots.record_skipped(self._resources.store, request, result)
        return Begun(state="Skipped", result=result)


def request_of(claimant: Claimant, temporal: str) -> Request:
    """The claimant in the metastore's words; `temporal` as `name_of` says it.

    Its interval goes from the schedule's time before its own to its own.
    """
    from tidemill_check.times import interval_start

    run_time = datetime.fromisoformat(claimant.run_time)
    schedule = Schedule.model_validate(claimant.order.schedule) if claimant.order.schedule else None
    return Request(
        order=claimant.order,
        run_key=claimant.run_key,
        run_time=run_time,
        interval_start=interval_start(schedule, run_time),
        owner=Owner(claimant.workflow_id, claimant.workflow_run_id, temporal),
    )


def limits_of(spec: DataPipelineSpec) -> Limits:
    """`spec.execution` as the workflow needs it."""
    execution = spec.execution
    return Limits(
        timeout=parse_duration(execution.timeout).total_seconds(),
        parallelism=execution.parallelism,
        initial_interval=parse_duration(execution.retry.initial_interval).total_seconds(),
        backoff_coefficient=execution.retry.backoff_coefficient,
        maximum_interval=parse_duration(execution.retry.maximum_interval).total_seconds(),
        maximum_attempts=execution.retry.maximum_attempts,
        tolerance=execution.error_tolerance,
    )


def limits_of_replay(spec: DataPipelineSpec) -> Limits:
    """As `limits_of`. Chunks go one after the other, so that of equal keys the last row wins; any row may be bad."""
    return limits_of(spec).model_copy(update={"parallelism": 1, "tolerance": None})


def _done(request: Request, execution: int) -> RunResult:
    done = "processed" if request.order.reprocess == "None" else "completed"
    message = f"run key {request.run_key} was {done} by execution {execution}: it doesn't run again by itself"
    return _result(request, ReprocessRefused.__name__, message).model_copy(update={"execution": execution})


def _result(request: Request, kind: str, message: str) -> RunResult:
    return RunResult(
        pipeline=request.order.pipeline,
        run_key=request.run_key,
        result="Skipped",
        error=RunError(type=kind, message=message),
    )
