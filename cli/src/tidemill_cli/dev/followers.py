"""Pipelines that follow others, on the embedded Temporal: started as a cluster's operator starts them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tidemill_check.following import beginnings, due, widest
from tidemill_cli.dev.layout import Layout, Pipeline
from tidemill_operator.adapters.temporal import TemporalClient
from tidemill_operator.clients import PipelineInTemporal
from tidemill_operator.pipeline.wish import NAMES_TIMES, memo_of, run_input
from tidemill_operator.sweep import fold

_SWEEP_SECONDS: Final = 1.0
_LAG: Final = timedelta(minutes=1)
"""Listings lag a little behind."""


class Followers:
    """Starts the runs that are due since it was made."""

    def __init__(self, temporal: TemporalClient, layout: Layout) -> None:
        """Those of the layout that aren't suspended."""
        self._temporal = temporal
        self._pipelines = {str(each.id): each for each in layout.pipelines}
        self._following = [each for each in layout.pipelines if self._names(each) and not each.spec.suspend]
        self._since = datetime.now(UTC)

    async def keep_starting(self) -> None:
        """Start what is due, for ever; ends at once if no pipeline follows another."""
        seen: dict[str, PipelineInTemporal] = {}
        looked = self._since
        while self._following:
            before, looked = looked, datetime.now(UTC)
            runs = [run async for run in self._temporal.list_runs(before - _LAG)]
            seen = fold(seen, (), runs, lambda _: True)
            for pipeline in self._following:
                await self._start(pipeline, seen)
            await asyncio.sleep(_SWEEP_SECONDS)

    async def _start(self, pipeline: Pipeline, seen: dict[str, PipelineInTemporal]) -> None:
        def times(name: str) -> dict[str, str]:
            return dict(seen.get(self._id(pipeline, name), PipelineInTemporal()).times)

        names = self._names(pipeline)
        schedules = [self._times(self._id(pipeline, name)) for name in beginnings(names, self._followed(pipeline))]
        since = self._since.strftime("%Y-%m-%dT%H:%M:%SZ")
        for key in due(times(pipeline.id.name), map(times, names), since):
            order = run_input(pipeline.id, pipeline.uid, 0, pipeline.spec, run_key=key, parameters=pipeline.given)
            await self._temporal.start_run(
                pipeline.id.scheduled_run(key),
                pipeline.pool.task_queue,
                {**order, "schedule": widest(key, [each for each in schedules if each])},
                memo_of(pipeline.id, pipeline.uid),
                None,
            )

    def _id(self, of: Pipeline, name: str) -> str:
        return f"{of.id.installation}/{of.id.namespace}/{name}"

    def _followed(self, of: Pipeline) -> Callable[[str], tuple[str, ...]]:
        return lambda name: self._names(self._pipelines.get(self._id(of, name)))

    def _names(self, pipeline: Pipeline | None) -> tuple[str, ...]:
        schedule = pipeline.spec.schedule if pipeline is not None else None
        return schedule.predecessors if schedule is not None else ()

    def _times(self, pipeline: str) -> dict[str, Any] | None:
        found = self._pipelines.get(pipeline)
        schedule = found.spec.schedule if found is not None else None
        told = schedule.to_json() if schedule is not None else {}
        return {name: value for name, value in told.items() if name in NAMES_TIMES} or None
