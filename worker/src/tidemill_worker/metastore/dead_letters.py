"""Dead letters into the metastore, as columns: COPY into a temporary table, then what isn't there yet moves over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from tidemill_worker.engine.model import RunRef
from tidemill_worker.metastore.store import Metastore

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = (
    "step text, source text, chunk integer, position bigint, part integer, file text, byte_offset bigint, line bigint, "
    "reason text, rules text[], error text, row_text text, row_columns text"
)
# Of a JSON text with a NUL character jsonb can hold the text itself only, as a string.
_MOVE = r"""
INSERT INTO tidemill.dead_letters (uid, run_key, execution, namespace, pipeline, step, source, chunk, position, part,
    file, byte_offset, line, reason, rules, error, row_text, row_columns)
SELECT $1, $2, $3, $4, $5, step, source, chunk, position, part, file, byte_offset, line, reason, rules, error, row_text,
    CASE WHEN strpos(row_columns, '\u0000') > 0 THEN to_jsonb(row_columns) ELSE row_columns::jsonb END
FROM pg_temp.tidemill_letters
ON CONFLICT (uid, run_key, execution, step, source, chunk, position, part) DO UPDATE
    SET last_seen = excluded.last_seen, attempts = dead_letters.attempts + 1
"""


class MetastoreLetters:
    """The engine's `DeadLetters`: what it rejects is committed here before the load commits."""

    def __init__(self, store: Metastore) -> None:
        self._store = store

    async def write(self, run: RunRef, letters: pa.Table) -> None:
        """Keep rejected rows (schema `engine.letters.SCHEMA`); of a key that is there already the attempts rise."""
        if letters.num_rows == 0:
            return
        async with self._store.transaction() as connection:
            await connection.execute(
                f"CREATE TEMPORARY TABLE IF NOT EXISTS tidemill_letters ({_COLUMNS}) ON COMMIT DELETE ROWS"
            )
            await connection.copy_to_table("tidemill_letters", source=_binary(letters), format="binary")
            await connection.execute(_MOVE, run.uid, run.run_key, run.execution, run.namespace, run.pipeline)


async def _binary(letters: pa.Table) -> AsyncIterator[bytes]:
    """The rows as Postgres' binary COPY wants them."""
    from pgpq import ArrowToPostgresBinaryEncoder

    encoder = ArrowToPostgresBinaryEncoder(letters.schema)
    yield encoder.write_header()
    for batch in letters.to_batches(max_chunksize=10_000):
        yield encoder.write_batch(batch)
    yield encoder.finish()
