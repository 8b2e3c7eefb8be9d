"""An activity's work with heartbeats, and its orderly end when it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from tidemill_api.contract import RunProgress
from tidemill_worker.workflows.messages import HANDED_BACK

T = TypeVar("T")

BEAT_SECONDS = 1.0
STOP_SECONDS = 5.0
"""So long work may take to reach its next border once it was asked to stop; then it is broken off."""


class Heart:
    """Says every second how far the work is, and hears whether it should stop."""

    def __init__(self) -> None:
        self._progress: RunProgress | None = None
        self._stop = False

    def report(self, progress: RunProgress) -> None:
        """What the next heartbeat carries."""
        self._progress = progress

    def asked_to_stop(self) -> bool:
        """True when the run is over for this attempt, whatever the reason."""
        return self._stop

    async def during(self, work: Coroutine[object, object, T], stopped: Callable[[Exception], bool]) -> T:
        """The work's result. `stopped` tells the exception by which the work says that it has stopped as asked.

        Raises ApplicationError HandedBack if it ended because the worker stops, CancelledError if the run did.
        """
        task = asyncio.create_task(work)
        # Of a local activity nobody hears: the workflow's own task keeps it alive.
        beats = None if activity.info().is_local else asyncio.create_task(self._beat())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._stop = True
            result = await self._ended(task, stopped)
            if result is not None:
                return result[0]
            details = activity.cancellation_details()
            if details is not None and details.worker_shutdown and not details.cancel_requested:
                raise ApplicationError(
                    "a stopping worker gives the chunk back",
                    type=HANDED_BACK,
                    next_retry_delay=timedelta(milliseconds=1),
                ) from None
            raise
        finally:
            if beats is not None:
                beats.cancel()

    async def _ended(self, task: asyncio.Task[T], stopped: Callable[[Exception], bool]) -> tuple[T] | None:
        """What the work came to if it ended all the same; None if it stopped or was broken off."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.wait([task])
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        if task.cancelled():
            return None
        error = task.exception()
        if error is None:
            return (task.result(),)
        if isinstance(error, Exception) and stopped(error):
            return None
        raise error

    async def _beat(self) -> None:
        while True:
            activity.heartbeat(*(() if self._progress is None else (self._progress,)))
            await asyncio.sleep(BEAT_SECONDS)
