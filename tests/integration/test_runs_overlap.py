"""Runs that meet others of their pipeline: who waits, who goes, and what of a holder that nobody can ask."""

from __future__ import annotations

import pytest
from temporalio.client import WorkflowExecutionStatus

from tests.support.pipeline import GOOD, HEADER, Bench
from tests.support.worker import Runs, eventually
from tidemill_worker.workflows.messages import SLOT_FREE


@pytest.fixture
def here(worker_runs: Runs) -> Bench:
    """A pipeline of this test's own."""
    return Bench(worker_runs)


async def test_skip(here: Bench) -> None:
    here.write(HEADER + GOOD)
    await here.run()
    async with here.locked():
        first = await here.start(key="first")
        await here.until_loading(first)
        second = await here.run(key="second")
        third = await here.run(key="third", overlap_policy="Skip")

    for result in (second, third):
        assert (result.result, result.rows_loaded) == ("Skipped", 0)
        assert result.error is not None
        assert "run first of this pipeline is still open" in result.error.message
    assert (await first.result()).result == "Succeeded"
    assert here.query(
        "SELECT result, execution FROM tidemill.runs WHERE pipeline = '{name}' AND run_key = 'second'"
    ) == [["Skipped", "0"]]
    assert (await here.run(key="second")).result == "Succeeded"


async def test_buffering_one_and_all(here: Bench) -> None:
    here.write(HEADER + GOOD)
    await here.run(key="zero")
    async with here.locked():
        first = await here.start(key="first")
        await here.until_loading(first)
        waiting = [await here.start(key="second", overlap_policy="BufferOne")]
        await eventually(lambda: places(here, "NOT holding") == 1)
        refused = await here.run(key="refused", overlap_policy="BufferOne")
        for place, key in ((2, "third"), (3, "fourth")):
            waiting.append(await here.start(key=key, overlap_policy="BufferAll"))
            await eventually(lambda place=place: places(here, "NOT holding") == place)

    assert refused.result == "Skipped"
    assert [(await handle.result()).result for handle in (first, *waiting)] == ["Succeeded"] * 4
    assert here.query(
        "SELECT run_key FROM tidemill.runs WHERE pipeline = '{name}' AND result = 'Succeeded' ORDER BY started_at"
    ) == [["zero"], ["first"], ["second"], ["third"], ["fourth"]]


@pytest.mark.parametrize(
    ("policy", "status", "recorded"),
    [
        ("CancelOther", WorkflowExecutionStatus.CANCELED, "Cancelled"),
        ("TerminateOther", WorkflowExecutionStatus.TERMINATED, "Failed"),
    ],
)
async def test_the_newcomer_wins(here: Bench, policy: str, status: WorkflowExecutionStatus, recorded: str) -> None:
    here.write(HEADER + GOOD)
    await here.run(key="zero")
    async with here.locked():
        first = await here.start(key="first")
        await here.until_loading(first)
        second = await here.start(key="second", overlap_policy=policy)
        await eventually(
            lambda: here.query("SELECT 1 FROM tidemill.runs WHERE pipeline = '{name}' AND run_key = 'second'")
        )

    assert (await second.result()).result == "Succeeded"
    assert (await first.describe()).status == status
    assert here.query("SELECT result FROM tidemill.runs WHERE pipeline = '{name}' AND run_key = 'first'") == [
        [recorded]
    ]


async def test_allow_all(here: Bench) -> None:
    here.write(HEADER + GOOD)
    await here.run(key="zero")
    async with here.locked():
        handles = [await here.start(key=key, overlap_policy="AllowAll") for key in ("first", "second")]
        await eventually(lambda: places(here, "holding") == 2)

    assert [(await handle.result()).result for handle in handles] == ["Succeeded", "Succeeded"]
    assert here.query("SELECT count(*) FROM {table}") == [["300"]]


async def test_a_holder_that_was_terminated_is_evicted(here: Bench) -> None:
    here.write(HEADER + GOOD)
    await here.run(key="zero")
    async with here.locked():
        first = await here.start(key="first")
        await here.until_loading(first)
        await first.terminate("by hand")

    assert (await here.run(key="second")).result == "Succeeded"
    assert here.query(
        "SELECT result, error_type, summary ->> 'result', summary #>> '{error,type}', chunks > 0 FROM tidemill.runs "
        "WHERE pipeline = '{name}' AND run_key = 'first'"
    ) == [["Failed", "Terminated", "Failed", "Terminated", "t"]]
    assert here.query(
        "SELECT reason, cause, error FROM tidemill.dead_letters WHERE pipeline = '{name}' AND run_key = 'first'"
    ) == [["RunFailed", "Terminated", "Terminated: the workflow was closed from outside"]]


FAR = "00000000-0000-0000-0000-000000000001"


async def held_elsewhere(here: Bench) -> None:
    """A run that holds the slot, of the time before the pool was moved to this Temporal."""
    async with here.locked():
        first = await here.start(key="far")
        await here.until_loading(first)
        await first.terminate("stands for a run in another Temporal")
    for table, more in (("slots", ", temporal = 'temporal.elsewhere:7233/default'"), ("runs", "")):
        here.query(
            f"UPDATE tidemill.{table} SET workflow_id = 'far', workflow_run_id = '{FAR}'{more} "
            "WHERE run_key = 'far' AND uid = (SELECT uid FROM tidemill.runs WHERE pipeline = '{name}' LIMIT 1)"
        )


async def test_a_holder_in_another_temporal_is_not_taken_for_closed(here: Bench) -> None:
    """Nobody here can tell; until its timeout is over, and a while."""
    here.write(HEADER + GOOD)
    await here.run(key="zero")
    await held_elsewhere(here)

    second = await here.run(key="second", overlap_policy="Skip")

    assert second.result == "Skipped"
    assert second.error is not None
    assert "run far of this pipeline is still open" in second.error.message
    far = "SELECT result FROM tidemill.runs WHERE pipeline = '{name}' AND run_key = 'far'"
    assert here.query(far) == [["Running"]]
    third = await here.start(key="third", overlap_policy="TerminateOther")
    await eventually(lambda: places(here, "NOT holding") == 1)

    here.query(
        "UPDATE tidemill.runs SET started_at = now() - interval '2 hours 16 minutes' "
        "WHERE pipeline = '{name}' AND run_key = 'far'"
    )
    await third.signal(SLOT_FREE)

    assert (await third.result()).result == "Succeeded"
    assert here.query(far) == [["Failed"]]


async def test_a_run_that_waits_in_another_temporal_is_in_nobodys_way(here: Bench) -> None:
    here.write(HEADER + GOOD)
    await here.run(key="zero")
    here.query(
        "INSERT INTO tidemill.slots (uid, workflow_id, workflow_run_id, run_key, holding, temporal) "
        f"SELECT uid, 'far', '{FAR}', 'far', false, 'temporal.elsewhere:7233/default' FROM tidemill.runs "
        "WHERE pipeline = '{name}'"
    )

    assert (await here.run(key="second", overlap_policy="BufferAll")).result == "Succeeded"


def places(here: Bench, condition: str) -> int:
    """Places at this pipeline's slot."""
    uid = f"{here.pool.installation}-{here.name}"
    return int(here.query(f"SELECT count(*) FROM tidemill.slots WHERE uid = '{uid}' AND {condition}")[0][0])
