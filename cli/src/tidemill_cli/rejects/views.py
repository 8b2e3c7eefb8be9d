"""Letters for people: tables, one letter in full, files."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from tidemill_cli.cluster import tell
from tidemill_cli.rejects.letters import Letter

_EXPORTED: Final = (
    *(
        "id",
        "namespace",
        "pipeline",
        "run_key",
        "execution",
        "step",
        "reason",
        "rules",
        "cause",
        "error",
        "file",
        "line",
    ),
    *(
        "byte_offset",
        "status",
        "attempts",
        "first_seen",
        "last_seen",
        "row_text",
        "edited_text",
        "row_columns",
        "row_keys",
    ),
)
"""Columns of a CSV export."""


def listed(rows: Sequence[Mapping[str, Any]]) -> None:
    """A line for each letter."""
    tell.table(
        ("ID", "PIPELINE", "RUN", "STEP", "TYPE", "CAUSE", "WHERE", "STATUS", "SINCE"),
        [
            (
                row["id"],
                f"{row['namespace']}/{row['pipeline']}",
                row["run_key"],
                row["step"],
                row["reason"],
                tell.short(row["cause"], 60),
                _where(row),
                row["status"],
                _moment(row["first_seen"]),
            )
            for row in rows
        ],
    )


def shown(found: Sequence[Letter]) -> None:
    """All there is of each letter."""
    for place, letter in enumerate(found):
        if place:
            print()
        row = letter.record
        facts = {
            "Letter": f"{row['id']}, {row['status']}" + (f" ({row['status_note']})" if row["status_note"] else ""),
            "Pipeline": f"{row['namespace']}/{row['pipeline']}",
            "Run": f"{row['run_key']}, execution {row['execution']}",
            "Rejected by": f"{row['step']}: {row['reason']}",
            "Error": row["error"],
            "Where": _where(row),
            "Seen": f"{_moment(row['first_seen'])}"
            + (f", again {_moment(row['last_seen'])}, {row['attempts']} times" if row["attempts"] > 1 else ""),
            "Kept": _kept(row),
            "Mended by": f"{row['edited_by']}, {_moment(row['edited_at'])}" if row["edited_by"] else "",
            "Row": row["row_text"],
            "Mended row": row["edited_text"],
        }
        for name, value in facts.items():
            if value:
                print(f"{name + ':':<13}{value}")
        _columns(letter)


def _kept(row: Mapping[str, Any]) -> str:
    if row["reason"] == "RunFailed":
        return ""
    redacted = f", without {', '.join(row['redacted'])}" if row["redacted"] else ""
    return "" if row["stored"] == "Full" and not redacted else f"{row['stored']}{redacted}"


def _columns(letter: Letter) -> None:
    """The row's columns, and what a query had made of them before the row was rejected."""
    for title, values in (
        ("Columns", letter.columns(letter.text)),
        ("As the step saw it", letter.made),
        ("Keys", letter.keys),
    ):
        if values:
            print(f"{title}:")
            width = max(len(name) for name in values)
            for name, value in values.items():
                print(f"  {name:<{width}}  {value if isinstance(value, str) else json.dumps(value)}".rstrip())


def counted(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """A line for each group."""
    headings = (*(name.upper() for name in names), "LETTERS", "OPEN", "RUNS", "FIRST", "LAST")
    tell.table(
        headings,
        [
            (
                *(tell.short(str(row[name])) if row[name] is not None else None for name in names),
                *(row["letters"], row["open"], row["runs"], _moment(row["first_seen"]), _moment(row["last_seen"])),
            )
            for row in rows
        ],
    )


def counted_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A group for programs."""
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()}


@contextmanager
def written(file: Path | None) -> Iterator[TextIO]:
    """Where an export goes. A file is made, for its owner alone."""
    if file is None:
        yield sys.stdout
        return
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
        yield stream


def csv_rows(stream: TextIO) -> Callable[[Letter], None]:
    """Writes each letter as a row of CSV; the first row has the columns' names."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_EXPORTED)

    def write(letter: Letter) -> None:
        values = letter.to_json()
        writer.writerow([_cell(values[name]) for name in _EXPORTED])

    return write


def json_lines(stream: TextIO) -> Callable[[Letter], None]:
    """Writes each letter as an object on a line of its own."""

    def write(letter: Letter) -> None:
        stream.write(json.dumps(letter.to_json(), ensure_ascii=False) + "\n")

    return write


def _cell(value: object) -> object:
    match value:
        case list():
            return ",".join(value)
        case dict():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return value


def _where(row: Mapping[str, Any]) -> str:
    return f"{row['file']}:{row['line']}" if row["file"] else ""


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
