"""How results are written: tables for people; JSON and YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final


class Output(StrEnum):
    """How a result is written to stdout."""

    table = "table"
    json = "json"
    yaml = "yaml"


OK: Final = 0
FAILED: Final = 1
"""The request came to nothing: not found, forbidden, no cluster."""
NOT_WELL: Final = 3
"""It was done, and what was asked about isn't well: a run failed, a pipeline is wrong."""
TIMED_OUT: Final = 4
"""--wait waited as long as --timeout allows."""


def data(value: object, output: Output) -> None:
    """Write a value as JSON or YAML."""
    match output:
        case Output.yaml:
            from ruamel.yaml import YAML

            yaml = YAML()
            yaml.default_flow_style = False
            yaml.width = 4096
            yaml.dump(value, sys.stdout)
        case _:
            print(json.dumps(value, indent=2, ensure_ascii=False))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write rows below their headings, as kubectl does; columns without any value are left out."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    kept = [place for place in range(len(columns)) if not texts or any(row[place] for row in texts)]
    lines = [[columns[place] for place in kept], *([row[place] or "-" for place in kept] for row in texts)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(kept))]
    for line in lines:
        print("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def note(sentence: str) -> None:
    """Say something beside the result."""
    print(sentence, file=sys.stderr)


def ago(moment: str | None, now: datetime) -> str:
    """How long ago a moment was, or how long until it, as kubectl writes ages; empty if there is none."""
    if not moment:
        return ""
    seconds = (now - datetime.fromisoformat(moment)).total_seconds()
    return span(seconds) if seconds >= 0 else f"in {span(-seconds)}"


def span(seconds: float) -> str:
    """A length of time in its one or two largest units."""
    left = int(seconds)
    for size, unit, below, smaller in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if left >= size:
            rest = left % size // below
            return f"{left // size}{unit}{rest}{smaller}" if rest and left < 10 * size else f"{left // size}{unit}"
    return f"{left}s"


def took(run: Mapping[str, Any], now: datetime) -> str:
    """How long a run took, or has taken so far."""
    if not run.get("startedAt"):
        return ""
    end = datetime.fromisoformat(run["finishedAt"]) if run.get("finishedAt") else now
    return span(max((end - datetime.fromisoformat(run["startedAt"])).total_seconds(), 0))


def count(rows: object) -> str:
    """A number with its thousands set apart; empty for none."""
    return f"{rows:,}" if isinstance(rows, int) else ""


def short(sentence: str, width: int = 100) -> str:
    """A sentence on one line of a table."""
    line = " ".join(sentence.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def utcnow() -> datetime:
    """Now."""
    return datetime.now(UTC)
