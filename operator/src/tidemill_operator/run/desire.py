"""What a run by hand asks for: one workflow, that of a run or of a backfill. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidemill_api.conditions import WAITING_FOR_PIPELINE, WAITING_FOR_POOL
from tidemill_api.contract import ScheduleMemo
from tidemill_api.names import BACKFILL_WORKFLOW, WORKFLOW, PipelineId, task_queue
from tidemill_api.v1alpha1 import DataPipelineRunSpec, DataPipelineSpec
from tidemill_check.backfill import check_backfill
from tidemill_check.parameters import check_parameters
from tidemill_operator.clients import Object, Settings
from tidemill_operator.pipeline.desire import read_pipeline
from tidemill_operator.pipeline.wish import backfill_input, memo_of, run_input
from tidemill_operator.reading import is_going, read_spec
from tidemill_operator.run.observe import Observed
from tidemill_operator.standing import Standing, verdict, waits


@dataclass(frozen=True, slots=True)
class Start:
    """How the run is started."""

    task_queue: str
    input: dict[str, Any]
    pipeline: ScheduleMemo
    workflow: str = WORKFLOW


@dataclass(frozen=True, slots=True)
class Desired:
    """A run's wishes."""

    pipeline: PipelineId
    workflow_id: str
    start: Start | None
    """None: it can't be started (`blocked` says why), or need not be."""
    blocked: Standing | None = None


def desire(observed: Observed, settings: Settings) -> Desired:
    """What is wished of Temporal for a run."""
    metadata = observed.manifest["metadata"]
    pipeline = PipelineId(
        settings.installation, metadata["namespace"], observed.manifest["spec"]["pipelineRef"]["name"]
    )
    workflow_id = pipeline.workflow(metadata["name"])
    if observed.ended or observed.going or observed.run is not None or observed.lost or observed.cancelled:
        return Desired(pipeline, workflow_id, None)
    start = _start(observed, pipeline, settings)
    if isinstance(start, Standing):
        return Desired(pipeline, workflow_id, None, start)
    return Desired(pipeline, workflow_id, start)


def _start(observed: Observed, pipeline: PipelineId, settings: Settings) -> Start | Standing:
    field = f"spec.pipelineRef.name: the DataPipeline {pipeline.name}"
    manifest, pool = observed.pipeline, observed.pool
    if manifest is None:
        return waits(WAITING_FOR_PIPELINE, f"{field} isn't in this namespace (yet)")
    if is_going(manifest):
        return waits(WAITING_FOR_PIPELINE, f"{field} is being deleted")
    if pool is None or is_going(pool):
        where = manifest["spec"]["workerPoolRef"]["name"]
        return waits(WAITING_FOR_POOL, f"{field} waits for its WorkerPool {where}")
    spec = read_spec(DataPipelineSpec, observed.queries.into(manifest))
    problems = read_pipeline(manifest, pool, settings, observed.queries).problems
    if isinstance(spec, tuple) or problems:
        return waits(WAITING_FOR_PIPELINE, f"{field} must be mended first: {'; '.join(map(str, problems))}")
    return _start_of(observed, manifest, spec, pipeline, settings)


def _start_of(
    observed: Observed, manifest: Object, spec: DataPipelineSpec, pipeline: PipelineId, settings: Settings
) -> Start | Standing:
    asked = read_spec(DataPipelineRunSpec, observed.manifest)
    if isinstance(asked, tuple):
        return verdict(asked)
    refused = check_backfill(spec, asked.backfill) if asked.backfill is not None else ()
    if problems := (*check_parameters(spec, asked.parameters), *refused):
        return verdict(problems)
    uid = manifest["metadata"]["uid"]
    order = run_input(
        pipeline,
        uid,
        manifest["metadata"].get("generation", 0),
        spec,
        run_key=asked.run_key or observed.manifest["metadata"]["name"],
        parameters=asked.parameters,
        trigger="Manual",
        replay=asked.replay,
    )
    return Start(
        task_queue=task_queue(settings.installation, pipeline.namespace, spec.worker_pool_ref.name),
        input=order if asked.backfill is None else backfill_input(order, asked.backfill),
        pipeline=memo_of(pipeline, uid),
        workflow=WORKFLOW if asked.backfill is None else BACKFILL_WORKFLOW,
    )
