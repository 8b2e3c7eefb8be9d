"""Work ends when a component does: whose end is told, and what is told when the work itself fails."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.waiting import until_async
from tidemill_cli.dev.components.component import Component, ComponentError, Running, running_blocking
from tidemill_cli.dev.guard import while_all_run

FOREVER = "import signal; print('here', flush=True); signal.pause()"


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Running, Running]]:
    """Two components that do nothing."""
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(
                running_blocking(
                    Component(
                        name=name,
                        command=(sys.executable, "-c", FOREVER),
                        directory=tmp_path,
                        ready=lambda: True,
                        advice="Do this.",
                    )
                )
            )
            for name in ("first", "second")
        )
        yield first, second


async def test_the_works_answer_is_given(two: tuple[Running, Running]) -> None:
    async def work() -> int:
        return 7

    assert await while_all_run(two, work()) == 7


async def test_work_is_cancelled_when_a_component_ends(two: tuple[Running, Running]) -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        os.kill(two[1].pid, signal.SIGKILL)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(ComponentError, match=r"second ended \(signal SIGKILL\). Do this."):
        await while_all_run(two, work())
    assert cancelled.is_set()


async def test_of_two_that_ended_the_first_in_the_list_is_named(two: tuple[Running, Running]) -> None:
    for each in reversed(two):
        each.stop()

    with pytest.raises(ComponentError, match="first ended"):
        await while_all_run(two, asyncio.Event().wait())


async def test_work_that_fails_because_a_component_has_just_ended_tells_of_the_component(
    two: tuple[Running, Running],
) -> None:
    async def work() -> None:
        os.kill(two[0].pid, signal.SIGKILL)
        raise ConnectionResetError("what the client saw")

    with pytest.raises(ComponentError, match="first ended"):
        await while_all_run(two, work())


async def test_one_failure_of_several_tasks_is_raised_as_it_is(two: tuple[Running, Running]) -> None:
    async def fail() -> None:
        raise KeyError("mine")

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    with pytest.raises(KeyError, match="mine"):
        await while_all_run(two, work())
    assert all(each.alive for each in two)


async def test_cancelling_reaches_the_work(two: tuple[Running, Running]) -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def begun() -> bool:
        return bool(seen)

    task = asyncio.create_task(while_all_run(two, work()))
    await until_async(begun, "the work's beginning")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert seen == ["begun", "cancelled"]
