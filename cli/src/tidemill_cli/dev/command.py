"""`tidemill dev`: from arguments to an exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from rich.console import Console

from tidemill_api.contract import RunResult
from tidemill_check.parameters import check_parameters
from tidemill_cli.dev.components.component import ComponentError
from tidemill_cli.dev.display import display
from tidemill_cli.dev.folder import FolderInUseError, state_folder
from tidemill_cli.dev.layout import Layout, LayoutError, lay_out
from tidemill_cli.dev.session import Session, StoppedError
from tidemill_cli.dev.settings import SettingsError, SettingsFile, load
from tidemill_cli.dev.summary import as_json, print_runs, where_to_look_later
from tidemill_cli.manifests import Manifests

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
"""A signal's exit code is 128 and its number, as shells have it: 130 after Ctrl-C."""


class UsageError(Exception):
    """The command line is wrong; the message says what would be right."""


class ManifestsError(Exception):
    """The manifests are wrong; each problem is a line."""

    def __init__(self, problems: Sequence[str]) -> None:
        """At least one problem."""
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    paths: tuple[Path, ...]
    once: bool = False
    output: Literal["text", "json"] = "text"
    data_dir: Path | None = None
    parameters: tuple[str, ...] = ()


def dev(options: Options) -> int:
    """Lint, start everything, run the pipelines; returns the exit code."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        layout = _read(options)
        with ExitStack() as stack:
            folder = stack.enter_context(state_folder(options.data_dir))
            shown = stack.enter_context(display())
            results: list[RunResult] = []
            session = Session(layout, folder, shown, _report(options, results))
            code = _run(session, options)
    except UsageError as error:
        errors.print(f"tidemill dev: {error}", markup=False)
        return USAGE
    except (ManifestsError, SettingsError, LayoutError) as error:
        errors.print(str(error), markup=False)
        return FAILED
    except (ComponentError, FolderInUseError, OSError) as error:
        errors.print(f"tidemill dev: {error}", markup=False)
        return FAILED
    if options.output == "text" and results:
        print_runs(Console(highlight=False), results)
    for line in where_to_look_later(layout, folder.path, folder.kept):
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


def _report(options: Options, results: list[RunResult]) -> Callable[[RunResult], None]:
    def report(result: RunResult) -> None:
        results.append(result)
        if options.output == "json":
            sys.stdout.write(as_json(result) + "\n")
            sys.stdout.flush()

    return report


def _read(options: Options) -> Layout:
    from tidemill_cli.manifests import load_manifests

    manifests = load_manifests(options.paths)
    problems = [str(one) for one in manifests.errors]
    if problems:
        raise ManifestsError(problems)
    given = _given(options.parameters, manifests)
    return lay_out(manifests.pipelines, manifests.pools, _settings, given, os.environ)


@cache
def _settings(folder: Path) -> SettingsFile:
    return load(folder)


def _given(texts: Sequence[str], manifests: Manifests) -> dict[str, str]:
    """`name=value` texts by name; each fits the types declared for it. Raises `UsageError`."""
    given: dict[str, str] = {}
    specs = [manifest.object.spec for manifest in manifests.pipelines]
    known = sorted({one.name for spec in specs for one in spec.parameters})
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--param {text}: write it as name=value")
        if name not in known:
            raise UsageError(f"--param {name}: no pipeline declares it; declared are: {', '.join(known) or 'none'}")
        given[name] = value
    for spec in specs:
        declared = {one.name for one in spec.parameters}
        for problem in check_parameters(spec, {name: value for name, value in given.items() if name in declared}):
            raise UsageError(f"--param {problem.field.removeprefix('spec.parameters.')}: {problem.message}")
    return given
