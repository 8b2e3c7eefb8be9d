"""The tables that sinks need, as SQL: the same for the engine, which runs it, and for who runs it by hand. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_worker.engine.postgres.types import column_type
from tidemill_worker.engine.quoting import literal, quoted, quoted_table


def create_table(sink: Sink, columns: Mapping[str, pa.DataType]) -> tuple[str, ...]:
    """Statements that make a sink's table for rows with these columns (their `plain` types), if it isn't there."""
    table = quoted_table(sink.table)
    lines = [f"{quoted(name)} {column_type(kind)}" for name, kind in columns.items()]
    keys = [quoted(name) for name in sink.primary_key]
    history = sink.history
    if history is None:
        if keys:
            lines.append(f"PRIMARY KEY ({', '.join(keys)})")
        return (f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(lines)})",)
    name = f"{sink.table.partition('.')[2][:50]}_newest"
    valid_from, valid_to = quoted(history.valid_from), quoted(history.valid_to)
    lines += [
        f"{valid_from} timestamp with time zone NOT NULL",
        f"{valid_to} timestamp with time zone",
        f"PRIMARY KEY ({', '.join((*keys, valid_from))})",
    ]
    return (
        f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(lines)})",
        f"CREATE UNIQUE INDEX IF NOT EXISTS {quoted(name)} ON {table} ({', '.join(keys)}) WHERE {valid_to} IS NULL",
    )


def database_rights(role: str) -> tuple[str, ...]:
    """Statements that let a role keep our own tables in a database (schema `tidemill`), and use temporary ones."""
    granted = f"EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I', current_database(), {literal(role)})"
    body = f"BEGIN {granted}; END"
    return (f"CREATE SCHEMA IF NOT EXISTS tidemill AUTHORIZATION {quoted(role)}", f"DO {literal(body)}")


def table_rights(sink: Sink, role: str, *, checked: bool, alters: bool = False) -> tuple[str, ...]:
    """Statements that let a role load into a sink's table that is there, and no more.

    `checked`: it has checks; `alters`: contracts of sources let it be altered, which only its owner may.
    """
    schema = quoted(sink.table.partition(".")[0])
    table, name = quoted_table(sink.table), quoted(role)
    if sink.replace_strategy == "Swap":  # whose table goes must own it, and may make another one
        return (f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {name}", f"ALTER TABLE {table} OWNER TO {name}")
    if alters:
        return (f"GRANT USAGE ON SCHEMA {schema} TO {name}", f"ALTER TABLE {table} OWNER TO {name}")
    needed = _NEEDED[_way(sink)] | ({"SELECT"} if checked else set())
    listed = ", ".join(right for right in _RIGHTS if right in needed)
    return (f"GRANT USAGE ON SCHEMA {schema} TO {name}", f"GRANT {listed} ON TABLE {table} TO {name}")


_RIGHTS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")
_NEEDED: Final[Mapping[str, set[str]]] = {
    "Append": {"INSERT"},
    "Truncate": {"INSERT", "TRUNCATE", "DELETE"},  # DELETE where another table refers to it
    "Partitions": {"SELECT", "INSERT", "DELETE"},
    "Upsert": {"SELECT", "INSERT", "UPDATE"},
    "InsertOnly": {"SELECT", "INSERT"},
    "DeleteInsert": {"SELECT", "INSERT", "DELETE"},
    "SCD2": {"SELECT", "INSERT", "UPDATE"},
    "SCD2 that retires": {"SELECT", "INSERT", "UPDATE", "DELETE"},
}


def _way(sink: Sink) -> str:
    match sink.write_disposition:
        case "Append":
            return "Append"
        case "Replace":
            return "Partitions" if sink.partition_by else "Truncate"
        case "Merge":
            retires = sink.history is not None and sink.history.absent_keys == "Retire"
            return "SCD2 that retires" if retires else sink.merge_strategy or "Upsert"
