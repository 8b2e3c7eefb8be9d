"""The commands of `kubectl tidemill`. Each imports what it needs when it is called, so that others start at once."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill_cli.cluster.kubectl import ClusterError, Kubectl, Object
from tidemill_cli.cluster.options import Reprocess, seconds, with_cluster
from tidemill_cli.cluster.tell import NOT_WELL, OK, TIMED_OUT, Output

if TYPE_CHECKING:
    from tidemill_cli.cluster.overview import Standing


class Lines(StrEnum):
    """How a comparison is written to stdout."""

    text = "text"
    json = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How the result is written to stdout.")]
Pipeline = Annotated[str, typer.Argument(metavar="PIPELINE", help="Name of a DataPipeline.")]
Pipelines = Annotated[list[str], typer.Argument(metavar="PIPELINE...", help="Names of DataPipelines.")]
Target = Annotated[
    str,
    typer.Argument(
        metavar="RUN|PIPELINE", help="Name of a DataPipelineRun or a DataPipeline; or run/NAME, pipeline/NAME."
    ),
]
Keys = Annotated[
    list[str] | None, typer.Option("--key", metavar="KEY", help="Of a pipeline: only the run with this key.")
]
Params = Annotated[list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end of the run; exit code 3 if it didn't succeed.")]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout", parser=seconds, metavar="DURATION", help="How long --wait waits: 150s, 2m; seconds without a unit."
    ),
]


def add_to(app: typer.Typer) -> None:
    """Make the commands known."""
    for command in (status, runs, describe, run, backfill, pause, resume, cancel, rerun, logs, diff):
        app.command()(with_cluster(command))
    app.command()(explain)


def status(
    cluster: Kubectl,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Pipelines, pools or connections; all if not given.")
    ] = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit code 3 if anything is wrong.")] = False,
    output: OutputOption = Output.table,
) -> int:
    """How pipelines and pools stand, what is wrong first."""
    from tidemill_cli.cluster import overview, tell

    objects, denied = cluster.list_readable(("DataPipeline", "WorkerPool", "TemporalConnection"))
    found = overview.standings(each for each in objects if not names or each["metadata"]["name"] in names)
    if missing := set(names or ()) - {each.name for each in found}:
        raise ClusterError(f"there is no pipeline, pool or connection {', '.join(sorted(missing))} here")
    if denied:
        tell.note(f"You may not list {', '.join(denied)} here.")
    if output is Output.table:
        _overview(found, namespaces=all_namespaces)
    else:
        tell.data({"items": [each.to_json() for each in found]}, output)
    return NOT_WELL if check and any(each.wrong for each in found) else OK


def runs(cluster: Kubectl, pipeline: Pipeline, output: OutputOption = Output.table) -> int:
    """The runs of a pipeline that the cluster knows, the newest first.

    These are the open ones, the last that ended, and those by hand. Temporal and the metastore know of all.
    """
    from tidemill_cli.cluster import asking, tell

    found = asking.known_runs(cluster, cluster.get("DataPipeline", pipeline))
    if output is not Output.table:
        tell.data({"items": [each.to_json() for each in found]}, output)
        return OK
    now = tell.utcnow()
    columns = ("KEY", "RESULT", "BEGAN", "TOOK", "READ", "LOADED", "REJECTED", "MESSAGE")
    rows = []
    for each in found:
        rows_of = (tell.count(each.told.get(field)) for field in ("rowsRead", "rowsLoaded", "rowsRejected"))
        why = "" if each.result == "Succeeded" else tell.short(each.message)
        began = tell.ago(each.told.get("startedAt"), now)
        rows.append((each.key, each.result, began, tell.took(each.told, now), *rows_of, why))
    tell.table(columns, rows)
    tell.note("Of scheduled runs the cluster keeps the open ones and the last; Temporal and the metastore have all.")
    return OK


def describe(cluster: Kubectl, name: Annotated[str, typer.Argument(metavar="NAME")]) -> int:
    """All about one pipeline, pool, run or connection: conditions, runs, events."""
    from tidemill_cli.cluster import asking, tell
    from tidemill_cli.cluster import describe as words
    from tidemill_cli.cluster.kubectl import KINDS

    found = [each for kind in KINDS if (each := cluster.find(kind, name)) is not None]
    if not found:
        raise ClusterError(f"there is no pipeline, pool, run or connection {name} here: see `kubectl tidemill status`")
    for place, manifest in enumerate(found):
        events = _events(cluster, manifest)
        known = asking.known_runs(cluster, manifest) if manifest["kind"] == "DataPipeline" else []
        print("\n" * bool(place), end="")
        for line in words.describe(manifest, known, events, tell.utcnow()):
            print(line)
    return OK


def run(
    cluster: Kubectl,
    pipeline: Pipeline,
    param: Params = None,
    name: Annotated[
        str, typer.Option(help="Name of the DataPipelineRun and key of the run; made up if not given.")
    ] = "",
    wait: Wait = False,
    timeout: Timeout = 3600,
    output: OutputOption = Output.table,
) -> int:
    """Run a pipeline now: makes a DataPipelineRun."""
    from tidemill_cli.cluster import asking, tell

    found = cluster.get("DataPipeline", pipeline)
    values = asking.parameters(found, param or ())
    made = cluster.create(asking.new_run(pipeline, values, tell.utcnow(), name=name))
    return after(cluster, [made], output, timeout if wait else None)


def backfill(  # noqa: PLR0913, PLR0917 - one for each option
    cluster: Kubectl,
    pipeline: Pipeline,
    start: Annotated[str, typer.Option(metavar="MOMENT", help="First moment: 2026-01-01, or with its time and zone.")],
    end: Annotated[str, typer.Option(metavar="MOMENT", help="Last moment; it isn't in the range any more.")],
    every: Annotated[str, typer.Option(metavar="DURATION", help="For a pipeline without a schedule: 1d, 6h, ...")] = "",
    concurrency: Annotated[int, typer.Option(min=1, max=100, help="So many runs at once, at most.")] = 1,
    reprocess: Annotated[
        Reprocess, typer.Option(help="Which times are run again that have been run.")
    ] = Reprocess.none,
    param: Params = None,
    name: Annotated[str, typer.Option(help="Name of the DataPipelineRun; made up if not given.")] = "",
    wait: Wait = False,
    timeout: Timeout = 3600,
    output: OutputOption = Output.table,
) -> int:
    """Run a pipeline for the times of the past that its schedule names: makes a DataPipelineRun."""
    from tidemill_cli.cluster import asking, tell

    values = asking.parameters(cluster.get("DataPipeline", pipeline), param or ())
    asked = asking.backfill(start, end, every, concurrency, reprocess.value)
    made = cluster.create(asking.new_run(pipeline, values, tell.utcnow(), name=name, backfill=asked))
    return after(cluster, [made], output, timeout if wait else None)


def pause(
    cluster: Kubectl,
    pipelines: Pipelines,
    reason: Annotated[str, typer.Option(help="Why; it shows in the status.")],
) -> int:
    """Pause pipelines: no scheduled run starts until `resume`. Open runs go on, and runs by hand work."""
    from tidemill_cli.cluster.asking import PAUSED

    for name in pipelines:
        cluster.annotate("DataPipeline", name, PAUSED, reason)
        print(f"{name} paused: {reason}")
    return OK


def resume(cluster: Kubectl, pipelines: Pipelines) -> int:
    """Take a pause back. Exit code 3 if something else still keeps a pipeline from being scheduled."""
    from tidemill_cli.cluster import tell
    from tidemill_cli.cluster.asking import PAUSED

    code = OK
    for name in pipelines:
        found = cluster.get("DataPipeline", name)
        annotated = PAUSED in (found["metadata"].get("annotations") or {})
        if annotated:
            cluster.annotate("DataPipeline", name, PAUSED, None)
        print(f"{name} resumed" if annotated else f"{name} has no pause to take back")
        if ((found.get("status") or {}).get("paused") or {}).get("by") == "Temporal":
            tell.note(f"{name} is paused in Temporal itself: only Temporal, its UI or CLI, can lift that.")
            code = NOT_WELL
        if found["spec"].get("suspend"):
            tell.note(f"{name} is suspended by spec.suspend: set that to false where the manifest is kept.")
            code = NOT_WELL
    return code


def cancel(
    cluster: Kubectl,
    target: Target,
    key: Keys = None,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the runs by hand.")] = "",
    output: OutputOption = Output.table,
) -> int:
    """Ask a run, or a pipeline's open runs, to stop at the next border of a chunk."""
    from tidemill_cli.cluster import asking, tell

    stopped = asking.cancel(cluster, asking.named(cluster, target), reason, key or ())
    if output is not Output.table:
        tell.data({"items": [each.to_json() for each in stopped]}, output)
        return OK
    for each in stopped:
        print(f"run {each.key} is asked to stop")
    if not stopped:
        print(f"{target} has no open run")
    return OK


