"""Encryption on a real Temporal, by worker processes as they run in pods: what its histories show, and lost keys."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload, SearchAttributes
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from tests.support.fixtures import unique
from tests.support.keys import MountedRing, new_key
from tests.support.scripted import LIMITS, Script, Stage, performed_with
from tests.support.worker import Pool, Runs, eventually, runs_on
from tidemill_api.contract import (
    BACKFILL_MEMO_KEY,
    PROGRESS_QUERY,
    RESULT_MEMO_KEY,
    BackfillInput,
    BackfillProgress,
    RunInput,
    RunProgress,
    RunResult,
)
from tidemill_api.errors import UnknownKey
from tidemill_api.names import BACKFILL_WORKFLOW, KEYS_VARIABLE, SETTLE_VARIABLE, PipelineId
from tidemill_cli.dev.components.temporal import TemporalServer
from tidemill_codec.cipher import is_encrypted, key_of
from tidemill_codec.converter import encrypting
from tidemill_codec.folder import FixedKeys, KeyFolder
from tidemill_codec.ring import ring_of
from tidemill_worker.workflows import run as workflow_module
from tidemill_worker.workflows.messages import ChunkTask, Counts
from tidemill_worker.workflows.run import DataPipelineRun

K1, K2 = new_key(), new_key()
PASSED = SandboxRestrictions.default.with_passthrough_modules("tidemill_api", "tidemill_worker", "pydantic")
SECRET = "hush-hush"
SPEC: dict[str, Any] = {
    "workerPoolRef": {"name": "etl"},
    "parameters": [{"name": "customer", "type": "string"}],
    "sources": [
        {
            "name": "raw",
            "connection": "landing",
            "files": {"path": "*.csv", "format": {"csv": {}}},
            "columns": [{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}],
        }
    ],
    "sinks": [
        {
            "name": "out_sink",
            "input": "raw",
            "connection": "warehouse",
            "writeDisposition": "Append",
            "postgres": {"table": "public.very_own_table", "createTable": "IfMissing"},
        }
    ],
}
CORES_OWN = re.compile(
    r'\{"seq":\d+,"attempt":\d+,"activity_id":"\d+","activity_type":"[a-z_]+","complete_time":[^"]*("[a-z]+":[^"]+)*'
    r'"original_schedule_time":[^"]*("[a-z]+":[^"]+)*"activation_index":\d+\}'
)
"""What the SDK's core notes of a local activity, without the codec: its name, its number and times."""
UNSEEN = (SECRET, "very_own_table", "out_sink", "rows_loaded", "rowsLoaded")
"""What is in a run's payloads, and must be in none of Temporal's."""


@pytest.fixture
def ring(pool: Pool) -> MountedRing:
    """The worker's key ring."""
    (pool.landing / "a.csv").write_text("id,name\n1,one\n2,two\n")
    return MountedRing(pool.folder / "keys", k1=K1, active="k1")


@pytest.fixture
async def runs(pool: Pool, ring: MountedRing) -> AsyncIterator[Runs]:
    """Runs by a client with the same ring."""
    async with runs_on(pool, KeyFolder(ring.folder, settle=0)) as made:
        yield made


def environment(ring: MountedRing) -> dict[str, str]:
    return {KEYS_VARIABLE: str(ring.folder), SETTLE_VARIABLE: "0"}


def payloads(message: Message) -> Iterator[Payload]:
    """All payloads of a message, but those of search attributes, which the server must read, and of the SDK's core."""
    if isinstance(message, Payload):
        if not CORES_OWN.fullmatch(message.data.decode(errors="replace")):
            yield message
        return
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE or isinstance(value, SearchAttributes):
            continue
        kind = field.message_type
        assert kind is not None
        if kind.GetOptions().map_entry:
            inner = value.values() if kind.fields_by_name["value"].message_type else ()
        else:
            inner = value if field.is_repeated else (value,)
        for each in inner:
            yield from payloads(each)


