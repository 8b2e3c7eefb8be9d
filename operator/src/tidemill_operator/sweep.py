"""The informer for Temporal: every few seconds one look at all Schedules and runs, and the keys that differ.

`fold` is pure: what was known and what the listings say come in, what is known now comes out. Listings are a moment
behind the truth, so nothing is concluded from a Schedule that isn't listed *yet*; one that was listed and isn't any
more is a difference, and whoever looks at it asks the server itself.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from tidemill_api.errors import TidemillError
from tidemill_api.names import ANNOTATION_ADOPT, PipelineId, pipeline_of_workflow
from tidemill_check.following import NOMINAL, RUNNING, SUCCEEDED
from tidemill_operator.clients import Key, Object, PipelineInTemporal, Temporal, Temporals
from tidemill_operator.demand import Demand
from tidemill_operator.metrics import Metrics
from tidemill_operator.pipeline.runs import phase
from tidemill_operator.pipeline.totals import is_counted, seconds
from tidemill_operator.reading import annotation, status_of
from tidemill_operator.store import MemoryStore, TemporalView
from tidemill_operator.views import ConnectionKey, RunSeen, ScheduleEntry, ScheduleSeen

log: Final = logging.getLogger(__name__)

_FIRST_LOOK: Final = timedelta(hours=24)
_FIRST_LOOK_AT_TIMES: Final = timedelta(days=7)
"""Where pipelines follow others: what succeeded days ago may be what a follower still waits with for another."""
_OVERLAP: Final = timedelta(minutes=2)
"""Listings lag; runs that closed this long before the last look are asked for again."""
_MOST_TIMES: Final = 2_000
"""Of a pipeline: more than a day of one that runs each minute."""
_NOTHING: Final = PipelineInTemporal()


def fold(
    before: Mapping[str, PipelineInTemporal],
    entries: Iterable[ScheduleEntry],
    runs: Iterable[RunSeen],
    keeps_times: Callable[[str], bool] = lambda _pipeline: False,
    found: Iterable[RunSeen] = (),
    counted: Callable[[str, RunSeen], bool] = lambda _pipeline, _run: True,
) -> dict[str, PipelineInTemporal]:
    """What is known of each pipeline after a look, by the pipeline's id. Ended runs not listed again are kept.

    `keeps_times` tells of a pipeline whether it follows others or is followed. `found`: ended runs that starts have
    found; only their times count, for they may have ended long ago. `counted` tells of a run that ended whether it is
    in the sums of its pipeline's status.
    """
    listed = {entry.id: entry for entry in entries}
    opened: dict[str, list[RunSeen]] = defaultdict(list)
    closed = {pipeline: seen.last_closed for pipeline, seen in before.items() if seen.last_closed is not None}
    times = {pipeline: _ended_times(seen) for pipeline, seen in before.items() if seen.times and keeps_times(pipeline)}
    ended = {pipeline: {run.run_id: run for run in seen.ended} for pipeline, seen in before.items() if seen.ended}
    for run in runs:
        owner = str(pipeline_of_workflow(run.workflow_id) or "")
        if not owner:
            continue
        if run.closed is not None and run.state != "Running" and run.backfill is None:
            ended.setdefault(owner, {})[run.run_id] = run
        if keeps_times(owner):
            _note_time(times.setdefault(owner, {}), run)
        if run.closed is None:
            opened[owner].append(run)
        elif run.state != "Running" and _newer(run, closed.get(owner)):
            closed[owner] = run
    for run in found:
        owner = str(pipeline_of_workflow(run.workflow_id) or "")
        if owner and keeps_times(owner):
            _note_time(times.setdefault(owner, {}), run)
    return {
        pipeline: PipelineInTemporal(
            entry=listed.get(pipeline),
            open_runs=tuple(sorted(opened.get(pipeline, ()), key=lambda run: (run.started, run.run_id))),
            last_closed=closed.get(pipeline),
            times=tuple(sorted(times.get(pipeline, {}).items())[-_MOST_TIMES:]),
            ended=tuple(run for run in ended.get(pipeline, {}).values() if not counted(pipeline, run)),
        )
        for pipeline in {*listed, *opened, *closed, *(owner for owner, keys in times.items() if keys)}
    }


def _ended_times(seen: PipelineInTemporal) -> dict[str, str]:
    return {key: state for key, state in seen.times if state != RUNNING}


def _note_time(times: dict[str, str], run: RunSeen) -> None:
    """Note how a run for a time stands. One that has succeeded stays so, whatever is done for its time later."""
    key = (
        run.result.run_key if run.result is not None else run.workflow_id.rpartition("/")[2].removeprefix("scheduled-")
    )
    if run.backfill is None and NOMINAL.fullmatch(key) and times.get(key) != SUCCEEDED:
        state = phase(run)
        if state != "Skipped" or key not in times:
            times[key] = state


def _newer(run: RunSeen, known: RunSeen | None) -> bool:
    if known is None or known.closed is None or run.closed is None:
        return True
    return (run.closed, run.started) >= (known.closed, known.started)


def differing(
    before: Mapping[str, PipelineInTemporal],
    now: Mapping[str, PipelineInTemporal],
    descriptions: Mapping[str, ScheduleSeen],
) -> tuple[str, ...]:
    """Ids of the pipelines of which Temporal says something new. A Schedule listed as it was described is no news."""
    return tuple(
        pipeline
        for pipeline in {*before, *now}
        if _differs(before.get(pipeline, _NOTHING), now.get(pipeline, _NOTHING), descriptions.get(pipeline))
    )


def _differs(old: PipelineInTemporal, new: PipelineInTemporal, description: ScheduleSeen | None) -> bool:
    if {run.run_id for run in new.ended} - {run.run_id for run in old.ended}:
        return True
    return old != new and not (_same_runs(old, new) and old.entry is None and as_described(new.entry, description))


def _same_runs(old: PipelineInTemporal, new: PipelineInTemporal) -> bool:
    same = old.open_runs == new.open_runs and old.last_closed == new.last_closed
    return same and old.times == new.times


def as_described(entry: ScheduleEntry | None, description: ScheduleSeen | None) -> bool:
    """Whether a listing says of a Schedule what its description says."""
    return (
        entry is not None
        and description is not None
        and entry.fingerprint == description.fingerprint
        and entry.next_runs[:1] == description.next_runs[:1]
    )


def outdated(
    before: Mapping[str, PipelineInTemporal],
    now: Mapping[str, PipelineInTemporal],
    descriptions: Mapping[str, ScheduleSeen],
) -> tuple[str, ...]:
    """Ids of the Schedules that somebody wrote or deleted since they were described."""
    return tuple(
        pipeline
        for pipeline, description in descriptions.items()
        if (entry := now.get(pipeline, _NOTHING).entry) != (known := before.get(pipeline, _NOTHING).entry)
        and (entry.fingerprint != description.fingerprint if entry is not None else known is not None)
    )


class Sweep:
    """Looks at every Temporal in use, again and again."""

    def __init__(
        self,
        store: MemoryStore,
        temporals: Temporals,
        in_scope: Callable[[str], bool],
        add: Callable[[Key], None],
        metrics: Metrics,
        interval: float,
        demand: Demand | None = None,
    ) -> None:
        """`in_scope` tells whether a Kubernetes namespace is looked after; `interval` in seconds.

        `demand` looks at the task queues; without it no pool is scaled.
        """
        self._store = store
        self._temporals = temporals
        self._in_scope = in_scope
        self._add = add
        self._metrics = metrics
        self._interval = interval
        self._demand = demand
        self._since: dict[ConnectionKey, datetime] = {}
        self._silent: set[ConnectionKey] = set()
        self.certificates: dict[ConnectionKey, bytes | None] = {}
        """The client certificate for each Temporal, if there is one."""
        self.answered: dict[ConnectionKey, float] = {}
        """When a look at a Temporal last succeeded, by the loop's clock."""
        self.finished: float | None = None
        """When the last round over all Temporals ended, by the loop's clock."""

    async def run(self, beat: Callable[[], None]) -> None:
        """Sweep until cancelled; `beat` is called after each round, whether Temporal answered or not."""
        while True:
            await self.sweep()
            beat()
            await asyncio.sleep(self._interval * random.uniform(0.9, 1.1))

    async def sweep(self) -> None:
        """One look at every Temporal in use."""
        connections = self._temporals.in_use()
        self._store.forget_temporal(connections)
        for gone in {*self.answered, *self.certificates, *self._silent} - {*connections}:
            self.answered.pop(gone, None)
            self.certificates.pop(gone, None)
            self._silent.discard(gone)
        await asyncio.gather(*(self._look(connection) for connection in connections))
        self.finished = asyncio.get_running_loop().time()

    def reachable(self) -> dict[ConnectionKey, bool]:
        """Of each Temporal that was looked at, whether the last look succeeded."""
        return {connection: connection not in self._silent for connection in {*self.answered, *self._silent}}

    async def _look(self, connection: ConnectionKey) -> None:
        try:
            with self._metrics.sweep_seconds.time():
                await self._look_at(connection, await self._temporals.get(connection))
        except TidemillError as error:
            self._metrics.sweeps.labels("failed").inc()
            if self._demand is not None:
                self._demand.silent(connection)
            if connection not in self._silent:
                self._silent.add(connection)
                log.warning("can't look at %s: %s", _named(connection), error)
            return
        self._metrics.sweeps.labels("ok").inc()
        self.answered[connection] = asyncio.get_running_loop().time()
        if connection in self._silent:
            self._silent.discard(connection)
            log.info("%s answers again", _named(connection))
            for view_id in self._store.temporal(connection).pipelines:
                self._notice(view_id)

    async def _look_at(self, connection: ConnectionKey, temporal: Temporal) -> None:
        began = datetime.now(UTC)
        self.certificates[connection] = temporal.target.cert
        entries = [entry async for entry in temporal.list_schedules()]
        first_look = _FIRST_LOOK_AT_TIMES if self._store.anybody_follows() else _FIRST_LOOK
        since = self._since.get(connection, began - first_look)
        runs = [run async for run in temporal.list_runs(since - _OVERLAP)]
        view = self._store.temporal(connection)
        before, found, view.found = view.pipelines, view.found, []
        view.pipelines = fold(before, entries, runs, self._store.keeps_times, found, self._is_counted)
        for pipeline in outdated(before, view.pipelines, view.descriptions):
            self._store.drop_description(connection, pipeline)
        for pipeline in differing(before, view.pipelines, view.descriptions):
            self._notice(pipeline)
        self._measure(before, view.pipelines)
        self._runs_by_hand(view, runs)
        self._since[connection] = began
        view.swept = True
        if self._demand is not None:
            await self._demand.look(connection, temporal, runs)

    def _is_counted(self, pipeline: str, run: RunSeen) -> bool:
        """Whether a run that ended is in the sums of its pipeline's status; of one that isn't known it needn't be."""
        parts = pipeline.split("/")
        known = self._store.get("DataPipeline", parts[1], parts[2]) if len(parts) == 3 else None
        if known is None or (run.pipeline is not None and run.pipeline.uid not in _selves(known)):
            return True
        return is_counted(status_of(known).get("totals"), run)

    def _measure(self, before: Mapping[str, PipelineInTemporal], now: Mapping[str, PipelineInTemporal]) -> None:
        for pipeline, seen in now.items():
            if seen.ended:
                known = {run.run_id for run in before.get(pipeline, _NOTHING).ended}
                for run in seen.ended:
                    if run.run_id not in known:
                        self._metrics.run_ended(run, phase(run), seconds(run))

    def _notice(self, pipeline: str) -> None:
        parts = pipeline.split("/")
        if len(parts) == 3 and self._in_scope(parts[1]):
            for name in (parts[2], *self._store.followers(parts[1], parts[2])):
                self._add(Key("DataPipeline", parts[1], name))

    def _runs_by_hand(self, view: TemporalView, runs: Iterable[RunSeen]) -> None:
        newest: dict[str, RunSeen] = {}
        for run in runs:
            if run.asked_by is not None and run.started >= newest.get(run.workflow_id, run).started:
                newest[run.workflow_id] = run
        for workflow_id, run in newest.items():
            pipeline = pipeline_of_workflow(workflow_id)
            if pipeline is None or view.runs.get(workflow_id) == run or not self._in_scope(pipeline.namespace):
                continue
            view.runs[workflow_id] = run
            self._add(_asked(pipeline, workflow_id))
        for workflow_id in [known for known in view.runs if known not in newest]:
            pipeline = pipeline_of_workflow(workflow_id)
            if pipeline is None or not self._known(_asked(pipeline, workflow_id)):
                del view.runs[workflow_id]

    def _known(self, key: Key) -> bool:
        return self._store.get(key.kind, key.namespace, key.name) is not None


def _selves(manifest: Object) -> tuple[str | None, ...]:
    """Uids under which a pipeline's runs were started: its own, and that of a former self it has taken over from."""
    return manifest["metadata"]["uid"], annotation(manifest, ANNOTATION_ADOPT)


def _asked(pipeline: PipelineId, workflow_id: str) -> Key:
    return Key("DataPipelineRun", pipeline.namespace, workflow_id.rpartition("/")[2])


def _named(connection: ConnectionKey) -> str:
    return "the operator's own Temporal" if connection is None else f"Temporal of {connection[0]}/{connection[1]}"
