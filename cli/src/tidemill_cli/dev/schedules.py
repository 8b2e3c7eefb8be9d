"""The pipelines' Schedules on the embedded Temporal: the same as a cluster's operator makes."""

from __future__ import annotations

from tidemill_api.names import ANNOTATION_PAUSED
from tidemill_cli.dev.layout import INSTALLATION, Layout, Pipeline
from tidemill_operator.adapters.temporal import TemporalClient
from tidemill_operator.pipeline.pause import OURS, wished_pause
from tidemill_operator.pipeline.wish import schedule_wish, summary
from tidemill_operator.views import TemporalTarget

_SHOWN = 3


class Schedules:
    """Makes and removes Schedules."""

    def __init__(self, address: str) -> None:
        """They are on the Temporal at the address."""
        self._temporal = TemporalClient(TemporalTarget(address), INSTALLATION, lambda _call, _outcome, _seconds: None)

    async def clear(self) -> None:
        """Remove what an earlier session has made, so that nothing starts by itself until `apply`."""
        async for entry in self._temporal.list_schedules():
            await self._temporal.delete_schedule(entry.id)

    async def follow(self, layout: Layout) -> None:
        """Start the runs of pipelines that follow others when they are due, until cancelled."""
        if any(each.spec.schedule is not None and each.spec.schedule.after for each in layout.pipelines):
            from tidemill_cli.dev.followers import Followers

            await Followers(self._temporal, layout).keep_starting()

    async def apply(self, layout: Layout) -> list[str]:
        """Make the Schedules; returns a line about each pipeline."""
        return [f"{each.id.namespace}/{each.id.name}: {await self._apply(each)}" for each in layout.pipelines]

    async def _apply(self, pipeline: Pipeline) -> str:
        wish = schedule_wish(pipeline.id, pipeline.uid, 0, pipeline.spec, pipeline.pool.task_queue)
        if pipeline.spec.schedule is not None and pipeline.spec.schedule.after:
            return f"runs {summary(pipeline.spec.schedule)}" + (", but suspended" if pipeline.spec.suspend else "")
        if wish is None:
            return "no schedule, so it has run once"
        annotation = pipeline.manifest.object.metadata.annotations.get(ANNOTATION_PAUSED)
        pause = wished_pause(suspend=pipeline.spec.suspend, annotation=annotation)
        seen = await self._temporal.create_schedule(wish, paused=pause is not None, note=pause.note if pause else "")
        if pause is not None:
            return f"{summary(pipeline.spec.schedule)}, but {pause.note.removeprefix(OURS)}"
        times = ", ".join(f"{moment:%Y-%m-%d %H:%M:%S} UTC" for moment in seen.next_runs[:_SHOWN])
        return f"runs {summary(pipeline.spec.schedule)}, next at {times or 'no time any more'}"
