"""The workflow alone: timers, retries, limits and endings, with scripted activities on a server that skips time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import WorkflowEnvironment

from tests.support.scripted import LIMITS, Script, performed
from tests.support.worker import eventually
from tidemill_api.contract import PROGRESS_QUERY, RESULT_MEMO_KEY, RunError, RunProgress, RunResult
from tidemill_api.v1alpha1.execution import ErrorTolerance
from tidemill_worker.workflows.messages import (
    HANDED_BACK,
    Begun,
    ChunkTask,
    Claimant,
    Counts,
    Planned,
    PlanTask,
    PublishTask,
)

# The test server, unlike a real one, can't cancel an activity whose end it hasn't told yet; test_runs.py has that.
ONE_BY_ONE = LIMITS.model_copy(update={"parallelism": 1})


def fails(kind: str, *, times: int = 10**6, non_retryable: bool = False) -> Callable[..., Awaitable[Any]]:
    """A chunk that fails so often, then is done."""
    failed: dict[int, int] = {}

    async def chunk(task: ChunkTask) -> Counts:
        failed[task.chunk] = failed.get(task.chunk, 0) + 1
        if failed[task.chunk] <= times:
            raise ApplicationError("as the script says", type=kind, non_retryable=non_retryable)
        return Counts(chunks=1, rows_read=1, rows_loaded=1)

    return chunk


async def held(_task: Any) -> Any:
    """An activity that goes on until it is told to stop."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.05)


async def failure(handle: WorkflowHandle[Any, RunResult]) -> RunResult:
    """The result that a failed run carries, which is in its memo too."""
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    result = RunResult.model_validate(caught.value.cause.details[0])
    assert result.error is not None
    assert caught.value.cause.type == result.error.type
    return result


async def memo(handle: WorkflowHandle[Any, RunResult]) -> RunResult:
    described = await handle.describe()
    return RunResult.model_validate(await described.memo_value(RESULT_MEMO_KEY))


async def duration(handle: WorkflowHandle[Any, RunResult]) -> timedelta:
    described = await handle.describe()
    assert described.close_time is not None
    return described.close_time - described.start_time


async def test_begin_plan_chunks_publish_finish(time_skipping: WorkflowEnvironment) -> None:
    script = Script(planned=Planned(chunks=3, bytes=30, staged=("b", "a")))
    async with performed(time_skipping, script) as stage:
        handle = await stage.start()

        result = await handle.result()

        assert result.result == "Succeeded"
        assert await memo(handle) == result
        progress = await handle.query(PROGRESS_QUERY, result_type=RunProgress)
    assert [name for name, _ in script.calls] == [
        *("begin", "plan", "load_chunk", "load_chunk", "load_chunk", "publish", "publish", "finish")
    ]
    assert sorted(task.chunk for task in script.called("load_chunk")) == [0, 1, 2]
    assert [task.sink for task in script.called("publish")] == ["b", "a"]
    assert (progress.phase, progress.chunks_done, progress.chunks_total, progress.rows_loaded) == ("Done", 3, 3, 3)


def in_waves(*chunks: int) -> Callable[[PlanTask], Awaitable[Planned]]:
    """A plan of so many chunks in each wave."""

    async def plan(task: PlanTask) -> Planned:
        return Planned(chunks=task.before + chunks[task.wave], bytes=1, staged=("daily",), waves=len(chunks))

    return plan


async def test_a_wave_begins_when_the_one_before_has_ended(time_skipping: WorkflowEnvironment) -> None:
    done: set[int] = set()

    async def chunk(task: ChunkTask) -> Counts:
        assert done >= set(range({0: 0, 1: 0, 2: 0, 3: 3, 4: 4, 5: 4}[task.chunk]))
        await asyncio.sleep(0.02)
        done.add(task.chunk)
        return Counts(chunks=1, rows_read=1, rows_kept=1)

    script = Script(plan=in_waves(3, 1, 2), chunk=chunk)
    async with performed(time_skipping, script) as stage:
        result = await (await stage.start()).result()

    assert result.result == "Succeeded"
    assert [(task.wave, task.before) for task in script.called("plan")] == [(0, 0), (1, 3), (2, 4)]
    assert sorted(task.chunk for task in script.called("load_chunk")) == list(range(6))
    assert [name for name, _ in script.calls][-2:] == ["publish", "finish"]