def rerun(
    cluster: Kubectl,
    target: Target,
    failed: Annotated[
        bool, typer.Option("--failed", help="Of a pipeline: every run that failed, of those the cluster shows.")
    ] = False,
    key: Keys = None,
    wait: Wait = False,
    timeout: Timeout = 3600,
    output: OutputOption = Output.table,
) -> int:
    """Process runs once more under their own keys, with the pipeline as it is now and the parameters they had."""
    from tidemill_cli.cluster import asking, tell

    found = asking.named(cluster, target)
    made = asking.rerun(cluster, found, tell.utcnow(), only_failed=failed, keys=key or ())
    if not made and output is Output.table:
        print(f"no run of {target} that is known has failed")
    if failed and found["kind"] == "DataPipeline":
        print(
            "only what the cluster shows was looked at: runs by hand, and the schedule's last one that ended; "
            "for others: `kubectl tidemill backfill --reprocess Failed`, or a DataPipelineRun with spec.runKey",
            file=sys.stderr,
        )
    return after(cluster, [each for _, each in made], output, timeout if wait else None) if made else OK


def logs(
    cluster: Kubectl,
    target: Target,
    key: Annotated[str, typer.Option("--key", metavar="KEY", help="Of a pipeline: the run with this key.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is said from now on.")] = False,
    output: OutputOption = Output.table,
) -> int:
    """What the workers said of a run; of a pipeline: of its newest run.

    It is read from the pods that are there: what a pod said that is gone is in your log store, if there is one.
    """
    import json

    from tidemill_cli.cluster import asking
    from tidemill_cli.cluster import logs as said
    from tidemill_cli.cluster import runs as known

    found = asking.named(cluster, target)
    by_hand = found["kind"] == "DataPipelineRun"
    pipeline = cluster.get("DataPipeline", found["spec"]["pipelineRef"]["name"]) if by_hand else found
    chosen = known.run_of(found) if by_hand else asking.one_run(asking.known_runs(cluster, pipeline), target, key)
    pods = said.pods_of(cluster, pipeline["spec"]["workerPoolRef"]["name"])
    for line in said.lines_of(cluster, pods, chosen, follow=follow):
        print(said.plain(line) if output is Output.table else json.dumps(line, ensure_ascii=False), flush=True)
    return OK


