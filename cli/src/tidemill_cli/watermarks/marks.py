"""Watermarks in a sink's database, with the caller's rights."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from tidemill_check import cursors
from tidemill_cli import database
from tidemill_cli.database import Connection


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

_SET = f"{_CHOSEN} AND w.cursor IS NOT NULL"
_MOVED = "version = version + 1, moved_at = now(), run_key = 'tidemill watermarks'"
"""A run that was planned by the former value can't publish any more."""


def connected(dsn: str) -> AbstractAsyncContextManager[Connection]:
    """A connection in a transaction that commits when the body ends well. Raises WatermarksError."""
    lacks = "this database has no watermarks: it is no sink's, or no worker of this version has started on it yet"
    return database.connected(dsn, WatermarksError, name="the database", lacks=lacks)


async def listed(connection: Connection, which: Which) -> list[dict[str, Any]]:
    """Each watermark, and how many files it stands for."""
    rows = await connection.fetch(
        "SELECT w.namespace, w.pipeline, w.source, w.sink, w.version, w.run_key, w.moved_at, w.uid, w.cursor_of, "
        "w.cursor_type, w.cursor, (SELECT count(*) "
        "FROM tidemill.loaded_files f WHERE (f.uid, f.source, f.sink) = (w.uid, w.source, w.sink)) AS files "
        f"FROM tidemill.watermarks w WHERE {_CHOSEN} ORDER BY w.namespace, w.pipeline, w.source, w.sink, w.uid",
        *which.arguments,
    )
    return [dict(row) for row in rows]


async def count_cursors(connection: Connection, which: Which) -> int:
    """How many tables `reset_cursors` would have read from the beginning."""
    found: int = await connection.fetchval(f"SELECT count(*) FROM tidemill.watermarks w WHERE {_SET}", *which.arguments)
    return found


async def reset_cursors(connection: Connection, which: Which) -> int:
    """Forget how far tables have been loaded; of how many. The next run begins at their initialValue."""
    moved = await connection.execute(
        f"UPDATE tidemill.watermarks w SET cursor = NULL, {_MOVED} WHERE {_SET}", *which.arguments
    )
    return int(moved.rsplit(" ", 1)[-1])


async def move(connection: Connection, which: Which, value: str, *, really: bool) -> list[tuple[str, str, str | None]]:
    """Set how far tables have been loaded. Source, sink and former value of each; nothing is written unless `really`.

    Raises WatermarksError for a value that isn't of a cursor's type.
    """
    rows = await connection.fetch(
        "SELECT w.uid, w.source, w.sink, w.cursor_type, w.cursor FROM tidemill.watermarks w "
        f"WHERE {_CHOSEN} AND w.cursor_of IS NOT NULL AND w.cursor_type <> 'state' "
        "ORDER BY w.source, w.sink FOR UPDATE",
        *which.arguments,
    )
    for row in rows:
        kind = row["cursor_type"]
        try:
            text = cursors.text(cursors.parsed(value, kind), kind)
        except ValueError as error:
            raise WatermarksError(f"source {row['source']}: {error}") from None
        if really:
            await connection.execute(
                f"UPDATE tidemill.watermarks w SET cursor = $4, {_MOVED} "
                "WHERE w.uid = $1 AND w.source = $2 AND w.sink = $3",
                *(row["uid"], row["source"], row["sink"], text),
            )
    return [(row["source"], row["sink"], row["cursor"]) for row in rows]


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