async def test_bad_rows_of_sources_end_a_run_before_its_second_wave(time_skipping: WorkflowEnvironment) -> None:
    async def chunk(_task: ChunkTask) -> Counts:
        return Counts(chunks=1, rows_read=10, rows_rejected=3, rows_kept=7)

    limits = LIMITS.model_copy(update={"tolerance": ErrorTolerance(max_percent=20)})
    script = Script(limits=limits, plan=in_waves(2, 1), chunk=chunk)
    async with performed(time_skipping, script) as stage:
        result = await failure(await stage.start())

    assert result.error is not None
    assert result.error.type == "ToleranceExceeded"
    assert [task.wave for task in script.called("plan")] == [0]


async def test_rows_that_only_later_waves_reject_are_no_bad_rows_of_sources(time_skipping: WorkflowEnvironment) -> None:
    async def chunk(task: ChunkTask) -> Counts:
        first = task.chunk == 0
        return Counts(chunks=1, rows_read=10 * first, rows_kept=10 * first, rows_rejected=0 if first else 50)

    limits = LIMITS.model_copy(update={"tolerance": ErrorTolerance(max_rows=1, max_percent=1)})
    script = Script(limits=limits, plan=in_waves(1, 1), chunk=chunk)
    async with performed(time_skipping, script) as stage:
        result = await (await stage.start()).result()

    assert result.result == "Succeeded"


async def test_a_run_of_waves_that_continues_as_new_goes_on_in_the_same_wave(
    time_skipping: WorkflowEnvironment,
) -> None:
    script = Script(limits=LIMITS.model_copy(update={"parallelism": 20}), plan=in_waves(450, 450))
    async with performed(time_skipping, script) as stage:
        handle = await stage.start()
        result = await handle.result()

    assert result.result == "Succeeded"
    assert sorted(task.chunk for task in script.called("load_chunk")) == list(range(900))
    assert [task.wave for task in script.called("plan")] == [0, 1]


async def test_never_more_chunks_at_once_than_parallelism(time_skipping: WorkflowEnvironment) -> None:
    running: set[int] = set()
    most = 0

    async def chunk(task: ChunkTask) -> Counts:
        nonlocal most
        running.add(task.chunk)
        most = max(most, len(running))
        await asyncio.sleep(0.02)
        running.remove(task.chunk)
        return Counts(chunks=1)

    script = Script(
        limits=LIMITS.model_copy(update={"parallelism": 3}), planned=Planned(chunks=12, bytes=1), chunk=chunk
    )
    async with performed(time_skipping, script) as stage:
        await (await stage.start()).result()

    assert most == 3


async def test_what_a_retry_can_mend_is_tried_again(time_skipping: WorkflowEnvironment) -> None:
    script = Script(chunk=fails("PostgresUnavailable", times=5), planned=Planned(chunks=1, bytes=1))
    async with performed(time_skipping, script) as stage:
        result = await (await stage.start()).result()

    assert result.result == "Succeeded"
    assert len(script.called("load_chunk")) == 6


async def test_what_a_retry_cannot_mend_fails_the_run_at_once(time_skipping: WorkflowEnvironment) -> None:
    script = Script(limits=ONE_BY_ONE, chunk=fails("ColumnMissing", non_retryable=True))
    async with performed(time_skipping, script) as stage:
        handle = await stage.start()
        result = await failure(handle)
        assert await memo(handle) == result

    assert result.error == RunError(type="ColumnMissing", message="as the script says")
    assert len(script.called("load_chunk")) == 1
    assert [ending.ending for ending in script.called("finish")] == ["Failed"]


async def test_no_more_attempts_than_the_retry_policy_allows(time_skipping: WorkflowEnvironment) -> None:
    limits = LIMITS.model_copy(update={"maximum_attempts": 3})
    script = Script(limits=limits, chunk=fails("PostgresUnavailable"), planned=Planned(chunks=1, bytes=1))
    async with performed(time_skipping, script) as stage:
        result = await failure(await stage.start())

    assert result.error is not None
    assert (result.error.type, result.error.retryable) == ("PostgresUnavailable", True)
    assert len(script.called("load_chunk")) == 3


