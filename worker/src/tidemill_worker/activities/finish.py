"""`finish`: record how a run ended, free its slot, drop its staging, and wake who waits."""

from __future__ import annotations

import logging
from typing import Any

from temporalio import activity

from tidemill_api.contract import RunResult
from tidemill_api.errors import TidemillError
from tidemill_worker import engine
from tidemill_worker.activities.begin import request_of
from tidemill_worker.activities.housekeeping import Housekeeping
from tidemill_worker.activities.resources import Resources
from tidemill_worker.activities.translation import translated
from tidemill_worker.activities.workflows_elsewhere import Elsewhere, name_of
from tidemill_worker.metastore import RunId, runs, slots
from tidemill_worker.overlap import Owner
from tidemill_worker.workflows.messages import FINISH, SLOT_FREE, Ending

_log = logging.getLogger(__name__)


def may_keep(spec: dict[str, Any]) -> bool:
    """Whether there are queries or functions, of which some may need all rows: then rows may have been kept."""
    return any("sql" in step or "python" in step for step in spec.get("steps") or ())


class Finish:
    """The activity and what it needs."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._housekeeping = Housekeeping(resources.store, resources.connections)

    @activity.defn(name=FINISH)
    async def finish(self, ending: Ending) -> RunResult:
        """The run's result. A repetition returns what the first recorded."""
        with translated():
            claimant = ending.claimant
            owner = Owner(claimant.workflow_id, claimant.workflow_run_id)
            finished = await runs.finish(
                self._resources.store, claimant.order.uid, claimant.run_key, owner, ending.ending, ending.error
            )
            result = finished.result
            if result is None:
                result = await self._unbegun(ending)
            elif finished.staged or may_keep(claimant.order.spec):
                await self._clean(RunId(claimant.order.uid, claimant.run_key, result.execution))
            await self._wake(finished.waiting)
            if result.execution:
                await self._housekeeping.after_run(claimant.order.uid, claimant.order.spec)
            self._resources.measures.run((claimant.order.namespace, claimant.order.pipeline), result)
            return result

    async def _unbegun(self, ending: Ending) -> RunResult:
        """A run that ended before it had the slot."""
        request = request_of(ending.claimant, name_of(activity.client()))
        result = RunResult(
            pipeline=request.order.pipeline, run_key=request.run_key, result=ending.ending, error=ending.error
        )
        await slots.record_skipped(self._resources.store, request, result)
        return result

    async def _clean(self, run: RunId) -> None:
        """Drop what the run has staged and kept. If that fails it stays behind, does no harm, and goes later."""
        try:
            snapshot = await self._resources.snapshot(run)
            await engine.clean(snapshot.spec, snapshot.ref, self._resources.connections)
        except Exception as error:  # noqa: BLE001 - as the docstring says
            _log.warning("staging of run %s stays for now: %s", run.run_key, type(error).__name__)

    async def _wake(self, waiting: tuple[Owner, ...]) -> None:
        """Tell the first who waits that the slot is free. Should that fail, it finds out by itself, a little later."""
        elsewhere = Elsewhere(activity.client())
        for owner in [owner for owner in waiting if elsewhere.is_here(owner)][:1]:
            try:
                await elsewhere.signal(owner, SLOT_FREE)
            except TidemillError as error:
                _log.info("the next run isn't woken, it looks by itself: %s", error)
