"""Watermarks in a sink's database, with the caller's rights."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class WatermarksError(Exception):
    """It came to nothing; the message is one line and says what to do."""


@dataclass(frozen=True, slots=True)
class Which:
    """Which watermarks; what isn't given doesn't matter."""

    namespace: str | None = None
    pipeline: str | None = None
    source: str | None = None
    sink: str | None = None
    path: str | None = None
    """Of files: a pattern with `*` and `?`."""

    @property
    def arguments(self) -> tuple[str | None, ...]:
        """Of `_CHOSEN`."""
        return self.namespace, self.pipeline, self.source, self.sink


_CHOSEN = (
    "($1::text IS NULL OR w.namespace = $1) AND ($2::text IS NULL OR w.pipeline = $2) "
    "AND ($3::text IS NULL OR w.source = $3) AND ($4::text IS NULL OR w.sink = $4)"
)
_FILES = (
    f"FROM tidemill.loaded_files f JOIN tidemill.watermarks w USING (uid, source, sink) WHERE {_CHOSEN} "
    "AND ($5::text IS NULL OR f.path LIKE $5 ESCAPE '!')"
)


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    """A connection in a transaction that commits when the body ends well. Raises WatermarksError."""
    try:
        connection = await asyncpg.connect(dsn, timeout=15, server_settings={"timezone": "UTC"})
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError, TimeoutError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise WatermarksError(f"the database can't be reached: {text.replace(dsn, '…')}") from None
    try:
        async with connection.transaction():
            yield connection
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError):
        raise WatermarksError(
            "this database has no watermarks: it is no sink's, or no worker of this version has started on it yet"
        ) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise WatermarksError(f"the database doesn't let you: {error}") from None
    finally:
        await connection.close(timeout=5)


async def listed(connection: Connection, which: Which) -> list[dict[str, Any]]:
    """Each watermark, and how many files it stands for."""
    rows = await connection.fetch(
        "SELECT w.namespace, w.pipeline, w.source, w.sink, w.version, w.run_key, w.moved_at, w.uid, (SELECT count(*) "
        "FROM tidemill.loaded_files f WHERE (f.uid, f.source, f.sink) = (w.uid, w.source, w.sink)) AS files "
        f"FROM tidemill.watermarks w WHERE {_CHOSEN} ORDER BY w.namespace, w.pipeline, w.source, w.sink, w.uid",
        *which.arguments,
    )
    return [dict(row) for row in rows]


async def count(connection: Connection, which: Which) -> int:
    """How many files `reset` would have loaded again."""
    found: int = await connection.fetchval(f"SELECT count(*) {_FILES}", *which.arguments, _like(which.path))
    return found


async def reset(connection: Connection, which: Which) -> int:
    """Forget that files have been loaded; how many. The next run reads them again."""
    done = await connection.execute(
        "DELETE FROM tidemill.loaded_files d USING "
        f"(SELECT f.uid, f.source, f.sink, f.path {_FILES}) AS chosen "
        "WHERE (d.uid, d.source, d.sink, d.path) = (chosen.uid, chosen.source, chosen.sink, chosen.path)",
        *which.arguments,
        _like(which.path),
    )
    return int(done.rsplit(" ", 1)[-1])


def _like(pattern: str | None) -> str | None:
    """A pattern of files in the grammar of LIKE."""
    if pattern is None:
        return None
    for character in "!%_":
        pattern = pattern.replace(character, f"!{character}")
    return pattern.replace("*", "%").replace("?", "_")
