"""What real runs tell a real web server that misbehaves when it is told to; the pause after failures; lineage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)

from tests.support import openlineage
from tests.support.fixtures import new_database, unique
from tests.support.pipeline import GOOD, HEADER, Bench
from tests.support.receiver import Received, Receiver, Status
from tests.support.worker import Pool, eventually, runs_on
from tidemill_api.contract import RunInput, RunResult
from tidemill_api.names import REPORT_WORKFLOW, WORKFLOW, PipelineId, report_of
from tidemill_cli.dev.components.postgres import PostgresServer
from tidemill_cli.dev.components.temporal import TemporalServer
from tidemill_worker.workflows.report_messages import Report, Reported, Traced

KEY = "a key that signs"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as listening:
        yield listening


@pytest.fixture(scope="module")
def pool(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    temporal_server: TemporalServer,
    receiver: Receiver,
) -> Iterator[Pool]:
    """A pool that can reach the receiver, with one worker for all tests here."""
    with new_database(postgres_server) as database:
        made = Pool(tmp_path_factory.mktemp("pool"), database, unique("i"), temporal_server)
        made.write_key("chat", "path", "T0/B0")
        made.write_key("chat", "signing", KEY)
        webhook = {name: {"secretKeyRef": {"name": "chat", "key": key}} for name, key in WEBHOOK.items()}
        made.write(
            lineage={"http": {"connection": "chat"}},
            connections=[*made.connections, {"name": "chat", "http": {"url": receiver.url, "webhook": webhook}}],
        )
        worker = made.start()
        yield made
        assert worker.stop() == 0, worker.log.read_text()


WEBHOOK = {"pathFrom": "path", "signingKey": "signing"}


@pytest.fixture
async def here(pool: Pool) -> AsyncIterator[Bench]:
    """A pipeline of this test's own."""
    async with runs_on(pool) as runs:
        yield Bench(runs)


def about(here: Bench, *events: str, **http: Any) -> dict[str, Any]:
    """A notification that goes to a path of this pipeline's own."""
    return {"events": list(events), "http": {"connection": "chat", "path": here.name, **http}}


def path(here: Bench) -> str:
    return f"/T0/B0/{here.name}"


async def told(receiver: Receiver, here: Bench, count: int) -> list[Received]:
    await eventually(lambda: len(receiver.at(path(here))) >= count)
    return receiver.at(path(here))


def kept(here: Bench) -> list[list[str]]:
    """What the metastore says of this pipeline's notifications."""
    return here.query(
        "SELECT run_key, state, attempts, coalesce(n.error, '') FROM tidemill.notifications n "
        "JOIN tidemill.runs USING (uid, run_key, execution) WHERE pipeline = '{name}' ORDER BY last_attempt, number"
    )


async def test_a_failure_and_the_recovery_are_told(here: Bench, receiver: Receiver) -> None:
    spec = here.spec(notifications=[about(here, "RunFailed", "Recovered"), about(here, "Recovered", format="Slack")])

    failed = await here.run(spec, key="first")
    [first] = await told(receiver, here, 1)
    here.write(HEADER + GOOD)
    await here.run(spec, key="second")
    messages = (await told(receiver, here, 3))[1:]
    await here.run(spec, key="third")
    await eventually(lambda: len(kept(here)) == 3)

    assert failed.error is not None
    assert (first.json["event"], first.json["run"]["error"]["message"]) == ("RunFailed", failed.error.message)
    assert sorted(len(message.json) for message in messages) == [1, 7]
    assert {message.json.get("event") for message in messages} == {None, "Recovered"}
    assert all(message.signed_by(KEY.encode()) for message in (first, *messages))
    assert not first.signed_by(b"another key")
    assert [(key, state, attempts) for key, state, attempts, _ in kept(here)] == [
        ("first", "Sent", "1"), ("second", "Sent", "1"), ("second", "Sent", "1"),
    ]  # fmt: skip


