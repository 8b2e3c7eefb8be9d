"""What a person sees while `tidemill dev` works, on stderr: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tidemill_cli.dev.view import RunView

_LINE_SECONDS: Final = 5.0
_KEPT_RUNS: Final = 12
STYLE: Final = {"Succeeded": "green", "Failed": "bold red", "Skipped": "yellow", "Cancelled": "yellow"}


class Display(Protocol):
    """Where notes and the progress of runs go."""

    def note(self, text: str, style: str = "") -> None:
        """A line that stays."""
        ...

    def run(self, view: RunView) -> None:
        """A run began, moved on or ended."""
        ...


class Lines:
    """A line for each change of a run's phase, and every few seconds in between."""

    def __init__(self, console: Console) -> None:
        """Writes to the console."""
        self._console = console
        self._last: dict[str, tuple[str, float]] = {}

    def note(self, text: str, style: str = "") -> None:
        """A line that stays."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def run(self, view: RunView) -> None:
        """A line, if it says something new."""
        key = f"{view.pipeline}/{view.run}"
        # The attempt's number alone is no news.
        trouble = view.trouble.partition(": ")[2]
        phase = view.result.result if view.result is not None else f"{view.progress.phase} {trouble}"
        before, at = self._last.get(key, ("", 0.0))
        now = time.monotonic()
        if phase == before and now - at < _LINE_SECONDS:
            return
        self._last[key] = (phase, now)
        if view.result is not None:
            del self._last[key]
        self.note(f"{view.pipeline}: {said(view)}")


class LiveTable:
    """Runs in a table that is drawn anew as they move on; notes scroll by above it."""

    def __init__(self, console: Console) -> None:
        """Draws on the console, which must be a terminal."""
        self._console = console
        self._runs: dict[str, RunView] = {}

    def note(self, text: str, style: str = "") -> None:
        """A line that stays."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def run(self, view: RunView) -> None:
        """The newest runs are shown."""
        self._runs[f"{view.pipeline}/{view.run}"] = view
        for key in [key for key, old in self._runs.items() if old.result is not None]:
            if len(self._runs) > _KEPT_RUNS:
                del self._runs[key]

    def __rich__(self) -> Group:
        """The table as it is now."""
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("PIPELINE", "STATE", "", "READ", "LOADED", "REJECTED", "TIME"):
            table.add_column(title, justify="right" if title in ("READ", "LOADED", "REJECTED", "TIME") else "left")
        for view in self._runs.values():
            table.add_row(*_cells(view))
        return Group(table) if self._runs else Group()


@contextmanager
def display() -> Iterator[Display]:
    """The display that fits stderr."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield Lines(console)
        return
    table = LiveTable(console)
    # What stays in the end is the summary.
    with Live(table, console=console, refresh_per_second=8, transient=True, redirect_stdout=False):
        yield table


def said(view: RunView) -> str:
    """A run's state in a line."""
    if (result := view.result) is not None:
        counts = f"{result.rows_read:,} read, {result.rows_loaded:,} loaded, {result.rows_rejected:,} rejected"
        why = f": {result.error.type}: {result.error.message}" if result.error is not None else ""
        return f"{result.result.lower()} after {result.duration_seconds:.1f} s, {counts}{why}"
    now = view.progress
    counts = f", {now.rows_read:,} read, {now.rows_loaded:,} loaded, {now.rows_rejected:,} rejected"
    chunks = f", chunk {now.chunks_done} of {now.chunks_total}" if now.chunks_total else ""
    trouble = f", {view.trouble}" if view.trouble else ""
    return f"{now.phase.lower()}{chunks}{counts if now.rows_read else ''}{trouble}"


def _cells(view: RunView) -> tuple[Text | ProgressBar | str, ...]:
    if (result := view.result) is not None:
        bar: Text | ProgressBar = Text(_shortened(result.error.message), style="red") if result.error else Text("")
        state = Text(result.result, style=STYLE[result.result])
        rows = (result.rows_read, result.rows_loaded, result.rows_rejected)
        seconds = result.duration_seconds
    else:
        now = view.progress
        state = Text(now.phase)
        bar = ProgressBar(total=1.0, completed=share(view), width=24)
        if view.trouble:
            bar = Text(_shortened(view.trouble), style="yellow")
        rows = (now.rows_read, now.rows_loaded, now.rows_rejected)
        seconds = (datetime.now(UTC) - view.started).total_seconds()
    return (view.pipeline, state, bar, *(f"{count:,}" for count in rows), f"{seconds:.1f} s")


def share(view: RunView) -> float:
    """How much of a run is done, from 0 to 1: by bytes where they are known, else by chunks."""
    now = view.progress
    if now.bytes_total:
        return min(1.0, now.bytes_read / now.bytes_total)
    return min(1.0, now.chunks_done / now.chunks_total) if now.chunks_total else 0.0


def _shortened(text: str) -> str:
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= 60 else line[:59] + "…"
