"""`docs/reference/metastore.md`, made from what the migrations leave in a database: tables, columns, keys, indices."""

from __future__ import annotations

import asyncpg

INTRODUCTION = """# The metastore's tables

Made from a migrated database by `TIDEMILL_GOLDEN=write pytest tests/integration/test_metastore_reference.py`, which
otherwise holds this page against one; edit the revisions in `worker/src/tidemill_worker/migrations/versions`.

All of it is in the schema `tidemill` of the database that a pool's `spec.metastore.connection` names; the tables of the
section *Sinks* are in each sink's database; of sinks that are files, which have none, in the metastore. Workers bring
it to their version when they start. What is described here only gains; what Tidemill needs for itself may change.

## How long it is kept

Workers see to it every ten minutes, a bit at a time, when a run has ended.

- Dead letters: as `spec.deadLetter.retention` says; `replayed`: 90 days, once the pipeline has no letters any more.
- Plan and counts of single chunks: 7 days after the run's end.
- The spec that a run began with, what was told of it (`notifications`), and its rows in `ledger` and `published` of
  sinks that don't append: 90 days after its end, and as long as it has dead letters. Of a key that was processed
  several times only the newest execution stays in `runs` then; of a sink's runs in `published` the newest, than which
  no older one may replace the table.
- What a key needs that runs again isn't removed: its newest execution with the summary, `fence`, all that sinks with
  `writeDisposition: Append` note of tables, `files` that are there with their `file_runs`, `partitions`, `watermarks`
  and `loaded_files`; `loaded_ranges` and `alterations` for 90 days.
"""

GROUPS = (
    (
        "Dead letters",
        "How to work with them: [dead letters](../how-to/dead-letters.md).",
        (
            "dead_letters",
            "dead_letter_layouts",
            "dead_letter_summary",
            "dead_letter_counts",
            "dead_letter_keeping",
            "dead_letter_audit",
            "replay_rows",
        ),
    ),
    (
        "Runs",
        "",
        (
            "runs",
            "latest_runs",
            "run_steps",
            "chunks",
            "chunk_steps",
            "chunk_sinks",
            "check_results",
            "notifications",
            "slots",
        ),
    ),
    (
        "Sinks",
        "What makes loads happen once: [loading exactly once](../concepts/exactly-once.md).",
        (
            "fence",
            "ledger",
            "published",
            "partitions",
            "replayed",
            "files",
            "file_runs",
            "alterations",
            "watermarks",
            "loaded_files",
            "loaded_ranges",
        ),
    ),
)


async def page(connection: asyncpg.Connection[asyncpg.Record]) -> str:
    """The whole page. Raises AssertionError for a table that isn't in a group, or the other way round."""
    found = {row["name"]: row for row in await connection.fetch(_RELATIONS)}
    named = [name for _, _, names in GROUPS for name in names]
    assert sorted(named) == sorted(found), "a table is described that isn't there, or the other way round"
    parts = [INTRODUCTION]
    for title, text, names in GROUPS:
        parts.append(f"\n## {title}\n" + (f"\n{text}\n" if text else ""))
        parts.extend([await _relation(connection, found[name]) for name in names])
    return "".join(parts)


async def _relation(connection: asyncpg.Connection[asyncpg.Record], row: asyncpg.Record) -> str:
    kind = "View. " if row["kind"] == "v" else ""
    lines = [f"\n### tidemill.{row['name']}\n", f"\n{kind}{row['comment']}\n" if row["comment"] else "\n"]
    lines.append("\n| column | type | |\n|---|---|---|\n")
    for column in await connection.fetch(_COLUMNS, row["oid"]):
        kind = column["type"].replace("timestamp with time zone", "timestamptz")
        needed = "" if column["nullable"] or row["kind"] == "v" else ", not null"
        lines.append(f"| `{column['name']}` | {kind}{needed} | {column['comment'] or ''} |\n")
    indices = [index["definition"] for index in await connection.fetch(_INDICES, row["oid"])]
    if indices:
        lines.append("\nIndices: " + "; ".join(f"`{index}`" for index in indices) + ".\n")
    return "".join(lines)


_RELATIONS = """
SELECT c.oid, c.relname AS name, c.relkind::text AS kind, obj_description(c.oid, 'pg_class') AS comment
FROM pg_class c WHERE c.relnamespace = 'tidemill'::regnamespace AND c.relkind IN ('r', 'v')
    AND c.relname <> 'alembic_version'
"""
_COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable,
    col_description(a.attrelid, a.attnum) AS comment
FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_INDICES = """
SELECT CASE WHEN i.indisprimary THEN 'PRIMARY KEY ' WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END
    || regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING (btree )?', '') AS definition
FROM pg_index i WHERE i.indrelid = $1 ORDER BY NOT i.indisprimary, i.indexrelid::regclass::text
"""
