"""DataPipelines on a real API server and Temporal: an operator process makes, repairs and removes their Schedules."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleDescription,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from tests.support.manifests import DELETE, changed
from tests.support.operator_world import Manifest, World, pipeline, pool
from tests.support.waiting import until_async
from tests.unit.manifests_semantic import BY_ITSELF, POOL, Wrong, good_pipeline, pipeline_of, pool_of
from tidemill_api.names import ANNOTATION_PAUSED, FINALIZER


async def describe(temporal: Client, schedule: str) -> ScheduleDescription | None:
    try:
        return await temporal.get_schedule_handle(schedule).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise


async def action_of(temporal: Client, schedule: str) -> ScheduleActionStartWorkflow:
    seen = await temporal.get_schedule_handle(schedule).describe()
    assert isinstance(seen.schedule.action, ScheduleActionStartWorkflow)
    return seen.schedule.action


async def test_a_pipeline_becomes_a_schedule(world: World, temporal: Client) -> None:
    spec = {
        "crons": ["15 * * * *"],
        "timeZone": "America/New_York",
        "overlapPolicy": "BufferOne",
        "catchupWindow": "20m",
        "jitter": "30s",
        "pauseOnFailure": True,
        "startAt": "2026-01-01T00:00:00Z",
    }
    world.apply(pool(), pipeline("flights", schedule=spec))
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    seen = await describe(temporal, world.schedule_id("flights"))
    assert seen is not None
    assert seen.schedule.spec.time_zone_name == "America/New_York"
    assert [each.minute[0].start for each in seen.schedule.spec.calendars] == [15]
    assert seen.schedule.policy.overlap.name == "BUFFER_ONE"
    assert seen.schedule.policy.catchup_window == timedelta(minutes=20)
    assert seen.schedule.policy.pause_on_failure
    action = await action_of(temporal, world.schedule_id("flights"))
    assert (action.workflow, action.task_queue) == (
        "DataPipelineRun",
        f"{world.installation}/{world.namespace}/etl",
    )
    found = world.get("DataPipeline", "flights")
    assert found["metadata"]["finalizers"] == [FINALIZER]
    assert found["status"]["observedGeneration"] == 1
    assert len(found["status"]["nextRuns"]) == 5
    memo = await seen.memo_value("tidemill", type_hint=dict)
    assert memo == {
        "installation": world.installation,
        "namespace": world.namespace,
        "name": "flights",
        "uid": found["metadata"]["uid"],
    }


async def test_an_edit_reaches_the_schedule_and_nothing_of_the_manifest_is_changed(
    world: World, temporal: Client
) -> None:
    world.apply(pool(), pipeline("flights"))
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    before = world.get("DataPipeline", "flights")
    world.apply(pipeline("flights", "30 7 * * *"))

    async def moved() -> bool:
        seen = await describe(temporal, world.schedule_id("flights"))
        return seen is not None and [each.minute[0].start for each in seen.schedule.spec.calendars] == [30]

    await until_async(moved, "the Schedule has the new time")
    world.until(
        lambda: seen if (seen := world.get("DataPipeline", "flights"))["status"]["observedGeneration"] == 2 else {},
        "the new generation is told",
    )
    after = world.get("DataPipeline", "flights")
    assert after["metadata"]["generation"] == 2, "nobody but the author writes the spec"
    assert set(after["metadata"]) - set(before["metadata"]) == set()
    managers = json.loads(world.kubectl("get", "datapipeline", "flights", "-o", "json", "--show-managed-fields"))[
        "metadata"
    ]["managedFields"]
    ours = [each for each in managers if each["manager"] == "tidemill"]
    assert {part for each in ours for part in each["fieldsV1"]} <= {"f:metadata", "f:status"}


@pytest.mark.parametrize("kind", ["edited", "deleted"])
async def test_drift_of_the_schedule_is_repaired(world: World, temporal: Client, kind: str) -> None:
    world.apply(pool(), pipeline("flights"))
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    handle = temporal.get_schedule_handle(world.schedule_id("flights"))
    if kind == "deleted":
        await handle.delete()
    else:

        def hourly(given: ScheduleUpdateInput) -> ScheduleUpdate:
            given.description.schedule.spec = ScheduleSpec(cron_expressions=["0 * * * *"])
            return ScheduleUpdate(given.description.schedule)

        await handle.update(hourly)

    world.until(
        lambda: (
            seen if (seen := world.get("DataPipeline", "flights"))["status"]["schedule"]["driftRepaired"] == 1 else {}
        ),
        "the repair is counted",
    )
    # Asked only now: a Schedule that is described many times a second answers nobody.
    seen = await describe(temporal, world.schedule_id("flights"))
    assert seen is not None
    assert [each.minute[0].start for each in seen.schedule.spec.calendars] == [15]
    world.until(
        lambda: {"there": True} if "DriftRepaired" in world.kubectl("get", "events") else {}, "an Event tells of it"
    )


async def test_a_changed_action_is_found_by_the_resync(world: World, temporal: Client) -> None:
    world.apply(pool(), pipeline("flights"))
    world.wait("DataPipeline", "flights", "True", "Scheduled")

    def elsewhere(given: ScheduleUpdateInput) -> ScheduleUpdate:
        assert isinstance(given.description.schedule.action, ScheduleActionStartWorkflow)
        given.description.schedule.action.task_queue = "elsewhere"
        return ScheduleUpdate(given.description.schedule)

    await temporal.get_schedule_handle(world.schedule_id("flights")).update(elsewhere)

    async def repaired() -> bool:
        return (await action_of(temporal, world.schedule_id("flights"))).task_queue.endswith("/etl")

    await until_async(repaired, "the task queue is as wished again")


async def test_a_persons_pause_is_kept_and_shown(world: World, temporal: Client) -> None:
    world.apply(pool(), pipeline("flights"))
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    handle = temporal.get_schedule_handle(world.schedule_id("flights"))
    await handle.pause(note="the source is being repaired")
    paused = world.wait("DataPipeline", "flights", "True", "Temporal", of="Paused")
    assert "the source is being repaired" in paused["message"]
    world.apply(pipeline("flights", "30 7 * * *"))

    async def moved() -> bool:
        seen = await handle.describe()
        return [each.minute[0].start for each in seen.schedule.spec.calendars] == [30]

    await until_async(moved, "an edit goes through")
    seen = await handle.describe()
    assert (seen.schedule.state.paused, seen.schedule.state.note) == (True, "the source is being repaired")
    await handle.unpause(note="mended")
    world.until(
        lambda: {"gone": True} if not world.condition("DataPipeline", "flights", "Paused") else {}, "no longer paused"
    )


async def test_pause_by_annotation_and_suspend(world: World, temporal: Client) -> None:
    world.apply(pool(), pipeline("flights"))
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    handle = temporal.get_schedule_handle(world.schedule_id("flights"))

    async def is_paused() -> bool:
        return (await handle.describe()).schedule.state.paused

    async def runs() -> bool:
        return not await is_paused()

    world.kubectl("annotate", "datapipeline", "flights", f"{ANNOTATION_PAUSED}=stock-taking")
    await until_async(is_paused, "the annotation pauses")
    assert "stock-taking" in world.wait("DataPipeline", "flights", "True", "Annotation", of="Paused")["message"]
    world.kubectl("annotate", "datapipeline", "flights", f"{ANNOTATION_PAUSED}-")
    await until_async(runs, "without the annotation it goes on")
    world.apply(pipeline("flights", suspend=True))
    await until_async(is_paused, "suspend pauses")
    world.wait("DataPipeline", "flights", "True", "Suspended")
    world.apply(pipeline("flights"))
    await until_async(runs, "without suspend it goes on")
    world.wait("DataPipeline", "flights", "True", "Scheduled")


async def test_without_a_schedule_there_is_none(world: World, temporal: Client) -> None:
    world.apply(pool(), pipeline("flights"))
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    world.apply(pipeline("flights", cron=None))
    world.wait("DataPipeline", "flights", "True", "OnDemand")

    async def gone() -> bool:
        return await describe(temporal, world.schedule_id("flights")) is None

    await until_async(gone, "the Schedule is removed")


async def test_a_strangers_schedule_is_never_touched(world: World, temporal: Client) -> None:
    action = ScheduleActionStartWorkflow("Theirs", id="theirs", task_queue="theirs")
    await temporal.create_schedule(world.schedule_id("flights"), Schedule(action=action, spec=ScheduleSpec()))
    world.apply(pool(), pipeline("flights"))
    stalled = world.wait("DataPipeline", "flights", "True", "ScheduleConflict", of="Stalled")
    assert "not made by Tidemill" in stalled["message"]
    world.kubectl("delete", "datapipeline", "flights")
    world.gone("DataPipeline", "flights")
    assert (await action_of(temporal, world.schedule_id("flights"))).workflow == "Theirs"


async def test_a_missing_pool_is_waited_for(world: World) -> None:
    world.apply(pipeline("flights"))
    waiting = world.wait("DataPipeline", "flights", "True", "WaitingForPool", of="Reconciling")
    assert "etl" in waiting["message"]
    world.apply(pool())
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    assert not world.condition("DataPipeline", "flights", "Reconciling")


async def test_deletion_removes_the_schedule(world: World, temporal: Client) -> None:
    world.apply(pool(), pipeline("flights"))
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    world.kubectl("delete", "datapipeline", "flights", "--timeout=30s")
    assert await describe(temporal, world.schedule_id("flights")) is None


async def test_wrong_manifests_get_their_verdicts(world: World) -> None:
    """All that are wrong by themselves, on one pool; what isn't as the table says is listed."""
    world.apply(_on_our_temporal(BY_ITSELF[0]), *(pipeline_of(wrong) for wrong in BY_ITSELF))
    world.until(lambda: {"judged": True} if len(_judged(world)) == len(BY_ITSELF) else {}, "all have a verdict")
    judged = _judged(world)
    assert [problem for wrong in BY_ITSELF for problem in _differs(wrong, judged[wrong.name])] == []


