"""What is known of the task queues of one Temporal: what is open on them, what waits, and who works. Pure.

A killed worker stays listed for hours, and clocks differ; so a worker counts as living as long as its heartbeat's
time goes on changing, whatever it says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from tidemill_api.names import pipeline_of_workflow
from tidemill_operator.views import QueueBacklog, RunSeen, WorkerListed

_REMEMBERED: Final = 5
"""Runs whose chunks count for what the next one may need."""
SILENT_AFTER: Final = timedelta(seconds=15)
"""A worker tells of itself every few seconds; one that hasn't for so long is gone."""


@dataclass(frozen=True, slots=True)
class WorkerHeard:
    """A worker, and when it was heard of."""

    worker: WorkerListed
    heard: datetime
    """By the operator's clock: when its heartbeat was first seen to be this one."""


WorkersHeard = Mapping[str, tuple[WorkerHeard, ...]]
"""By task queue."""


@dataclass(frozen=True, slots=True)
class Queues:
    """What the last look said."""

    looked: datetime
    open: Mapping[str, int] = field(default_factory=dict[str, int])
    """Open runs and backfills by task queue."""
    in_work: frozenset[str] = frozenset()
    """Task queues on which anything is open, reports to others too."""
    workers: WorkersHeard | None = None
    """Those that live; None: this Temporal doesn't tell."""
    unlisted: str = ""
    """Why it doesn't, in its own words."""
    backlogs: Mapping[str, QueueBacklog] = field(default_factory=dict[str, QueueBacklog])
    """What waits, of queues that were asked for: those in work."""


def peaks(before: Mapping[str, Mapping[str, int]], runs: Iterable[RunSeen]) -> dict[str, dict[str, int]]:
    """Chunks of the last runs that came to something, by pipeline and run id."""
    found = {pipeline: dict(known) for pipeline, known in before.items()}
    for run in sorted((run for run in runs if run.closed is not None), key=lambda run: run.closed or run.started):
        owner = pipeline_of_workflow(run.workflow_id)
        if owner is None or run.result is None or not run.result.chunks:
            continue
        known = found.setdefault(str(owner), {})
        known[run.run_id] = run.result.chunks
        while len(known) > _REMEMBERED:
            del known[next(iter(known))]
    return found


def opened(runs: Iterable[RunSeen], is_run: frozenset[str]) -> tuple[dict[str, int], frozenset[str]]:
    """How many runs are open by task queue (those whose workflow ids are in `is_run`), and the queues in work."""
    still = [run for run in runs if run.closed is None and run.task_queue]
    counts = Counter(run.task_queue for run in still if run.workflow_id in is_run)
    return dict(counts), frozenset(run.task_queue for run in still)


def heard(
    before: WorkersHeard | None, listed: Iterable[WorkerListed], now: datetime
) -> dict[str, tuple[WorkerHeard, ...]]:
    """The living workers by task queue, after a listing."""
    known = {each.worker.key: each for workers in (before or {}).values() for each in workers}
    found: dict[str, list[WorkerHeard]] = defaultdict(list)
    for worker in listed:
        old = known.get(worker.key)
        since = old.heard if old is not None and old.worker.beat == worker.beat else now
        if now - since <= SILENT_AFTER:
            found[worker.task_queue].append(WorkerHeard(worker, since))
    return {queue: tuple(sorted(workers, key=lambda each: each.worker.key)) for queue, workers in found.items()}
