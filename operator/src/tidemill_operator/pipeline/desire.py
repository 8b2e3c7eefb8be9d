"""What a pipeline asks for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tidemill_api.conditions import WAITING_FOR_POOL
from tidemill_api.names import ANNOTATION_ADOPT, ANNOTATION_PAUSED, PipelineId, task_queue
from tidemill_api.v1alpha1 import DataPipelineSpec, WorkerPoolSpec
from tidemill_check.problem import Problem
from tidemill_check.queries import queries_missing
from tidemill_check.verdict import check_against_pool, check_pipeline
from tidemill_operator.actions import ScheduleWish, StartRun
from tidemill_operator.clients import Object, Settings
from tidemill_operator.pipeline.following import obstacle
from tidemill_operator.pipeline.observe import Observed
from tidemill_operator.pipeline.pause import Pause, wished_pause
from tidemill_operator.pipeline.queries import Queries
from tidemill_operator.pipeline.wish import memo_of, run_input, schedule_wish, summary
from tidemill_operator.reading import Memory, annotation, is_going, read_spec
from tidemill_operator.standing import Standing, verdict, waits


@dataclass(frozen=True, slots=True)
class Reading:
    """All that a pipeline's spec says together with its pool's, read once a generation."""

    wish: ScheduleWish | None
    """The Schedule; None: by hand only, or the spec is wrong."""
    wish_hash: str
    """Of the wish; empty without one."""
    problems: tuple[Problem, ...]
    summary: str
    described: str
    """What the spec comes to, in a sentence."""
    start: StartRun | None = None
    """Of a pipeline that follows others: its run, without a key and a place."""


_READINGS: Final = Memory[Reading]()
"""A resync of unchanged pipelines reads none of them again."""
_POOLS: Final = Memory[WorkerPoolSpec | tuple[Problem, ...]]()
"""A pool with a thousand pipelines is read once."""


@dataclass(frozen=True, slots=True)
class Desired:
    """A pipeline's wishes."""

    pipeline: PipelineId
    reading: Reading
    pause: Pause | None
    """The pause that the manifest asks for."""
    blocked: Standing | None
    """Why the wish can't be carried out: problems of the spec, or a pool that isn't there."""
    adopted: str | None
    """uid of a former self whose Schedule may be taken over."""


def desire(observed: Observed, settings: Settings) -> Desired:
    """What is wished of Temporal for a pipeline."""
    manifest = observed.manifest
    metadata = manifest["metadata"]
    reading = read_pipeline(manifest, observed.pool, settings, observed.queries)
    return Desired(
        pipeline=PipelineId(settings.installation, metadata["namespace"], metadata["name"]),
        reading=reading,
        pause=wished_pause(
            suspend=manifest["spec"].get("suspend") is True, annotation=annotation(manifest, ANNOTATION_PAUSED)
        ),
        blocked=_blocked(observed, reading),
        adopted=annotation(manifest, ANNOTATION_ADOPT),
    )


def read_pipeline(manifest: Object, pool: Object | None, settings: Settings, queries: Queries) -> Reading:
    """What a pipeline says, together with its pool and ConfigMaps; remembered until one of them changes."""
    metadata = manifest["metadata"]
    version = (settings.installation, _version(manifest), _version(pool), metadata.get("labels"), queries)
    return _READINGS.get(metadata["uid"], version, lambda: _read(manifest, pool, settings.installation, queries))


def _blocked(observed: Observed, reading: Reading) -> Standing | None:
    kept = observed.here is not None and observed.here.schedule is not None
    after = "; the Schedule goes on with the last valid spec until this is mended" if kept else ""
    if any(problem.terminal for problem in reading.problems):
        return verdict(reading.problems, after)
    pool = observed.manifest["spec"]["workerPoolRef"]["name"]
    if observed.pool is None:
        return waits(
            WAITING_FOR_POOL, f"spec.workerPoolRef.name: there is no WorkerPool {pool} in this namespace (yet)"
        )
    if is_going(observed.pool):
        return waits(WAITING_FOR_POOL, f"spec.workerPoolRef.name: the WorkerPool {pool} is being deleted")
    if reading.problems:
        return verdict(reading.problems, after)
    return obstacle(observed.following) if observed.following is not None else None


def _version(manifest: Object | None) -> tuple[str, str, int] | None:
    if manifest is None:
        return None
    metadata = manifest["metadata"]
    return metadata["name"], metadata["uid"], metadata.get("generation", 0)


def _read(manifest: Object, pool: Object | None, installation: str, queries: Queries) -> Reading:
    spec = read_spec(DataPipelineSpec, queries.into(manifest))
    if isinstance(spec, tuple):
        return Reading(None, "", spec, "", "")
    metadata = manifest["metadata"]
    missing = queries_missing(spec, queries.known)
    problems = (*missing, *check_pipeline(spec), *_against_pool(spec, pool, metadata.get("labels") or {}))
    told = summary(spec.schedule)
    where = spec.worker_pool_ref.name
    if problems or spec.schedule is None:
        return Reading(None, "", problems, told, f"Runs by hand only, on the WorkerPool {where}.")
    pipeline = PipelineId(installation, metadata["namespace"], metadata["name"])
    queue = task_queue(installation, metadata["namespace"], where)
    if spec.schedule.after:
        order = run_input(pipeline, metadata["uid"], metadata.get("generation", 0), spec)
        start = StartRun(None, "", queue, order, memo_of(pipeline, metadata["uid"]), None)
        return Reading(None, "", (), told, f"Runs {told}, on the WorkerPool {where}.", start)
    wish = schedule_wish(pipeline, metadata["uid"], metadata.get("generation", 0), spec, queue)
    return Reading(wish, wish.hash() if wish else "", (), told, f"Runs {told}, on the WorkerPool {where}.")


def _against_pool(spec: DataPipelineSpec, pool: Object | None, labels: dict[str, str]) -> tuple[Problem, ...]:
    if pool is None:
        return ()
    pool_spec = _POOLS.get(pool["metadata"]["uid"], _version(pool), lambda: read_spec(WorkerPoolSpec, pool))
    if isinstance(pool_spec, tuple):
        faults = "; ".join(str(problem) for problem in pool_spec)
        name = spec.worker_pool_ref.name
        return (
            Problem("spec.workerPoolRef.name", WAITING_FOR_POOL, f"the WorkerPool {name} is invalid: {faults}", False),
        )
    return check_against_pool(spec, pool_spec, labels)
