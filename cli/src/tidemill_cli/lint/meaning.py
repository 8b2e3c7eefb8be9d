"""What the operator would say of the manifests: each by itself, and each against the others that are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tidemill_api import conditions
from tidemill_api.v1alpha1 import DataPipeline, DataPipelineRun, WorkerPool
from tidemill_check.columns import check_columns
from tidemill_check.cron import CalendarError, parse_cron
from tidemill_check.following import circle
from tidemill_check.parameters import check_parameters
from tidemill_check.problem import Problem, suggestion
from tidemill_check.queries import queries_missing
from tidemill_check.stages import cut, shown, whole_field, whole_steps
from tidemill_check.verdict import check_against_pool, check_pipeline, check_pool
from tidemill_cli.lint.finding import Finding
from tidemill_cli.lint.functions import functions
from tidemill_cli.manifests import Manifest, Manifests, Place


def check_manifests(manifests: Manifests, *, to_run: bool = False) -> tuple[Finding, ...]:
    """All findings, those of text and schema included, in the order of files, lines and columns.

    `to_run`: a query that stands in a ConfigMap which isn't here is an error, not only a note.
    """
    found = {
        *manifests.findings,
        *_nothing(manifests),
        *(finding for pool in manifests.pools for finding in _of(pool.place, check_pool(pool.object.spec))),
        *(finding for pipeline in manifests.pipelines for finding in _pipeline(pipeline, manifests)),
        *(finding for pipeline in manifests.pipelines for finding in _queries(pipeline, manifests, to_run=to_run)),
        *(finding for run in manifests.runs for finding in _run(run, manifests)),
    }
    order = {file: place for place, file in enumerate(manifests.files)}
    return tuple(sorted(found, key=lambda one: (order.get(one.file, len(order)), one.line, one.column, one)))


def _nothing(manifests: Manifests) -> Iterator[Finding]:
    kinds = (manifests.pipelines, manifests.pools, manifests.runs, manifests.connections, manifests.broken)
    if not any(kinds) and not manifests.findings:
        file = manifests.files[0] if len(manifests.files) == 1 else Path()
        yield Finding(file, 1, 1, "", "there is nothing of Tidemill's kinds (tidemill.dev/v1alpha1) here", "warning")


def _of(place: Place, problems: tuple[Problem, ...]) -> Iterator[Finding]:
    for problem in problems:
        yield place.finding(problem.field, problem.message, reason=problem.reason)


def _pipeline(pipeline: Manifest[DataPipeline], manifests: Manifests) -> Iterator[Finding]:
    spec, metadata, place = pipeline.object.spec, pipeline.object.metadata, pipeline.place
    problems = check_pipeline(spec)
    yield from _of(place, problems or check_columns(spec))
    yield from _traps(pipeline)
    yield from functions(pipeline)
    yield from _after(pipeline, manifests)
    if not problems:
        yield from _stages(pipeline)
    name = spec.worker_pool_ref.name
    pool = _pool(name, metadata.namespace, manifests)
    if pool is not None:
        yield from _of(place, check_against_pool(spec, pool.spec, metadata.labels))
    elif ("WorkerPool", metadata.namespace, name) not in manifests.broken:
        known = [
            one.object.metadata.name for one in manifests.pools if one.object.metadata.namespace == metadata.namespace
        ]
        elsewhere = sorted(
            {one.object.metadata.namespace for one in manifests.pools if one.object.metadata.name == name}
        )
        hint = f"; there is one in the namespace {elsewhere[0]}" if elsewhere else suggestion(name, known)
        message = (
            f"no WorkerPool {name} of the namespace {metadata.namespace} is here{hint}; connections were not checked"
        )
        yield place.finding("spec.workerPoolRef.name", message, "note", conditions.WAITING_FOR_POOL)


def _queries(pipeline: Manifest[DataPipeline], manifests: Manifests, *, to_run: bool) -> Iterator[Finding]:
    """Queries that stand in ConfigMaps which aren't here."""
    namespace = pipeline.object.metadata.namespace
    known = {name: data for (where, name), data in manifests.config_maps.items() if where == namespace}
    for problem in queries_missing(pipeline.object.spec, known):
        message = problem.message.replace(" in this namespace (yet)", f" of the namespace {namespace} here")
        if to_run:
            yield pipeline.place.finding(problem.field, message, reason=problem.reason)
        else:
            yield pipeline.place.finding(problem.field, f"{message}; the query was not checked", "note", problem.reason)


