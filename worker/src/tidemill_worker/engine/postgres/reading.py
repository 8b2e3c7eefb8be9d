"""Rows of a Postgres database as CSV, for threads: the event loop copies, a thread reads."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import asyncpg

from tidemill_api.errors import SourceUnreadable
from tidemill_worker.connections.outage import outages
from tidemill_worker.engine.dialect import NULL
from tidemill_worker.engine.postgres.errors import refusal
from tidemill_worker.engine.postgres.lookups import KeptRows

_AT_ONCE: Final = 1 << 20
"""Bytes that are handed from the event loop to the thread."""
_AHEAD: Final = 2
"""Such pieces that wait."""
_SETTINGS: Final = {
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",  # every float as the shortest text that means it
    "synchronize_seqscans": "off",  # a table that hasn't changed comes in the same order again
    "lock_timeout": "60s",
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PostgresRows:
    """One source's database: `engine.model.Database`. Its methods block: the loop's own thread can't call them."""

    source: str
    connection: str
    pool: asyncpg.Pool
    loop: asyncio.AbstractEventLoop
    kept: KeptRows | None = None
    """Where rows are kept that are joined; None: they aren't."""

    def fetch(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """See `Database`."""

        async def rows() -> list[tuple[Any, ...]]:
            async with self._reading() as connection:
                return [tuple(row) for row in await connection.fetch(sql, *arguments)]

        return self._in_loop(rows()).result()

    @contextmanager
    def copied(self, query: str) -> Iterator[Callable[[int], bytes]]:
        """See `Database`."""
        if self.kept is not None:
            yield io.BytesIO(self.kept.get(query, lambda: self._whole(query))).read
            return
        with self._copied(query) as read:
            yield read

    def _whole(self, query: str) -> bytes:
        with self._copied(query) as read:
            return b"".join(iter(lambda: read(_AT_ONCE), b""))

    @contextmanager
    def _copied(self, query: str) -> Iterator[Callable[[int], bytes]]:
        pieces: asyncio.Queue[bytes | Exception] = asyncio.Queue(_AHEAD)
        copying = self._in_loop(self._copy(query, pieces))
        try:
            yield _Copied(lambda: self._in_loop(pieces.get()).result()).read
        finally:
            copying.cancel()  # what has ended already doesn't mind

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def _copy(self, query: str, pieces: asyncio.Queue[bytes | Exception]) -> None:
        """Fill the queue: pieces, then an empty one, or the error."""
        held = bytearray()

        async def gather(data: bytes) -> None:
            held.extend(data)
            if len(held) >= _AT_ONCE:
                await pieces.put(bytes(held))
                held.clear()

        try:
            async with self._reading() as connection:
                await connection.copy_from_query(query, output=gather, format="csv", null=NULL, encoding="utf8")
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread waits for it
            await pieces.put(error)
            return
        if held:
            await pieces.put(bytes(held))
        await pieces.put(b"")

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Any]:
        """A connection in a transaction that can't write, with settings that make texts the same everywhere."""
        try:
            with outages(self.connection):
                async with (
                    self.pool.acquire() as connection,
                    connection.transaction(isolation="repeatable_read", readonly=True),
                ):
                    for name, value in _SETTINGS.items():
                        await connection.execute("SELECT set_config($1, $2, true)", name, value)
                    yield connection
        except asyncpg.PostgresError as error:
            raise SourceUnreadable(f"source {self.source}: {refusal(error)}") from error


class _Copied:
    """What is handed over, piece by piece, as a file is read."""

    def __init__(self, take: Callable[[], bytes | Exception]) -> None:
        self._take = take
        self._held = b""
        self._ended = False

    def read(self, size: int) -> bytes:
        """At most so many bytes; fewer or none only at the end. Raises what copying raises."""
        parts, length = [self._held], len(self._held)
        while length < size and not self._ended:
            piece = self._take()
            if isinstance(piece, Exception):
                raise piece
            self._ended = not piece
            parts.append(piece)
            length += len(piece)
        data = b"".join(parts)
        self._held = data[size:]
        return data[:size]
