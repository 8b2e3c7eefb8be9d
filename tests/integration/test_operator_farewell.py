"""Namespaces that are deleted, and credentials that go before what needs them: nothing stays behind, nothing is stuck.

No controller deletes a namespace's objects here: a test does, in the worst order.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from tests.integration.test_operator_connections import connection, described
from tests.support.kubernetes import ApiServer
from tests.support.operator_process import OperatorProcess, start_operator
from tests.support.operator_world import World, pipeline, pool, run
from tests.support.waiting import until_async
from tidemill_api.names import FINALIZER
from tidemill_cli.dev.components.temporal import TemporalServer

Start = Callable[..., World]
OWN = {"connectionRef": {"name": "own"}}


@pytest.fixture
async def start(
    crds: ApiServer, temporal_server: TemporalServer, installation_id: str, namespace: str, tmp_path: Path
) -> AsyncIterator[Start]:
    """Starts operators whose patience is short."""
    started: list[OperatorProcess] = []

    def begin(temporal: str = "", patience: float = 4) -> World:
        arguments = (f"--namespaces={namespace}", "--resync-interval=3", f"--release-after={patience}")
        address = temporal or temporal_server.address
        operator = start_operator(tmp_path / "operator", crds.kubeconfig, installation_id, *arguments, temporal=address)
        started.append(operator)
        return World(crds, temporal_server.address, installation_id, operator, namespace)

    yield begin
    for operator in started:
        operator.stop()


def force_away(world: World, kind: str, name: str) -> None:
    """Gone at once, whatever holds it."""
    world.kubectl("delete", kind, name, "--wait=false")
    nothing = json.dumps({"metadata": {"finalizers": None}})
    if world.get(kind, name):
        world.kubectl("patch", kind, name, "--type=merge", "-p", nothing)
    world.gone(kind, name)


async def test_a_working_operator_still_has_the_credentials(start: Start, temporal: Client) -> None:
    world = await asyncio.to_thread(start)
    world.apply(connection("own", world.temporal), pool(temporal=OWN), pipeline("flights"))
    world.wait("DataPipeline", "flights", "True", "Scheduled")

    force_away(world, "temporalconnection", "own")
    world.kubectl("delete", "datapipeline", "flights", "--wait=false")
    world.kubectl("delete", "workerpool", "etl", "--wait=false")

    world.gone("DataPipeline", "flights")
    world.gone("WorkerPool", "etl")
    assert await described(temporal, world.schedule_id("flights")) is None


async def test_without_credentials_it_goes_at_the_time_that_status_names(
    start: Start, temporal_server: TemporalServer, temporal_namespace: str
) -> None:
    """In a Temporal namespace that the operator knows only by the connection."""
    temporal = await Client.connect(temporal_server.address, namespace=temporal_namespace)
    world = await asyncio.to_thread(start)
    world.apply(
        connection("own", world.temporal, namespace=temporal_namespace), pool(temporal=OWN), pipeline("flights")
    )
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    assert world.operator.stop() == 0
    force_away(world, "temporalconnection", "own")
    world = await asyncio.to_thread(start)
    began = time.monotonic()
    world.kubectl("delete", "datapipeline/flights", "workerpool/etl", "--wait=false")

    told = world.wait("DataPipeline", "flights", "True", "WaitingForConnection", of="Releasing")
    assert "it goes without cleaning up in Temporal" in told["message"]
    world.gone("DataPipeline", "flights")
    world.gone("WorkerPool", "etl")
    assert time.monotonic() - began > 3
    world.until(lambda: {"there": True} if "Released" in world.kubectl("get", "events") else {}, "an Event tells of it")
    assert world.schedule_id("flights") in world.kubectl("get", "events", "-o", "jsonpath={.items[*].message}")

    # Whoever leads to that Temporal later cleans up.
    assert await described(temporal, world.schedule_id("flights")) is not None
    again = connection("again", world.temporal, namespace=temporal_namespace)
    world.apply(again, pool("other", temporal={"connectionRef": {"name": "again"}}))

    async def cleaned_up() -> bool:
        return await described(temporal, world.schedule_id("flights")) is None

    await until_async(cleaned_up, "the Schedule that was left goes")


async def test_a_namespace_that_is_deleted_with_its_temporal_is_not_held_up(start: Start) -> None:
    world = await asyncio.to_thread(start, temporal="127.0.0.1:1", patience=8)
    world.apply(pool(), pipeline("flights"))
    world.wait("DataPipeline", "flights", "False", "TemporalUnreachable")
    for kind, name in (("datapipeline", "flights"), ("workerpool", "etl")):
        assert FINALIZER in world.get(kind, name)["metadata"]["finalizers"]

    world.api.kubectl("delete", "namespace", world.namespace, "--wait=false")
    world.kubectl("delete", "deployment,configmap,serviceaccount,networkpolicy", "--all", "--wait=false")
    refused = world.wait("WorkerPool", "etl", "False", "Progressing")
    assert "the namespace is being deleted" in refused["message"]
    world.kubectl("delete", "workerpool/etl", "datapipeline/flights", "--wait=false")

    world.wait("DataPipeline", "flights", "True", "TemporalUnreachable", of="Releasing")
    world.gone("DataPipeline", "flights")
    world.gone("WorkerPool", "etl")
    assert world.operator.get("/healthz")[0] == 200
    assert not world.get("deployment", "etl-worker")


async def test_runs_that_no_worker_will_ever_end_hold_no_namespace_up(start: Start, temporal: Client) -> None:
    world = await asyncio.to_thread(start)
    world.apply(pool(), pipeline("flights", cron=None), run("now", "flights"))
    world.wait("DataPipelineRun", "now", "False", "Running")
    handle = temporal.get_workflow_handle(f"{world.schedule_id('flights')}/now")

    world.api.kubectl("delete", "namespace", world.namespace, "--wait=false")
    everything = ("datapipeline/flights", "workerpool/etl", "datapipelinerun/now", "deployment/etl-worker")
    world.kubectl("delete", *everything, "--wait=false")

    world.wait("DataPipeline", "flights", "True", "WaitingForRuns", of="Releasing")
    for kind, name in (("DataPipelineRun", "now"), ("DataPipeline", "flights"), ("WorkerPool", "etl")):
        world.gone(kind, name)
    assert (await handle.describe()).status == WorkflowExecutionStatus.TERMINATED
