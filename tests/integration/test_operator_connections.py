"""Pools that change their Temporal, and several connections to one: where a pipeline's Schedule is."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client, ScheduleDescription
from temporalio.service import RPCError, RPCStatusCode

from tests.support.operator_world import Manifest, World, pipeline, pool, run
from tests.support.waiting import until_async
from tidemill_cli.dev.components.temporal import TemporalServer


def connection(name: str, address: str, **spec: Any) -> Manifest:
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "TemporalConnection",
        "metadata": {"name": name},
        "spec": {"address": address, **spec},
    }


async def described(temporal: Client, schedule: str) -> ScheduleDescription | None:
    try:
        return await temporal.get_schedule_handle(schedule).describe()
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        return None


async def test_other_connections_to_the_same_temporal_disturb_nothing(world: World, temporal: Client) -> None:
    """Under the same address, and under another name of it."""
    world.apply(
        pool(),
        pipeline("flights"),
        connection("same", world.temporal),
        connection("alias", world.temporal.replace("127.0.0.1", "localhost")),
        pool("second", temporal={"connectionRef": {"name": "same"}}),
        pool("third", temporal={"connectionRef": {"name": "alias"}}),
        pipeline("hotels", workerPoolRef={"name": "second"}),
        pipeline("trains", workerPoolRef={"name": "third"}),
    )
    for name in ("flights", "hotels", "trains"):
        world.wait("DataPipeline", name, "True", "Scheduled")
    before = await described(temporal, world.schedule_id("flights"))
    assert before is not None

    # Each of these is looked at only after sweeps of all three connections have seen all three Schedules.
    for cron in ("1 6 1 1 *", "2 6 1 1 *"):
        for name, where in (("flights", "etl"), ("hotels", "second"), ("trains", "third")):
            world.apply(pipeline(name, cron, workerPoolRef={"name": where}))
        for name in ("flights", "hotels", "trains"):

            async def edited(name: str = name, cron: str = cron) -> bool:
                found = await described(temporal, world.schedule_id(name))
                minute = found.schedule.spec.calendars[0].minute[0].start if found is not None else None
                return str(minute) == cron.partition(" ")[0]

            await until_async(edited, f"the edit of {name}")
    after = await described(temporal, world.schedule_id("flights"))

    assert after is not None
    assert after.info.created_at == before.info.created_at
    told = world.wait("DataPipeline", "flights", "True", "Scheduled")
    assert told["status"] == "True"
    assert world.get("DataPipeline", "flights")["status"]["schedule"]["driftRepaired"] == 0


async def test_a_pool_that_moves_takes_its_schedules_and_their_pauses_along(
    world: World, temporal: Client, temporal_server: TemporalServer, temporal_namespace: str
) -> None:
    there = await Client.connect(temporal_server.address, namespace=temporal_namespace)
    schedule = world.schedule_id("flights")
    world.apply(pool(), pipeline("flights"), connection("own", world.temporal, namespace=temporal_namespace))
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    await temporal.get_schedule_handle(schedule).pause(note="holiday")
    world.wait("DataPipeline", "flights", "True", "Temporal", of="Paused")

    world.apply(pool(temporal={"connectionRef": {"name": "own"}}))

    moved = await until_async(lambda: described(there, schedule), "the Schedule in the other namespace")
    assert moved is not None
    assert (moved.schedule.state.paused, moved.schedule.state.note) == (True, "holiday")

    async def only_there() -> bool:
        return await described(temporal, schedule) is None

    await until_async(only_there, "the former Schedule is gone")
    world.until(
        lambda: (
            found if (found := world.get("DataPipeline", "flights")["status"]["schedule"]).get("connection") else {}
        ),
        "status says where the Schedule is",
    )
    world.kubectl("delete", "datapipeline", "flights")
    assert await described(there, schedule) is None


async def test_a_connection_stays_while_pools_use_it(world: World) -> None:
    world.apply(connection("own", world.temporal), pool(temporal={"connectionRef": {"name": "own"}}))
    world.wait("TemporalConnection", "own", "True", "Connected")

    world.kubectl("delete", "temporalconnection", "own", "--wait=false")

    assert "etl" in world.wait("TemporalConnection", "own", "False", "WaitingForPool")["message"]
    world.kubectl("delete", "workerpool", "etl")
    world.gone("TemporalConnection", "own")


async def test_a_run_by_hand_stays_in_the_temporal_in_which_it_was_started(
    world: World, temporal: Client, temporal_server: TemporalServer, temporal_namespace: str
) -> None:
    there = await Client.connect(temporal_server.address, namespace=temporal_namespace)
    world.apply(
        pool(),
        pipeline("flights"),
        connection("own", world.temporal, namespace=temporal_namespace),
        run("again", "flights"),
    )
    world.wait("DataPipelineRun", "again", "False", "Running")

    world.apply(pool(temporal={"connectionRef": {"name": "own"}}))
    await until_async(lambda: described(there, world.schedule_id("flights")), "the Schedule in the other namespace")
    world.apply(pipeline("flights", workerPoolRef={"name": "none"}))
    world.wait("DataPipeline", "flights", "False", "WaitingForPool")

    assert world.condition("DataPipelineRun", "again")["reason"] == "Running"
    world.kubectl("delete", "datapipelinerun", "again", "--wait=false")
    handle = temporal.get_workflow_handle(world.get("DataPipelineRun", "again")["status"]["run"]["workflowId"])

    async def asked_to_stop() -> bool:
        events = (await handle.fetch_history()).events
        return any(event.HasField("workflow_execution_cancel_requested_event_attributes") for event in events)

    await until_async(asked_to_stop, "the cancellation")
    await handle.terminate("no worker ends it")
    world.gone("DataPipelineRun", "again")