def explain(
    path: Annotated[
        str, typer.Argument(metavar="FIELD", help="Such as datapipeline.spec.schedule.catchupWindow.")
    ] = "",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="All fields below it.")] = False,
    output: OutputOption = Output.table,
) -> None:
    """What a field means: its type, default, bounds and rules. Needs no cluster."""
    from tidemill_cli.cluster import explain as fields
    from tidemill_cli.cluster import tell

    try:
        if not path:
            tell.table(
                ("KIND", "SHORT", "WHAT"), [(e["kind"], e["names"][1], e["description"]) for e in fields.kinds()]
            )
            return
        kind, field = fields.look_up(path)
    except ClusterError as error:
        tell.note(f"tidemill: {error}")
        raise typer.Exit(1) from None
    if output is Output.table:
        print("\n".join(fields.text(kind, field, deep=recursive)))
    else:
        start = f"{field}." if field else ""
        tell.data({name: each for name, each in kind["fields"].items() if f"{name}.".startswith(start)}, output)


def _overview(found: list[Standing], *, namespaces: bool) -> None:
    from tidemill_cli.cluster import overview, tell

    now = tell.utcnow()
    kinds = {"DataPipeline": "pipeline", "WorkerPool": "pool", "TemporalConnection": "connection"}
    rows = []
    for each in found:
        last = each.last_run or {}
        ended = f"{last['result']} {tell.ago(last.get('finishedAt'), now)} ago" if last else ""
        what = each.message if each.state not in ("Well", "Running") else ""
        state = f"{each.state} ({each.reason})" if each.wrong and each.reason else each.state
        following = tell.ago(each.next_run, now)
        rows.append(
            (
                *((each.namespace,) if namespaces else ()),
                *(f"{kinds[each.kind]}/{each.name}", state, each.workers, ended, following, tell.short(what)),
            )
        )
    columns = ("NAME", "STATE", "WORKERS", "LAST RUN", "NEXT RUN", "MESSAGE")
    if rows:
        tell.table(("NAMESPACE", *columns) if namespaces else columns, rows)
    tell.note(overview.summary(found))


