"""The operator's adapter to Temporal, on a real server."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, ScheduleActionStartWorkflow, ScheduleUpdate, ScheduleUpdateInput
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.support.waiting import until_async
from tidemill_api.contract import RESULT_MEMO_KEY, RunResult, ScheduleMemo
from tidemill_api.errors import TemporalUnavailable
from tidemill_api.names import WORKFLOW, PipelineId, task_queue
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_cli.dev.components.temporal import TemporalServer
from tidemill_operator.actions import ScheduleWish
from tidemill_operator.adapters.temporal import TemporalClient
from tidemill_operator.pipeline.wish import memo_of, schedule_wish
from tidemill_operator.views import RunSeen, TemporalConflictError, TemporalRefusedError, TemporalTarget

SOURCE = {"name": "raw", "connection": "landing", "files": {"path": "a.csv", "format": {"csv": {}}}}
SINK = {
    "name": "out",
    "input": "raw",
    "connection": "warehouse",
    "postgres": {"table": "public.t"},
    "writeDisposition": "Append",
}


def spec_of(**schedule: Any) -> DataPipelineSpec:
    return DataPipelineSpec.model_validate(
        {
            "workerPoolRef": {"name": "etl"},
            "schedule": schedule or {"crons": ["15 * * * 1-5"], "timeZone": "America/New_York"},
            "sources": [SOURCE],
            "sinks": [SINK],
        }
    )


def wish_of(pipeline: PipelineId, **schedule: Any) -> ScheduleWish:
    queue = task_queue(pipeline.installation, pipeline.namespace, "etl")
    wish = schedule_wish(pipeline, "uid-1", 1, spec_of(**schedule), queue)
    assert wish is not None
    return wish


@pytest.fixture
def pipeline(installation_id: str) -> PipelineId:
    return PipelineId(installation_id, "travel", "flights")


@pytest.fixture
def counted() -> Counter[tuple[str, str]]:
    return Counter()


@pytest.fixture
def temporal(
    temporal_server: TemporalServer, installation_id: str, counted: Counter[tuple[str, str]]
) -> TemporalClient:
    def count(rpc: str, outcome: str, _seconds: float) -> None:
        counted[rpc, outcome] += 1

    return TemporalClient(TemporalTarget(temporal_server.address), installation_id, count)


async def test_a_schedule_is_made_described_and_listed_alike(temporal: TemporalClient, pipeline: PipelineId) -> None:
    wish = wish_of(
        pipeline,
        crons=["15 * * * 1-5", "@daily"],
        calendars=[{"hour": "3", "dayOfWeek": "7", "comment": "Sundays"}],
        intervals=[{"every": "6h", "offset": "10m"}],
        exclude=[{"hour": "*", "minute": "*", "second": "*", "dayOfMonth": "24-26", "month": "DEC"}],
        startAt="2026-01-01T00:00:00Z",
        endAt="2099-01-01T00:00:00+01:00",
        timeZone="America/New_York",
        jitter="30s",
        overlapPolicy="BufferOne",
        catchupWindow="1h",
        pauseOnFailure=True,
    )
    assert await temporal.describe_schedule(wish.id) is None

    made = await temporal.create_schedule(wish, paused=True, note="by hand")

    assert made == await temporal.describe_schedule(wish.id)
    assert (made.paused, made.note) == (True, "by hand")
    assert made.memo == memo_of(pipeline, "uid-1")
    assert made.next_runs
    [entry] = [entry async for entry in temporal.list_schedules()]
    assert (entry.id, entry.memo, entry.paused, entry.note) == (wish.id, made.memo, True, "by hand")
    assert entry.fingerprint == made.fingerprint
    assert entry.next_runs == made.next_runs[: len(entry.next_runs)] != ()
    with pytest.raises(TemporalConflictError):
        await temporal.create_schedule(replace(wish, jitter=1.0), paused=False, note="")


async def test_what_the_server_holds_is_what_was_wished(
    temporal: TemporalClient, pipeline: PipelineId, temporal_server: TemporalServer
) -> None:
    wish = wish_of(
        pipeline, crons=["30 6 * * 7"], timeZone="Europe/Berlin", catchupWindow="1h", overlapPolicy="AllowAll"
    )

    await temporal.create_schedule(wish, paused=False, note="")

    client = await Client.connect(temporal_server.address)
    found = (await client.get_schedule_handle(wish.id).describe()).schedule
    [calendar] = found.spec.calendars
    assert (calendar.minute[0].start, calendar.hour[0].start, calendar.day_of_week[0].start) == (30, 6, 0)
    assert found.spec.time_zone_name == "Europe/Berlin"
    assert found.policy.catchup_window == timedelta(hours=1)
    assert found.policy.overlap.name == "ALLOW_ALL"
    assert isinstance(found.action, ScheduleActionStartWorkflow)
    assert found.action.id == pipeline.scheduled_workflow
    assert found.action.task_queue == wish.task_queue
    assert not found.state.paused


async def test_an_update_with_an_old_token_changes_nothing_and_says_so(
    temporal: TemporalClient, pipeline: PipelineId
) -> None:
    first, second, third = (wish_of(pipeline, crons=[f"{minute} * * * *"]) for minute in (1, 2, 3))
    made = await temporal.create_schedule(first, paused=False, note="")

    updated = await temporal.update_schedule(second, paused=True, note="night", token=made.token)

    assert updated.made != made.made
    assert updated.fingerprint != made.fingerprint
    assert (updated.paused, updated.note) == (True, "night")
    with pytest.raises(TemporalConflictError):
        await temporal.update_schedule(third, paused=False, note="", token=made.token)
    with pytest.raises(TemporalConflictError):
        await temporal.set_pause(first.id, paused=False, note="", token=made.token)
    assert await temporal.describe_schedule(first.id) == updated


async def test_a_pause_changes_nothing_else(temporal: TemporalClient, pipeline: PipelineId) -> None:
    wish = wish_of(pipeline)
    made = await temporal.create_schedule(wish, paused=False, note="")

    paused = await temporal.set_pause(wish.id, paused=True, note="holiday", token=made.token)
    resumed = await temporal.set_pause(wish.id, paused=False, note="back", token=paused.token)

    assert (paused.paused, paused.note, paused.made) == (True, "holiday", made.made)
    assert (resumed.paused, resumed.note, resumed.made) == (False, "back", made.made)


async def test_a_change_made_by_hand_shows_in_the_hash(
    temporal: TemporalClient, pipeline: PipelineId, temporal_server: TemporalServer
) -> None:
    wish = wish_of(pipeline)
    made = await temporal.create_schedule(wish, paused=False, note="")

    async def to_another_queue(found: ScheduleUpdateInput) -> ScheduleUpdate:
        action = found.description.schedule.action
        assert isinstance(action, ScheduleActionStartWorkflow)
        action.task_queue = "elsewhere"
        return ScheduleUpdate(found.description.schedule)

    client = await Client.connect(temporal_server.address)
    await client.get_schedule_handle(wish.id).update(to_another_queue)

    found = await temporal.describe_schedule(wish.id)
    assert found is not None
    assert found.made != made.made
    again = await temporal.update_schedule(wish, paused=False, note="", token=found.token)
    assert again.made == made.made


async def test_deleting_twice_is_harmless_and_an_update_of_what_is_gone_a_conflict(
    temporal: TemporalClient, pipeline: PipelineId
) -> None:
    wish = wish_of(pipeline)
    made = await temporal.create_schedule(wish, paused=False, note="")

    await temporal.delete_schedule(wish.id)
    await temporal.delete_schedule(wish.id)

    assert await temporal.describe_schedule(wish.id) is None
    with pytest.raises(TemporalConflictError):
        await temporal.update_schedule(wish, paused=False, note="", token=made.token)
    with pytest.raises(TemporalConflictError):
        await temporal.set_pause(wish.id, paused=True, note="", token=made.token)


async def test_what_temporal_refuses_carries_its_sentence(temporal: TemporalClient, pipeline: PipelineId) -> None:
    wish = replace(wish_of(pipeline), time_zone="Mars/Olympus")

    with pytest.raises(TemporalRefusedError, match=r"(?i)time zone"):
        await temporal.create_schedule(wish, paused=False, note="")


async def test_another_installation_sees_nothing(
    temporal: TemporalClient, pipeline: PipelineId, temporal_server: TemporalServer
) -> None:
    await temporal.create_schedule(wish_of(pipeline), paused=False, note="")
    stranger = TemporalClient(TemporalTarget(temporal_server.address), "another", lambda _rpc, _outcome, _seconds: None)

    assert [entry async for entry in stranger.list_schedules()] == []


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (TemporalTarget("127.0.0.1:1"), r"^Temporal at 127\.0\.0\.1:1 can't be reached: Connection refused$"),
        (TemporalTarget("SERVER", namespace="nowhere"), "namespace nowhere"),
        (TemporalTarget("SERVER", tls=True), "can't be reached"),
    ],
    ids=["nobody listens", "no such namespace", "TLS to a plain server"],
)
async def test_an_outage_is_told_as_one(
    target: TemporalTarget, said: str, temporal_server: TemporalServer, pipeline: PipelineId
) -> None:
    address = target.address.replace("SERVER", temporal_server.address)
    outcomes: list[str] = []
    client = TemporalClient(
        replace(target, address=address),
        "i",
        lambda _rpc, outcome, _seconds: outcomes.append(outcome),
        timedelta(seconds=3),
    )

    with pytest.raises(TemporalUnavailable, match=said):
        await client.describe_schedule(pipeline.schedule)
    with pytest.raises(TemporalUnavailable):
        await client.server_version()
    assert "ok" not in outcomes
    assert len(outcomes) == 2


async def test_a_silent_server_keeps_only_the_first_caller_waiting(pipeline: PipelineId) -> None:
    held: list[asyncio.StreamWriter] = []
    listening = await asyncio.start_server(lambda _reader, writer: held.append(writer), "127.0.0.1")
    host, port = listening.sockets[0].getsockname()
    outcomes: list[str] = []
    client = TemporalClient(
        TemporalTarget(f"{host}:{port}"),
        "i",
        lambda _rpc, outcome, _seconds: outcomes.append(outcome),
        timedelta(seconds=1),
    )
    with pytest.raises(TemporalUnavailable, match="no answer in time"):
        await client.describe_schedule(pipeline.schedule)

    with pytest.raises(TemporalUnavailable, match="no answer in time"):
        await client.describe_schedule(pipeline.schedule)

    assert len(outcomes) == 1
    listening.close()
    for writer in held:
        writer.close()


async def test_the_server_says_its_version_and_requests_are_counted(
    temporal: TemporalClient, counted: Counter[tuple[str, str]]
) -> None:
    assert (await temporal.server_version()).count(".") == 2
    assert await temporal.describe_schedule("nothing") is None
    assert counted == {
        ("describe_namespace", "ok"): 1,
        ("get_system_info", "ok"): 1,
        ("describe_schedule", "NOT_FOUND"): 1,
    }


# Runs


@workflow.defn(name=WORKFLOW)
class Endings:
    """A run that ends as its key says."""

    @workflow.run
    async def run(self, asked: dict[str, Any]) -> dict[str, Any]:
        key = asked.get("runKey", "scheduled")
        if key == "stays-open":
            await workflow.wait_condition(lambda: False)
        result = RunResult(pipeline="flights", run_key=key, result="Succeeded", rows_read=7, rows_loaded=5)
        if key == "fails-silently":
            raise ApplicationError("disk full", type="SinkRefused", non_retryable=True)
        if key == "fails-with-details":
            details = result.model_copy(update={"result": "Failed"}).model_dump(mode="json", by_alias=True)
            raise ApplicationError("too many bad rows", details, type="ToleranceExceeded", non_retryable=True)
        told = result.model_dump(mode="json", by_alias=True)
        workflow.upsert_memo({RESULT_MEMO_KEY: told})
        return told


@pytest.fixture
async def worker(temporal_server: TemporalServer, pipeline: PipelineId) -> AsyncIterator[str]:
    client = await Client.connect(temporal_server.address)
    queue = task_queue(pipeline.installation, pipeline.namespace, "etl")
    async with Worker(client, task_queue=queue, workflows=[Endings], workflow_runner=UnsandboxedWorkflowRunner()):
        yield queue


async def start(temporal: TemporalClient, pipeline: PipelineId, queue: str, key: str, asked_by: str = "run-1") -> str:
    workflow_id = pipeline.workflow(key)
    found = await temporal.start_run(workflow_id, queue, {"runKey": key}, memo_of(pipeline, "uid-1"), asked_by)
    assert found.workflow_id == workflow_id
    return workflow_id


async def test_a_run_is_started_once_for_ever(temporal: TemporalClient, pipeline: PipelineId, worker: str) -> None:
    workflow_id = await start(temporal, pipeline, worker, "again")
    first = await ended(temporal, workflow_id)

    await start(temporal, pipeline, worker, "again", asked_by="run-2")

    found = await temporal.describe_run(workflow_id)
    assert found == first
    assert found is not None
    assert (found.state, found.asked_by, found.error) == ("Succeeded", "run-1", None)
    assert found.pipeline == ScheduleMemo(
        installation=pipeline.installation, namespace="travel", name="flights", uid="uid-1"
    )
    assert found.result is not None
    assert (found.result.rows_read, found.result.rows_loaded) == (7, 5)


@pytest.mark.parametrize(
    ("key", "error"),
    [("fails-silently", "SinkRefused: disk full"), ("fails-with-details", None)],
)
async def test_a_failure_is_told_from_the_last_event(
    temporal: TemporalClient, pipeline: PipelineId, worker: str, key: str, error: str | None
) -> None:
    workflow_id = await start(temporal, pipeline, worker, key)

    found = await ended(temporal, workflow_id)

    assert (found.state, found.error) == ("Failed", error)
    assert (found.result is None) == (error is not None)


async def test_open_and_closed_runs_are_listed(temporal: TemporalClient, pipeline: PipelineId, worker: str) -> None:
    began = datetime.now(UTC) - timedelta(seconds=2)
    open_id = await start(temporal, pipeline, worker, "stays-open")
    closed_id = await start(temporal, pipeline, worker, "again")
    await ended(temporal, closed_id)

    async def listed(since: datetime | None) -> set[str] | None:
        found = {run.workflow_id async for run in temporal.list_runs(since)}
        return found if open_id in found else None

    assert await until_async(lambda: listed(None), "the runs in the listing") == {open_id, closed_id}
    assert await listed(began) == {open_id, closed_id}
    assert await listed(datetime.now(UTC) + timedelta(hours=1)) == {open_id}
    assert [run.workflow_id for run in await temporal.open_runs(pipeline)] == [open_id]
    assert [run.workflow_id for run in await temporal.open_runs_of_queue(worker)] == [open_id]

    await temporal.cancel_run(open_id)
    cancelled = await ended(temporal, open_id)
    await temporal.cancel_run(open_id)

    assert cancelled.state == "Cancelled"
    assert await temporal.open_runs(pipeline) == ()
    terminated = await start(temporal, PipelineId(pipeline.installation, "travel", "other"), worker, "stays-open")
    again = await temporal.describe_run(terminated)
    assert again is not None
    await temporal.terminate_run(terminated, again.run_id, "out of patience")
    found = await ended(temporal, terminated)
    await temporal.terminate_run(terminated, again.run_id, "twice is fine")
    assert (found.state, found.error) == ("Failed", "Terminated: out of patience")


@pytest.mark.usefixtures("worker")
async def test_a_schedule_starts_runs_that_say_whose_they_are(temporal: TemporalClient, pipeline: PipelineId) -> None:
    await temporal.create_schedule(wish_of(pipeline, intervals=[{"every": "1s"}]), paused=False, note="")

    async def first() -> str | None:
        runs = [run async for run in temporal.list_runs(None) if run.state == "Succeeded"]
        return runs[0].workflow_id if runs else None

    workflow_id = await until_async(first, "a scheduled run")
    assert workflow_id is not None
    found = await temporal.describe_run(workflow_id)
    assert workflow_id.startswith(f"{pipeline.scheduled_workflow}-20")
    assert found is not None
    assert found.pipeline == memo_of(pipeline, "uid-1")
    assert found.asked_by is None
    await temporal.delete_schedule(pipeline.schedule)


async def test_unknown_runs_are_none_and_cancelling_them_is_harmless(temporal: TemporalClient) -> None:
    assert await temporal.describe_run("nothing") is None
    await temporal.cancel_run("nothing", None)


async def ended(temporal: TemporalClient, workflow_id: str) -> RunSeen:
    """The run, once it has ended."""
    found = await until_async(lambda: _closed(temporal, workflow_id), "the run's end")
    assert found is not None
    return found


async def _closed(temporal: TemporalClient, workflow_id: str) -> RunSeen | None:
    found = await temporal.describe_run(workflow_id)
    return found if found is not None and found.closed is not None else None
