"""`tidemill rejects replay`: a DataPipelineRun with `spec.replay`, in a cluster or in a session of `tidemill dev`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill_cli.cluster.kubectl import Kubectl
from tidemill_cli.cluster.options import with_cluster
from tidemill_cli.cluster.tell import Output
from tidemill_cli.rejects.errors import UsageError
from tidemill_cli.rejects.options import USAGE

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.datapipelinerun import Replay


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(with_cluster(replay))


def replay(  # noqa: PLR0913, PLR0917 - its arguments are the command's options
    cluster: Kubectl,
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Name of a DataPipeline.")],
    ids: Annotated[list[int] | None, typer.Option("--id", metavar="ID", help="Number of a letter.")] = None,
    step: Annotated[str | None, typer.Option("--step", help="Rejected by this source, step or sink.")] = None,
    rule: Annotated[str | None, typer.Option("--rule", help="That broke this rule.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="BadValue, BadRow, RuleBroken or BadKey.")] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="KEY", help="Rejected by the run with this key.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="First rejected since then: RFC 3339, or 24h ago.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="First rejected before then.")] = None,
    param: Annotated[list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter.")] = None,
    dev: Annotated[
        list[Path] | None,
        typer.Option("--dev", metavar="PATH", help="Without a cluster: the manifests, as `tidemill dev` takes them."),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="With --dev: its data directory.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit code 3 if it didn't succeed.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, metavar="SECONDS", help="How long --wait waits.")
    ] = 3600,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="How the result is written to stdout.")
    ] = Output.table,
) -> int:
    """Run rejected rows again by the pipeline's spec as it is now, each as it was read or has been mended, once only.

    Without options all new ones of runs that have succeeded. Rows that can't be right are refused, with the reason.
    """
    wished = {"ids": ids, "step": step, "rule": rule, "type": kind, "runKey": run, "since": since, "until": until}
    try:
        asked = _asked({name: value for name, value in wished.items() if value is not None})
        if dev:
            return _in_session(dev, data_dir, pipeline, asked, tuple(param or ()), output)
        if data_dir is not None:
            raise UsageError("--data-dir goes with --dev: the manifests that the session ran")
    except UsageError as error:
        print(f"tidemill rejects: {error}", file=sys.stderr)
        return USAGE
    from tidemill_cli.cluster import asking, tell
    from tidemill_cli.cluster.commands import after

    found = cluster.get("DataPipeline", pipeline)
    manifest = asking.new_run(pipeline, asking.parameters(found, param or ()), tell.utcnow())
    manifest["spec"]["replay"] = asked.to_json()
    return after(cluster, [cluster.create(manifest)], output, timeout if wait else None)


def _asked(given: dict[str, Any]) -> Replay:
    from pydantic import ValidationError

    from tidemill_api.v1alpha1.datapipelinerun import Replay

    try:
        return Replay.model_validate({"deadLetters": given})
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        option = {"runKey": "run", "ids": "id"}.get(str(fault["loc"][1]), fault["loc"][1])
        raise UsageError(f"--{option}: {fault['msg']}") from None


def _in_session(
    paths: list[Path],
    data_dir: Path | None,
    pipeline: str,
    asked: Replay,
    parameters: tuple[str, ...],
    output: Output,
) -> int:
    from tidemill_cli.dev.command import dev
    from tidemill_cli.dev.reading import Options

    if data_dir is None or not data_dir.is_dir():
        raise UsageError("--dev needs the --data-dir of a `tidemill dev`: there the rejected rows are")
    return dev(
        Options(
            tuple(paths),
            once=True,
            output="text" if output is Output.table else "json",
            data_dir=data_dir,
            parameters=parameters,
            pipeline=pipeline,
            replay=asked,
        )
    )
