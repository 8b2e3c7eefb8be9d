"""A backfill of many times: it continues as new, keeps its history short, and runs each time once, so many at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.support.fixtures import unique
from tidemill_api.contract import BACKFILL_MEMO_KEY, BackfillInput, BackfillProgress, RunInput, RunResult
from tidemill_api.names import BACKFILL_WORKFLOW, WORKFLOW
from tidemill_cli.dev.components.temporal import TemporalServer
from tidemill_worker.activities.backfill import window_of
from tidemill_worker.workflows import backfill
from tidemill_worker.workflows.backfill import DataPipelineBackfill
from tidemill_worker.workflows.backfill_messages import BACKFILL_SIZE, BACKFILL_TIMES, Range, Size, Window

TIMES: Final = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(700)]
KEYS: Final = [each.strftime("%Y-%m-%dT%H:%M:%SZ") for each in TIMES]
_BEGUN: list[str] = []
_OPEN: set[str] = set()
_MOST_OPEN: list[int] = []


@workflow.defn(name=WORKFLOW)
class Run:
    """Stands for the run of a pipeline: notes that it was, and how many others are open."""

    @workflow.run
    async def run(self, order: dict[str, Any]) -> RunResult:
        """Take two turns, so that others can begin meanwhile."""
        key = order["runKey"]
        if not workflow.unsafe.is_replaying():
            _BEGUN.append(key)
            _OPEN.add(key)
            _MOST_OPEN.append(len(_OPEN))
        await workflow.execute_local_activity(nothing, start_to_close_timeout=timedelta(seconds=10))
        _OPEN.discard(key)
        return RunResult(pipeline="p", run_key=key, result="Succeeded", rows_loaded=1)


@activity.defn
async def nothing() -> None:
    """A turn."""


@activity.defn(name=BACKFILL_SIZE)
async def size(_asked: Range) -> Size:
    """All of them."""
    return Size(total=len(KEYS), first=KEYS[0])


@activity.defn(name=BACKFILL_TIMES)
async def times(asked: Range) -> Window:
    """The times that follow."""
    return window_of(TIMES[KEYS.index(asked.following) :], {}, asked.order)


async def histories(client: Client, handle: WorkflowHandle[Any, Any]) -> list[int]:
    """Events of each link of the backfill's chain."""
    return [each.history_length async for each in client.list_workflows(f"WorkflowId = '{handle.id}'")]


@pytest.mark.slow
async def test_seven_hundred_times(temporal_server: TemporalServer) -> None:
    _BEGUN.clear()
    client = await Client.connect(temporal_server.address, data_converter=pydantic_data_converter)
    order = RunInput(installation=unique("i"), namespace="n", pipeline="p", uid="u", spec={}, run_key="b")
    asked = BackfillInput(run=order, start=KEYS[0], end="2027-01-01T00:00:00Z", concurrency=8)
    queue = unique("queue-")
    async with Worker(
        client,
        task_queue=queue,
        workflows=[DataPipelineBackfill, Run],
        activities=[size, times, nothing],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        handle = await client.start_workflow(
            BACKFILL_WORKFLOW, asked, id=unique("b"), task_queue=queue, result_type=RunResult
        )
        result = await handle.result()

    assert (result.result, result.rows_loaded) == ("Succeeded", len(KEYS))
    assert sorted(_BEGUN) == KEYS
    assert 1 < max(_MOST_OPEN) <= 8  # how many at once a busy machine comes to isn't ours to say
    told = BackfillProgress.model_validate(await (await handle.describe()).memo_value(BACKFILL_MEMO_KEY))
    assert told == BackfillProgress(total=len(KEYS), succeeded=len(KEYS))
    lengths = await histories(client, handle)
    assert len(lengths) > 1, lengths
    assert max(lengths) < backfill.MOST_EVENTS + 1500, lengths
