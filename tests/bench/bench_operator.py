"""The operator on a real API server and Temporal, and beside it a kopf operator with default settings.

CPU is that of the operator's process alone, counted after one object has warmed it up (imports, DuckDB's parser). The
kopf operator patches as many statuses, of a kind of its own, on the same API server, right before.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench.measurement import Measurement, say
from tests.support.kubernetes import ADMIN, ROOT, ApiServer, api_server
from tests.support.operator_process import OperatorProcess, running_operator
from tests.support.operator_world import pipeline, pool
from tests.support.waiting import until
from tidemill_cli.dev.components import temporal
from tidemill_cli.dev.components.component import running_blocking

OURS: Final = "/apis/tidemill.dev/v1alpha1/namespaces/default"
THINGS: Final = "/apis/bench.tidemill.dev/v1/namespaces/default/things"
IDLE: Final = 20.0
_TICK: Final = os.sysconf("SC_CLK_TCK")
_THING: Final = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.bench.tidemill.dev"},
    "spec": {
        "group": "bench.tidemill.dev",
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


@dataclass(frozen=True, slots=True)
class Api:
    """Raw requests to the API server, a connection each thread."""

    server: ApiServer
    context: ssl.SSLContext

    @contextlib.contextmanager
    def connection(self) -> Iterator[http.client.HTTPSConnection]:
        """A connection that stays open."""
        host, _, port = self.server.url.removeprefix("https://").partition(":")
        connection = http.client.HTTPSConnection(host, int(port), context=self.context)
        try:
            yield connection
        finally:
            connection.close()

    def create(self, path: str, manifests: list[dict[str, Any]]) -> None:
        """Create them one after another."""
        with self.connection() as connection:
            for manifest in manifests:
                connection.request("POST", path, json.dumps(manifest), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 201:
                    raise RuntimeError(body.decode())

    def ready(self, path: str) -> int:
        """How many objects are Ready."""
        with self.connection() as connection:
            connection.request("GET", f"{path}?resourceVersion=0")
            items = json.loads(connection.getresponse().read())["items"]
        return sum(_is_ready(item) for item in items)


def _is_ready(item: dict[str, Any]) -> bool:
    conditions = item.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took until all were ready."""

    seconds: float
    cpu: float
    memory: float
    """Growth of the resident set, MB."""


async def measure(quick: bool) -> AsyncIterator[Measurement]:
    """Time until N pipelines are Ready, its cost, and what idling and a resync cost."""
    count = 100 if quick else 1000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = temporal.describe(folder / "temporal", persistent=False)
        with api_server(folder / "kubernetes") as api, running_blocking(server.component):
            steps = _measured(api, server.address, folder, count, quick)
            while (measurement := await asyncio.to_thread(next, steps, None)) is not None:
                yield measurement


def _measured(server: ApiServer, address: str, folder: Path, count: int, quick: bool) -> Iterator[Measurement]:
    api = _api(server)
    server.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    server.kubectl("apply", "-f", "-", stdin=json.dumps(_THING))
    server.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
    kopf = _kopf(api, folder, count)
    yield Measurement("operator/kopf_default_cpu", kopf.cpu, "s", n=count)
    yield from _creation(api, address, folder, count, kopf)
    if not quick:
        yield from _resync(api, address, folder, count, kopf)


def _creation(api: Api, address: str, folder: Path, count: int, kopf: Cost) -> Iterator[Measurement]:
    arguments = ("--sweep-interval=3", "--log-level=info", "--lease-duration=15")
    with running_operator(folder, api.server.kubeconfig, "bench", *arguments, temporal=address) as operator:
        until(operator.leads, "it leads", timeout=60)
        api.create(f"{OURS}/workerpools", [pool()])
        api.create(f"{OURS}/datapipelines", [_pipeline("warm")])
        until(lambda: api.ready(f"{OURS}/datapipelines") == 1, "the first is ready", timeout=60)
        before = _figures(operator)
        cost = _cost(
            operator.process.pid,
            lambda: _create(api, f"{OURS}/datapipelines", [_pipeline(f"p{number}") for number in range(count)]),
            lambda: api.ready(f"{OURS}/datapipelines") == count + 1,
        )
        made = _figures(operator)
        say(f"operator: {count} pipelines Ready after {cost.seconds:.1f} s, {cost.cpu:.2f} s of CPU")
        yield Measurement("operator/time_to_ready", cost.seconds, "s", n=count)
        yield Measurement(
            "operator/creation_cpu", cost.cpu, "s", "kopf's defaults, as many statuses", cost.cpu / kopf.cpu, count
        )
        yield Measurement("operator/reconciles", (made.reconciles - before.reconciles) / cost.seconds, "1/s", n=count)
        yield Measurement("operator/api_requests", (made.api - before.api) / count, "per pipeline", n=count)
        yield Measurement(
            "operator/temporal_requests", (made.temporal - before.temporal) / count, "per pipeline", n=count
        )
        yield Measurement(
            "operator/memory_growth", cost.memory, "MB", "kopf's defaults", cost.memory / kopf.memory, count
        )
        settled, cpu, began = _figures(operator), _cpu(operator.process.pid), time.monotonic()
        _wait(IDLE)
        seconds = time.monotonic() - began
        idle = _figures(operator)
        yield Measurement(
            "operator/idle_cpu", (_cpu(operator.process.pid) - cpu) / seconds * 100, "% of a core", n=count
        )
        yield Measurement("operator/idle_writes", idle.writes - settled.writes, "but the Lease", n=count)