async def history(handle: WorkflowHandle[Any, Any]) -> WorkflowHistory:
    return await handle.fetch_history()


def seen(told: WorkflowHistory) -> str:
    """All that the server knows of a run, as text; what is base64 in JSON is text here."""
    raw = b"".join(event.SerializeToString() for event in told.events)
    return raw.decode(errors="replace") + told.to_json()


async def read_by(pool: Pool, handle: WorkflowHandle[Any, RunResult], **entries: str) -> RunResult:
    """The run's result, read with other keys."""
    keys = FixedKeys(ring_of(entries, "test"))
    async with runs_on(pool, keys) as others:
        return await others.result(others.client.get_workflow_handle(handle.id, result_type=RunResult))


async def test_nothing_of_a_run_can_be_read_in_temporal(pool: Pool, ring: MountedRing, runs: Runs) -> None:
    worker = pool.start(environment=environment(ring))

    handle = await runs.start(SPEC, parameters={"customer": SECRET})
    result = await runs.result(handle)

    assert (result.result, result.rows_loaded) == ("Succeeded", 2)
    told = await history(handle)
    found = [payload for event in told.events for payload in payloads(event)]
    assert len(found) >= 8
    assert {key_of(payload) for payload in found} == {"k1"}
    assert [word for word in UNSEEN if word in seen(told)] == []
    described = await handle.describe()
    assert is_encrypted(described.raw_info.memo.fields[RESULT_MEMO_KEY])
    assert RunResult.model_validate(await described.memo_value(RESULT_MEMO_KEY)) == result
    assert (await handle.query(PROGRESS_QUERY, result_type=RunProgress)).phase == "Done"
    assert worker.stop() == 0
    log = worker.log.read_text()
    assert "payloads encrypted with the key k1" in log
    assert [word for word in (SECRET, K1) if word in log] == []


async def test_nothing_of_a_backfill_can_be_read_in_temporal(pool: Pool, ring: MountedRing, runs: Runs) -> None:
    worker = pool.start(environment=environment(ring))
    pipeline = PipelineId(pool.installation, pool.namespace, "flights")
    order = RunInput(
        installation=pool.installation,
        namespace=pool.namespace,
        pipeline="flights",
        uid="u",
        spec=SPEC,
        schedule={"crons": ["0 0 * * *"]},
        parameters={"customer": SECRET},
        run_key="january",
    )
    asked = BackfillInput(run=order, start="2026-01-01T00:00:00Z", end="2026-01-03T00:00:00Z")

    handle = await runs.client.start_workflow(
        BACKFILL_WORKFLOW, asked, id=pipeline.workflow("january"), task_queue=pool.queue, result_type=RunResult
    )
    result = await runs.result(handle)

    assert (result.result, result.rows_loaded) == ("Succeeded", 4)
    child: WorkflowHandle[Any, Any] = runs.client.get_workflow_handle(pipeline.scheduled_run("2026-01-02T00:00:00Z"))
    for each in (handle, child):
        told = await history(each)
        assert {key_of(payload) for event in told.events for payload in payloads(event)} == {"k1"}
        assert [word for word in UNSEEN if word in seen(told)] == []
    described = await handle.describe()
    assert is_encrypted(described.raw_info.memo.fields[BACKFILL_MEMO_KEY])
    progress = BackfillProgress.model_validate(await described.memo_value(BACKFILL_MEMO_KEY))
    assert progress == BackfillProgress(total=2, succeeded=2)
    assert worker.stop() == 0


async def test_a_failed_run_tells_why_only_to_who_has_the_key(pool: Pool, ring: MountedRing, runs: Runs) -> None:
    pool.start(environment=environment(ring))
    (pool.landing / "a.csv").write_text("other,columns\n1,one\n")

    handle = await runs.start(SPEC, parameters={"customer": SECRET})
    result = await runs.result(handle)

    assert result.error is not None
    assert result.error.type == "ColumnMissing"
    told = await history(handle)
    assert {key_of(payload) for event in told.events for payload in payloads(event)} == {"k1"}
    failure = told.events[-1].workflow_execution_failed_event_attributes.failure
    assert (failure.message, failure.application_failure_info.type) == ("Encoded failure", "ColumnMissing")
    assert result.error.message not in seen(told)
    assert "Traceback" not in seen(told)
    assert 'File "' not in seen(told)


