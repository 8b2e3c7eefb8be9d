"""A pipeline that follows another, on a real API server and Temporal: started by the operator, once for each time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError

from tests.support.operator_world import Manifest, World, pipeline, pool
from tests.support.scripted import Script, performed_with
from tidemill_api.contract import RunInput
from tidemill_api.names import task_queue
from tidemill_cli.dev.components.temporal import TemporalServer
from tidemill_worker.workflows.messages import Ending, Planned, PlanTask

FOLLOWS: dict[str, Any] = {"after": [{"pipelineRef": {"name": "flights"}}]}


@pytest.fixture
async def script(world: World, temporal_server: TemporalServer) -> AsyncIterator[Script]:
    """A worker of the pool, in this process, whose runs do nothing and succeed."""
    made = Script()

    async def forget(_ending: Ending) -> None:
        made.recorded = None

    made.finish = forget
    client = await Client.connect(temporal_server.address, data_converter=pydantic_data_converter)
    async with performed_with(client, made, task_queue(world.installation, world.namespace, "etl")):
        yield made


def last_key(world: World, name: str) -> Manifest:
    run: Manifest = world.get("DataPipeline", name).get("status", {}).get("lastRun", {})
    return run if run.get("result") == "Succeeded" else {}


async def test_a_pipeline_runs_after_another(world: World, temporal: Client, script: Script) -> None:
    every = {"intervals": [{"every": "2s"}]}
    await asyncio.to_thread(world.apply, pool(), pipeline("daily", None, schedule=FOLLOWS))
    waits = await asyncio.to_thread(world.wait, "DataPipeline", "daily", "False", "WaitingForPipeline")
    assert "the DataPipeline flights isn't in this namespace (yet)" in waits["message"]

    await asyncio.to_thread(world.apply, pipeline("flights", None, schedule=every, suspend=False))
    await asyncio.to_thread(world.wait, "DataPipeline", "daily", "True", "Scheduled")
    await asyncio.to_thread(world.until, lambda: last_key(world, "daily"), "daily has run")
    await asyncio.to_thread(
        world.kubectl, "patch", "datapipeline", "flights", "--type=merge", "-p", '{"spec": {"suspend": true}}'
    )

    def both() -> Manifest:
        keys = {name: last_key(world, name).get("key") for name in ("flights", "daily")}
        return keys if keys["flights"] == keys["daily"] else {}

    await asyncio.to_thread(world.until, both, "daily has run for the last time of flights")
    orders: list[RunInput] = [each.order for each in script.called("begin")]
    ran = {name: [each.run_key for each in orders if each.pipeline == name] for name in ("flights", "daily")}
    assert len(ran["daily"]) == len(set(ran["daily"])), "each time once"
    followers = [each for each in orders if each.pipeline == "daily"]
    assert all((each.schedule or {})["intervals"] == every["intervals"] for each in followers)
    listed = f"WorkflowId STARTS_WITH '{world.schedule_id('flights')}/'"
    led = {each.id.rpartition("scheduled-")[2] async for each in temporal.list_workflows(listed)}
    assert set(ran["daily"]) <= led

    async def fails(_task: PlanTask) -> Planned:
        raise ApplicationError("no such file", type="SourceMissing", non_retryable=True)

    script.plan = fails
    await asyncio.to_thread(world.apply, pipeline("flights", None, schedule=every, suspend=False))

    def failed() -> Manifest:
        told = world.kubectl("get", "dpl", "daily", "-o", "jsonpath={.status.after.waiting}")
        return {"told": told} if '"waitsFor":["flights (Failed)"]' in told else {}

    await asyncio.to_thread(world.until, failed, "status shows what daily waits for")

    await asyncio.to_thread(
        world.apply, pipeline("flights", None, schedule={"after": [{"pipelineRef": {"name": "daily"}}]})
    )
    for name in ("flights", "daily"):
        await asyncio.to_thread(world.wait, "DataPipeline", name, "False", "InvalidSchedule")
    await asyncio.to_thread(world.apply, pipeline("flights", None, schedule=every, suspend=True))
    await asyncio.to_thread(world.wait, "DataPipeline", "daily", "True", "Scheduled")