@pytest.mark.parametrize("wrong", POOL, ids=str)
async def test_a_pipeline_that_its_pool_refuses(world: World, wrong: Wrong) -> None:
    world.apply(_on_our_temporal(wrong), pipeline_of(wrong))
    world.wait("DataPipeline", wrong.name, "False", wrong.reason)
    assert _differs(wrong, _judged(world)[wrong.name]) == []


def _on_our_temporal(wrong: Wrong) -> Manifest:
    """The case's pool, with the operator's own Temporal."""
    return changed(pool_of(wrong), {"spec.temporal": DELETE})


def _judged(world: World) -> dict[str, dict[str, Manifest]]:
    """Conditions by pipeline and type, of those that are no longer waiting."""
    items = json.loads(world.kubectl("get", "datapipelines", "-o", "json"))["items"]
    conditions = {
        item["metadata"]["name"]: {each["type"]: each for each in item.get("status", {}).get("conditions", [])}
        for item in items
    }
    return {name: each for name, each in conditions.items() if "Stalled" in each or each.get("Ready", {}) == "True"}


def _differs(wrong: Wrong, seen: dict[str, Manifest]) -> list[str]:
    ready, stalled = seen["Ready"], seen.get("Stalled", {})
    wished = {"status": "False", "reason": wrong.reason, "stalled": wrong.reason, "field": True, "says": True}
    found = {
        "status": ready["status"],
        "reason": ready["reason"],
        "stalled": stalled.get("reason"),
        "field": wrong.field in ready["message"],
        "says": wrong.says in ready["message"],
    }
    return [] if found == wished else [f"{wrong.name}: {found}: {ready['message']}"]


async def test_a_verdict_is_not_retried_and_is_lifted_when_mended(world: World) -> None:
    wrong = BY_ITSELF[0]
    world.apply(_on_our_temporal(wrong), pipeline_of(wrong))
    world.wait("DataPipeline", wrong.name, "False", wrong.reason)
    version = world.get("DataPipeline", wrong.name)["metadata"]["resourceVersion"]
    failures = world.operator.figure("tidemill_operator_reconciles_total", kind="DataPipeline", result="failed")
    sweeps = world.operator.figure("tidemill_operator_sweeps_total", result="ok")
    await until_async(
        lambda: asyncio.to_thread(
            lambda: world.operator.figure("tidemill_operator_sweeps_total", result="ok") >= sweeps + 8
        ),
        "some rounds without a retry",
    )
    assert world.get("DataPipeline", wrong.name)["metadata"]["resourceVersion"] == version
    assert world.operator.figure("tidemill_operator_reconciles_total", kind="DataPipeline", result="failed") == failures
    mended = good_pipeline()
    world.apply({**mended, "metadata": {**mended["metadata"], "name": wrong.name}})
    world.wait("DataPipeline", wrong.name, "True", "Scheduled")
