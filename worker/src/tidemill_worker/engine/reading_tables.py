"""The query that reads a table, or a range of it. Pure."""

from __future__ import annotations

from tidemill_worker.engine.model import KeyRange, Layout


def quoted(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def quoted_table(table: str) -> str:
    """A table's name with its schema in SQL."""
    return ".".join(quoted(part) for part in table.split("."))


def query_of(table: str, keys: KeyRange, layout: Layout) -> str:
    """The rows of a range, in the order of the key, with the columns that the layout reads."""
    columns = ", ".join(quoted(name) for name in layout.names)
    where = " AND ".join(_bounds(keys))
    if where and keys.low is None:
        where = f"({where}) OR {quoted(keys.column)} IS NULL"
    order = f" ORDER BY {quoted(keys.column)}" if keys.column else ""
    return f"SELECT {columns} FROM {quoted_table(table)}{f' WHERE {where}' if where else ''}{order}"


def _bounds(keys: KeyRange) -> list[str]:
    column = quoted(keys.column)
    low = [f"{column} >= {keys.low}"] if keys.low is not None else []
    return low + ([f"{column} < {keys.high}"] if keys.high is not None else [])
