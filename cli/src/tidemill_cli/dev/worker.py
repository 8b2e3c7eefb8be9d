"""A pool's worker as a child process, with the same care as the other components."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Sequence
from typing import Final

from tidemill_cli.dev.components import ports
from tidemill_cli.dev.components.component import Component
from tidemill_cli.dev.folder import WorkerFiles
from tidemill_cli.dev.layout import Layout, Pool
from tidemill_cli.rehearse.modules import folder_of

# It gets this long to hand back what it works on; a chunk that isn't done by then is done again by the next worker.
STOP_SECONDS: Final = 8.0


def modules(layout: Layout, pool: Pool) -> tuple[str, ...]:
    """Folders with the modules that pipelines of the pool name."""
    found = (folder_of(each.manifest) for each in layout.pipelines if each.pool is pool)
    return tuple(sorted({str(folder) for folder in found if folder is not None}))


def describe(label: str, files: WorkerFiles, modules: Sequence[str] = ()) -> Component:
    """A worker that runs with these files; it serves when it polls Temporal.

    `modules` are folders in which it looks for modules of functions.
    """
    port = ports.free()
    return Component(
        name=f"worker-{label}" if label else "worker",
        command=(
            *(sys.executable, "-m", "tidemill_worker", "--config", str(files.config), "--secrets", str(files.secrets)),
            *("--health-address", f"{ports.LOOPBACK}:{port}", "--log-format", "text"),
            *(option for folder in modules for option in ("--modules", folder)),
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
