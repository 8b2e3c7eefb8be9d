"""The pieces of a chunk's file, worked on by threads, handed out in order. What is in flight is bounded."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from typing import Final, Generic, TypeVar
from weakref import WeakKeyDictionary

from tidemill_worker.engine.blocks import Piece
from tidemill_worker.engine.memory import share_the_allocator

THREADS: Final = max(2, min(4, os.cpu_count() or 1))
AHEAD: Final = THREADS + 1
"""Pieces of one chunk that are worked on, or wait for being taken."""
IN_FLIGHT: Final = 2 * AHEAD
"""Pieces of all chunks of the process: what bounds its memory."""

T = TypeVar("T")
_bounds: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@cache
def threads() -> ThreadPoolExecutor:
    """The threads that read and work, for all chunks."""
    share_the_allocator()
    return ThreadPoolExecutor(THREADS, thread_name_prefix="tidemill-engine")


def _nothing() -> None:
    """There is nothing that could be told to end."""


async def in_thread(
    work: Callable[[], T], stop: Callable[[], None] = _nothing, pool: ThreadPoolExecutor | None = None
) -> T:
    """Do blocking work in one of the threads. Whoever waits and is cancelled leaves when the thread has ended.

    `stop` is called then: it tells what can be told to end soon. `pool` has other threads, for work that mostly waits.
    """
    future = asyncio.get_running_loop().run_in_executor(pool or threads(), work)
    await _ended([future], stop)
    return future.result()


async def _ended(futures: Sequence[asyncio.Future[T]], stop: Callable[[], None]) -> None:
    """Wait for threads: they can't be stopped, and what they work with must not be closed or shared meanwhile.

    A cancellation is raised when they have ended, and doesn't reach the futures; `stop` is called at once.
    """
    cancelled: asyncio.CancelledError | None = None
    while not all(future.done() for future in futures):
        try:
            await asyncio.wait(futures)
        except asyncio.CancelledError as error:
            cancelled = error
            stop()
    if cancelled is not None:
        for future in futures:
            future.exception()  # seen: nobody else will ask
        raise cancelled


class Feed(Generic[T]):
    """`take` gives what `work` made of each piece, in the pieces' order; None at the end, when the file is closed."""

    def __init__(
        self,
        opened: Callable[[ExitStack], Iterator[Piece]],
        work: Callable[[Piece], T],
        stop: Callable[[], None] = _nothing,
    ) -> None:
        """`stop` tells work that is under way to end soon, since nobody takes what it comes to any more."""
        self._stop = stop
        self._stack = ExitStack()
        self._opened = opened
        self._pieces: Iterator[Piece] | None = None
        self._work = work
        self._ended = False
        self._ahead: deque[asyncio.Future[T]] = deque()
        loop = asyncio.get_running_loop()
        self._bound = _bounds.setdefault(loop, asyncio.Semaphore(IN_FLIGHT))

    async def more(self) -> bool:
        """Whether there is another piece. Raises what reading raises."""
        await self._fill()
        return bool(self._ahead)

    async def take(self) -> T | None:
        """The next piece's result. Raises what reading and work raise."""
        await self._fill()
        if not self._ahead:
            return None
        first = self._ahead[0]
        await asyncio.wait([first])  # a cancellation must not cancel it: its thread works on, and `close` waits for it
        self._ahead.popleft()
        self._bound.release()
        return first.result()

    async def close(self) -> None:
        """Drop what is in flight and close the file. Raises only a cancellation, when all threads have ended."""
        self._ended = True
        pending = list(self._ahead)
        if pending:
            self._stop()
        try:
            await _ended(pending, self._stop)
        finally:
            for future in pending:
                future.exception()
                self._bound.release()
            self._ahead.clear()
            self._stack.pop_all()  # the check on leaving is for whole reads

    async def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._ended and len(self._ahead) < AHEAD:
            if self._ahead and self._bound.locked():
                return  # others need their turn; this chunk goes on with what it has
            await self._bound.acquire()
            try:
                piece = await in_thread(self._next)
            except BaseException:
                self._bound.release()
                raise
            if piece is None:
                self._ended = True
                self._bound.release()
                return
            self._ahead.append(loop.run_in_executor(threads(), self._work, piece))

    def _next(self) -> Piece | None:
        if self._pieces is None:
            self._pieces = self._opened(self._stack)
        piece = next(self._pieces, None)
        if piece is None:
            self._stack.close()  # looks whether the file is still the same
        return piece
