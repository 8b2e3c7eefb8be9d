"""On a real cluster: from `kubectl apply` to Ready and to rows, from a pod's start to its first run, and memory."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import time
import uuid
from collections.abc import AsyncIterator
from statistics import median
from typing import Any

from tests.bench.measurement import Measurement, say
from tools import demo
from tools.cluster import choice
from tools.cluster.choice import NAMESPACE, RELEASE, Chosen

OURS = "tidemill.dev/v1alpha1"
PATIENCE = 240.0
MEBI = 1024 * 1024


async def measure(quick: bool) -> AsyncIterator[Measurement]:
    """Against nothing: each figure is the cluster's, with kubectl's own start (about 0.1 s a command) in it."""
    chosen = choice.choose()
    await asyncio.to_thread(demo.prepare, chosen)
    bench = _Bench(chosen, f"bench-{uuid.uuid4().hex[:8]}")
    try:
        async for measurement in bench.rounds(3 if quick else 10):
            yield measurement
    finally:
        bench.kubectl("delete", "namespace", bench.namespace, "--timeout=120s")


class _Bench:
    def __init__(self, chosen: Chosen, namespace: str) -> None:
        self._chosen = chosen
        self.namespace = namespace

    async def rounds(self, number: int) -> AsyncIterator[Measurement]:
        """All figures, one kind after the other."""
        self._prepare()
        first = await asyncio.to_thread(self._cold)
        yield Measurement("cluster_apply_of_all_to_first_run_done", first, "s")
        ready = [await asyncio.to_thread(self._to_ready, f"ready-{n}") for n in range(number)]
        yield Measurement("cluster_apply_to_ready", median(ready), "s", n=number)
        warm = [await asyncio.to_thread(self._to_rows, f"rows-{n}") for n in range(number)]
        yield Measurement("cluster_apply_to_rows_warm_pool", median(warm), "s", n=number)
        started = [await asyncio.to_thread(self._scaled_up, f"scaled-{n}") for n in range(number)]
        yield Measurement("cluster_pod_start_to_first_run_done", median(started), "s", n=number)
        used = self._memory()
        yield Measurement("cluster_operator_memory_leader", max(used("operator", NAMESPACE)) / MEBI, "MiB")
        yield Measurement("cluster_worker_memory_idle", max(used("worker", self.namespace)) / MEBI, "MiB")

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """What kubectl answers."""
        done = subprocess.run(
            self._chosen.kubectl(*arguments), input=text, capture_output=True, text=True, check=True, timeout=PATIENCE
        )
        return done.stdout

    def _prepare(self) -> None:
        encoded = self.kubectl(
            "get", "secret", f"{RELEASE}-dev-services", "-n", NAMESPACE, "-o", "jsonpath={.data.dsn}"
        )
        dsn = base64.b64decode(encoded).decode().rpartition("/")[0] + "/warehouse"
        self._apply(demo.namespace(self.namespace), demo.secret(self.namespace, dsn))

    def _apply(self, *objects: dict[str, Any]) -> None:
        items = [dict(each) for each in objects]
        self.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    def _wait(self, what: str, condition: str = "Ready") -> None:
        waiting = ("wait", "-n", self.namespace, f"--for=condition={condition}", f"--timeout={PATIENCE:g}s", what)
        self.kubectl(*waiting)

    def _object(self, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": OURS, "kind": kind, "metadata": metadata, "spec": spec}

    def _pipeline(self, name: str) -> dict[str, Any]:
        """One small file (16 rows) into a table of its own."""
        source = {"name": "raw", "connection": "landing", "files": {"path": "airlines.csv", "format": {"csv": {}}}}
        sink = {"name": "out", "input": "raw", "connection": "warehouse", "writeDisposition": "Replace"}
        table = f"public.{self.namespace}_{name}".replace("-", "_")
        spec = {
            "workerPoolRef": {"name": "etl"},
            "sources": [source],
            "sinks": [{**sink, "postgres": {"table": table, "createTable": "IfMissing"}}],
        }
        return self._object("DataPipeline", name, spec)

    def _run(self, name: str) -> dict[str, Any]:
        return self._object("DataPipelineRun", name, {"pipelineRef": {"name": name}})

    def _cold(self) -> float:
        """Pool, pipeline and run at once, in a namespace without any."""
        pool = demo.manifest("pool")
        pool["metadata"]["namespace"] = self.namespace
        began = time.perf_counter()
        self._apply(pool, self._pipeline("first"), self._run("first"))
        self._wait("dplrun/first")
        return time.perf_counter() - began

    def _to_ready(self, name: str) -> float:
        began = time.perf_counter()
        self._apply(self._pipeline(name))
        self._wait(f"dpl/{name}")
        return time.perf_counter() - began

    def _to_rows(self, name: str) -> float:
        began = time.perf_counter()
        self._apply(self._pipeline(name), self._run(name))
        self._wait(f"dplrun/{name}")
        return time.perf_counter() - began

    def _scaled_up(self, name: str) -> float:
        """From 0 to 1 worker, while a run waits."""
        self.kubectl("scale", "-n", self.namespace, "--replicas=0", "wpool/etl")
        self.kubectl(
            *("wait", "-n", self.namespace, "--for=delete", f"--timeout={PATIENCE:g}s"),
            *("pod", "--selector=tidemill.dev/pool=etl"),
        )
        self._apply(self._pipeline(name), self._run(name))
        self._wait(f"dpl/{name}")
        began = time.perf_counter()
        self.kubectl("scale", "-n", self.namespace, "--replicas=1", "wpool/etl")
        self._wait(f"dplrun/{name}")
        say(f"  {name}: {time.perf_counter() - began:.1f} s")
        return time.perf_counter() - began

    def _memory(self) -> Any:
        """Working sets in bytes, by container and namespace, as the kubelets tell."""
        found: list[tuple[str, str, int]] = []
        for node in self.kubectl("get", "nodes", "-o", "name").split():
            summary = json.loads(self.kubectl("get", "--raw", f"/api/v1/nodes/{node[5:]}/proxy/stats/summary"))
            for pod in summary["pods"]:
                for container in pod.get("containers", ()):
                    used = container.get("memory", {}).get("workingSetBytes", 0)
                    found.append((container["name"], pod["podRef"]["namespace"], used))
        return lambda name, where: [used for each, place, used in found if (each, place) == (name, where)]
