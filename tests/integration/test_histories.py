"""Recorded runs replay on today's workflow: runs that are open while a worker is replaced go on.

`TIDEMILL_RECORD=1 pytest tests/integration/test_histories.py` records them anew, from real runs on a real server. Do
that only for a change that open runs can't survive, and say so in the changelog; else the old ones are the promise.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from tests.support.fixtures import unique
from tests.support.scripted import LIMITS, Script, Stage
from tests.support.worker import eventually
from tidemill_api.contract import BackfillInput, RunError, RunInput, RunResult
from tidemill_api.names import BACKFILL_WORKFLOW
from tidemill_cli.dev.components.temporal import TemporalServer
from tidemill_worker.workflows.backfill import DataPipelineBackfill
from tidemill_worker.workflows.backfill_messages import BACKFILL_SIZE, BACKFILL_TIMES, Range, Size, Window
from tidemill_worker.workflows.messages import (
    HANDED_BACK,
    SLOT_FREE,
    Begun,
    ChunkTask,
    Claimant,
    Counts,
    Ending,
    Planned,
    PlanTask,
)
from tidemill_worker.workflows.run import DataPipelineRun

FOLDER = Path(__file__).parents[1] / "golden" / "histories"
PASSED = SandboxRestrictions.default.with_passthrough_modules("tidemill_api", "tidemill_worker", "pydantic")


def one_chunk() -> Script:
    return Script(planned=Planned(chunks=1, bytes=10))


def staged() -> Script:
    return Script(planned=Planned(chunks=5, bytes=10, staged=("flights", "daily")))


def retried() -> Script:
    failed: set[int] = set()

    async def chunk(task: ChunkTask) -> Counts:
        if task.chunk not in failed:
            failed.add(task.chunk)
            raise ApplicationError("as the script says", type="PostgresUnavailable" if task.chunk else HANDED_BACK)
        return Counts(chunks=1, rows_read=1, rows_loaded=1)

    limits = LIMITS.model_copy(update={"initial_interval": 0.01, "maximum_attempts": 1})
    return Script(limits=limits, planned=Planned(chunks=1, bytes=1), chunk=chunk)


def failed() -> Script:
    async def chunk(_task: ChunkTask) -> Counts:
        raise ApplicationError("as the script says", type="ColumnMissing", non_retryable=True)

    return Script(chunk=chunk)


def durable_control() -> Script:
    async def plan(_task: Any) -> Planned:
        if len(script.called("plan")) < 2:
            raise ApplicationError("not yet", type="PostgresUnavailable")
        return Planned(chunks=1, bytes=1)

    script = Script(plan=plan)
    return script


def waves() -> Script:
    async def plan(task: PlanTask) -> Planned:
        return Planned(chunks=task.before + 2, bytes=10, staged=("daily",), waves=3)

    return Script(plan=plan)


def waited() -> Script:
    async def begin(_claimant: Claimant) -> Begun:
        ready = len(script.called("begin")) > 2
        return Begun(state="Began", execution=1, limits=LIMITS) if ready else Begun(state="Waiting")

    script = Script(begin=begin)
    return script


def skipped() -> Script:
    async def begin(_claimant: Claimant) -> Begun:
        error = RunError(type="Overlap", message="another run is open")
        return Begun(state="Skipped", result=RunResult(pipeline="p", run_key="k", result="Skipped", error=error))

    return Script(begin=begin)


def timed_out() -> Script:
    async def chunk(_task: ChunkTask) -> Counts:
        raise ApplicationError("never", type="PostgresUnavailable")

    return Script(limits=LIMITS.model_copy(update={"timeout": 1.5}), chunk=chunk)


def cancelled() -> Script:
    async def chunk(_task: ChunkTask) -> Counts:
        raise ApplicationError("never", type="PostgresUnavailable")

    return Script(chunk=chunk)


def reported() -> Script:
    async def begin(_claimant: Claimant) -> Begun:
        return Begun(state="Began", execution=1, limits=LIMITS, lineage=True)

    async def chunk(_task: ChunkTask) -> Counts:
        raise ApplicationError("as the script says", type="ColumnMissing", non_retryable=True)

    return Script(begin=begin, chunk=chunk)


RUNS: list[Callable[[], Script]] = [
    *(one_chunk, staged, retried, failed, durable_control, waves, waited, skipped, timed_out, cancelled, reported)
]
ORDERS = {reported: {"spec": {"notifications": [{"events": ["RunFailed"], "http": {"connection": "chat"}}]}}}
"""What a run is asked for, where it isn't the same as others."""