async def test_a_rotated_ring_reads_what_the_old_key_wrote(pool: Pool, ring: MountedRing, runs: Runs) -> None:
    worker = pool.start(environment=environment(ring))
    before = await runs.start(SPEC, parameters={"customer": SECRET})
    await runs.result(before)

    ring.renew({"k1": K1, "k2": K2, "active": "k2"})
    async with runs_on(pool, KeyFolder(ring.folder)) as later:
        after = await later.start(SPEC, parameters={"customer": SECRET}, pipeline="other")
        result = await later.result(after)

    assert result.result == "Succeeded"
    assert {key_of(payload) for event in (await history(after)).events for payload in payloads(event)} == {"k2"}
    assert "the key ring has changed: keys k1, k2, of which k2 writes" in worker.log.read_text()
    assert {key_of(payload) for event in (await history(before)).events for payload in payloads(event)} == {"k1"}
    assert (await read_by(pool, before, k1=K1, k2=K2, active="k2")).result == "Succeeded"


async def test_runs_from_before_encryption_go_on_with_it(pool: Pool, ring: MountedRing) -> None:
    async with runs_on(pool) as plain:
        handle = await plain.start(SPEC, parameters={"customer": SECRET})
    pool.start(environment=environment(ring))

    result = await read_by(pool, handle, k1=K1, active="k1")

    assert (result.result, result.rows_loaded) == ("Succeeded", 2)
    told = await history(handle)
    keys = [key_of(payload) for event in told.events for payload in payloads(event)]
    assert keys[0] is None
    assert set(keys[1:]) == {"k1"}


async def test_a_run_waits_for_a_key_that_is_gone(pool: Pool, ring: MountedRing) -> None:
    worker = pool.start(environment=environment(ring))
    async with runs_on(pool, FixedKeys(ring_of({"k2": K2, "active": "k2"}, "test"))) as others:
        handle = await others.start(SPEC, parameters={"customer": SECRET})

        await eventually(lambda: "the key 'k2', which isn't in the key ring" in worker.log.read_text())
        failed = await eventually(lambda: failed_task(handle))
        assert key_of(failed.encoded_attributes) == "k1"
        assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING

        ring.renew({"k1": K1, "k2": K2, "active": "k1"})

    result = await read_by(pool, handle, k1=K1, k2=K2, active="k1")
    assert (result.result, result.rows_loaded) == ("Succeeded", 2)


async def test_a_worker_without_keys_leaves_encrypted_runs_to_those_who_have_them(
    pool: Pool, ring: MountedRing, runs: Runs
) -> None:
    without = pool.start()
    handle = await runs.start(SPEC, parameters={"customer": SECRET})
    await eventually(lambda: "key 'k1', and there is no key ring here" in without.log.read_text())
    assert without.stop() == 0

    pool.start(environment=environment(ring))

    assert (await runs.result(handle)).result == "Succeeded"


async def failed_task(handle: WorkflowHandle[Any, Any]) -> Any:
    """The failure of the last workflow task that failed."""
    events = [
        event
        for event in (await history(handle)).events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    ]
    return events[-1].workflow_task_failed_event_attributes.failure if events else None


