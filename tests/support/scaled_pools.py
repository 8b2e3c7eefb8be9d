"""Workers of a pool that is scaled: the SDK's own, told from each other by their identities, as a pool's pods are."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Worker

from tests.support.operator_world import Manifest, World
from tidemill_api.names import task_queue
from tidemill_operator.pool.children import selector

QUICK: Manifest = {
    "idleTimeout": "1s",
    "stabilization": "0s",
    "prewarm": "0s",
    "tolerance": 0,
    "maxReplicas": 3,
    "targetBacklogPerReplica": 1,
}
"""Scaling that waits for nothing."""


@activity.defn(name="chunk")
async def chunk() -> None:
    """Takes as long as the worker lives."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


@workflow.defn(name="DataPipelineRun", sandboxed=False)
class LongRun:
    """A run without an end, of one chunk or of none."""

    @workflow.run
    async def run(self, chunks: int) -> None:
        if chunks:
            await workflow.execute_activity("chunk", start_to_close_timeout=timedelta(hours=1))
        await workflow.wait_condition(lambda: False)


@contextlib.asynccontextmanager
async def polling(world: World, *pods: str, name: str = "etl", temporal: str = "") -> AsyncIterator[None]:
    """Workers of the pool `name`, in these pods."""
    queue = task_queue(world.installation, world.namespace, name)
    runtime = Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(seconds=1))
    async with contextlib.AsyncExitStack() as workers:
        for pod in pods:
            client = await Client.connect(temporal or world.temporal, runtime=runtime, identity=f"1@{pod}")
            worker = Worker(client, task_queue=queue, workflows=[LongRun], activities=[chunk])
            await workers.enter_async_context(worker)
        yield


def ready_pod(world: World, name: str, pool: str = "etl") -> None:
    """A pod of the pool, as a kubelet tells it."""
    container = {"name": "worker", "image": "registry.example/worker:2"}
    metadata = {"name": name, "labels": selector(pool)}
    spec = {"containers": [container], "serviceAccountName": f"{pool}-worker", "automountServiceAccountToken": False}
    world.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    world.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