def _traps(pipeline: Manifest[DataPipeline]) -> Iterator[Finding]:
    """What is right and may still not be meant."""
    schedule = pipeline.object.spec.schedule
    for index, cron in enumerate(schedule.crons if schedule else ()):
        try:
            both = parse_cron(cron).days_meet()
        except CalendarError:
            continue  # said already
        if both:
            message = f"{cron!r} runs when both day of month and day of week match; Unix' cron runs when either does"
            yield pipeline.place.finding(f"spec.schedule.crons[{index}]", message, "warning")


def _after(pipeline: Manifest[DataPipeline], manifests: Manifests) -> Iterator[Finding]:
    """The pipelines that one follows: whether they are here, have times, and don't follow it in turn."""
    schedule, metadata = pipeline.object.spec.schedule, pipeline.object.metadata
    if schedule is None or not schedule.after:
        return
    here = {
        one.object.metadata.name: one.object.spec.schedule
        for one in manifests.pipelines
        if one.object.metadata.namespace == metadata.namespace
    }

    def followed(name: str) -> tuple[str, ...]:
        found = here.get(name)
        return found.predecessors if found is not None else ()

    if way := circle(metadata.name, followed):
        message = f"the pipelines follow each other in a circle ({' -> '.join(way)}): none can start"
        yield pipeline.place.finding("spec.schedule.after", message, reason=conditions.INVALID_SCHEDULE)
    for index, name in enumerate(schedule.predecessors):
        field = f"spec.schedule.after[{index}].pipelineRef.name"
        if name in here and here[name] is None:
            message = f"the DataPipeline {name} has no schedule, so its runs are for no times, and none starts this one"
            yield pipeline.place.finding(field, message, "warning")
        elif name not in here and ("DataPipeline", metadata.namespace, name) not in manifests.broken:
            hint = suggestion(name, [known for known in here if known != metadata.name])
            message = f"no DataPipeline {name} of the namespace {metadata.namespace} is here{hint}"
            yield pipeline.place.finding(field, message, "note", conditions.WAITING_FOR_PIPELINE)


def _stages(pipeline: Manifest[DataPipeline]) -> Iterator[Finding]:
    """What is no single pass over the rows: it costs a place for them, and time."""
    spec = pipeline.object.spec
    whole = whole_steps(spec)
    waves = "; then ".join(shown(cut(spec))) if whole else ""
    for index, step in enumerate(spec.steps):
        if step.name in whole:
            message = f"is over all rows ({whole[step.name][0]}), a stage of its own: {waves}"
            yield pipeline.place.finding(f"spec.steps[{index}].{whole_field(step)}", message, "note")


def _run(run: Manifest[DataPipelineRun], manifests: Manifests) -> Iterator[Finding]:
    spec, namespace, place = run.object.spec, run.object.metadata.namespace, run.place
    name = spec.pipeline_ref.name
    here = [one.object for one in manifests.pipelines if one.object.metadata.namespace == namespace]
    pipeline = next((one for one in here if one.metadata.name == name), None)
    if pipeline is not None:
        yield from _of(place, check_parameters(pipeline.spec, spec.parameters))
    elif ("DataPipeline", namespace, name) not in manifests.broken:
        hint = suggestion(name, [one.metadata.name for one in here])
        message = f"no DataPipeline {name} of the namespace {namespace} is here{hint}; parameters were not checked"
        yield place.finding("spec.pipelineRef.name", message, "note", conditions.WAITING_FOR_PIPELINE)


def _pool(name: str, namespace: str, manifests: Manifests) -> WorkerPool | None:
    here = (one.object for one in manifests.pools if one.object.metadata.namespace == namespace)
    return next((one for one in here if one.metadata.name == name), None)
