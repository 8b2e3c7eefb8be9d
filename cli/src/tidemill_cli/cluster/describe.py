"""One object in full, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from tidemill_cli.cluster.kubectl import Object
from tidemill_cli.cluster.overview import standing
from tidemill_cli.cluster.runs import Run, parameters_of, run_of
from tidemill_cli.cluster.tell import ago, count, took

_MOST_RUNS = 10
_MOST_EVENTS = 8


def describe(manifest: Object, runs: Sequence[Run], events: Sequence[Object], now: datetime) -> Iterator[str]:
    """Lines about a pipeline, a pool, a connection or a run."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    age = ago(metadata["creationTimestamp"], now)
    yield f"{manifest['kind']} {metadata['namespace']}/{metadata['name']}, made {age} ago"
    match manifest["kind"]:
        case "DataPipelineRun":
            yield from _run(run_of(manifest), manifest, now)
        case kind:
            told = standing(manifest)
            yield f"State: {told.state}{f' ({told.reason})' if told.reason else ''}"
            yield from {"DataPipeline": _pipeline, "WorkerPool": _pool}.get(kind, _connection)(manifest)
    yield from ("", "Conditions:")
    for each in status.get("conditions") or ():
        since = ago(each["lastTransitionTime"], now)
        yield f"  {each['type']}={each['status']} ({each['reason']}, for {since}): {each.get('message', '')}"
    if runs:
        yield from ("", "Runs:")
    for run in runs[:_MOST_RUNS]:
        yield f"  {_one_line(run, now)}"
    if events:
        yield from ("", "Events:")
    for event in sorted(events, key=_when, reverse=True)[:_MOST_EVENTS]:
        yield f"  {ago(_when(event), now)} ago, {event.get('type')} {event.get('reason')}: {_note(event)}"


def _pipeline(manifest: Object) -> Iterator[str]:
    spec, status = manifest["spec"], manifest.get("status") or {}
    yield f"Pool: {spec['workerPoolRef']['name']}"
    yield f"Schedule: {status.get('scheduleSummary', 'not known yet')}"
    if following := status.get("nextRuns"):
        yield f"Next runs: {', '.join(following)}"
    for each in (status.get("after") or {}).get("waiting") or ():
        yield f"Waits to run for {each['key']}: {', '.join(each['waitsFor'])}"
    if missed := status.get("missedRuns"):
        yield f"Missed runs: {missed} (not started within spec.schedule.catchupWindow)"
    if paused := status.get("paused"):
        yield f"Paused by {paused['by']}: {paused.get('note') or 'no reason given'}"
    yield f"Reads: {', '.join(each['name'] for each in spec['sources'])}"
    yield f"Loads: {', '.join(_sink(each) for each in spec['sinks'])}"
    for each in spec.get("parameters") or ():
        default = f", default {each['default']}" if "default" in each else ", required"
        yield f"Parameter {each['name']}: {each.get('type', 'string')}{default}"
    if drift := (status.get("schedule") or {}).get("driftRepaired"):
        yield f"Changes made elsewhere and put right: {drift}"


def _sink(sink: dict[str, Any]) -> str:
    return f"{sink['postgres']['table']} ({sink['writeDisposition']})" if "postgres" in sink else str(sink["name"])


def _pool(manifest: Object) -> Iterator[str]:
    spec, status = manifest["spec"], manifest.get("status") or {}
    yield f"Workers: {status.get('readyReplicas', 0)} ready of {status.get('desiredReplicas', spec.get('replicas', 1))}"
    if scaling := status.get("scaling"):
        yield f"Scaling: {scaling['reason']}: {scaling['message']}"
    yield f"Pipelines: {status.get('pipelines', 0)}"
    yield f"Connections: {', '.join(each['name'] for each in spec['connections'])}"
    yield f"Task queue: {status.get('taskQueue', 'not known yet')}"


def _connection(manifest: Object) -> Iterator[str]:
    yield f"Address: {manifest['spec']['address']}"


def _run(run: Run, manifest: Object, now: datetime) -> Iterator[str]:
    yield f"Pipeline: {manifest['spec']['pipelineRef']['name']}"
    yield f"Result: {_one_line(run, now)}"
    for name, value in parameters_of(manifest).items():
        yield f"Parameter {name}: {value}"
    if progress := (manifest.get("status") or {}).get("backfill"):
        yield from _backfill(progress)
    if workflow := run.told.get("workflowId"):
        yield f"Workflow: {workflow}"


def _backfill(progress: Object) -> Iterator[str]:
    numbers = (
        f"{progress[name]} {name}" for name in ("succeeded", "failed", "skipped", "running") if progress.get(name)
    )
    yield f"Backfill: {progress.get('total', '?')} runs: {', '.join(numbers) or 'none yet'}"
    if following := progress.get("next"):
        yield f"Next: {following}"
    if failed := progress.get("failedKeys"):
        yield f"First that failed: {', '.join(failed)}"


def _one_line(run: Run, now: datetime) -> str:
    rows = [
        f"{count(run.told[field])} {word}"
        for field, word in (("rowsRead", "read"), ("rowsLoaded", "loaded"), ("rowsRejected", "rejected"))
        if field in run.told
    ]
    spent = f"in {took(run.told, now)}" if run.told.get("startedAt") else ""
    words = filter(None, (f"{run.key} {run.result}", spent, ", ".join(rows), run.message))
    return "; ".join(words)


def _when(event: Object) -> str:
    series = event.get("series") or event.get("deprecatedLastTimestamp")
    last = series.get("lastObservedTime") if isinstance(series, dict) else series
    return str(last or event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _note(event: Object) -> str:
    return str(event.get("note") or event.get("message") or "")
