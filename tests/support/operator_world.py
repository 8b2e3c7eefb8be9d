"""The operator's tests' world: a real API server and Temporal, an operator process, and manifests to give it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.kubernetes import ApiServer
from tests.support.operator_process import OperatorProcess
from tests.support.rest import READ, Rest
from tests.support.waiting import until

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class World:
    """What a test of the operator works with; `namespace` is its own."""

    api: ApiServer
    temporal: str
    installation: str
    operator: OperatorProcess
    namespace: str

    def apply(self, *manifests: Manifest) -> None:
        """`kubectl apply`, strictly validated, into the test's namespace."""
        placed = [{**each, "metadata": {"namespace": self.namespace, **each["metadata"]}} for each in manifests]
        self.api.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": placed}))

    def get(self, kind: str, name: str) -> Manifest:
        """The object, or an empty one if there is none."""
        if kind.lower() in READ:
            with contextlib.closing(Rest(self.api)) as rest:
                return rest.get(kind, self.namespace, name)
        done = self.api.kubectl("-n", self.namespace, "get", kind, name, "-o", "json", "--ignore-not-found")
        found: Manifest = json.loads(done.stdout) if done.stdout.strip() else {}
        return found

    def kubectl(self, *arguments: str) -> str:
        """Kubectl in the test's namespace."""
        return self.api.kubectl("-n", self.namespace, *arguments).stdout

    def condition(self, kind: str, name: str, of: str = "Ready") -> Manifest:
        """A condition, or an empty one."""
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == of), {})

    def wait(self, kind: str, name: str, status: str, reason: str, of: str = "Ready") -> Manifest:
        """Wait until a condition has this status and reason; the condition."""
        seen: Manifest = {}

        def look() -> Manifest:
            nonlocal seen
            seen = self.condition(kind, name, of)
            return seen if (seen.get("status"), seen.get("reason")) == (status, reason) else {}

        try:
            return self.until(look, f"{kind} {name} is {of}={status} ({reason})")
        except AssertionError as error:
            raise AssertionError(f"{of} of {kind} {name} is {seen}\n{error}") from None

    def until(self, look: Callable[[], Manifest], what: str, seconds: float = 90) -> Manifest:
        """As `waiting.until`; a failure shows the operator's last words."""
        try:
            return until(look, what, timeout=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.operator.log.read_text()[-3000:]}") from None

    def gone(self, kind: str, name: str) -> None:
        """Wait until there is no such object."""
        self.until(lambda: {"gone": True} if not self.get(kind, name) else {}, f"{kind} {name} is gone")

    def schedule_id(self, pipeline: str) -> str:
        """The id of a pipeline's Schedule."""
        return f"{self.installation}/{self.namespace}/{pipeline}"


def rolled_out(world: World, name: str, replicas: int) -> None:
    """What the Deployment's controller would write: there is none here."""
    world.until(lambda: world.get("deployment", name), f"the Deployment {name}")
    counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), replicas)
    patch = json.dumps({"status": {"observedGeneration": 1, **counts}})
    world.kubectl("patch", "deployment", name, "--subresource=status", "--type=merge", "-p", patch)


def pool(name: str = "etl", **spec: Any) -> Manifest:
    """A WorkerPool without more than it needs, but for `spec`."""
    warehouse = {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}}
    least = {
        "connections": [{"name": "landing", "files": {"url": "file:///data/"}}, warehouse],
        "metastore": {"connection": "warehouse"},
    }
    return _manifest("WorkerPool", name, {**least, **spec})


def pipeline(name: str, cron: str | None = "15 6 1 1 *", **spec: Any) -> Manifest:
    """A DataPipeline that seldom runs by itself, but for `spec`."""
    least: Manifest = {
        "workerPoolRef": {"name": "etl"},
        "sources": [{"name": "raw", "connection": "landing", "files": {"path": "a.csv", "format": {"csv": {}}}}],
        "sinks": [
            {
                "name": "out",
                "input": "raw",
                "connection": "warehouse",
                "postgres": {"table": "public.a"},
                "writeDisposition": "Append",
            }
        ],
    }
    schedule = {"schedule": {"crons": [cron]}} if cron else {}
    return _manifest("DataPipeline", name, {**least, **schedule, **spec})


def run(name: str, of: str, **parameters: Any) -> Manifest:
    """A DataPipelineRun."""
    given = {"parameters": parameters} if parameters else {}
    return _manifest("DataPipelineRun", name, {"pipelineRef": {"name": of}, **given})


def _manifest(kind: str, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": "tidemill.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