def _resync(api: Api, address: str, folder: Path, count: int, kopf: Cost) -> Iterator[Measurement]:
    """The cost of lists and descriptions: CPU with a resync every few seconds, less that without."""
    rates: dict[str, float] = {}
    interval = 15.0
    for name, seconds in (("none", 3600.0), ("often", interval)):
        arguments = ("--sweep-interval=3", f"--resync-interval={seconds}", "--log-level=info")
        with running_operator(folder, api.server.kubeconfig, "bench", *arguments, temporal=address) as operator:
            until(operator.leads, "it leads", timeout=60)
            until(functools.partial(_looked_at, operator, count), "all were looked at", timeout=120)
            _wait(5)
            cpu, began = _cpu(operator.process.pid), time.monotonic()
            listed = (
                operator.figure("tidemill_operator_resync_duration_seconds_sum"),
                operator.figure("tidemill_operator_resync_duration_seconds_count"),
            )
            _wait(4 * interval)
            rates[name] = (_cpu(operator.process.pid) - cpu) / (time.monotonic() - began)
            rounds = operator.figure("tidemill_operator_resync_duration_seconds_count") - listed[1]
            if rounds:
                lists = (operator.figure("tidemill_operator_resync_duration_seconds_sum") - listed[0]) / rounds
                yield Measurement("operator/resync_list_time", lists, "s", n=count)
    cost = max(0.0, rates["often"] - rates["none"]) * interval
    yield Measurement(
        "operator/resync_cpu", cost, "s, with a description of each Schedule", "kopf's defaults", cost / kopf.cpu, count
    )


def _looked_at(operator: OperatorProcess, count: int) -> bool:
    return operator.figure("tidemill_operator_reconciles_total") > count


def _kopf(api: Api, folder: Path, count: int) -> Cost:
    """The other operator, with as many objects."""
    command = [sys.executable, "-m", "kopf", "run", "--all-namespaces", "--standalone", "--quiet"]
    with (folder / "kopf.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, str(Path(__file__).with_name("kopf_default.py"))],
            env={**os.environ, "KUBECONFIG": str(api.server.kubeconfig)},
            stdout=log,
            stderr=log,
        )
    try:
        api.create(THINGS, [_thing("warm")])
        until(lambda: api.ready(THINGS) == 1, "the first is ready", timeout=60)
        cost = _cost(
            process.pid,
            lambda: _create(api, THINGS, [_thing(f"t{number}") for number in range(count)]),
            lambda: api.ready(THINGS) == count + 1,
        )
    finally:
        process.terminate()
        process.wait(30)
    say(f"kopf's defaults: {count} ready after {cost.seconds:.1f} s, {cost.cpu:.2f} s of CPU")
    return cost


def _cost(pid: int, create: Callable[[], None], done: Callable[[], bool]) -> Cost:
    cpu, memory, began = _cpu(pid), _memory(pid), time.monotonic()
    create()
    while not done():
        _wait(0.5)
    seconds = time.monotonic() - began
    _wait(5)  # what comes after: echoes of the watch, Events, a sweep
    return Cost(seconds, _cpu(pid) - cpu, max(0.1, _memory(pid) - memory))


def _create(api: Api, path: str, manifests: list[dict[str, Any]]) -> None:
    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(api.create, path, manifests[start::4]) for start in range(4)]:
            each.result()


def _pipeline(name: str) -> dict[str, Any]:
    """A pipeline with rules and SQL, so that there is something to prove; another minute each."""
    steps = [
        {"name": "valid", "inputs": ["raw"], "validate": {"rules": [{"name": "sane", "expression": "delay < 2000"}]}},
        {"name": "named", "inputs": ["valid"], "sql": {"query": "SELECT carrier, delay / 60.0 AS hours FROM valid"}},
    ]
    columns = [{"name": "carrier", "type": "string", "required": True}, {"name": "delay", "type": "float64"}]
    source = {
        "name": "raw",
        "connection": "landing",
        "files": {"path": "flights/*.csv.gz", "format": {"csv": {}}},
        "columns": columns,
    }
    sink = {
        "name": "out",
        "input": "named",
        "connection": "warehouse",
        "postgres": {"table": f"public.{name}"},
        "writeDisposition": "Append",
    }
    made = pipeline(name, f"{sum(name.encode()) % 60} 5 1 1 *", sources=[source], steps=steps, sinks=[sink])
    return {**made, "metadata": {"name": name, "namespace": "default"}}


def _thing(name: str) -> dict[str, Any]:
    spec = {**_pipeline(name)["spec"], "name": name}
    return {"apiVersion": "bench.tidemill.dev/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec}


@dataclass(frozen=True, slots=True)
class Figures:
    """Counters of the operator at a moment."""

    reconciles: float
    api: float
    temporal: float
    writes: float


def _figures(operator: OperatorProcess) -> Figures:
    name = "tidemill_operator_kubernetes_requests_total"
    lease = operator.figure(name, kind="Lease")
    reads = operator.figure(name, verb="GET")
    lease_reads = operator.figure(name, verb="GET", kind="Lease")
    everything = operator.figure(name)
    sweeps = operator.figure("tidemill_operator_temporal_requests_total", call="list_schedules") + operator.figure(
        "tidemill_operator_temporal_requests_total", call="list_runs"
    )
    return Figures(
        reconciles=operator.figure("tidemill_operator_reconciles_total"),
        api=everything - lease,
        temporal=operator.figure("tidemill_operator_temporal_requests_total") - sweeps,
        writes=everything - lease - (reads - lease_reads),
    )


def _api(server: ApiServer) -> Api:
    context = ssl.create_default_context(cafile=str(server.authority.file))
    pair = server.authority.client(*ADMIN)
    context.load_cert_chain(str(pair.certificate), str(pair.key))
    return Api(server, context)


def _cpu(pid: int) -> float:
    """Seconds of CPU of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _memory(pid: int) -> float:
    """Resident set, MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def _wait(seconds: float) -> None:
    time.sleep(seconds)
