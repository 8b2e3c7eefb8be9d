"""The commands of `tidemill watermarks`. Each imports what it needs when it is called, so that others start at once."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from tidemill_cli.cluster.tell import FAILED, OK, Output

watermarks = typer.Typer(
    name="watermarks",
    help="What sinks have of incremental sources: see it, set it, and have files or rows loaded again. Rights are the "
    "database's.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Dsn = Annotated[
    str,
    typer.Option("--dsn", envvar="TIDEMILL_SINK_DSN", show_envvar=True, help="The sink's database: connection string."),
]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Of pipelines of this namespace.")]
Source = Annotated[str | None, typer.Option(help="Of this source.")]
Sink = Annotated[str | None, typer.Option(help="Of this sink.")]


def add_to(app: typer.Typer) -> None:
    """Make the commands known."""
    app.add_typer(watermarks)


@watermarks.command("list")
def list_(
    dsn: Dsn,
    namespace: Namespace = None,
    pipeline: Annotated[str | None, typer.Option("--pipeline", "-p", help="Of this pipeline.")] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How the result is written.")] = Output.table,
) -> None:
    """List watermarks: how many files each sink has of a source, how far it is by a cursor, and who moved it last."""
    from tidemill_cli.cluster import tell
    from tidemill_cli.watermarks import marks

    async def run() -> int:
        async with marks.connected(dsn) as connection:
            found = await marks.listed(connection, marks.Which(namespace, pipeline))
        if output is not Output.table:
            tell.data({"items": [{**each, "moved_at": each["moved_at"].isoformat()} for each in found]}, output)
            return OK
        rows = [
            (
                *(f"{each['namespace']}/{each['pipeline']}", each["source"], each["sink"], str(each["files"])),
                *(each["cursor"] or "", each["run_key"], f"{each['moved_at']:%Y-%m-%d %H:%M:%S}"),
            )
            for each in found
        ]
        tell.table(("PIPELINE", "SOURCE", "SINK", "FILES", "CURSOR", "LAST RUN", "MOVED"), rows)
        return OK

    _end(run())


@watermarks.command()
def reset(
    dsn: Dsn,
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="Of this pipeline.")],
    namespace: Namespace = None,
    source: Source = None,
    sink: Sink = None,
    path: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Only these files: * and ? stand for more.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only counted.")] = False,
) -> None:
    """Have files, or tables with a cursor, loaded again, as new ones. With Append, remove their rows first."""
    from tidemill_cli.watermarks import marks

    which = marks.Which(namespace, pipeline, source, sink, path)

    async def run() -> int:
        async with marks.connected(dsn) as connection:
            files = await (marks.reset(connection, which) if yes else marks.count(connection, which))
            change = marks.reset_cursors if yes else marks.count_cursors
            tables = await change(connection, which) if path is None else 0
        what = f"{files} files" if files or not tables else ""
        what += (" and " if what and tables else "") + (f"{tables} tables" if tables else "")
        print(f"{what} {'will' if yes else 'would'} be read again{'' if yes else ': --yes does it'}")
        return OK

    _end(run())


@watermarks.command("set")
def set_(
    dsn: Dsn,
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="Of this pipeline.")],
    value: Annotated[str, typer.Option(help="The greatest value that counts as loaded: a number, a date or a moment.")],
    namespace: Namespace = None,
    source: Source = None,
    sink: Sink = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only shown.")] = False,
) -> None:
    """Set how far tables with a cursor have been loaded: the next run reads the rows beyond."""
    from tidemill_cli.watermarks import marks

    which = marks.Which(namespace, pipeline, source, sink)

    async def run() -> int:
        async with marks.connected(dsn) as connection:
            found = await marks.move(connection, which, value, really=yes)
        for name, into, former in found:
            print(f"{name} into {into}: {former or 'nothing'} {'is' if yes else 'would be'} {value} now")
        if not found:
            raise marks.WatermarksError("no such watermark of a cursor: the first run makes it")
        if not yes:
            print("--yes does it")
        return OK

    _end(run())


def _end(work: Coroutine[Any, Any, int]) -> None:
    """Carry it out, and end with its exit code."""
    import asyncio

    from tidemill_cli.watermarks.marks import WatermarksError

    try:
        code = asyncio.run(work)
    except WatermarksError as error:
        print(f"tidemill watermarks: {error}", file=sys.stderr)
        code = FAILED
    raise typer.Exit(code)
