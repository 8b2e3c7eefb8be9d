"""Replace by swap: a new table is filled and indexed, and takes the old one's place at the end of the transaction.

Readers wait for the change of names alone, and indexes are made over all rows at once. What Postgres ties to a table
itself rather than to its name would be lost with the old one, so a table that has such is refused.
"""

from __future__ import annotations

from typing import Final

from tidemill_api.errors import SinkRefused
from tidemill_api.names import content_hash
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_worker.engine.model import Connections
from tidemill_worker.engine.postgres.errors import typed
from tidemill_worker.engine.postgres.fence import Connection
from tidemill_worker.engine.postgres.staged import Columns, append
from tidemill_worker.engine.quoting import literal, quoted, quoted_table

_SHOWN: Final = 10

_DEPENDENTS: Final = """
WITH me AS (SELECT c.* FROM pg_class c WHERE c.oid = to_regclass($1))
SELECT 'the ' || CASE v.relkind WHEN 'm' THEN 'materialized view ' ELSE 'view ' END || v.oid::regclass AS what
FROM me JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = me.oid
    AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class AND v.oid <> me.oid
UNION SELECT 'the foreign key ' || quote_ident(f.conname) || ' of ' || f.conrelid::regclass
FROM me JOIN pg_constraint f ON f.contype = 'f' AND me.oid IN (f.confrelid, f.conrelid)
UNION SELECT 'the constraint ' || quote_ident(f.conname) || ', which is deferrable or excludes'
FROM me JOIN pg_constraint f ON f.conrelid = me.oid AND (f.contype = 'x' OR f.condeferrable)
UNION SELECT 'the trigger ' || quote_ident(g.tgname)
FROM me JOIN pg_trigger g ON g.tgrelid = me.oid AND NOT g.tgisinternal
UNION SELECT 'the policy ' || quote_ident(p.polname) FROM me JOIN pg_policy p ON p.polrelid = me.oid
UNION SELECT 'row level security' FROM me WHERE relrowsecurity
UNION SELECT 'the rule ' || quote_ident(r.rulename)
FROM me JOIN pg_rewrite r ON r.ev_class = me.oid AND r.rulename <> '_RETURN'
UNION SELECT 'the sequence ' || s.oid::regclass
FROM me JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = me.oid
    AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
UNION SELECT 'the publication ' || quote_ident(b.pubname)
FROM me JOIN pg_publication_rel l ON l.prrelid = me.oid JOIN pg_publication b ON b.oid = l.prpubid
UNION SELECT 'a table that it inherits from or that inherits from it'
FROM me JOIN pg_inherits i ON me.oid IN (i.inhrelid, i.inhparent)
UNION SELECT 'what uses its row type: ' || pg_describe_object(d.classid, d.objid, d.objsubid)
FROM me JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass AND d.deptype = 'n'
    AND d.refobjid IN (me.reltype, (SELECT typarray FROM pg_type WHERE oid = me.reltype))
UNION SELECT 'that it is no ordinary table' FROM me
WHERE relkind <> 'r' OR relpersistence <> 'p' OR reltablespace <> 0 OR relreplident <> 'd' OR reloftype <> 0
ORDER BY 1
"""
"""What a swap would lose or break."""


async def check_swaps(spec: DataPipelineSpec, connections: Connections) -> None:
    """Before a run works for nothing. Raises SinkRefused, which names what depends on a table; PostgresUnavailable."""
    for sink in spec.sinks:
        if sink.replace_strategy == "Swap":
            pool = await connections.postgres(sink.connection)
            with typed(sink.name, sink.connection):
                async with pool.acquire() as connection:
                    await _refuse_dependents(connection, sink)


async def _refuse_dependents(connection: Connection, sink: Sink) -> None:
    rows = await connection.fetch(_DEPENDENTS, quoted_table(sink.table))
    found = [row["what"] for row in rows]
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise SinkRefused(
            f"sink {sink.name}: {sink.table} can't be swapped, since a new table would go without "
            f"{', '.join(found[:_SHOWN])}{more}: use replaceStrategy Truncate"
        )


async def swap(connection: Connection, sink: Sink, staging: str, columns: Columns) -> int:
    """Put a table with the staged rows in the old one's place; returns their number.

    Raises SinkRefused, asyncpg.PostgresError.
    """
    table = quoted_table(sink.table)
    schema, _, name = sink.table.partition(".")
    new_name = f"tidemill_{content_hash([sink.table])[:40]}"
    new = f"{quoted(schema)}.{quoted(new_name)}"
    # Others may read it meanwhile, but not change what it is, nor its rows, which would be lost.
    await connection.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
    await _refuse_dependents(connection, sink)
    await connection.execute(f"CREATE TABLE {new} (LIKE {table} INCLUDING ALL EXCLUDING INDEXES)")
    rows = await append(connection, new, staging, columns)
    indexes = await _indexes(connection, sink, new_name)
    rights = await _rights(connection, table, new)
    for statement in (*indexes.making, *rights):
        await connection.execute(statement)
    await connection.execute(f"ANALYZE {new}")
    await connection.execute(f"DROP TABLE {table}")
    await connection.execute(f"ALTER TABLE {new} RENAME TO {quoted(name)}")
    for statement in indexes.naming:
        await connection.execute(statement)
    return rows


