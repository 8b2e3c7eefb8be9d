"""What a person can ask for: a run, a pause, a cancellation, a run once more. Each is a write to the Kubernetes API."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from tidemill_cli.cluster.kubectl import GROUP, ClusterError, Kubectl, Object
from tidemill_cli.cluster.runs import OPEN, Run, failed, parameters_of, run_of, runs_of

PAUSED: Final = f"{GROUP}/paused"
CANCEL: Final = f"{GROUP}/cancel"
_LONGEST_NAME: Final = 253
_TRIES: Final = 10
"""So often a change is tried anew that others came before: an operator writes to a busy pipeline every few seconds."""


def parameters(pipeline: Object, given: Sequence[str]) -> dict[str, str]:
    """`name=value` texts as parameters. Raises ClusterError for one that the pipeline doesn't declare."""
    declared = [each["name"] for each in pipeline["spec"].get("parameters") or ()]
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ClusterError(f"--param {text}: write it as NAME=VALUE")
        if name not in declared:
            has = f"it has {', '.join(declared)}" if declared else "it has none"
            raise ClusterError(f"--param {text}: the pipeline declares no parameter {name}; {has}")
        found[name] = value
    return found


def new_run(
    pipeline: str,
    values: Mapping[str, Any],
    now: datetime,
    *,
    name: str = "",
    run_key: str | None = None,
    backfill: Mapping[str, Any] | None = None,
) -> Object:
    """A DataPipelineRun. Without a name it has the pipeline's, the time and a few letters, as no key comes twice."""
    suffix = f"-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    spec: dict[str, Any] = {"pipelineRef": {"name": pipeline}}
    if run_key is not None:
        spec["runKey"] = run_key
    if values:
        spec["parameters"] = dict(values)
    if backfill is not None:
        spec["backfill"] = dict(backfill)
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "DataPipelineRun",
        "metadata": {"name": name or pipeline[: _LONGEST_NAME - len(suffix)].rstrip("-.") + suffix},
        "spec": spec,
    }


def backfill(start: str, end: str, every: str, concurrency: int, reprocess: str) -> dict[str, Any]:
    """A DataPipelineRun's `backfill`. A day alone is its beginning in UTC. Raises ClusterError."""
    asked: dict[str, Any] = {"start": _moment("--start", start), "end": _moment("--end", end)}
    if every:
        asked["every"] = every
    return {**asked, "concurrency": concurrency, "reprocess": reprocess}


