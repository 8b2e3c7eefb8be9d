"""A session from its layout to an exit code: progress and notes to stderr, results to stdout."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from rich.console import Console

from tidemill_api.contract import RunResult
from tidemill_api.errors import TidemillError
from tidemill_cli.dev.components.component import ComponentError
from tidemill_cli.dev.display import display
from tidemill_cli.dev.folder import FolderInUseError, state_folder
from tidemill_cli.dev.layout import Layout
from tidemill_cli.dev.reading import Options
from tidemill_cli.dev.session import Session, StoppedError
from tidemill_cli.dev.summary import as_json, print_runs, where_to_look_later

OK: Final = 0
FAILED: Final = 1
_SUMMARY_RUNS: Final = 50


def run(layout: Layout, options: Options) -> int:
    """Run the layout; returns the exit code."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    results: deque[RunResult] = deque(maxlen=None if options.once else _SUMMARY_RUNS)
    try:
        with ExitStack() as stack:
            folder = stack.enter_context(state_folder(options.data_dir))
            shown = stack.enter_context(display())
            code = _run(Session(layout, folder, shown, _report(options, results), options.replay), options)
    except (ComponentError, FolderInUseError, TidemillError, OSError) as error:
        errors.print(f"tidemill dev: {error}", markup=False)
        return FAILED
    if options.output == "text" and results:
        print_runs(Console(highlight=False), tuple(results))
    for line in where_to_look_later(layout, folder.path, folder.kept, sys.argv[0]):
        errors.print(line, markup=False)
    return code


def _run(session: Session, options: Options) -> int:
    try:
        if options.once:
            results = asyncio.run(session.once())
            return OK if all(result.result == "Succeeded" for result in results) else FAILED
        asyncio.run(session.forever())
    except StoppedError as stopped:
        session.display.note(f"stopped by {signal.Signals(stopped.signal).name}")
        return 128 + stopped.signal
    return OK


def _report(options: Options, results: deque[RunResult]) -> Callable[[RunResult], None]:
    def report(result: RunResult) -> None:
        results.append(result)
        if options.output == "json":
            sys.stdout.write(as_json(result) + "\n")
            sys.stdout.flush()

    return report
