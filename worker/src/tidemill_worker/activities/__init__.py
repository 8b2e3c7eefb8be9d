"""What Temporal runs on this worker: thin, one file an activity. They call the metastore and the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidemill_worker.activities.backfill import Backfills
from tidemill_worker.activities.begin import Begin
from tidemill_worker.activities.finish import Finish
from tidemill_worker.activities.load_chunk import LoadChunk
from tidemill_worker.activities.notify import Notify
from tidemill_worker.activities.plan import Plan
from tidemill_worker.activities.publish import Publish
from tidemill_worker.activities.resources import Resources
from tidemill_worker.activities.trace import Trace

__all__ = ["Resources", "all_activities"]


def all_activities(resources: Resources) -> list[Callable[..., Any]]:
    """The activities of the workflows."""
    backfills, notify = Backfills(resources), Notify(resources)
    return [
        backfills.backfill_size,
        backfills.backfill_times,
        Begin(resources).begin,
        Plan(resources).plan,
        LoadChunk(resources).load_chunk,
        Publish(resources).publish,
        Finish(resources).finish,
        notify.draft_notifications,
        notify.notify,
        Trace(resources).trace,
    ]