async def test_a_chunk_that_a_worker_gives_back_costs_no_attempt(time_skipping: WorkflowEnvironment) -> None:
    limits = LIMITS.model_copy(update={"maximum_attempts": 1})
    script = Script(limits=limits, chunk=fails(HANDED_BACK, times=3), planned=Planned(chunks=1, bytes=1))
    async with performed(time_skipping, script) as stage:
        result = await (await stage.start()).result()

    assert result.result == "Succeeded"
    assert len(script.called("load_chunk")) == 4


async def test_a_control_step_that_fails_for_now_goes_on_durably(time_skipping: WorkflowEnvironment) -> None:
    async def begin(_claimant: Claimant) -> Begun:
        if activity.info().is_local or activity.info().attempt < 4:
            raise ApplicationError("not yet", type="PostgresUnavailable")
        return Begun(state="Began", execution=1, limits=LIMITS)

    script = Script(begin=begin)
    async with performed(time_skipping, script) as stage:
        result = await (await stage.start()).result()

    assert result.result == "Succeeded"
    assert len(script.called("begin")) == 5


async def test_the_timeout_cancels_chunks_and_fails_the_run(time_skipping: WorkflowEnvironment) -> None:
    limits = LIMITS.model_copy(update={"timeout": 120.0, "maximum_interval": 30.0})
    script = Script(limits=limits, chunk=fails("PostgresUnavailable"))
    async with performed(time_skipping, script) as stage:
        handle = await stage.start()
        result = await failure(handle)
        took = await duration(handle)

    assert result.error is not None
    assert result.error.type == "RunTimeout"
    assert "spec.execution.timeout" in result.error.message
    assert "0 of 3 chunks" in result.error.message
    assert timedelta(seconds=119) < took < timedelta(seconds=200)
    assert [ending.ending for ending in script.called("finish")] == ["Failed"]


@pytest.mark.parametrize("where", ["load_chunk", "publish", "waiting"])
async def test_cancelled_wherever_it_is(time_skipping: WorkflowEnvironment, where: str) -> None:
    async def waiting(_claimant: Claimant) -> Begun:
        return Begun(state="Waiting")

    script = Script(planned=Planned(chunks=2, bytes=1, staged=("out",)))
    match where:
        case "load_chunk":
            script.chunk = held
        case "publish":
            script.publish = held
        case _:
            script.begin = waiting
    async with performed(time_skipping, script) as stage:
        handle = await stage.start()
        with time_skipping.auto_time_skipping_disabled():
            await eventually(lambda: script.called({"waiting": "begin"}.get(where, where)))
            await handle.cancel()
            with pytest.raises(WorkflowFailureError) as caught:
                await handle.result()
        result = await memo(handle)

    assert isinstance(caught.value.cause, CancelledError)
    assert result.result == "Cancelled"
    assert [ending.ending for ending in script.called("finish")] == ["Cancelled"]


async def test_cancelled_while_it_finishes_it_still_finishes(time_skipping: WorkflowEnvironment) -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    async def finish(_ending: Any) -> None:
        reached.set()
        await go.wait()

    script = Script(finish=finish)
    async with performed(time_skipping, script) as stage:
        with time_skipping.auto_time_skipping_disabled():
            handle = await stage.start()
            await asyncio.wait_for(reached.wait(), 30)
            await handle.cancel()
            go.set()
            result = await handle.result()

    assert result.result == "Succeeded"
    assert next(ending.ending for ending in script.called("finish")) == "Succeeded"


async def test_a_waiting_run_looks_rarely_and_begins_when_told(time_skipping: WorkflowEnvironment) -> None:
    async def begin(_claimant: Claimant) -> Begun:
        ready = len(script.called("begin")) > 8
        return Begun(state="Began", execution=1, limits=LIMITS) if ready else Begun(state="Waiting")

    script = Script(begin=begin)
    async with performed(time_skipping, script) as stage:
        handle = await stage.start()
        result = await handle.result()
        took = await duration(handle)

    assert result.result == "Succeeded"
    assert timedelta(seconds=1 + 2 + 4 + 8 + 16 + 32) < took < timedelta(seconds=300)


