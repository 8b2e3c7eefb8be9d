"""The commands of `tidemill`. Each imports what it needs when it is called, so that all others start at once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tidemill_cli.cluster.commands import add_to as add_cluster_commands
from tidemill_cli.encryption.commands import add_to as add_encryption_commands
from tidemill_cli.rejects.commands import add_to as add_rejects_commands

app = typer.Typer(
    name="tidemill",
    help="Data pipelines declared as Kubernetes resources, run by Temporal on workers of their own pools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Output(StrEnum):
    """How results are written to stdout."""

    text = "text"
    json = "json"


Paths = Annotated[
    list[Path], typer.Argument(metavar="PATH...", help="Manifests: files, or folders with all below them.")
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How results are written to stdout.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tidemill {version('tidemill')}")
        raise typer.Exit


@app.callback()
def tidemill(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Data pipelines declared as Kubernetes resources, run by Temporal on workers of their own pools."""


add_cluster_commands(app)
add_encryption_commands(app)
add_rejects_commands(app)


@app.command()
def lint(paths: Paths, output: OutputOption = Output.text) -> None:
    """Check manifests without a cluster: file, line, field and what would be right, for all errors at once."""
    from tidemill_cli.lint import lint as run_lint

    raise typer.Exit(run_lint(paths, output.value))


@app.command()
def dev(
    paths: Paths,
    once: Annotated[bool, typer.Option("--once", help="Run each pipeline once, then end.")] = False,
    output: OutputOption = Output.text,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the state here and continue it; a temporary folder if not given.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="Give a parameter to the pipelines that declare it.", metavar="NAME=VALUE")
    ] = None,
) -> None:
    """Run pipelines here, without a cluster: starts Temporal, PostgreSQL, Redis and a worker, and stops them again.

    Where connections point on this machine says a tidemill.dev.yaml beside the manifests; a postgres connection that
    isn't in it is the embedded PostgreSQL.

    Exit code: 0 all runs succeeded, 1 a manifest, a run or a part failed, 2 wrong usage, 130 after Ctrl-C.
    """
    from tidemill_cli.dev.command import dev as run_dev
    from tidemill_cli.dev.reading import Options

    raise typer.Exit(run_dev(Options(tuple(paths), once, output.value, data_dir, tuple(param or ()))))


@app.command(context_settings={"ignore_unknown_options": True})
def psql(
    connection: Annotated[str, typer.Argument(help="Name of a postgres connection of the pipelines' pool.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[PSQL OPTION]...", help="Passed on to psql.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="The data directory of a `tidemill dev`.")] = Path(".data"),
) -> None:
    """Query the databases that `tidemill dev --data-dir` has kept, whether it still runs or not."""
    from tidemill_cli.dev.components.component import ComponentError
    from tidemill_cli.dev.query import NoDataError
    from tidemill_cli.dev.query import psql as run_psql

    try:
        raise typer.Exit(run_psql(data_dir, connection, arguments or ()))
    except (NoDataError, ComponentError) as error:
        typer.echo(f"tidemill psql: {error}", err=True)
        raise typer.Exit(1) from None
