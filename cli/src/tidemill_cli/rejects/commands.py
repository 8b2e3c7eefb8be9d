"""The commands of `tidemill rejects`. Each imports what it needs when it is called, so that others start at once."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tidemill_cli.cluster.tell import FAILED, OK, Output
from tidemill_cli.rejects.options import Asked, command
from tidemill_cli.rejects.replay import add_to as add_replay_to

rejects = typer.Typer(
    name="rejects",
    help="Dead letters, the rows that pipelines rejected: see, mend and discard them. Rights are the metastore's.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How the result is written to stdout.")]
Ids = Annotated[list[int], typer.Argument(metavar="ID...", help="Numbers of letters.")]
SomeIds = Annotated[
    list[int] | None, typer.Argument(metavar="[ID]...", help="Numbers of letters; or say which by options.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this it is only counted.")]


class Format(StrEnum):
    """What `export` writes."""

    csv = "csv"
    jsonl = "jsonl"


def add_to(app: typer.Typer) -> None:
    """Make the commands known."""
    add_replay_to(rejects)
    app.add_typer(rejects)


@rejects.command("list")
@command(filtered=True, audited=False)
async def list_(
    asked: Asked,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many, the newest.")] = 100,
    output: OutputOption = Output.table,
) -> int:
    """List letters without their rows, the newest first. Without --status: those that nobody has dealt with."""
    from tidemill_cli.cluster import tell
    from tidemill_cli.rejects import letters, store, views

    async with store.connected(asked.dsn) as connection:
        found = await letters.listed(connection, asked.filter, limit)
        total = len(found) if len(found) < limit else await letters.count(connection, asked.filter)
    if output is Output.table:
        views.listed(found)
    else:
        tell.data({"items": [letters.plain(row) for row in found], "total": total}, output)
    if total > len(found):
        tell.note(f"{len(found)} of {total} letters: --limit shows more.")
    return OK


@rejects.command()
@command(filtered=False)
async def show(asked: Asked, ids: Ids, output: OutputOption = Output.table) -> int:
    """Show letters with their rows. It is noted in the audit."""
    from tidemill_cli.cluster import tell
    from tidemill_cli.rejects import letters, store, views
    from tidemill_cli.rejects.filters import Filter

    async with store.connected(asked.dsn) as connection:
        found = await letters.named(connection, ids)
        await store.audit(connection, "Show", asked.who, Filter(ids=tuple(ids)), [letter.id for letter in found])
    if output is Output.table:
        views.shown(found)
    else:
        tell.data({"items": [letter.to_json() for letter in found]}, output)
    return OK


@rejects.command()
@command(filtered=True)
async def export(
    asked: Asked,
    ids: SomeIds = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="csv, or jsonl: an object a line.")] = Format.csv,  # noqa: A002 - the option's name
    file: Annotated[
        Path | None, typer.Option("--file", help="Write here instead of to stdout; readable by you alone.")
    ] = None,
) -> int:
    """Write letters with their rows, the oldest first, as many as there are. It is noted in the audit."""
    from tidemill_cli.cluster import tell
    from tidemill_cli.rejects import letters, store, views
    from tidemill_cli.rejects.errors import UsageError

    del ids  # they are in the filter
    if file is not None and file.exists():
        raise UsageError(f"--file {file}: it is there already")
    async with store.connected(asked.dsn) as connection:
        total = await letters.count(connection, asked.filter)
        await store.audit(connection, "Export", asked.who, asked.filter, asked.filter.ids, letters=total)
        with views.written(file) as stream:
            write = views.csv_rows(stream) if format is Format.csv else views.json_lines(stream)
            async for letter in letters.each(connection, asked.filter):
                write(letter)
    tell.note(f"{total} letters exported.")
    return OK


@rejects.command()
@command(filtered=True)
async def discard(
    asked: Asked,
    ids: SomeIds = None,
    note: Annotated[str | None, typer.Option("--note", help="Why, for those who look later.")] = None,
    yes: Yes = False,
) -> int:
    """Mark letters as not needed any more. They stay until their retention is over, or room is needed."""
    from tidemill_cli.cluster import tell
    from tidemill_cli.rejects import changes, letters, store
    from tidemill_cli.rejects.errors import RejectsError, UsageError

    del ids
    if not asked.filter.given:
        raise UsageError("say which letters: by their numbers, or by options such as --pipeline")
    async with store.connected(asked.dsn) as connection:
        if asked.filter.ids:
            await letters.named(connection, asked.filter.ids)
        elif not yes:
            total = await letters.count(connection, asked.filter)
            raise RejectsError(f"that would discard {total} letters: add --yes if it shall be")
        total = await changes.discard(connection, asked.filter, asked.who, note)
    tell.note(f"{total} letters discarded.")
    return OK


@rejects.command()
@command(filtered=True, status="All", audited=False)
async def summary(
    asked: Asked,
    by: Annotated[
        str, typer.Option("--by", help="Any of namespace, pipeline, run, type, step, rule, cause, status, day.")
    ] = "pipeline,type,step,rule,cause",
    output: OutputOption = Output.table,
) -> int:
    """Count letters over all runs, by type of error, step, rule, cause, day and the like."""
    from tidemill_cli.cluster import tell
    from tidemill_cli.rejects import letters, store, views
    from tidemill_cli.rejects.errors import UsageError

    names = tuple(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    unknown = [name for name in names if name not in letters.BY]
    if unknown or not names:
        raise UsageError(f"--by {by}: it takes any of {', '.join(letters.BY)}, set apart by commas")
    async with store.connected(asked.dsn) as connection:
        found = await letters.counted(connection, asked.filter, names)
    if output is Output.table:
        views.counted(names, found)
    else:
        tell.data({"items": [views.counted_json(row) for row in found]}, output)
    return OK


@rejects.command()
@command(filtered=False)
async def edit(
    asked: Asked,
    letter: Annotated[int, typer.Argument(metavar="ID", help="Number of the letter.")],
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="COLUMN=VALUE", help="Give a column another value.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Take the edit back: the row is as it was read.")] = False,
) -> int:
    """Mend a letter's row: by --set, or its text in your editor (VISUAL, EDITOR). The original is kept beside it."""
    from tidemill_cli.cluster import tell
    from tidemill_cli.rejects import changes, editor, letters, store
    from tidemill_cli.rejects.errors import UsageError

    if values and reset:
        raise UsageError("--set and --reset exclude each other")
    given = editor.assignments(values or ())
    async with store.connected(asked.dsn) as connection:
        (found,) = await letters.named(connection, [letter])
        changes.refuse_editing(found)
    before = found.text
    text = None if reset else changes.changed(found, given) if given else editor.edited(before or "")
    if text is not None:
        changes.refuse(found, text)
    if text == (found.record["edited_text"] if reset else before):
        tell.note(f"Letter {letter} stays as it is.")
        return OK
    async with store.connected(asked.dsn) as connection:
        await changes.edit(connection, found, text, asked.who)
    tell.note(f"Letter {letter} is as it was read again." if reset else f"Letter {letter} is mended.")
    return OK


@rejects.command()
@command(filtered=True, status="All")
async def erase(
    asked: Asked,
    key: Annotated[
        str, typer.Option("--key", metavar="COLUMN=VALUE", help="Whose rows: the value of a column of theirs.")
    ],
    yes: Yes = False,
) -> int:
    """Remove a person's data for good: of all rows with this value in this column, and of those that may have it.

    That the letters were there, where from and why stays. Rows that can't be cut into columns are erased if the value
    stands anywhere in them.
    """
    from tidemill_cli.cluster import tell
    from tidemill_cli.rejects import changes, editor, store

    ((column, value),) = editor.assignments([key], "--key").items()
    async with store.connected(asked.dsn) as connection:
        ids = await changes.holding(connection, asked.filter, column, value)
        if not yes:
            print(f"tidemill rejects: that would erase {len(ids)} letters: add --yes if it shall be", file=sys.stderr)
            return FAILED
        await changes.erase(connection, asked.filter, ids, column, asked.who)
    tell.note(f"{len(ids)} letters erased.")
    return OK
