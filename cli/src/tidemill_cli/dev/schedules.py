"""The pipelines' Schedules on the embedded Temporal: the same as a cluster's operator makes."""

from __future__ import annotations

from tidemill_cli.dev.layout import INSTALLATION, Layout, Pipeline
from tidemill_operator.adapters.temporal import TemporalClient
from tidemill_operator.pipeline.wish import schedule_wish, summary
from tidemill_operator.views import TemporalTarget

_SUSPENDED = "spec.suspend is true"
_SHOWN = 3


class Schedules:
    """Makes and removes Schedules."""

    def __init__(self, address: str) -> None:
        """They are on the Temporal at the address."""
        self._temporal = TemporalClient(TemporalTarget(address), INSTALLATION, lambda _call, _outcome: None)

    async def clear(self) -> None:
        """Remove what an earlier session has made, so that nothing starts by itself until `apply`."""
        async for entry in self._temporal.list_schedules():
            await self._temporal.delete_schedule(entry.id)

    async def apply(self, layout: Layout) -> list[str]:
        """Make the Schedules; returns a line about each pipeline."""
        return [f"{each.id.namespace}/{each.id.name}: {await self._apply(each)}" for each in layout.pipelines]

    async def _apply(self, pipeline: Pipeline) -> str:
        wish = schedule_wish(pipeline.id, pipeline.uid, 0, pipeline.spec, pipeline.pool.task_queue)
        if wish is None:
            return "no schedule, so it has run once"
        suspended = pipeline.spec.suspend
        seen = await self._temporal.create_schedule(wish, paused=suspended, note=_SUSPENDED if suspended else "")
        if suspended:
            return f"suspended ({summary(pipeline.spec.schedule)})"
        times = ", ".join(f"{moment:%Y-%m-%d %H:%M:%S} UTC" for moment in seen.next_runs[:_SHOWN])
        return f"runs {summary(pipeline.spec.schedule)}, next at {times or 'no time any more'}"
