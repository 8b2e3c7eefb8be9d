"""Names and texts as parts of SQL: DuckDB and Postgres write them alike. Light: imports no columnar library."""

from __future__ import annotations


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text."""
    return "'" + text.replace("'", "''") + "'"


def quoted_table(table: str) -> str:
    """`schema.table`, each quoted."""
    schema, _, name = table.partition(".")
    return f"{quoted(schema)}.{quoted(name)}"