async def test_a_receiver_that_stumbles_gets_it_once_it_stands(here: Bench, receiver: Receiver) -> None:
    receiver.will(path(here), "Cut", Status(500), Status(429, {"retry-after": "1"}))

    await here.run(here.spec(notifications=[about(here, "RunFailed")]), key="k")
    messages = await told(receiver, here, 4)
    await eventually(lambda: kept(here) == [["k", "Sent", "4", ""]])

    assert len(messages) == 4
    assert len({message.headers["webhook-id"] for message in messages}) == 1
    assert len({message.body for message in messages}) == 1
    assert all(message.signed_by(KEY.encode()) for message in messages)


async def test_a_silent_receiver_keeps_nobody_waiting(here: Bench, receiver: Receiver) -> None:
    receiver.will(path(here), "Silent", "Silent")
    spec = here.spec(notifications=[about(here, "RunFailed")])

    results = [await here.run(spec, key=f"{number}") for number in range(2)]
    await told(receiver, here, 2)

    assert [result.result for result in results] == ["Failed", "Failed"]
    assert here.query("SELECT count(*) FROM tidemill.slots WHERE uid LIKE '%{name}'") == [["0"]]


async def test_a_message_that_is_refused_is_shown(here: Bench, receiver: Receiver, pool: Pool) -> None:
    receiver.will(path(here), Status(404))

    handle = await here.start(here.spec(notifications=[about(here, "RunFailed")]), key="k")
    await here.runs.result(handle)
    report = here.runs.client.get_workflow_handle(report_of(handle.id, 1, "ended"))

    async def closed() -> bool:
        return (await report.describe()).status == WorkflowExecutionStatus.FAILED

    await eventually(closed)
    assert kept(here) == [["k", "Unsent", "1", "the receiver answered 404, which the same message would get again"]]
    assert (
        'tidemill_worker_notifications_total{pool="etl",pool_namespace="travel",state="unsent"} 1.0'
        in pool.processes[0].get("/metrics")[1]
    )
    log = pool.processes[0].log.read_text()
    assert "run k: notification to chat couldn't be sent: the receiver answered 404" in log
    assert not [secret for secret in (KEY, "T0/B0") if secret in log]


async def test_who_is_told_is_no_reason_to_fail(here: Bench) -> None:
    here.write(HEADER + GOOD)
    nobody = {"events": ["RunSucceeded"], "http": {"connection": "nobody"}}

    result = await here.run(here.spec(notifications=[nobody]), key="k")
    await eventually(lambda: kept(here))

    assert (result.result, result.rows_loaded) == ("Succeeded", 100)
    [[_, state, attempts, error]] = kept(here)
    assert (state, attempts, "no connection nobody" in error) == ("Unsent", "1", True)


async def test_failures_in_a_row_pause_the_schedule(here: Bench, receiver: Receiver) -> None:
    schedule = await here_scheduled(here)
    spec = here.spec(notifications=[about(here, "SchedulePaused", "Recovered")])

    async def run(key: str, **order: Any) -> RunResult:
        order = {"trigger": "Schedule", "pause_after": 2, "run_key": key} | order
        return await started(here, spec, **order)

    async def paused() -> bool:
        return bool((await schedule.describe()).schedule.state.paused)

    await run("2026-01-01T00:00:00Z")
    await run("by hand", trigger="Manual")
    here.write(HEADER + GOOD)
    await run("2026-01-01T01:00:00Z")
    await told(receiver, here, 1)  # it has recovered
    (here.pool.landing / here.name / "a.csv").unlink()
    await run("2026-01-01T02:00:00Z")
    assert not await paused()
    await run("2026-01-01T03:00:00Z")
    message = (await told(receiver, here, 2))[-1].json

    assert (message["event"], message["paused"]) == ("SchedulePaused", (await schedule.describe()).schedule.state.note)
    assert await paused()
    assert message["paused"] == (
        "onFailure.pauseAfter: 2 scheduled runs in a row have failed, the last 2026-01-01T03:00:00Z (SourceMissing); "
        "unpause it here when the cause is mended"
    )
    assert here.query(
        "SELECT count(*) FROM tidemill.dead_letters WHERE pipeline = '{name}' AND reason = 'RunFailed'"
    ) == [["4"]]


