"""From arguments to results and an exit code."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tidemill_cli.dev.reading import UsageError
from tidemill_cli.testing.reading import WrongError, read

FAILED: Final = 1
CANT_RUN: Final = 2


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    paths: tuple[Path, ...]
    manifests: tuple[Path, ...] = ()
    case: str = ""
    junit: Path | None = None
    output: Literal["text", "json"] = "text"


def run_all(options: Options) -> int:
    """Run the cases and say what isn't as expected. Gives the exit code: 0, 1 (a case failed) or 2 (can't run)."""
    try:
        suites = read(options.paths, options.manifests)
        chosen = [
            (suite, place)
            for suite in suites
            for place, case in enumerate(suite.tests.cases)
            if options.case in case.name
        ]
        if not chosen:
            raise UsageError(f"no case's name holds {options.case!r}")
    except (UsageError, FileNotFoundError) as error:
        print(f"tidemill test: {error}", file=sys.stderr)
        return CANT_RUN
    except WrongError as error:
        print(error, file=sys.stderr)
        return CANT_RUN
    # The engine takes a while to import: an answer about the files doesn't wait for it.
    from tidemill_cli.testing import report
    from tidemill_cli.testing.running import run

    results = []
    for suite, place in chosen:
        result = run(suite, place)
        results.append(result)
        if options.output == "json":
            print(json.dumps(report.as_json(result), ensure_ascii=False, default=str))
        else:
            print("\n    ".join([report.line(result), *report.details(result)]), flush=True)
    if options.output == "text":
        print(report.summary(results))
    if options.junit is not None:
        try:
            options.junit.write_text(report.junit(results), encoding="utf-8")
        except OSError as error:
            print(f"tidemill test: --junit {options.junit}: {error.strerror}", file=sys.stderr)
            return CANT_RUN
    return FAILED if any(not each.passed for each in results) else 0
