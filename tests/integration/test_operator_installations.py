"""Two installations on one API server and one Temporal: they don't meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.integration.test_operator_connections import described
from tests.support.fixtures import unique
from tests.support.kubernetes import ApiServer
from tests.support.operator_process import OperatorProcess, start_operator
from tests.support.operator_world import World, pipeline, pool
from tidemill_api.names import ANNOTATION_INSTALLATION
from tidemill_cli.dev.components.temporal import TemporalServer

Start = Callable[[str, str], World]


@pytest.fixture
async def start(crds: ApiServer, temporal_server: TemporalServer, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the operator of an installation for a namespace."""
    started: list[OperatorProcess] = []

    def begin(installation: str, namespace: str) -> World:
        options = (f"--namespaces={namespace}", "--resync-interval=2")
        folder = tmp_path / installation
        operator = start_operator(folder, crds.kubeconfig, installation, *options, temporal=temporal_server.address)
        started.append(operator)
        return World(crds, temporal_server.address, installation, operator, namespace)

    yield begin
    for operator in started:
        operator.stop()


async def another_round(world: World) -> None:
    """Both ways of looking around have been gone once more."""
    for figure in ("tidemill_operator_resync_duration_seconds_count", "tidemill_operator_sweep_duration_seconds_count"):
        before = world.operator.figure(figure)

        def gone_on(figure: str = figure, before: float = before) -> dict[str, str]:
            return {"": ""} if world.operator.figure(figure) > before + 1 else {}

        world.until(gone_on, figure)


async def test_each_has_its_own_and_touches_nothing_else(start: Start, crds: ApiServer, temporal: Client) -> None:
    """One's id begins as the other's does; names of pools and pipelines are the same."""
    short, other_namespace = unique("i"), unique("test-")
    crds.kubectl("create", "namespace", other_namespace)
    mine = unique("test-")
    crds.kubectl("create", "namespace", mine)
    one, two = await asyncio.gather(
        asyncio.to_thread(start, short, mine), asyncio.to_thread(start, f"{short}2", other_namespace)
    )
    for world in (one, two):
        world.apply(pool(), pipeline("flights"))
    for world in (one, two):
        world.wait("DataPipeline", "flights", "True", "Scheduled")
        assert world.operator.leads(), "each has a Lease of its own"

    for world, other in ((one, two), (two, one)):
        await another_round(world)
        assert await described(temporal, other.schedule_id("flights")) is not None, "a sweep takes it for an orphan"

    one.kubectl("delete", "datapipeline/flights", "workerpool/etl")
    await another_round(one)
    assert await described(temporal, one.schedule_id("flights")) is None
    assert await described(temporal, two.schedule_id("flights")) is not None
    two.wait("DataPipeline", "flights", "True", "Scheduled")
    assert two.get("deployment", "etl-worker")


async def test_namespaces_that_overlap_are_the_first_ones(
    start: Start, namespace: str, temporal: Client, installation_id: str
) -> None:
    first = await asyncio.to_thread(start, installation_id, namespace)
    first.apply(pool(), pipeline("flights"))
    first.wait("DataPipeline", "flights", "True", "Scheduled")
    before = {kind: first.get(kind, name) for kind, name in (("WorkerPool", "etl"), ("DataPipeline", "flights"))}

    second = await asyncio.to_thread(start, f"{installation_id}2", namespace)
    second.until(
        lambda: {"": ""} if "OtherInstallation" in second.kubectl("get", "events") else {}, "the other one says so"
    )
    first.apply(pipeline("trains"))
    first.wait("DataPipeline", "trains", "True", "Scheduled")
    await another_round(second)

    for kind, name in (("WorkerPool", "etl"), ("DataPipeline", "flights")):
        assert first.get(kind, name)["metadata"]["generation"] == before[kind]["metadata"]["generation"]
        assert second.installation not in str(first.get(kind, name)["status"])
    for name in ("flights", "trains"):
        assert await described(temporal, second.schedule_id(name)) is None

    # Somebody gives the pool and the pipeline to the second one.
    mark = f"{ANNOTATION_INSTALLATION}={second.installation}"
    first.kubectl("delete", "datapipeline", "flights")
    first.kubectl("annotate", "workerpool", "etl", mark)
    first.until(
        lambda: (
            found
            if (found := first.get("WorkerPool", "etl"))["status"]["taskQueue"].startswith(f"{second.installation}/")
            else {}
        ),
        "the pool is the second one's",
    )
    first.apply(pipeline("flights"))
    second.wait("DataPipeline", "flights", "True", "Scheduled")
    assert await described(temporal, second.schedule_id("flights")) is not None
