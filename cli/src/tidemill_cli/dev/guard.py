"""Work that depends on running components: it ends, with the reason, when any one of them does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Final, TypeVar

from tidemill_cli.dev.components.component import Running

Answer = TypeVar("Answer")

_NOTICE_SECONDS: Final = 1.0


async def while_all_run(components: Sequence[Running], work: Coroutine[None, None, Answer]) -> Answer:
    """Do the work. If a component ends first the work is cancelled and `ComponentError` names it and its log's end.

    Of several that ended, the first in the list is named: list first what the others depend on.
    Of tasks that fail together, one failure is raised as it is.
    """
    task = asyncio.create_task(work)
    watches = [asyncio.create_task(each.ended()) for each in components]
    try:
        await asyncio.wait((task, *watches), return_when=asyncio.FIRST_COMPLETED)
        if task.done() and task.exception() is not None:
            # What failed may have noticed the end of a component before we did.
            await asyncio.wait(watches, timeout=_NOTICE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        ended = next((each for each in components if not each.alive), None)
        if ended is not None and not (task.done() and task.exception() is None):
            raise ended.failure()
        try:
            return task.result()
        except BaseExceptionGroup as group:
            raise _first(group) from group
    finally:
        for each in (task, *watches):
            each.cancel()
        await asyncio.gather(task, *watches, return_exceptions=True)


def _first(error: BaseException) -> BaseException:
    """One failure of a group: the others are most often its consequences."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
