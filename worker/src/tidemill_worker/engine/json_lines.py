"""One block of JSON Lines to typed columns.

The usual way is Arrow's reader on the whole block, and what it has read is fitted into the wanted types as any typed
columns are. A block that it refuses, or whose lines may not be its rows, is read again line by line: there a value of
another sort counts as its text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from pyarrow import json as arrow_json

from tidemill_api.errors import NewColumn
from tidemill_worker.engine.blocks import Block, Typed
from tidemill_worker.engine.columns import arrow_type
from tidemill_worker.engine.dialect import Dialect
from tidemill_worker.engine.faults import Fault
from tidemill_worker.engine.fit import fitted
from tidemill_worker.engine.json_text import dumps, loads, text_of
from tidemill_worker.engine.model import Layout, PlannedColumn
from tidemill_worker.engine.parse import Parsed, Rows

LINES: Final = Dialect(b"\x01", b"\0", False, "utf-8", ())
"""How lines are cut into rows: a row is a line, for no JSON value holds a line break as it stands."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What the objects of one source have as columns."""

    source: str
    of: Mapping[str, str]
    """Column -> the key that it is read from; of others the key is the column's name."""
    only: bool = False
    """Other keys fail the run."""
    adds: bool = False
    """Others were looked for before, at the beginnings of the files."""

    def key(self, column: PlannedColumn) -> str:
        """Where a column is read from."""
        return self.of.get(column.name, column.name)


def parse_lines(block: Block, layout: Layout, keys: Keys, *, null_values: bool = False) -> Parsed:
    """Read a block of whole lines; `null_values`: see `Faults`.

    Never raises for what its rows hold, but NewColumn for other keys where `keys` refuse them.
    """
    raw = _at_once(block, layout, keys)
    if raw is not None:
        return fitted(Typed(0, raw, len(block.data)), layout, null_values=null_values)
    return _line_by_line(block, layout, keys, null_values)


def _at_once(block: Block, layout: Layout, keys: Keys) -> pa.Table | None:
    """All rows with the types that JSON has; None if they aren't surely the lines, or are not all of these types."""
    data = block.data
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    ends = data.count(b"}\n") + data.count(b"}\r\n") + data.endswith(b"}")
    if not data.startswith(b"{") or data.count(b"\n{") != lines - 1 or ends != lines:
        return None
    kinds = {keys.key(column): _kind(column) for column in layout.columns}
    if len(kinds) < len({keys.key(column) + column.type for column in layout.columns}):
        return None  # two columns read one key as different types
    try:
        data.decode()  # Arrow looks at what it reads only, and a row shall not depend on that
    except UnicodeDecodeError:
        return None
    try:
        table = arrow_json.read_json(
            pa.BufferReader(data),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=pa.schema(list(kinds.items())),
                unexpected_field_behavior="error" if keys.only or keys.adds else "ignore",
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if table.num_rows != lines:
        return None
    columns = [table.column(keys.key(column)) for column in layout.columns]
    return pa.table(columns, names=[column.name for column in layout.columns])


def _kind(column: PlannedColumn) -> pa.DataType:
    """The type in which JSON has the values that are wanted: narrower numbers and times come after."""
    kind = arrow_type(column.type)
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    return kind if pa.types.is_boolean(kind) or pa.types.is_decimal(kind) else pa.string()


def _line_by_line(block: Block, layout: Layout, keys: Keys, null_values: bool = False) -> Parsed:
    rows = Rows(block, LINES)
    total = len(rows)
    faults: dict[int, Fault] = {}
    left: list[int] = []
    texts: list[list[str | None]] = [[] for _ in layout.columns]
    known = {keys.key(column) for column in layout.columns}
    for row in range(total):
        found = _object(rows.raw(row))
        if isinstance(found, Fault):
            faults[row] = found
            continue
        new = [key for key in found if key not in known] if keys.only or keys.adds else []
        if new:
            why = "newColumns is Fail" if keys.only else "the beginnings of the files don't have them: declare them"
            raise NewColumn(
                f"source {keys.source}: the row at {rows.where(row)} has keys that aren't declared: "
                f"{', '.join(new[:50])}; {why}"
            )
        left.append(row)
        for values, column in zip(texts, layout.columns, strict=True):
            values.append(text_of(found.get(keys.key(column))))
    table = pa.table(
        [pa.array(values, pa.string()) for values in texts], names=[column.name for column in layout.columns]
    )
    cast = fitted(Typed(0, table, 0), layout, null_values=null_values)
    faults |= {left[place]: fault for place, fault in cast.faults.items()}
    good = [row for row in left if row not in faults]
    origin = None if len(good) == total else pa.array(good, pa.int32())
    return Parsed(cast.table, total, origin, faults, nulled=cast.nulled)


def _object(line: bytes) -> dict[str, Any] | Fault:
    """A line's object, or why it isn't one."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return Fault("BadRow", "the row is not valid UTF-8")
    if "\0" in text:
        return Fault("BadRow", "the row holds a NUL byte")
    try:
        value = loads(text)
    except RecursionError:
        return Fault("BadRow", "the row is nested too deeply")
    except ValueError:
        return Fault("BadRow", "the row is not JSON")
    if not isinstance(value, dict):
        return Fault("BadRow", "the row is not a JSON object")
    try:
        dumps(value).encode()
    except UnicodeEncodeError:
        return Fault("BadRow", "the row holds half of a surrogate pair")
    except RecursionError:
        return Fault("BadRow", "the row is nested too deeply")
    return value
