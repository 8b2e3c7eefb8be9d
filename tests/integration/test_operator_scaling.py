"""Pools that are scaled, on a real API server and Temporal, by an operator process.

No controller runs here: pods and a Deployment's status are what a test writes. The workers are the SDK's own, told
from each other by their identities, as the pods of a pool are.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.api.workflowservice.v1 import ListWorkersRequest
from temporalio.client import Client, WorkflowHandle

from tests.support.operator_world import Manifest, World, pipeline, pool
from tests.support.scaled_pools import QUICK, polling, ready_pod
from tests.support.waiting import until_async
from tidemill_api.names import PipelineId, task_queue
from tidemill_cli.dev.components import temporal as temporal_component
from tidemill_cli.dev.components.component import running_blocking
from tidemill_operator.pool.removal import DELETION_COST

ONE: Manifest = {"activities": 1}
"""A chunk is all that one worker does."""


async def start(
    world: World, client: Client, count: int, name: str = "etl", chunks: int = 0
) -> list[WorkflowHandle[Any, Any]]:
    """Open runs on a pool's queue."""
    owner = PipelineId(world.installation, world.namespace, "flights")
    queue = task_queue(world.installation, world.namespace, name)
    starts = [
        client.start_workflow("DataPipelineRun", chunks, id=owner.workflow(f"{name}-{number}"), task_queue=queue)
        for number in range(count)
    ]
    return list(await asyncio.gather(*starts))


async def end(runs: Sequence[WorkflowHandle[Any, Any]]) -> None:
    """End them at once."""
    await asyncio.gather(*(run.terminate() for run in runs))


def scaling(world: World, name: str = "etl") -> Manifest:
    """What the pool's status says of its scaling."""
    found: Manifest = world.get("WorkerPool", name).get("status", {}).get("scaling", {})
    return found


def replicas(world: World, name: str = "etl") -> int:
    """The Deployment's; -1 if there is none."""
    return int(world.get("deployment", f"{name}-worker").get("spec", {}).get("replicas", -1))


async def becomes(world: World, wanted: int, name: str = "etl") -> Manifest:
    """Wait until the Deployment has so many replicas; the pool's status."""
    try:
        await asyncio.to_thread(
            world.until, lambda: {"": ""} if replicas(world, name) == wanted else {}, f"{name} has {wanted} workers", 30
        )
    except AssertionError as error:
        raise AssertionError(f"{replicas(world, name)} workers, {scaling(world, name)}: {error}") from None
    return await says(world, desired=wanted, name=name)


async def says(world: World, name: str = "etl", **fields: Any) -> Manifest:
    """Wait until the status of its scaling has these fields."""

    def look() -> Manifest:
        found = scaling(world, name)
        return found if all(found.get(field) == value for field, value in fields.items()) else {}

    return await asyncio.to_thread(world.until, look, f"scaling of {name} says {fields}", 30)


def events(world: World) -> set[str]:
    return set(world.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}").split())


async def test_workers_come_with_work_and_go_when_it_is_done(world: World, temporal: Client) -> None:
    advised = pool("advised", replicas=2, concurrency=ONE, scaling={**QUICK, "mode": "Advise"})
    world.apply(pool(scaling=QUICK, concurrency=ONE), advised, pipeline("flights"))
    await becomes(world, 0)
    settled(world, 0)
    world.wait("WorkerPool", "etl", "True", "ScaledToZero")

    runs = await start(world, temporal, 3) + await start(world, temporal, 3, "advised")
    told = await becomes(world, 3)
    assert "lastDecisions" in world.kubectl("get", "wpool", "etl", "-o", "jsonpath={.status.scaling}")

    assert (told["mode"], told["held"]) == ("Active", False)
    last = told["lastDecisions"][0]
    assert (last["to"], last["reason"]) == (3, "Backlog")
    assert told["openRuns"] == 3
    assert world.get("WorkerPool", "etl")["status"]["desiredReplicas"] == 3
    assert (await says(world, name="advised", desired=3))["mode"] == "Advise"
    assert (replicas(world, "advised"), world.get("WorkerPool", "advised")["spec"]["replicas"]) == (2, 2)

    # What others make of the Deployment is put right, and is no signal.
    world.kubectl("scale", "deployment", "etl-worker", "--replicas=7")
    await becomes(world, 3)

    async with polling(world, "etl-worker-a", "etl-worker-b", "etl-worker-c"):
        await end(runs)
        told = await becomes(world, 0)
    assert told["lastDecisions"][0]["to"] == 0
    assert world.operator.figure("tidemill_pool_scaling_decisions_total", pool="etl", direction="up") == 1
    assert told["lastDecisions"][0]["reason"] == "Idle"
    assert replicas(world, "advised") == 2
    await asyncio.to_thread(
        world.until, lambda: {"": ""} if {"Scaled", "ScalingAdvised"} <= events(world) else {}, "events", 30
    )