async def test_a_worker_without_a_ring_waits_and_says_so(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("keys")
    worker = pool.start(environment={KEYS_VARIABLE: str(folder)}, ready=False)
    (pool.landing / "a.csv").write_text("id,name\n1,one\n")

    await eventually(lambda: "there is no key" in worker.get("/readyz")[1])
    MountedRing(folder, k1=K1, active="k1")
    worker.until_ready()

    async with runs_on(pool, FixedKeys(ring_of({"k1": K1, "active": "k1"}, "test"))) as runs:
        assert (await runs.run(SPEC, parameters={"customer": SECRET})).result == "Succeeded"


def two_attempts() -> Script:
    """Each chunk may be tried twice."""
    return Script(limits=LIMITS.model_copy(update={"maximum_attempts": 2, "initial_interval": 0.05}))


def arguments_unreadable(_task: ChunkTask) -> ApplicationError:
    """As the SDK says it of arguments."""
    return ApplicationError("Failed decoding arguments")


def heartbeat_unreadable(_task: ChunkTask) -> ApplicationError:
    """As the SDK says it of the former attempt's heartbeat: with no further attempt."""
    return ApplicationError("Failed decoding heartbeat details", non_retryable=True)


@pytest.mark.parametrize("unreadable", [arguments_unreadable, heartbeat_unreadable])
async def test_a_chunk_that_no_worker_can_read_is_not_failed(
    temporal_server: TemporalServer,
    monkeypatch: pytest.MonkeyPatch,
    unreadable: Callable[[ChunkTask], ApplicationError],
) -> None:
    monkeypatch.setattr(workflow_module, "KEY_PAUSE", workflow_module.KEY_PAUSE / 100)
    script, asked = two_attempts(), []

    async def chunk(task: ChunkTask) -> Counts:
        asked.append(task)
        if len(asked) <= 9:
            raise unreadable(task) from UnknownKey("a payload is encrypted with the key 'k2'")
        return Counts(chunks=1, rows_read=1, rows_loaded=1)

    script.chunk = chunk
    keys = FixedKeys(ring_of({"k1": K1, "active": "k1"}, "test"))
    converter = encrypting(pydantic_data_converter, keys, "default")
    client = await Client.connect(temporal_server.address, data_converter=converter)
    async with performed_with(client, script) as stage:
        handle = await stage.start()
        result: RunResult = await handle.result()
        told = await history(handle)

    assert result.result == "Succeeded"
    assert len(asked) == 12
    replayed = await Replayer(
        workflows=[DataPipelineRun],
        data_converter=converter,
        workflow_runner=SandboxedWorkflowRunner(restrictions=PASSED),
    ).replay_workflow(told, raise_on_replay_failure=False)
    assert replayed.replay_failure is None


async def test_a_worker_that_lacks_a_key_hands_its_chunks_back(
    temporal_server: TemporalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workflow writes with a new key; the worker of the chunks gets it later."""
    monkeypatch.setattr(workflow_module, "KEY_PAUSE", workflow_module.KEY_PAUSE / 100)
    script, queue = two_attempts(), unique("queue-")
    rings: list[dict[str, str]] = [{"k1": K1, "active": "k1"}]

    class Late:
        def ring(self) -> Any:
            return ring_of(rings[-1], "late")

        def key(self, key_id: str) -> bytes | None:
            return ring_of(rings[-1], "late").key(key_id)

    async def client_with(keys: Any) -> Client:
        converter = encrypting(pydantic_data_converter, keys, "default")
        return await Client.connect(temporal_server.address, data_converter=converter)

    early = await client_with(FixedKeys(ring_of({"k1": K1, "k2": K2, "active": "k2"}, "early")))
    late = await client_with(Late())
    runner = SandboxedWorkflowRunner(restrictions=PASSED)
    workflows = Worker(
        early,
        task_queue=queue,
        workflows=[DataPipelineRun],
        activities=script.activities(),
        no_remote_activities=True,
        workflow_runner=runner,
    )
    async with workflows, Worker(late, task_queue=queue, activities=script.activities()):
        handle = await Stage(early, queue).start()

        async def given_up() -> bool:
            events = [event.event_type for event in (await history(handle)).events]
            return events.count(EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED) >= 2

        await eventually(given_up)
        assert script.called("load_chunk") == []
        rings.append({"k1": K1, "k2": K2, "active": "k1"})
        result: RunResult = await handle.result()

    assert result.result == "Succeeded"
    assert len(script.called("load_chunk")) == 3
