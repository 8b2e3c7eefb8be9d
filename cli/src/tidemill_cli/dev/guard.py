"""Work that depends on running components: it ends, with the reason, when any one of them does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TypeVar

from tidemill_cli.dev.components.component import Running

Answer = TypeVar("Answer")


async def while_all_run(components: Sequence[Running], work: Coroutine[None, None, Answer]) -> Answer:
    """Do the work. If a component ends first the work is cancelled and `ComponentError` names it and its log's end.

    Of several that ended, the first in the list is named: list first what the others depend on.
    """
    task = asyncio.create_task(work)
    watches = [asyncio.create_task(each.ended()) for each in components]
    try:
        await asyncio.wait((task, *watches), return_when=asyncio.FIRST_COMPLETED)
        if not task.done() or (task.exception() is not None and any(not each.alive for each in components)):
            raise next(each for each in components if not each.alive).failure()
        return task.result()
    finally:
        for each in (task, *watches):
            each.cancel()
        await asyncio.gather(task, *watches, return_exceptions=True)