class _Indexes:
    """Statements that give the new table the old one's indexes."""

    def __init__(self) -> None:
        self.making: list[str] = []
        self.naming: list[str] = []
        """For when the old names are free."""


async def _indexes(connection: Connection, sink: Sink, new_name: str) -> _Indexes:
    schema = sink.table.partition(".")[0]
    new = f"{quoted(schema)}.{quoted(new_name)}"
    found = await connection.fetch(
        """
        SELECT c.relname AS name, pg_get_indexdef(i.indexrelid) AS made, k.contype::text AS constraint,
            format('CREATE %sINDEX %I ON %I.%I ', CASE WHEN i.indisunique THEN 'UNIQUE ' END, c.relname,
                n.nspname, t.relname) AS beginning,
            i.indisclustered AS clustered, obj_description(c.oid, 'pg_class') AS comment,
            obj_description(k.oid, 'pg_constraint') AS constraint_comment
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
            JOIN pg_namespace n ON n.oid = t.relnamespace
            LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u')
        WHERE i.indrelid = to_regclass($1) AND i.indisvalid ORDER BY i.indexrelid
        """,
        quoted_table(sink.table),
    )
    indexes = _Indexes()
    for place, row in enumerate(found):
        if not row["made"].startswith(row["beginning"]):
            raise SinkRefused(
                f"sink {sink.name}: the index {row['name']} can't be made anew: use replaceStrategy Truncate"
            )
        name = f"{new_name}_{place}"
        there = f"{quoted(schema)}.{quoted(name)}"
        unique = "UNIQUE " if row["beginning"].startswith("CREATE UNIQUE") else ""
        indexes.making.append(
            f"CREATE {unique}INDEX {quoted(name)} ON {new} {row['made'].removeprefix(row['beginning'])}"
        )
        if row["constraint"] is not None:
            kind = "PRIMARY KEY" if row["constraint"] == "p" else "UNIQUE"
            indexes.making.append(f"ALTER TABLE {new} ADD CONSTRAINT {quoted(name)} {kind} USING INDEX {quoted(name)}")
        if row["clustered"]:
            indexes.making.append(f"ALTER TABLE {new} CLUSTER ON {quoted(name)}")
        if row["comment"] is not None:
            indexes.making.append(f"COMMENT ON INDEX {there} IS {literal(row['comment'])}")
        if row["constraint_comment"] is not None:
            comment = literal(row["constraint_comment"])
            indexes.making.append(f"COMMENT ON CONSTRAINT {quoted(name)} ON {new} IS {comment}")
        indexes.naming.append(f"ALTER INDEX {there} RENAME TO {quoted(row['name'])}")
    return indexes


async def _rights(connection: Connection, table: str, new: str) -> list[str]:
    """Owner, grants, comment and settings of the old table, for the new one, whatever default privileges gave it."""
    rows = await connection.fetch(
        """
        WITH me AS (SELECT * FROM pg_class WHERE oid = to_regclass($1)),
        granted AS (
            SELECT a.*, '' AS columns FROM me, aclexplode(me.relacl) a
            UNION ALL SELECT a.*, format(' (%I)', t.attname)
            FROM me JOIN pg_attribute t ON t.attrelid = me.oid, aclexplode(t.attacl) a
        )
        SELECT 1 AS place, format('REVOKE ALL ON TABLE %s FROM %s', $2::text, CASE g.grantee WHEN 0 THEN 'PUBLIC'
            ELSE quote_ident(pg_get_userbyid(g.grantee)) END) AS statement
        FROM me, (
            SELECT a.grantee FROM pg_class n, aclexplode(n.relacl) a WHERE n.oid = to_regclass($2)
            UNION SELECT oid FROM pg_roles WHERE rolname = current_user
        ) g WHERE me.relacl IS NOT NULL OR pg_get_userbyid(g.grantee) <> current_user
        UNION ALL SELECT 2, format('GRANT %s%s ON TABLE %s TO %s%s', g.privilege_type, g.columns, $2::text,
            CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
            CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
        FROM granted g
        UNION ALL SELECT 3, format('COMMENT ON TABLE %s IS %L', $2::text, obj_description(me.oid, 'pg_class'))
        FROM me WHERE obj_description(me.oid, 'pg_class') IS NOT NULL
        UNION ALL SELECT 4, format('ALTER TABLE %s SET (%s)', $2::text, array_to_string(me.reloptions, ', '))
        FROM me WHERE reloptions IS NOT NULL
        UNION ALL SELECT 5, format('ALTER TABLE %s OWNER TO %I', $2::text, pg_get_userbyid(me.relowner))
        FROM me WHERE pg_get_userbyid(me.relowner) <> current_user
        ORDER BY place
        """,
        table,
        new,
    )
    return [row["statement"] for row in rows]
