"""What a change of an object would do, by the operator's own decisions. Pure; nothing is asked of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tidemill_api.contract import TemporalAddress
from tidemill_api.names import PipelineId, task_queue
from tidemill_api.v1alpha1 import DataPipelineSpec, WorkerPoolSpec, parse_duration
from tidemill_api.v1alpha1.schedule import Schedule
from tidemill_cli.lint.shape import AnyModel, fit
from tidemill_operator.clients import Settings
from tidemill_operator.pipeline.wish import run_input, schedule_wish, summary
from tidemill_operator.pool.desire import desire
from tidemill_operator.pool.observe import Observed

_SETTINGS: Final = Settings(installation="x", temporal=TemporalAddress(address="x:7233"), image="x")
"""Stand for the operator's: both sides of a comparison have the same."""
Spec = Mapping[str, Any]


def effects(kind: str, name: str, before: Spec | None, after: Spec) -> tuple[str, ...]:
    """What would come of it, a sentence each. `before` is the spec in the cluster, if it is there."""
    match kind:
        case "DataPipeline":
            return tuple(_pipeline(name, before, after))
        case "WorkerPool":
            return tuple(_pool(name, before, after))
        case "DataPipelineRun":
            return tuple(_run(before, after))
        case _:
            return tuple(_connection(before))


def _pipeline(name: str, before: Spec | None, after: Spec) -> Iterator[str]:
    new, old = _read(DataPipelineSpec, after), _read(DataPipelineSpec, before or {})
    if new is None:
        return
    if before is None:
        yield _begins(new.schedule) if new.schedule else "nothing runs until it is run by hand"
        if new.schedule and new.suspend:
            yield "it is suspended: no scheduled run starts"
        return
    if old is None:  # of another version of Tidemill: what it means isn't known here
        return
    yield from _schedule(name, old, new)
    if old.suspend != new.suspend:
        yield "no scheduled run starts any more" if new.suspend else "scheduled runs start again"
    if _of_runs(name, old) != _of_runs(name, new):
        yield "runs that begin from then on go by the new spec; open ones end by the one that they began with"
    if old.worker_pool_ref != new.worker_pool_ref:
        pools = (old.worker_pool_ref.name, new.worker_pool_ref.name)
        yield f"new runs go to the workers of {pools[1]}; open ones stay with those of {pools[0]}"
    tables = {sink.name: _place(sink) for sink in old.sinks}
    for sink in new.sinks:
        if sink.name in tables and tables[sink.name] != _place(sink):
            yield f"sink {sink.name} loads into another place; what is in {tables[sink.name]} stays there"
    for gone in tables.keys() - {sink.name for sink in new.sinks}:
        yield f"sink {gone} is loaded no more; what is in {tables[gone]} stays there"
    yield from _letters(old, new)


def _schedule(name: str, old: DataPipelineSpec, new: DataPipelineSpec) -> Iterator[str]:
    before, after = summary(old.schedule), summary(new.schedule)
    had, has = (each.schedule is not None and each.schedule.names_times for each in (old, new))
    if before == after:
        if had and _hash(name, old) != _hash(name, new):
            yield "its Schedule is brought up to date"
    elif had and has:
        yield f"its Schedule goes from {before} to {after}"
    else:
        if had:
            yield f"its Schedule ({before}) is deleted" + (": it runs by hand only" if new.schedule is None else "")
        if new.schedule is not None:
            yield _begins(new.schedule)
        elif not had:
            yield f"it runs {before} no more, but by hand only"


def _begins(schedule: Schedule) -> str:
    """How a pipeline comes to run by itself."""
    return f"it runs {summary(schedule)}" if schedule.after else f"a Schedule is made: {summary(schedule)}"


def _of_runs(name: str, spec: DataPipelineSpec) -> dict[str, Any]:
    whole = DataPipelineSpec.model_validate(spec.model_dump(mode="json", by_alias=True, exclude_none=True))
    return run_input(PipelineId("x", "x", name), "x", 0, whole)


def _hash(name: str, spec: DataPipelineSpec) -> str:
    wish = schedule_wish(PipelineId("x", "x", name), "x", 0, spec, task_queue("x", "x", spec.worker_pool_ref.name))
    return wish.hash() if wish is not None else ""


def _place(sink: Any) -> str:
    """Where a sink loads, in a few words."""
    return f"{sink.connection} {sink.target}"


def _letters(old: DataPipelineSpec, new: DataPipelineSpec) -> Iterator[str]:
    spans = (old.dead_letter.retention, new.dead_letter.retention)
    if spans[0] != spans[1] and parse_duration(spans[1]) < parse_duration(spans[0]):
        yield f"dead letters older than {spans[1]} are removed"


def _pool(name: str, before: Spec | None, after: Spec) -> Iterator[str]:
    replicas, range_ = after.get("replicas", 1), _scaled(after)
    if before is None:
        workers = f"its workers follow its work ({range_})" if range_ else f"{replicas} worker{_s(replicas)} start"
        yield f"{workers}, with a NetworkPolicy and a ServiceAccount"
        return
    old, new = _children(name, before, 0), _children(name, after, 1)
    if not old or not new:
        return
    deployments = old["Deployment"]["spec"], new["Deployment"]["spec"]
    if deployments[0]["template"] != deployments[1]["template"]:
        why = "their configuration" if old["ConfigMap"]["data"] != new["ConfigMap"]["data"] else "their pods' template"
        yield f"its workers roll: {why} changes; what they are at is handed on or tried again"
    if range_ != _scaled(before):
        yield f"its workers follow its work ({range_})" if range_ else f"it stays at {replicas} worker{_s(replicas)}"
    elif not range_ and deployments[0]["replicas"] != deployments[1]["replicas"]:
        yield f"it goes from {deployments[0]['replicas']} to {deployments[1]['replicas']} workers"
    if old["NetworkPolicy"]["spec"] != new["NetworkPolicy"]["spec"]:
        yield "where its workers may connect to changes"


def _scaled(spec: Spec) -> str:
    """Between how many workers the operator decides; empty if `replicas` is their number."""
    scaling = read.scaling if (read := _read(WorkerPoolSpec, spec)) is not None else None
    return f"{scaling.min_replicas} to {scaling.max_replicas}" if scaling is not None and scaling.acts else ""


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _children(name: str, spec: Spec, generation: int) -> dict[str, Any]:
    """The children of a pool by kind, as the operator would make them; none for a spec that it would refuse."""
    metadata = {"name": name, "namespace": "x", "uid": f"diff-{name}", "generation": generation}
    read = _read(WorkerPoolSpec, spec)
    if read is None:
        return {}
    checked = read.model_dump(mode="json", by_alias=True, exclude_none=True)
    manifest = {"metadata": metadata, "spec": checked}
    observed = Observed(manifest, None, connection=None, has_ca=False, trouble=None, children={}, pipelines=())
    return {child["kind"]: child for child in desire(observed, _SETTINGS).children}


def _read(model: type[AnyModel], spec: Spec) -> AnyModel | None:
    """A spec less what isn't known here; None if it doesn't fit."""
    return fit(model, spec)[0]


def _run(before: Spec | None, after: Spec) -> Iterator[str]:
    if before is not None:
        yield "the API server refuses it: a run's spec can't be changed, make another DataPipelineRun"
        return
    pipeline = (after.get("pipelineRef") or {}).get("name", "")
    what = "rejected rows are run again" if after.get("replay") else "a run starts"
    yield f"{what}, of the pipeline {pipeline}"


def _connection(before: Spec | None) -> Iterator[str]:
    if before is not None:
        yield "the workers of pools that name it roll, and their pipelines' Schedules are reached by it"
