"""The command line of `tidemill-dev-services`, and what follows from it."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PASSWORD: Final = "TIDEMILL_DEV_PASSWORD"  # noqa: S105 - the variable's name
COMPONENTS: Final = ("temporal", "postgres", "redis")
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_DATABASE: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class UsageError(Exception):
    """The command line or the environment is wrong; the message names the argument and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to run, and how."""

    component: str
    data: Path
    health_port: int
    password: str | None = None
    """None for Temporal, which has none."""
    namespaces: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    ui: bool = False

    @property
    def directory(self) -> Path:
        """Where the component keeps its state."""
        return self.data / self.component


def parser() -> argparse.ArgumentParser:
    """The arguments of all commands."""
    made = argparse.ArgumentParser(
        prog="tidemill-dev-services",
        description="Temporal, PostgreSQL or Redis, for demos and tests of Tidemill only.",
    )
    commands = made.add_subparsers(dest="component", required=True, metavar="temporal|postgres|redis|psql")
    for name in COMPONENTS:
        command = commands.add_parser(name, help=f"run {name} until SIGTERM")
        command.add_argument("--data", type=Path, default=Path("/data"), metavar="DIR", help="where its state is kept")
        command.add_argument("--health-port", type=int, default=8080, help="port of /healthz and /readyz")
        match name:
            case "temporal":
                command.add_argument("--namespace", action="append", default=[], help="make this one too")
                command.add_argument("--ui", action="store_true", help="serve Temporal's own UI, too")
            case _:
                command.add_argument("--password-file", type=Path, metavar="FILE", help=f"instead of {PASSWORD}")
        if name == "postgres":
            command.add_argument("--database", action="append", default=[], help="make this one if it isn't there")
    shell = commands.add_parser("psql", help="psql in the container where postgres runs", add_help=False)
    shell.add_argument("--data", type=Path, default=Path("/data"))
    return made


def options(found: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Options:
    """What the arguments and the environment say.

    Raises:
        UsageError: A password is missing, or a name isn't one.
    """
    component: str = found.component
    if not 0 <= found.health_port <= 65535:
        raise UsageError(f"--health-port: {found.health_port} must be a port, 0 to 65535")
    return Options(
        component=component,
        data=found.data,
        health_port=found.health_port,
        namespaces=_names("--namespace", getattr(found, "namespace", ()), _NAMESPACE, "2 to 255 letters and digits"),
        databases=_names("--database", getattr(found, "database", ()), _DATABASE, "small letters, digits and _"),
        password=None if component == "temporal" else _password(found.password_file, environment),
        ui=getattr(found, "ui", False),
    )


def _names(flag: str, given: Sequence[str], form: re.Pattern[str], right: str) -> tuple[str, ...]:
    for name in given:
        if not form.fullmatch(name):
            raise UsageError(f"{flag}: {name!r} is no name here; it must be of {right}")
    return tuple(dict.fromkeys(given))


def _password(file: Path | None, environment: Mapping[str, str]) -> str:
    if file is not None:
        try:
            found = file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UsageError(f"--password-file: {file} can't be read ({error.strerror})") from error
    else:
        found = environment.get(PASSWORD, "").strip()
    if not found:
        raise UsageError(f"no password: give one by --password-file FILE or by {PASSWORD}, from a Secret")
    if not found.isprintable():
        raise UsageError("the password must be one line of printable characters")
    return found
