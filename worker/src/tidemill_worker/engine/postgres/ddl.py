"""The tables that sinks need, as SQL: the same for the engine, which runs it, and for who runs it by hand. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_worker.engine.postgres.types import column_type
from tidemill_worker.engine.sandbox import quoted


def create_table(sink: Sink, columns: Mapping[str, pa.DataType]) -> tuple[str, ...]:
    """Statements that make a sink's table for rows with these columns (their `plain` types), if it isn't there."""
    table = quoted_table(sink.postgres.table)
    lines = [f"{quoted(name)} {column_type(kind)}" for name, kind in columns.items()]
    keys = [quoted(name) for name in sink.primary_key]
    history = sink.history
    if history is None:
        if keys:
            lines.append(f"PRIMARY KEY ({', '.join(keys)})")
        return (f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(lines)})",)
    valid_from, valid_to = quoted(history.valid_from), quoted(history.valid_to)
    lines += [
        f"{valid_from} timestamp with time zone NOT NULL",
        f"{valid_to} timestamp with time zone",
        f"PRIMARY KEY ({', '.join((*keys, valid_from))})",
    ]
    return (
        f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(lines)})",
        f"CREATE UNIQUE INDEX ON {table} ({', '.join(keys)}) WHERE {valid_to} IS NULL",
    )


def quoted_table(table: str) -> str:
    """`schema.table`, each quoted."""
    schema, _, name = table.partition(".")
    return f"{quoted(schema)}.{quoted(name)}"