async def test_the_signal_wakes_a_waiting_run(time_skipping: WorkflowEnvironment) -> None:
    free = False

    async def begin(_claimant: Claimant) -> Begun:
        return Begun(state="Began", execution=1, limits=LIMITS) if free else Begun(state="Waiting")

    script = Script(begin=begin)
    async with performed(time_skipping, script) as stage:
        with time_skipping.auto_time_skipping_disabled():
            handle = await stage.start()
            # After 3 s: from then on it looks every 4 s and more.
            await eventually(lambda: len(script.called("begin")) >= 3)
            free = True
            await handle.signal("slot-free")
            async with asyncio.timeout(3):
                assert (await handle.result()).result == "Succeeded"


async def test_a_skipped_run_completes_and_says_why(time_skipping: WorkflowEnvironment) -> None:
    skipped = RunResult(
        pipeline="flights", run_key="again", result="Skipped", error=RunError(type="Overlap", message="still open")
    )

    async def begin(_claimant: Claimant) -> Begun:
        return Begun(state="Skipped", result=skipped)

    script = Script(begin=begin)
    async with performed(time_skipping, script) as stage:
        handle = await stage.start()
        assert await handle.result() == skipped
        assert await memo(handle) == skipped
    assert [name for name, _ in script.calls] == ["begin"]


@pytest.mark.parametrize(
    ("tolerance", "rejected", "chunks_begun", "message"),
    [
        (ErrorTolerance(max_rows=2), 1, 3, "maxRows allows 2"),
        (ErrorTolerance(max_percent=5), 1, 10, "maxPercent allows 5"),
        (None, 10, 10, "all 100 rows"),
    ],
)
async def test_too_many_bad_rows_fail_the_run_before_anything_is_published(
    time_skipping: WorkflowEnvironment, tolerance: ErrorTolerance | None, rejected: int, chunks_begun: int, message: str
) -> None:
    async def chunk(_task: ChunkTask) -> Counts:
        return Counts(chunks=1, rows_read=10, rows_loaded=10 - rejected, rows_rejected=rejected)

    limits = ONE_BY_ONE.model_copy(update={"tolerance": tolerance})
    script = Script(limits=limits, chunk=chunk, planned=Planned(chunks=10, bytes=1, staged=("out",)))
    async with performed(time_skipping, script) as stage:
        result = await failure(await stage.start())

    assert result.error is not None
    assert result.error.type == "ToleranceExceeded"
    assert message in result.error.message
    assert len(script.called("load_chunk")) == chunks_begun
    assert script.called("publish") == []


async def test_the_end_is_recorded_however_long_the_metastore_is_away(time_skipping: WorkflowEnvironment) -> None:
    async def finish(_ending: Any) -> None:
        if len(script.called("finish")) < 20:
            raise ApplicationError("not yet", type="PostgresUnavailable")

    script = Script(finish=finish)
    async with performed(time_skipping, script) as stage:
        result = await (await stage.start()).result()

    assert result.result == "Succeeded"
    assert len(script.called("finish")) == 20


async def test_an_argument_that_is_no_run_input_fails_the_run(time_skipping: WorkflowEnvironment) -> None:
    script = Script()
    async with performed(time_skipping, script) as stage:
        handle = await stage.client.start_workflow(
            "DataPipelineRun", {"pipeline": "flights"}, id="odd", task_queue=stage.queue
        )
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()

    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "SpecError"
    assert "installation" in caught.value.cause.message


async def test_publishing_goes_on_with_the_sinks_that_are_left(time_skipping: WorkflowEnvironment) -> None:
    async def publish(task: PublishTask) -> None:
        if task.sink == "b" and len(script.called("publish")) < 4:
            raise ApplicationError("not yet", type="PostgresUnavailable")

    script = Script(planned=Planned(chunks=1, bytes=1, staged=("a", "b")), publish=publish)
    async with performed(time_skipping, script) as stage:
        assert (await (await stage.start()).result()).result == "Succeeded"

    assert [task.sink for task in script.called("publish")] == ["a", "b", "b", "b"]
