"""Dead letters into the metastore, as columns: COPY into a temporary table, then what isn't there yet moves over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING

from tidemill_api.errors import DeadLetterFull
from tidemill_worker.engine.model import RunRef
from tidemill_worker.metastore.store import Connection, Metastore
from tidemill_worker.metastore.told import Tell, by_rule, nobody

if TYPE_CHECKING:
    import pyarrow as pa

    from tidemill_worker.engine.keeping import Keeping

_COLUMNS = (
    "step text, source text, chunk integer, position bigint, part integer, file text, byte_offset bigint, line bigint, "
    "reason text, rules text[], error text, cause text, row_text text, row_columns text, row_keys text, layout text, "
    "stored text, redacted text[]"
)
_OF_THE_ROW = (
    *("file", "byte_offset", "line", "reason", "rules", "error", "cause", "row_text", "row_columns", "row_keys"),
    *("layout", "stored", "redacted"),
)
# Of a JSON text with a NUL character jsonb can hold the text itself only, as a string.
_MOVE = r"""
INSERT INTO tidemill.dead_letters (uid, run_key, execution, namespace, pipeline, step, source, chunk, position, part,
    file, byte_offset, line, reason, rules, error, cause, row_text, row_columns, row_keys, layout, stored, redacted)
SELECT $1, $2, $3, $4, $5, step, source, chunk, position, part, file, byte_offset, line, reason, rules, error, cause,
    row_text, CASE WHEN strpos(row_columns, '\u0000') > 0 THEN to_jsonb(row_columns) ELSE row_columns::jsonb END,
    row_keys::jsonb, layout, stored, redacted
FROM pg_temp.tidemill_letters
ON CONFLICT (uid, run_key, execution, step, source, chunk, position, part) DO UPDATE
    SET last_seen = excluded.last_seen, attempts = dead_letters.attempts + 1
"""
# The same key may be another row. What people have done with a letter stays.
_MOVE_LIVE = f"""{_MOVE}, {", ".join(f"{name} = excluded.{name}" for name in _OF_THE_ROW)}
    WHERE dead_letters.status = 'New' AND dead_letters.edited_text IS NULL
"""
_SETTLE = """
DELETE FROM tidemill.dead_letters WHERE uid = $1 AND run_key = $2 AND execution = $3 AND chunk = $4
    AND status = 'New' AND edited_text IS NULL AND last_seen < coalesce($5, now())
"""
_COUNT = "SELECT letters FROM tidemill.dead_letter_keeping WHERE uid = $1"
_MAKE_ROOM = """
DELETE FROM tidemill.dead_letters WHERE id IN (
    SELECT id FROM tidemill.dead_letters WHERE uid = $1 AND status <> 'New' ORDER BY id LIMIT $2)
"""


class MetastoreLetters:
    """The engine's `DeadLetters`: what it rejects is committed here before the load commits, as far as it is kept."""

    def __init__(self, store: Metastore, keeping: Keeping, *, live: bool = False, tell: Tell = nobody) -> None:
        """One for each attempt at a chunk; `live`: its rows may be others than in the attempt before.

        `tell` is told what was written.
        """
        self._tell = tell
        self._store = store
        self._keeping = keeping
        self._live = live
        self._since: datetime | None = None
        """When this attempt first wrote, by the metastore's clock."""

    async def write(self, run: RunRef, letters: pa.Table) -> None:
        """Keep rejected rows (schema `engine.letters.SCHEMA`); of a key that is there already the attempts rise.

        Raises DeadLetterFull if there is no room for all of them; none is kept then. PostgresUnavailable.
        """
        if letters.num_rows == 0:
            return
        kept = self._keeping.kept(letters)
        async with self._store.transaction() as connection:
            await self._keep_layouts(connection)
            await connection.execute(
                f"CREATE TEMPORARY TABLE IF NOT EXISTS tidemill_letters ({_COLUMNS}) ON COMMIT DELETE ROWS"
            )
            await connection.copy_to_table("tidemill_letters", source=_binary(kept), format="binary")
            move = _MOVE_LIVE if self._live else _MOVE
            await connection.execute(move, run.uid, run.run_key, run.execution, run.namespace, run.pipeline)
            await self._bounded(connection, run)
            self._since = self._since or await connection.fetchval("SELECT now()")
        self._tell(run, by_rule(letters))

    async def settle(self, run: RunRef, chunk: int) -> None:
        """Forget letters of attempts that have committed nothing, where this one's rows may be others.

        Called when this attempt has committed the chunk. One that still writes, and will commit nothing, is left alone.
        Raises PostgresUnavailable.
        """
        if self._live:
            async with self._store.transaction() as connection:
                await connection.execute(_SETTLE, run.uid, run.run_key, run.execution, chunk, self._since)

    async def _keep_layouts(self, connection: Connection) -> None:
        layouts = {layout.id: layout for layout in self._keeping.layouts.values()}
        await connection.executemany(
            "INSERT INTO tidemill.dead_letter_layouts (layout, columns, delimiter, quote, types) "
            "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            [
                (each.id, list(each.columns), each.delimiter, each.quote, list(each.types or ()))
                for _, each in sorted(layouts.items())
            ],
        )

    async def _bounded(self, connection: Connection, run: RunRef) -> None:
        """What is done with makes room. The count is ours until we commit: the insert has locked its row."""
        most = self._keeping.policy.max_rows
        count = await connection.fetchval(_COUNT, run.uid)
        if count is not None and count > most:
            await connection.execute(_MAKE_ROOM, run.uid, count - most)
            count = await connection.fetchval(_COUNT, run.uid)
            if count > most:
                raise DeadLetterFull(
                    f"the pipeline would have {count} dead letters, spec.deadLetter.maxRows allows {most}: look after "
                    "them (tidemill rejects summary), discard what isn't needed, or allow more"
                )


async def _binary(letters: pa.Table) -> AsyncIterator[bytes]:
    """The rows as Postgres' binary COPY wants them."""
    from pgpq import ArrowToPostgresBinaryEncoder

    encoder = ArrowToPostgresBinaryEncoder(letters.schema)
    yield encoder.write_header()
    for batch in letters.to_batches(max_chunksize=10_000):
        yield encoder.write_batch(batch)
    yield encoder.finish()
