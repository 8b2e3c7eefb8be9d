"""What a session came to: a table of runs, one JSON object a run, and where to look further."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from tidemill_api.contract import RunResult
from tidemill_cli.dev.display import STYLE
from tidemill_cli.dev.layout import Embedded, External, Layout

DEAD_LETTERS: Final = "SELECT step, rules, error, file, line, row_text FROM tidemill.dead_letters LIMIT 20"

_TEXT_COLUMNS: Final = 2


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of a session answer."""

    temporal: str
    temporal_ui: str | None
    redis: str
    databases: dict[str, str]
    """Connection strings of the embedded databases, by connection."""
    psql: Path


def as_json(result: RunResult) -> str:
    """One line of JSON about a run."""
    whole: dict[str, Any] = result.model_dump(mode="json", by_alias=True)
    namespace, _, whole["pipeline"] = result.pipeline.partition("/")
    first = ("pipeline", "result", "rowsRead", "rowsLoaded", "rowsRejected", "durationSeconds", "error")
    return json.dumps({**{name: whole[name] for name in first}, "namespace": namespace, **whole}, ensure_ascii=False)


def print_runs(console: Console, results: Sequence[RunResult]) -> None:
    """A table of runs, and below it what is told of each: columns, values that are NULL now, checks that warn, errors.

    Nothing is cut off, however narrow it is.
    """
    table = [("PIPELINE", "RESULT", "READ", "LOADED", "REJECTED", "TIME"), *(_row(result) for result in results)]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row, result in zip(table, (None, *results), strict=True):
        cells = [
            Text(cell.ljust(width) if column < _TEXT_COLUMNS else cell.rjust(width))
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        if result is not None:
            cells[1].stylize(STYLE[result.result])
        console.print(Text("  ").join(cells), soft_wrap=True)
    for result in results:
        for told in (*result.schema_changes, *_nulled(result)):
            console.print(Text(f"{result.pipeline}: {told}"), soft_wrap=True)
        for check in result.failed_checks:
            if check.severity == "Warn":
                console.print(Text(f"{result.pipeline}: check {check.check}: {check.message}"), soft_wrap=True)
        if result.error is not None:
            where = f" in {result.error.step}" if result.error.step else ""
            console.print(
                Text(f"{result.pipeline}: {result.error.type}{where}: {result.error.message}"), soft_wrap=True
            )


def _nulled(result: RunResult) -> Iterator[str]:
    for step in result.steps:
        for name, count in step.nulled.items():
            values = "value is" if count == 1 else "values are"
            yield f"source {step.step}: {count:,} bad {values} NULL in {name}"


def _row(result: RunResult) -> tuple[str, ...]:
    rows = (result.rows_read, result.rows_loaded, result.rows_rejected)
    return (result.pipeline, result.result, *(f"{count:,}" for count in rows), f"{result.duration_seconds:.1f} s")


def where_to_look(layout: Layout, addresses: Addresses) -> list[str]:
    """Addresses, and the query for dead letters, as lines; while the session runs."""
    psql = shlex.quote(str(addresses.psql))
    lines = [f"{name}: {psql} {shlex.quote(dsn)}" for name, dsn in addresses.databases.items()]
    for pool in layout.pools:
        where = _where(pool.keeps, addresses)
        lines.append(f'dead letters of {pool.label}: {where} -c "{DEAD_LETTERS}"')
    lines.append(f"Temporal: {addresses.temporal_ui or addresses.temporal}")
    lines.append(f"Redis: {addresses.redis}")
    return lines


def where_to_look_later(layout: Layout, folder: Path, kept: bool, program: str = "tidemill") -> list[str]:
    """What remains when a session has ended, as lines; `program` is how we were called."""
    if not kept:
        return [
            "The data went with the session: --data-dir DIR keeps it, and without --once it can be queried meanwhile."
        ]
    psql = f"  {shlex.quote(program)} psql --data-dir {shlex.quote(str(folder))}"
    return [
        f"The data is kept in {folder}. Query it (while a session runs, any psql can):",
        *(f"{psql} {each.connection}" for each in layout.embedded),
        *(
            f"{psql} {pool.keeps.connection} -c {shlex.quote(DEAD_LETTERS)}"
            for pool in layout.pools
            if isinstance(pool.keeps, Embedded)
        ),
    ]


def _where(keeps: Embedded | External, addresses: Addresses) -> str:
    if isinstance(keeps, External):
        return f"psql (the database of the connection {keeps.connection})"
    return f"{shlex.quote(str(addresses.psql))} {shlex.quote(addresses.databases[keeps.connection])}"