def _moment(option: str, text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ClusterError(f"{option} {text}: write a day (2026-01-31) or a moment (2026-01-31T06:00:00Z)") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.isoformat().replace("+00:00", "Z")


def named(cluster: Kubectl, word: str) -> Object:
    """The pipeline or run that a word means: `NAME`, `pipeline/NAME` or `run/NAME`.

    Raises ClusterError if there is none, or both.
    """
    kinds = {"pipeline": "DataPipeline", "dpl": "DataPipeline", "run": "DataPipelineRun", "dplrun": "DataPipelineRun"}
    sort, slash, name = word.partition("/")
    if slash:
        if sort not in kinds:
            raise ClusterError(f"{word}: write pipeline/{name} or run/{name}")
        return cluster.get(kinds[sort], name)
    found = [each for kind in ("DataPipeline", "DataPipelineRun") if (each := cluster.find(kind, word)) is not None]
    if len(found) == 2:
        raise ClusterError(f"{word} is a pipeline and a run: write pipeline/{word} or run/{word}")
    if not found:
        raise ClusterError(f"there is no pipeline or run {word} here: `kubectl tidemill status` shows what there is")
    return found[0]


def by_hand(cluster: Kubectl, pipeline: str) -> list[Object]:
    """The DataPipelineRuns of a pipeline."""
    return cluster.all_of("DataPipelineRun", f"--field-selector=spec.pipelineRef.name={pipeline}")


def known_runs(cluster: Kubectl, pipeline: Object) -> list[Run]:
    """All runs of a pipeline that the cluster knows, the newest first."""
    return runs_of(pipeline, by_hand(cluster, pipeline["metadata"]["name"]))


def one_run(runs: Sequence[Run], pipeline: str, key: str) -> Run:
    """The run with that key, or the newest that has begun. Raises ClusterError if there is none."""
    found = next((run for run in runs if (run.key == key if key else run.told.get("workflowId"))), None)
    if found is None:
        which = f"run {key}" if key else "run that has begun"
        raise ClusterError(f"{pipeline} has no {which} that the cluster knows: `kubectl tidemill runs {pipeline}`")
    return found


def cancel(cluster: Kubectl, target: Object, reason: str, keys: Sequence[str]) -> list[Run]:
    """Ask a run, or a pipeline's open runs (only those with these keys, if any are given), to stop; which they are."""
    if target["kind"] == "DataPipelineRun":
        run = run_of(target)
        if run.result in OPEN:
            cluster.annotate("DataPipelineRun", run.name, CANCEL, reason)
            return [run]
        return []
    name = target["metadata"]["name"]
    runs = [run for run in known_runs(cluster, target) if run.result in OPEN and (not keys or run.key in keys)]
    if missing := set(keys) - {run.key for run in runs}:
        raise ClusterError(f"{name} has no open run {', '.join(sorted(missing))}: `kubectl tidemill runs {name}`")
    for run in runs:
        if run.manifest is not None:
            cluster.annotate("DataPipelineRun", run.name, CANCEL, reason)
    if scheduled := [run.key for run in runs if run.manifest is None]:
        _call_off(cluster, target, scheduled)
    return runs


def _call_off(cluster: Kubectl, pipeline: Object, keys: Sequence[str]) -> None:
    """Add the keys to those that the pipeline's annotation names; another one may be about to add some, too."""
    name = pipeline["metadata"]["name"]
    for left in range(_TRIES, 0, -1):
        wished, version = ",".join(_with_open(pipeline, keys)), pipeline["metadata"]["resourceVersion"]
        try:
            cluster.annotate("DataPipeline", name, CANCEL, wished, version)
        except ClusterError as error:
            if error.reason != "Conflict" or left == 1:
                raise
            pipeline = cluster.get("DataPipeline", name)
        else:
            return


def _with_open(pipeline: Object, keys: Sequence[str]) -> list[str]:
    """The keys, and those that were named before and whose runs are still open."""
    before = (pipeline["metadata"].get("annotations") or {}).get(CANCEL, "").split(",")
    still = {run["key"] for run in (pipeline.get("status") or {}).get("activeRuns") or ()}
    return list(dict.fromkeys([*(key for key in before if key in still), *keys]))


def rerun(
    cluster: Kubectl, target: Object, now: datetime, *, only_failed: bool, keys: Sequence[str]
) -> list[tuple[Run, Object]]:
    """Process runs once more, each under its own key; the runs and the DataPipelineRuns that were made for them."""
    made = []
    for run in _chosen(cluster, target, only_failed=only_failed, keys=keys):
        pipeline = run.manifest["spec"]["pipelineRef"]["name"] if run.manifest else target["metadata"]["name"]
        wish = new_run(pipeline, parameters_of(run.manifest), now, run_key=run.key)
        made.append((run, cluster.create(wish)))
    return made


def _chosen(cluster: Kubectl, target: Object, *, only_failed: bool, keys: Sequence[str]) -> list[Run]:
    name = target["metadata"]["name"]
    if target["kind"] == "DataPipelineRun":
        return [_again(run_of(target))]
    runs = known_runs(cluster, target)
    if keys:
        newest = {run.key: run for run in reversed(runs)}
        if missing := set(keys) - newest.keys():
            raise ClusterError(f"{name} has no run {', '.join(sorted(missing))}: `kubectl tidemill runs {name}`")
        return [_again(newest[key]) for key in keys]
    if not only_failed:
        raise ClusterError(f"which runs of {name}? --failed: all that failed; --key KEY: one; or name a run")
    return [_again(run) for run in failed(runs)]


def _again(run: Run) -> Run:
    if run.result == "Succeeded":
        raise ClusterError(
            f"run {run.key} has succeeded, and a key that has never runs again: use `kubectl tidemill run`"
        )
    if run.result in OPEN:
        raise ClusterError(f"run {run.key} is still open: cancel it first, or wait for its end")
    scheduled = "T" in run.key and ":" in run.key
    if run.manifest is None and not scheduled:
        raise ClusterError(
            f"the DataPipelineRun of {run.key} is gone, and with it the parameters: use `kubectl tidemill run`"
        )
    return run
