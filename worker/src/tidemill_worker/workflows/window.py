"""A sliding window over numbered pieces of work: as many at once as allowed, none left running when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

from temporalio import workflow

T = TypeVar("T")


async def window(
    numbers: range,
    width: int,
    start: Callable[[int], Coroutine[object, object, T]],
    done: Callable[[T], None],
    drain: Callable[[], bool],
) -> int:
    """Work on `numbers` in order, `width` at once; returns the first number that was not begun.

    `done` gets each result, and may raise to end it all. Once `drain` is true nothing more is begun. When anything
    raises, what is open is cancelled and awaited first.
    """
    following = numbers.start
    running: list[asyncio.Task[T]] = []
    try:
        while True:
            while following < numbers.stop and len(running) < width and not drain():
                running.append(asyncio.create_task(start(following)))
                following += 1
            if not running:
                return following
            ended, _ = await workflow.wait(running, return_when=asyncio.FIRST_COMPLETED)
            running = [task for task in running if task not in ended]
            for task in ended:
                done(task.result())
    finally:
        await settled(running)


async def settled(tasks: list[asyncio.Task[T]]) -> None:
    """Cancel the tasks and wait until each has ended, whatever it came to."""
    for task in tasks:
        task.cancel()
    if tasks:
        await workflow.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen: nobody else will ask


async def uninterrupted(work: Coroutine[object, object, T]) -> T:
    """The work's result, however often the workflow is asked to stop meanwhile."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
    return task.result()
