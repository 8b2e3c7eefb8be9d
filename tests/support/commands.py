"""The command line as people call it, within this process: its exit code and what it prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from typer.testing import CliRunner

from tidemill_cli.app import app

NO_MORE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str


def tidemill(
    *arguments: str | Path,
    stdin: str | None = None,
    columns: int | None = 200,
    environment: Mapping[str, str] = NO_MORE,
) -> Said:
    """Call `tidemill` with these arguments, in a terminal that is so wide (None: in none); `environment` is added."""
    told = {"COLUMNS": None if columns is None else str(columns), "NO_COLOR": "1", **environment}
    done = CliRunner(env=told).invoke(app, [str(each) for each in arguments], input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Said(done.exit_code, done.stdout, done.stderr)
