"""One part of a chunk to one server: sent piece by piece, noted when all of it has been taken."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

from tidemill_worker.connections.zombies import not_blocked
from tidemill_worker.engine.bookkeeping import Books
from tidemill_worker.engine.feed import in_thread
from tidemill_worker.engine.model import RunRef
from tidemill_worker.engine.postgres import fence, ledger
from tidemill_worker.engine.postgres.errors import typed
from tidemill_worker.engine.workbench import Finished, Workbench

_THREADS: Final = 64
"""Chunks that send at once, of one worker: these threads wait rather than work."""


class HTTPWriter:
    """Used like a table's `Writer`, but rows can be seen as soon as they are put."""

    def __init__(self, name: str, bench: Workbench, run: RunRef, chunk: int, books: Books) -> None:
        """`name` is the sink's."""
        self.name = name
        self.rows = 0
        self._bench = bench
        self._run = run
        self._chunk = chunk
        self._books = books

    async def begin(self) -> None:
        """Nothing is held open."""

    async def put(self, piece: Finished) -> Finished:
        """Send the piece's rows; with it comes what the server refuses. Raises Fenced, and as `Outlet.send`."""
        await self._still_ours()
        outlet = self._bench.outlets[self.name]
        sent = await in_thread(lambda: self._bench.send(piece, self.name), outlet.ended.set, _threads())
        self.rows += sent.written[self.name]
        return sent

    async def commit(self, part: int, content: str, resume: ledger.Resume, *, last: bool) -> ledger.Entry | None:
        """Note that the part has been taken; None if another attempt has. Raises Fenced, PostgresUnavailable."""
        entry = ledger.Entry(part, self._run.execution, content, self.rows, last, resume, inserted=self.rows)
        pool = self._books.pool
        with typed(self.name, self._books.connection):
            async with pool.acquire() as connection, connection.transaction(), not_blocked(pool, connection):
                await fence.hold(connection, self._run)
                mine = await ledger.add(connection, self._run, self.name, self._chunk, entry)
        return entry if mine else None

    async def abort(self) -> None:
        """Nothing is held; what was sent can't be taken back."""

    async def _still_ours(self) -> None:
        with typed(self.name, self._books.connection):
            async with self._books.pool.acquire() as connection, connection.transaction():
                await fence.look(connection, self._run)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="tidemill-send")
