"""The page on the metastore's tables is what the migrations make. `TIDEMILL_GOLDEN=write` writes it anew."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.fixtures import Database
from tests.support.kubernetes import ROOT
from tests.support.metastore_reference import page
from tidemill_worker.migrations import ensure

PAGE = ROOT / "docs" / "reference" / "metastore.md"


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """On a database that has been migrated."""
    pool = await asyncpg.create_pool(database.dsn, min_size=0)
    await ensure("warehouse", pool)
    await pool.close()
    opened = await asyncpg.connect(database.dsn)
    yield opened
    await opened.close()


async def test_the_page_is_what_migrations_make(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    found = await page(connection)
    if os.environ.get("TIDEMILL_GOLDEN") == "write":
        PAGE.write_text(found, encoding="utf-8")
    assert found == PAGE.read_text(encoding="utf-8")


async def test_everything_about_dead_letters_is_described(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    bare = await connection.fetch(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = 'tidemill'::regnamespace AND c.relkind = 'r' AND c.relname LIKE 'dead_letter%' "
        "AND a.attnum > 0 AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL"
    )
    assert [tuple(row) for row in bare] == []


LISTS = (
    ("namespace = 'n' AND pipeline = 'p3' ORDER BY first_seen DESC LIMIT 100", "dead_letters_by_pipeline"),
    (
        "namespace = 'n' AND pipeline = 'p3' AND step = 'raw' ORDER BY first_seen DESC LIMIT 100",
        "dead_letters_by_",
    ),
    ("id = 4711", "dead_letters_by_id"),
    ("uid = 'u3' AND run_key = 'r7'", "dead_letters_pkey"),
    ("uid = 'u3' AND status <> 'New' ORDER BY id LIMIT 100", "dead_letters_done"),
    ("last_seen < now() - interval '90 days'", "dead_letters_by_age"),
)


async def test_indices_serve_what_is_asked_of_many_letters(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await connection.execute(
        "INSERT INTO tidemill.dead_letters (uid, run_key, execution, step, source, chunk, position, part, namespace, "
        "pipeline, reason, rules, error, cause, first_seen, last_seen, status) SELECT 'u' || n % 10, 'r' || n % 20, 1, "
        "'raw', 'raw', 0, n, 0, 'n', 'p' || n % 10, 'BadValue', '{}', 'e', 'c', t, t, "
        "CASE WHEN n % 100 = 0 THEN 'Discarded' ELSE 'New' END "
        "FROM generate_series(1, 100000) n, LATERAL (SELECT now() - interval '1 minute' * (100000 - n) AS t)"
    )
    await connection.execute("VACUUM ANALYZE tidemill.dead_letters")
    for condition, index in LISTS:
        plan = await connection.fetch(f"EXPLAIN SELECT * FROM tidemill.dead_letters WHERE {condition}")
        text = "\n".join(row[0] for row in plan)
        assert index in text, text
        assert "Seq Scan" not in text, text