async def test_a_scheduled_run_finds_its_workers(world: World) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=3)
    world.apply(
        pool(scaling={**QUICK, "prewarm": "10m"}),
        pool("late", scaling=QUICK),
        pipeline("flights", f"{soon.minute} {soon.hour} * * *"),
        pipeline("trains", f"{soon.minute} {soon.hour} * * *", workerPoolRef={"name": "late"}),
    )

    told = await becomes(world, 1)

    assert told["reason"] == "ScheduledStart"
    due = soon.replace(second=0, microsecond=0)
    assert datetime.fromisoformat(told["nextDue"]) == due
    told = await says(world, name="late", desired=0, nextDue=due.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert (told["lastDecisions"], replicas(world, "late")) == ([], 0)


async def test_what_isnt_known_lets_no_worker_go(world: World, tmp_path: Path) -> None:
    server = temporal_component.describe(tmp_path / "temporal", persistent=False)
    command = tuple(
        part.replace("WorkersEnabled=true", "WorkersEnabled=false").replace(
            "HeartbeatsEnabled=true", "HeartbeatsEnabled=false"
        )
        for part in server.component.command
    )
    (tmp_path / "temporal").mkdir()
    with running_blocking(dataclasses.replace(server.component, command=command)):
        elsewhere = {"apiVersion": "tidemill.dev/v1alpha1", "kind": "TemporalConnection"}
        spec = {"address": server.address}
        world.apply(
            {**elsewhere, "metadata": {"name": "old"}, "spec": spec},
            pool(scaling=QUICK, concurrency=ONE, temporal={"connectionRef": {"name": "old"}}),
        )
        client = await Client.connect(server.address)
        await start(world, client, 3)
        told = await becomes(world, 3)
        assert "busySlots" not in told

        async with polling(world, "etl-worker-a", temporal=server.address):
            told = await says(world, held=True, reason="WorkersUnknown")
        assert "keeps no list of workers" in told["message"]
        assert replicas(world) == 3

    told = await says(world, held=True, reason="TemporalUnknown")
    failed = world.operator.figure("tidemill_operator_sweeps_total", result="failed")
    await asyncio.to_thread(
        world.until,
        lambda: (
            {"": ""} if world.operator.figure("tidemill_operator_sweeps_total", result="failed") > failed + 2 else {}
        ),
        "Temporal was looked for again",
    )
    assert replicas(world) == 3
    assert "ScalingHeld" in events(world)


async def listed(world: World, client: Client, used: Sequence[int]) -> None:
    """Wait until Temporal lists workers with so many slots in use."""
    query = f"TaskQueue = '{task_queue(world.installation, world.namespace, 'etl')}'"
    request = ListWorkersRequest(namespace="default", query=query)

    async def look() -> bool:
        found = (await client.workflow_service.list_workers(request)).workers_info
        return sorted(each.worker_heartbeat.activity_task_slots_info.current_used_slots for each in found) == sorted(
            used
        )

    await until_async(look, f"workers with {used} slots in use")


def settled(world: World, count: int) -> None:
    """What the Deployment's controller writes."""
    generation = world.get("deployment", "etl-worker")["metadata"]["generation"]
    counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), count)
    patch = json.dumps({"status": {"observedGeneration": generation, **counts}})
    world.kubectl("patch", "deployment", "etl-worker", "--subresource=status", "--type=merge", "-p", patch)


def cost(world: World, pod: str) -> str | None:
    annotations: dict[str, str] = world.get("pod", pod)["metadata"].get("annotations") or {}
    return annotations.get(DELETION_COST)


async def test_idle_workers_go_first(world: World, temporal: Client) -> None:
    pods = ("etl-worker-a", "etl-worker-b", "etl-worker-c")
    world.apply(pool(replicas=3))
    world.wait("WorkerPool", "etl", "False", "Progressing")
    for pod in pods:
        ready_pod(world, pod)
    settled(world, 3)
    async with contextlib.AsyncExitStack() as workers:
        # The first one takes the chunk, for it is alone.
        await workers.enter_async_context(polling(world, pods[0]))
        await start(world, temporal, 1, chunks=1)
        await listed(world, temporal, (1,))
        await workers.enter_async_context(polling(world, *pods[1:]))
        await listed(world, temporal, (1, 0, 0))
        world.apply(pool(replicas=3, scaling=QUICK))
        await says(world, desired=3, reason="WorkersStarting")
        settled(world, 3)

        told = await becomes(world, 1)

        assert told["lastDecisions"][0]["reason"] == "Surplus"
        assert cost(world, pods[0]) is None
        assert {cost(world, pod) for pod in pods[1:]} == {"-1", "-2"}
        assert world.get("WorkerPool", "etl")["spec"]["replicas"] == 3
        assert told["busySlots"] == 1
