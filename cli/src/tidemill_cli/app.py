"""The commands of `tidemill`. Each imports what it needs when it is called, so that all others start at once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tidemill_cli.cache.commands import add_to as add_cache_commands
from tidemill_cli.cluster.commands import add_to as add_cluster_commands
from tidemill_cli.encryption.commands import add_to as add_encryption_commands
from tidemill_cli.rejects.commands import add_to as add_rejects_commands
from tidemill_cli.watermarks.commands import add_to as add_watermarks_commands

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


class Wide(StrEnum):
    """How rows are written to stdout."""

    text = "text"
    wide = "wide"
    json = "json"


class Drawing(StrEnum):
    """What a picture is written in."""

    mermaid = "mermaid"
    dot = "dot"


Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[PATH]...", help="Manifests: files, or folders with all below them; - is standard input."),
]
Filenames = Annotated[
    list[Path] | None, typer.Option("--filename", "-f", metavar="PATH", help="As an argument, in kubectl's way.")
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
add_cache_commands(app)
add_rejects_commands(app)
add_watermarks_commands(app)


def _given(paths: list[Path] | None, filenames: list[Path] | None) -> tuple[Path, ...]:
    """All paths, however they were given. Raises typer's usage error if there are none."""
    if found := (*(paths or ()), *(filenames or ())):
        return found
    raise typer.BadParameter("say which manifests: files, folders, or - for standard input", param_hint="PATH")


@app.command()
def ddl(
    paths: Paths = None,
    filename: Filenames = None,
    role: Annotated[str, typer.Option(help="The database user of the connections.")] = "tidemill",
    pipeline: Annotated[str | None, typer.Option(metavar="NAME", help="Only this one of the pipelines.")] = None,
    folder: Annotated[
        list[str] | None, typer.Option(metavar="CONNECTION=DIR", help="Where a files connection's files are here.")
    ] = None,
) -> None:
    """Print the tables that pipelines load into, and the rights that a database user needs for it, as SQL.

    Types are those of the declared columns, else inferred from the files, whose beginnings are read. Whoever runs
    the database can look at the statements, change them, and run them; then createTable may be Never, and the user
    needs no right to create tables.

    Exit code: 0 printed, 1 a manifest is wrong or a source or step failed, 2 wrong usage.
    """
    from tidemill_cli.ddl.command import Options
    from tidemill_cli.ddl.command import ddl as run

    raise typer.Exit(run(Options(_given(paths, filename), role, pipeline, tuple(folder or ()))))


@app.command()
def graph(
    paths: Paths = None,
    filename: Filenames = None,
    pipeline: Annotated[str | None, typer.Option(metavar="NAME", help="This one of the pipelines.")] = None,
    output: Annotated[
        Drawing, typer.Option("--output", "-o", help="What the picture is written in: Mermaid, or Graphviz' DOT.")
    ] = Drawing.mermaid,
) -> None:
    """Draw a pipeline: its sources, steps, sinks and checks, and the waves that a run is cut into.

    Exit code: 0 drawn, 1 a manifest is wrong, 2 wrong usage.
    """
    from tidemill_cli.graph.command import Options
    from tidemill_cli.graph.command import graph as run

    raise typer.Exit(run(Options(_given(paths, filename), pipeline, output.value)))


@app.command()
def lint(paths: Paths = None, filename: Filenames = None, output: OutputOption = Output.text) -> None:
    """Check manifests without a cluster: file, line, field and what would be right, for all errors at once."""
    from tidemill_cli.lint import lint as run_lint

    raise typer.Exit(run_lint(list(_given(paths, filename)), output.value))


@app.command()
def preview(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    paths: Paths = None,
    filename: Filenames = None,
    pipeline: Annotated[str | None, typer.Option(metavar="NAME", help="Only this one of the pipelines.")] = None,
    rows: Annotated[int, typer.Option(min=1, max=10_000, help="How many rows of each source and step.")] = 10,
    source: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="Read this file in place of a source's own.")
    ] = None,
    folder: Annotated[
        list[str] | None, typer.Option(metavar="CONNECTION=DIR", help="Where a files connection's files are here.")
    ] = None,
    param: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Give a parameter.")] = None,
    run_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Nominal time of the run; now if not given.")
    ] = None,
    output: Annotated[Wide, typer.Option("--output", "-o", help="How rows are written to stdout.")] = Wide.text,
) -> None:
    """Show the first rows through each source and step, and what is rejected and why. Nothing is written anywhere.

    Reads, checks and transforms as a run does, without a database, Temporal or a cluster, and no more of the files
    than it takes. `-o wide` shows all columns and whole values; `-o json` is one object a pipeline, one a line.

    Exit code: 0 shown, 1 a manifest is wrong or a source or step failed, 2 wrong usage.
    """
    from tidemill_cli.preview.command import Options, preview

    options = Options(
        paths=_given(paths, filename),
        pipeline=pipeline,
        rows=rows,
        sources=tuple(source or ()),
        folders=tuple(folder or ()),
        parameters=tuple(param or ()),
        run_time=run_time,
        output=output.value,
    )
    raise typer.Exit(preview(options))


@app.command("test")
def run_cases(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="Test files (NAME.test.yaml), manifests with one beside them, or folders; - is standard input.",
        ),
    ],
    manifest: Annotated[
        list[Path] | None,
        typer.Option(
            "--filename", "-f", metavar="PATH", help="Manifests, in place of those that the test files name; or -."
        ),
    ] = None,
    case: Annotated[str, typer.Option(metavar="TEXT", help="Only cases whose name holds this.")] = "",
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the results as JUnit's XML too, for CI.")
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Test pipelines: rows in, expected rows and rejects out, run by the engine without a database or a cluster.

    Exit code: 0 all cases passed, 1 some failed, 2 they can't be run: a file is wrong, or the command line.
    """
    from tidemill_cli.testing.command import Options, run_all

    options = Options(tuple(paths), tuple(manifest or ()), case, junit, output.value)
    raise typer.Exit(run_all(options))


@app.command()
def new(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[[TEMPLATE] DIR]", help="What to make and where; without these, what there is."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the pipeline; the folder's if not given.")] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the objects.")] = "default",
) -> None:
    """Make a pipeline to start from: manifests of it and its pool, tests, sample data and JSON Schemas for editors.

    Exit code: 0 made, 1 it couldn't be written, 2 wrong usage; a file that is there is never overwritten.
    """
    from tidemill_cli.new.command import new as run_new

    raise typer.Exit(run_new(words or (), name, namespace))


@app.command()
def schemas(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write them.")] = Path(".tidemill/schemas"),
) -> None:
    """Write the JSON Schemas of manifests and test files, for editors and other checkers."""
    from tidemill_cli.new.command import write_schemas

    raise typer.Exit(write_schemas(folder))


@app.command()
def dev(
    paths: Paths = None,
    filename: Filenames = None,
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

    raise typer.Exit(run_dev(Options(_given(paths, filename), once, output.value, data_dir, tuple(param or ()))))


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
