"""A pool's worker as a child process, with the same care as the other components."""

from __future__ import annotations

import http.client
import sys
from typing import Final

from tidemill_cli.dev.components import ports
from tidemill_cli.dev.components.component import Component
from tidemill_cli.dev.folder import WorkerFiles

# It gets this long to hand back what it works on; a chunk that isn't done by then is done again by the next worker.
STOP_SECONDS: Final = 8.0


def describe(label: str, files: WorkerFiles) -> Component:
    """A worker that runs with these files; it serves when it polls Temporal."""
    port = ports.free()
    return Component(
        name=f"worker-{label}" if label else "worker",
        command=(
            *(sys.executable, "-m", "tidemill_worker", "--config", str(files.config), "--secrets", str(files.secrets)),
            *("--health-address", f"{ports.LOOPBACK}:{port}", "--log-format", "text"),
        ),
        directory=files.directory,
        ready=lambda: _polls(port),
        advice="Its log says why.",
        stop_timeout=STOP_SECONDS,
    )


def _polls(port: int) -> bool:
    if not ports.accepts(port):
        return False
    connection = http.client.HTTPConnection(ports.LOOPBACK, port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
