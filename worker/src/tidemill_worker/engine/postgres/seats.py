"""Who may hold connections of a pool for the length of a load.

A part holds one connection a sink until it commits, and before that its dead letters need another. If every
connection were held by a part that waits for one more, none would ever go on. So parts take all their seats of a pool
at once, and one connection stays free for what is short.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from tidemill_api.errors import ConfigError


class _Seats:
    def __init__(self, capacity: int) -> None:
        self._free = asyncio.Semaphore(capacity)
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def taken(self, wanted: int) -> AsyncIterator[None]:
        held = 0
        try:
            async with self._turn:  # one part gathers at a time, the others can only give back
                while held < wanted:
                    await self._free.acquire()
                    held += 1
            yield
        finally:
            for _ in range(held):
                self._free.release()


_seats: dict[asyncpg.Pool, _Seats] = {}


def _of(pool: asyncpg.Pool) -> _Seats:
    """The pool's seats; those of pools that have been closed are forgotten (a pool can't be referred to weakly)."""
    if pool not in _seats:
        for closed in [each for each in _seats if each.is_closing()]:
            del _seats[closed]
        _seats[pool] = _Seats(pool.get_max_size() - 1)
    return _seats[pool]


@asynccontextmanager
async def seats(pools: Sequence[tuple[str, asyncpg.Pool]]) -> AsyncIterator[None]:
    """Seats for one connection of each pool given (with its connection's name), as often as it is given.

    Raises ConfigError if a pool is too small to ever have them.
    """
    named = {pool: name for name, pool in pools}
    wanted = Counter(pool for _, pool in pools)
    async with AsyncExitStack() as stack:
        # In one order, so that two parts can't block each other.
        for pool in sorted(wanted, key=lambda each: named[each]):
            size = pool.get_max_size()
            if wanted[pool] >= size:
                raise ConfigError(
                    f"connection {named[pool]}: pool.maxSize is {size}, and loading into {wanted[pool]} sinks at once "
                    f"needs {wanted[pool] + 1} connections: one a sink, and one for dead letters"
                )
            await stack.enter_async_context(_of(pool).taken(wanted[pool]))
        yield
