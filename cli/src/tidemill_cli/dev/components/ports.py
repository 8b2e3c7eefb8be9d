"""TCP ports on loopback for components, the same ones again when a state is continued."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tidemill_cli.dev.components.component import ComponentError

LOOPBACK = "127.0.0.1"
# Below the range from which systems take the ports of outgoing connections, so nobody grabs one between our look and
# the component's bind by merely connecting somewhere.
_LOWEST, _HIGHEST = 15_000, 29_999
_ATTEMPTS = 200


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a component listens: here on loopback, in a pod on all addresses and on ports that are agreed on."""

    host: str = LOOPBACK
    fixed: Mapping[str, int] = field(default_factory=dict[str, int])
    """By name; ports that aren't named are free ones, kept for the next start."""

    def choose(self, file: Path, *names: str) -> dict[str, int]:
        """A port for each name: the fixed ones, and others as `remembered`."""
        others = remembered(file, *(name for name in names if name not in self.fixed))
        return {name: self.fixed.get(name, others.get(name, 0)) for name in names}


HERE = Listen()


class NoFreePortError(ComponentError):
    """Every port that was tried is taken."""


def free(*, preferred: int | None = None, taken: frozenset[int] = frozenset()) -> int:
    """A port that nobody listens on now, other than `taken`; `preferred` if it is free."""
    choices = [] if preferred is None else [preferred]
    choices += random.sample(range(_LOWEST, _HIGHEST), _ATTEMPTS)
    for port in choices:
        if port not in taken and _is_free(port):
            return port
    raise NoFreePortError(f"no free TCP port on {LOOPBACK} among {_ATTEMPTS} tried between {_LOWEST} and {_HIGHEST}")


def remembered(file: Path, *names: str) -> dict[str, int]:
    """A free port for each name: those kept in `file` as far as they are still free.  Writes nothing (`remember`)."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    chosen: dict[str, int] = {}
    for name in names:
        preferred = known.get(name) if isinstance(known, dict) else None
        chosen[name] = free(
            preferred=preferred if isinstance(preferred, int) else None, taken=frozenset(chosen.values())
        )
    return chosen


def remember(file: Path, chosen: Mapping[str, int]) -> None:
    """Keep the ports for the next start on this directory."""
    file.write_text(json.dumps(dict(chosen)), encoding="utf-8")


def accepts(port: int) -> bool:
    """Whether somebody accepts connections on this port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.5):
            return True
    except OSError:
        return False


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose former connections only linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
