"""The query that reads a table, or a range of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tidemill_worker.engine.model import CursorRange, KeyRange, Layout
from tidemill_worker.engine.quoting import quoted, quoted_table


def query_of(table: str, keys: KeyRange, layout: Layout) -> str:
    """The rows of a range, in the order of the key, with the columns that the layout reads."""
    columns = ", ".join(quoted(name) for name in layout.names)
    conditions = [*_range(keys), *(cursor_bounds(keys) if isinstance(keys, CursorRange) else ())]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    order = f" ORDER BY {quoted(keys.column)}" if keys.column else ""
    return f"SELECT {columns} FROM {quoted_table(table)}{where}{order}"


def cursor_bounds(keys: CursorRange) -> Iterator[str]:
    """The conditions that a range's cursor is under."""
    if keys.after is not None:
        yield f"{quoted(keys.cursor)} > '{keys.after}'::{keys.kind}"
    yield f"{quoted(keys.cursor)} <= '{keys.until}'::{keys.kind}"


def _range(keys: KeyRange) -> Iterator[str]:
    column = quoted(keys.column)
    low = [f"{column} >= {keys.low}"] if keys.low is not None else []
    bounds = " AND ".join(low + ([f"{column} < {keys.high}"] if keys.high is not None else []))
    if bounds:
        yield f"({bounds} OR {column} IS NULL)" if keys.low is None else bounds