async def record(server: TemporalServer, make: Callable[[], Script]) -> None:
    """Run the script on a real server and keep the run's history."""
    client = await Client.connect(server.address, data_converter=pydantic_data_converter, identity="recorded")
    script, queue = make(), unique("queue-")
    async with Worker(
        client,
        task_queue=queue,
        workflows=[DataPipelineRun],
        activities=script.activities(),
        workflow_runner=SandboxedWorkflowRunner(restrictions=PASSED),
    ):
        handle = await Stage(client, queue).start(**ORDERS.get(make, {}))
        await _interfere(handle, script, make)
        try:
            await handle.result()
        except WorkflowFailureError:
            assert make in {failed, timed_out, cancelled, reported}
    history = await handle.fetch_history()
    FOLDER.mkdir(parents=True, exist_ok=True)
    told = _without_stacks(json.loads(history.to_json()))
    (FOLDER / f"{make.__name__}.json").write_text(json.dumps(told, indent=1) + "\n")


def _without_stacks(value: Any) -> Any:
    """Stacks name the folders of whoever recorded."""
    if isinstance(value, dict):
        return {key: _without_stacks(held) for key, held in value.items() if key != "stackTrace"}
    return [_without_stacks(held) for held in value] if isinstance(value, list) else value


async def _interfere(handle: WorkflowHandle[Any, RunResult], script: Script, make: Callable[[], Script]) -> None:
    if make is cancelled:
        await eventually(lambda: len(script.called("load_chunk")) >= 3)
        await handle.cancel()
    if make is waited:
        await eventually(lambda: len(script.called("begin")) >= 2)
        await handle.signal(SLOT_FREE)


@pytest.mark.parametrize("make", RUNS, ids=lambda make: make.__name__)
async def test_a_recorded_run_replays(make: Callable[[], Script], request: pytest.FixtureRequest) -> None:
    if os.environ.get("TIDEMILL_RECORD"):
        await record(request.getfixturevalue("temporal_server"), make)
    text = (FOLDER / f"{make.__name__}.json").read_text()
    replayer = Replayer(
        workflows=[DataPipelineRun],
        data_converter=pydantic_data_converter,
        workflow_runner=SandboxedWorkflowRunner(restrictions=PASSED),
    )

    replayed = await replayer.replay_workflow(
        WorkflowHistory.from_json(_workflow_of(text) or f"history-{make.__name__}", text), raise_on_replay_failure=False
    )

    assert replayed.replay_failure is None


def _workflow_of(text: str) -> str | None:
    """The id of the workflow, of which those that it has started have theirs."""
    found: str | None = json.loads(text)["events"][0]["workflowExecutionStartedEventAttributes"].get("workflowId")
    return found


BACKFILL = FOLDER / "backfill.json"


@activity.defn(name=BACKFILL_SIZE)
async def size(_asked: Range) -> Size:
    return Size(total=3, first="2026-01-01T00:00:00Z")


@activity.defn(name=BACKFILL_TIMES)
async def times(_asked: Range) -> Window:
    return Window(keys=("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"), skipped=1)


async def record_backfill(server: TemporalServer) -> None:
    """A backfill of two runs, of which the second fails."""
    client = await Client.connect(server.address, data_converter=pydantic_data_converter, identity="recorded")
    script, queue = one_chunk(), unique("queue-")

    async def chunk(_task: ChunkTask) -> Counts:
        if len(script.called("load_chunk")) > 1:
            raise ApplicationError("as the script says", type="ColumnMissing", non_retryable=True)
        return Counts(chunks=1, rows_read=1, rows_loaded=1)

    async def finish(_ending: Ending) -> None:
        script.recorded = None  # the first run's record isn't the second's

    script.chunk, script.finish = chunk, finish
    order = RunInput(installation=unique("i"), namespace="travel", pipeline="flights", uid="u", spec={}, run_key="b")
    asked = BackfillInput(run=order, start="2026-01-01T00:00:00Z", end="2026-01-04T00:00:00Z")
    async with Worker(
        client,
        task_queue=queue,
        workflows=[DataPipelineRun, DataPipelineBackfill],
        activities=[*script.activities(), size, times],
        workflow_runner=SandboxedWorkflowRunner(restrictions=PASSED),
    ):
        handle = await client.start_workflow(BACKFILL_WORKFLOW, asked, id=unique("b"), task_queue=queue)
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    told = _without_stacks(json.loads((await handle.fetch_history()).to_json()))
    BACKFILL.write_text(json.dumps(told, indent=1) + "\n")


async def test_a_recorded_backfill_replays(request: pytest.FixtureRequest) -> None:
    if os.environ.get("TIDEMILL_RECORD"):
        await record_backfill(request.getfixturevalue("temporal_server"))
    replayer = Replayer(
        workflows=[DataPipelineBackfill],
        data_converter=pydantic_data_converter,
        workflow_runner=SandboxedWorkflowRunner(restrictions=PASSED),
    )

    replayed = await replayer.replay_workflow(
        WorkflowHistory.from_json("history-backfill", BACKFILL.read_text()), raise_on_replay_failure=False
    )

    assert replayed.replay_failure is None


def test_every_history_has_its_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {*(make.__name__ for make in RUNS), "backfill"}