async def here_scheduled(here: Bench) -> Any:
    """A Schedule of this pipeline that starts nothing by itself."""
    pipeline = PipelineId(here.pool.installation, here.pool.namespace, here.name)
    action = ScheduleActionStartWorkflow(WORKFLOW, id=pipeline.scheduled_workflow, task_queue=here.pool.queue)
    return await here.runs.client.create_schedule(pipeline.schedule, Schedule(action=action, spec=ScheduleSpec()))


async def started(here: Bench, spec: dict[str, Any], **order: Any) -> RunResult:
    """A run as the Schedule would start it."""
    run = RunInput(
        installation=here.pool.installation,
        namespace=here.pool.namespace,
        pipeline=here.name,
        uid=f"{here.pool.installation}-{here.name}",
        spec=spec,
        **order,
    )
    handle = await here.runs.client.start_workflow(
        WORKFLOW,
        run,
        id=f"{here.pool.installation}/{here.pool.namespace}/{here.name}/{unique()}",
        task_queue=here.pool.queue,
        result_type=RunResult,
        execution_timeout=timedelta(minutes=2),
    )
    return await here.runs.result(handle)


async def test_lineage_tells_begin_and_end(here: Bench, receiver: Receiver) -> None:
    here.write(HEADER + GOOD + "100,13,bad\n")

    result = await here.run(key="good")
    (here.pool.landing / here.name / "a.csv").unlink()
    await here.run(key="bad")
    job = f"travel.{here.name}"
    events = [each.json for each in await eventually(lambda: lineage_of(receiver, job, 4))]

    assert sorted(event["eventType"] for event in events) == ["COMPLETE", "FAIL", "START", "START"]
    assert len({event["run"]["runId"] for event in events}) == 2
    for event in events:
        openlineage.validate(event)
    [complete] = [event for event in events if event["eventType"] == "COMPLETE"]
    [source], [sink] = complete["inputs"], complete["outputs"]
    dsn = urlsplit(here.pool.database.dsn)
    assert (source["namespace"], source["name"]) == ("file", f"{here.pool.landing}/{here.name}/*.csv")
    assert (sink["namespace"].partition("://")[0], sink["name"]) == (
        "postgres",
        f"{dsn.path.removeprefix('/')}.public.{here.name}",
    )
    assert [field["name"] for field in source["facets"]["schema"]["fields"]] == ["id", "month", "name"]
    assert source["inputFacets"]["inputStatistics"]["rowCount"] == result.rows_read == 101
    assert sink["outputFacets"]["outputStatistics"]["rowCount"] == result.rows_loaded == 100
    assert sink["facets"]["columnLineage"]["fields"]["month"]["inputFields"][0]["field"] == "month"
    [failed] = [event for event in events if event["eventType"] == "FAIL"]
    assert failed["run"]["facets"]["errorMessage"]["message"].startswith("SourceMissing: ")
    assert "lineage_events_total" in here.pool.processes[0].get("/metrics")[1]


async def test_lineage_is_told_though_nobody_knows_whom_to_notify(here: Bench, receiver: Receiver) -> None:
    here.write(HEADER + GOOD)
    result = await here.run(key="k")
    job, uid = f"travel.{here.name}", f"{here.pool.installation}-{here.name}"
    before = len(await eventually(lambda: lineage_of(receiver, job, 2)))
    told = {"installation": "i", "namespace": "travel", "pipeline": here.name, "uid": uid, "run_time": "k"}
    wrong = {"trigger": "Manual", "result": result, "notifications": [{"events": ["Nonsense"]}]}
    report = Report(
        reported=Reported.model_validate(told | wrong),
        traced=Traced(uid=uid, run_key="k", execution=1, transition="COMPLETE", moment="2026-01-01T00:00:00Z"),
    )

    with pytest.raises(WorkflowFailureError) as caught:
        await here.runs.client.execute_workflow(REPORT_WORKFLOW, report, id=unique(), task_queue=here.pool.queue)

    assert "notifications: " in str(caught.value.cause)
    assert len(lineage_of(receiver, job, 1)) == before + 1


def lineage_of(receiver: Receiver, job: str, count: int) -> list[Received]:
    """The events of a job, once there are so many."""
    found = [each for each in receiver.at("/T0/B0/api/v1/lineage") if each.json["job"]["name"] == job]
    return found if len(found) >= count else []