def _events(cluster: Kubectl, manifest: Object) -> list[Object]:

    try:
        return cluster.all_of("events", f"--field-selector=involvedObject.uid={manifest['metadata']['uid']}")
    except ClusterError as error:
        if error.reason != "Forbidden":
            raise
        return []


def after(cluster: Kubectl, made: list[Object], output: Output, timeout: float | None) -> int:
    """Tell what was made, wait for it if that is wished, and tell what came of it."""
    import time

    from tidemill_cli.cluster import runs as known
    from tidemill_cli.cluster import tell

    limit = time.monotonic() + timeout if timeout is not None else 0.0
    code, ended = OK, []
    for manifest in made:
        name = manifest["metadata"]["name"]
        if output is Output.table:
            print(f"run {name} of {manifest['spec']['pipelineRef']['name']} is asked for", flush=True)
        if timeout is not None:
            found = cluster.watch("DataPipelineRun", name, _has_ended, max(limit - time.monotonic(), 0.1))
            if found is None:
                tell.note(f"run {name} hasn't ended after {timeout:g} s: `kubectl tidemill describe {name}` says more")
                return TIMED_OUT
            ended.append(found)
            result = known.run_of(found)
            if output is Output.table:
                print(f"run {name} {result.result}: {result.message}")
            code = code if result.result == "Succeeded" else NOT_WELL
    if output is not Output.table:
        tell.data({"items": [known.run_of(each).to_json() for each in ended or made]}, output)
    return code


def _has_ended(manifest: Object) -> bool:
    return (manifest.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Skipped", "Cancelled")


def diff(
    cluster: Kubectl,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...", help="Manifests: files, or folders with all below them; - is standard input."
        ),
    ] = None,
    filename: Annotated[
        list[Path] | None, typer.Option("--filename", "-f", metavar="PATH", help="As an argument, in kubectl's way.")
    ] = None,
    output: Annotated[Lines, typer.Option("--output", "-o", help="How the result is written to stdout.")] = Lines.text,
) -> int:
    """Show what would change in the cluster, field by field with defaults, and what that would do. Changes nothing.

    The API server is asked too whether it would take it, where you may write. `-o json` is one object a line.

    Exit code, as of `kubectl diff`: 0 nothing would change, 1 something would, 2 it can't be said or would be refused.
    """
    from tidemill_cli.cluster.diff import diff as compare

    given = (*(paths or ()), *(filename or ()))
    if not given:
        raise typer.BadParameter("say which manifests: files, folders, or - for standard input", param_hint="PATH")
    return compare(cluster, given, output.value)
