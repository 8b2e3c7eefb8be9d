"""One part of a chunk into one sink: a transaction with a COPY that is fed while blocks are worked on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

import asyncpg
from asyncpg.transaction import Transaction

from tidemill_api.contract import SinkCount
from tidemill_worker.connections.zombies import not_blocked
from tidemill_worker.engine.model import AlsoCommitted, RunRef
from tidemill_worker.engine.postgres import fence, ledger
from tidemill_worker.engine.postgres.encode import HEADER, TRAILER
from tidemill_worker.engine.postgres.errors import typed
from tidemill_worker.engine.postgres.fence import Connection
from tidemill_worker.engine.postgres.move import move, note
from tidemill_worker.engine.postgres.staged import Columns
from tidemill_worker.engine.postgres.staging import staging_table
from tidemill_worker.engine.postgres.tables import ORDER, Target, staging_columns
from tidemill_worker.engine.spent import here

_WAITING: Final = 1  # blocks that wait for the server, besides the one that is being sent
_TEMPORARY: Final = "tidemill_part"
_ABORT_SECONDS: Final = 5.0


class Writer:
    """A transaction with a COPY.

    Where rows go depends on the sink: straight into its table, into the run's staging table, or into a temporary
    table from which they move on in the same transaction (`direct` Merge and Replace, and columns that need a cast).
    """

    def __init__(
        self,
        target: Target,
        run: RunRef,
        chunk: int,
        pool: asyncpg.Pool,
        *,
        direct: bool,
        also: AlsoCommitted | None = None,
    ) -> None:
        self.target = target
        self.rows = 0
        self._run = run
        self._chunk = chunk
        self._pool = pool
        self._spent = here()
        self._also = also
        self._direct = direct
        appends = target.sink.write_disposition == "Append" and not target.waits
        self._temporary = not target.straight and (direct or appends)
        self._connection: asyncpg.pool.PoolConnectionProxy | None = None
        self._transaction: Transaction | None = None
        self._queue: asyncio.Queue[tuple[bytes, ...] | None] = asyncio.Queue(_WAITING)
        self._copying: asyncio.Task[str] | None = None

    async def begin(self) -> None:
        """Open the transaction and the COPY. Raises Fenced, PostgresUnavailable, SinkRefused."""
        with self._typed():
            self._connection = await self._pool.acquire()
            self._transaction = self._connection.transaction()
            await self._transaction.start()
            await fence.look(self._connection, self._run)
            if self._temporary:
                await self._connection.execute(
                    f"CREATE TEMP TABLE {_TEMPORARY} ({staging_columns(self.target)}) ON COMMIT DROP"
                )
        self._copying = asyncio.create_task(self._copy(self._connection))

    async def put(self, data: tuple[bytes, ...], rows: int) -> None:
        """Hand over encoded rows; waits while the server is behind. Raises PostgresUnavailable, SinkRefused."""
        assert self._copying is not None
        self.rows += rows
        if not data:
            return
        with self._typed():
            putting = asyncio.create_task(self._queue.put(data))
            await asyncio.wait((putting, self._copying), return_when=asyncio.FIRST_COMPLETED)
            if not putting.done():
                putting.cancel()
            if self._copying.done():
                self._copying.result()

    async def sent(self) -> None:
        """All rows have been handed over: wait until the server has them. Raises as `put`."""
        assert self._copying is not None
        with self._typed():
            if not self._copying.done():
                ending = asyncio.create_task(self._queue.put(None))
                await asyncio.wait((ending, self._copying), return_when=asyncio.FIRST_COMPLETED)
                ending.cancel() if self._copying.done() and not ending.done() else None
            await self._copying

    async def commit(self, part: int, content: str, resume: ledger.Resume, *, last: bool) -> ledger.Entry | None:
        """Commit the rows with their ledger entry; None if another attempt has committed this part (nothing is, then).

        Raises Fenced, OlderThanPublished, PostgresUnavailable (the commit may or may not have happened), SinkRefused.
        """
        assert self._connection is not None
        assert self._transaction is not None
        with self._typed():
            await fence.hold(self._connection, self._run)
            count = await self._moved()
            entry = ledger.Entry(
                part, self._run.execution, content, count.rows, last, resume, count.inserted, count.updated
            )
            async with not_blocked(self._pool, self._connection):
                mine = await ledger.add(self._connection, self._run, self.target.sink.name, self._chunk, entry)
            if not mine:
                await self.abort()
                return None
            if self._also is not None:
                await self._also.write(self._connection, self.target.sink.name)
            await self._transaction.commit()
            await self._release()
        return entry

    async def abort(self) -> None:
        """Roll back, whatever state this is in. Never raises."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._copying is not None:
            self._copying.cancel()
            await asyncio.wait((self._copying,), timeout=_ABORT_SECONDS)
            if self._copying.done() and not self._copying.cancelled():
                self._copying.exception()
        try:
            async with asyncio.timeout(_ABORT_SECONDS):
                if self._transaction is not None and not connection.is_closed():
                    await self._transaction.rollback()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, RuntimeError):
            with contextlib.suppress(asyncpg.InterfaceError):  # the pool may have taken it back, since it is lost
                connection.terminate()
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await self._pool.release(connection, timeout=_ABORT_SECONDS)

    async def _moved(self) -> SinkCount:
        """From the temporary table to where the rows belong, if they are there."""
        assert self._connection is not None
        sink = self.target.sink
        if self._temporary:
            columns = Columns(
                tuple((field.name, field.cast) for field in self.target.fields),
                frozenset(field.name for field in self.target.fields if field.staged == "text"),
            )
            return await move(self._connection, self._run, sink, _TEMPORARY, columns)
        count = SinkCount(sink=sink.name, rows=self.rows, inserted=self.rows if self.target.straight else None)
        if self._direct and sink.at_end:
            await note(self._connection, self._run, count)
        return count

    async def _copy(self, connection: Connection) -> str:
        names = [field.name for field in self.target.fields]
        schema: str | None
        if self._temporary:
            schema, table = None, _TEMPORARY
        elif self.target.straight:
            schema, _, table = self.target.sink.table.partition(".")
        else:
            schema, _, table = staging_table(self._run, self.target.sink.name).partition(".")
        if not self.target.straight:
            names += [name for name, _ in ORDER]
        done: str = await connection.copy_to_table(
            table, schema_name=schema, columns=names, source=self._stream(), format="binary"
        )
        return done

    async def _stream(self) -> AsyncIterator[bytes]:
        yield HEADER
        while (data := await self._queue.get()) is not None:
            for message in data:
                yield message
        yield TRAILER

    async def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.release(connection)

    @contextlib.contextmanager
    def _typed(self) -> Iterator[None]:
        with self._spent.on("load"), typed(self.target.sink.name, self.target.sink.connection):
            yield
