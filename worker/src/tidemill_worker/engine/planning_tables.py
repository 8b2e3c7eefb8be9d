"""Tables: which columns are read as which types, and into which ranges of keys they are cut."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from tidemill_api.errors import SourceMissing, SpecError
from tidemill_api.v1alpha1.datapipeline import PostgresSource, Source
from tidemill_worker.engine.model import Database, FileRef, KeyRange, Part
from tidemill_worker.engine.reading_tables import quoted, quoted_table
from tidemill_worker.engine.wanted import Wanted, by_name, declared

MOST_RANGES: Final = 10_000
_TYPES: Final = {
    "boolean": "boolean",
    "smallint": "int16",
    "integer": "int32",
    "bigint": "int64",
    "real": "float32",
    "double precision": "float64",
    "date": "date",
}
_COLUMNS: Final = (
    "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
    "WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
)
_FOUND: Final = (
    "SELECT c.oid, c.reltuples::bigint, CASE WHEN c.relkind IN ('r', 'm') THEN pg_relation_size(c.oid) END "
    "FROM pg_class c WHERE c.oid = to_regclass($1)"
)
_BEGIN: Final = datetime.fromisoformat("0001-01-01")
_WIDE: Final = 256
"""Bytes of a row where nothing tells better."""


@dataclass(frozen=True, slots=True)
class TablePlanner:
    """Plans the table of one source."""

    source: Source
    settings: PostgresSource
    field: str
    database: Database

    def parts(self, refs: Sequence[FileRef]) -> tuple[Part, ...]:
        """The table, as one part; there are no files."""
        del refs
        oid, rows, size = self._found()
        columns = self.database.fetch(_COLUMNS, oid)
        wanted = declared(self.source) or tuple(Wanted(name, name, type_of(kind), False) for name, kind in columns)
        layout = by_name(self.source, self.settings.table, [name for name, _ in columns], wanted, surely=True)
        read = replace(
            layout,
            fields=len(wanted),
            columns=tuple(replace(column, field=place) for place, column in enumerate(layout.columns)),
            names=tuple(column.header for column in wanted),
        )
        whole = KeyRange(self.settings.split_by or "")
        return (Part(FileRef(self.settings.table, 0, 0), read, 0, None, 1, size or max(rows, 0) * _WIDE, whole),)

    def cut(self, part: Part, most_bytes: int, most_rows: int) -> Iterator[Part]:
        """Ranges of the key of the same width, as many as rows and bytes ask for; or the whole."""
        oid, rows, _ = self._found()
        key = self.settings.split_by
        count = 1 if key is None else self._count(rows, part.bytes or 0, most_bytes, most_rows)
        bounds = self._bounds(oid, key, count) if key is not None and count > 1 else ()
        for low, high in pairwise([None, *bounds, None]):
            yield replace(part, keys=KeyRange(key or "", low, high), bytes=(part.bytes or 0) // (len(bounds) + 1))

    def _found(self) -> tuple[int, int, int | None]:
        found = self.database.fetch(_FOUND, quoted_table(self.settings.table))
        if not found:
            raise SourceMissing(f"source {self.source.name}: there is no table {self.settings.table}")
        oid, rows, size = found[0]
        return oid, rows, size

    def _count(self, rows: int, size: int, most_bytes: int, most_rows: int) -> int:
        if rows <= 0:  # a view, or a table that was never analyzed
            ((rows,),) = self.database.fetch(f"SELECT count(*) FROM {quoted_table(self.settings.table)}")
        return min(MOST_RANGES, max(-(-rows // most_rows), -(-size // most_bytes)))

    def _bounds(self, oid: int, key: str, count: int) -> tuple[str, ...]:
        """The beginnings of all ranges but the first, as literals."""
        kinds = dict(self.database.fetch(_COLUMNS, oid))
        if key not in kinds:
            raise SpecError(f"{self.field}.splitBy", f"{self.settings.table} has no column {key}")
        kind = _key_type(kinds[key])
        if kind is None:
            raise SpecError(
                f"{self.field}.splitBy",
                f"{key} is of type {kinds[key]}: only whole numbers, dates and timestamps can be split",
            )
        column = quoted(key)
        finite = f" FILTER (WHERE isfinite({column}))" if kind != "bigint" else ""
        ((low, high),) = self.database.fetch(
            f"SELECT min({column}){finite}, max({column}){finite} FROM {quoted_table(self.settings.table)}"
        )
        return () if low is None else cuts(low, high, count, kind)


def cuts(low: Any, high: Any, count: int, kind: str) -> tuple[str, ...]:
    """Literals that cut the values from `low` to `high` into at most `count` ranges of the same width; ascending."""
    first, last = _number(low), _number(high)
    width = max(1, -(-(last - first + 1) // count))
    return tuple(f"'{_text(value, kind)}'::{kind}" for value in range(first + width, last + 1, width))


def _number(value: Any) -> int:
    match value:
        case datetime():
            naive = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            return (naive - _BEGIN) // timedelta(microseconds=1)
        case date():
            return value.toordinal()
        case _:
            return int(value)


def _text(value: int, kind: str) -> str:
    if kind == "bigint":
        return str(value)
    if kind == "date":
        return date.fromordinal(value).isoformat()
    moment = _BEGIN + timedelta(microseconds=value)
    return f"{moment.isoformat(sep=' ')}{'+00' if kind == 'timestamptz' else ''}"


def _key_type(kind: str) -> str | None:
    if kind in {"smallint", "integer", "bigint"}:
        return "bigint"
    return {"date": "date", "timestamp": "timestamp", "timestamptz": "timestamptz"}.get(type_of(kind))


def type_of(kind: str) -> str:
    """The manifest's word for a type of Postgres; string where none has all its values."""
    decimal = re.fullmatch(r"numeric\((\d+),(\d+)\)", kind)
    if decimal and int(decimal[2]) <= int(decimal[1]) <= 38:
        return f"decimal({decimal[1]},{decimal[2]})"
    if re.fullmatch(r"timestamp(\(\d\))? without time zone", kind):
        return "timestamp"
    if re.fullmatch(r"timestamp(\(\d\))? with time zone", kind):
        return "timestamptz"
    return _TYPES.get(kind, "string")
