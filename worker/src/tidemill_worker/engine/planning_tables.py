"""Tables: which columns are read as which types, and into which ranges of keys they are cut."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

from tidemill_api.errors import SourceMissing, SpecError
from tidemill_api.v1alpha1.datapipeline import PostgresSource, Source
from tidemill_check import cursors
from tidemill_check.cursors import Kind
from tidemill_worker.engine.incremental import KnownRows
from tidemill_worker.engine.model import NOT_THERE, CursorRange, Database, KeyRange, Layout, Part
from tidemill_worker.engine.quoting import quoted, quoted_table
from tidemill_worker.engine.reading_tables import cursor_bounds
from tidemill_worker.engine.wanted import Wanted, added, adds, by_name, declared, unknown
from tidemill_worker.files import FileRef

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
_NO_INDEX: Final = (
    "SELECT c.relkind IN ('r', 'p', 'm') AND c.reltuples > 10000 AND NOT EXISTS (SELECT FROM pg_index i "
    "WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL AND i.indkey[0] = a.attnum) "
    "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.oid = $1::oid AND a.attname = $2"
)
_log: Final = logging.getLogger(__name__)
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
        whole = KeyRange(self.settings.split_by or "")
        return (self._part(self._layout(self._kinds(oid)), size or max(rows, 0) * _WIDE, whole),)

    def new_rows(self, known: KnownRows) -> tuple[Part, ...]:
        """The rows that the cursor says are new, as one part; none if there are none.

        Up to which value is decided here, once for the run. Raises SpecError too.
        """
        oid, _, _ = self._found()
        kinds = self._kinds(oid)
        layout = self._layout(kinds)
        keys = self._cursor(kinds)
        column, table = quoted(keys.cursor), quoted_table(self.settings.table)
        if known.after is not None:
            keys = replace(keys, after=cursors.text(known.after, keys.kind))
        until = known.until
        if until is None:
            ((newest,),) = self.database.fetch(f"SELECT max({column}) FROM {table} WHERE {_beyond(keys)}")
            if newest is None:
                return ()
            reached = cursors.number(newest)
            until = reached if known.reached is None else max(reached, known.reached)
        keys = replace(keys, until=cursors.text(until, keys.kind))
        ((count,),) = self.database.fetch(f"SELECT count(*) FROM {table} WHERE {' AND '.join(cursor_bounds(keys))}")
        ((without,),) = self.database.fetch(f"SELECT count(*) FROM {table} WHERE {column} IS NULL")
        self._hint(oid, keys.cursor)
        return (self._part(layout, count * _WIDE, replace(keys, without=without)),) if count else ()

    def cut(self, part: Part, most_bytes: int, most_rows: int) -> Iterator[Part]:
        """Ranges of the key of the same width, as many as rows and bytes ask for; or the whole."""
        keys, (oid, rows, _) = part.keys, self._found()
        assert keys is not None
        rows = (part.bytes or 0) // _WIDE if isinstance(keys, CursorRange) else rows
        count = self._count(rows, part.bytes or 0, most_bytes, most_rows) if keys.column else 1
        bounds = self._bounds(oid, keys, count) if count > 1 else ()
        for low, high in pairwise([None, *bounds, None]):
            ranged = replace(keys, low=low, high=high)
            if isinstance(ranged, CursorRange) and low is not None:
                ranged = replace(ranged, without=0)
            yield replace(part, keys=ranged, bytes=(part.bytes or 0) // (len(bounds) + 1))

    def _part(self, layout: Layout, size: int, keys: KeyRange) -> Part:
        return Part(FileRef(self.settings.table, 0, 0), layout, 0, None, 1, size, keys)

    def _kinds(self, oid: int) -> dict[str, str]:
        """Postgres' type of each column."""
        return dict(self.database.fetch(_COLUMNS, oid))

    def _layout(self, kinds: Mapping[str, str]) -> Layout:
        found = {name: type_of(kind) for name, kind in kinds.items()}
        if adds(self.source):
            wanted = added(self.source, {name: found[name] for name in unknown(self.source, found)})
        else:
            wanted = declared(self.source) or tuple(Wanted(name, name, kind, False) for name, kind in found.items())
        layout = by_name(self.source, self.settings.table, list(kinds), wanted, surely=True)
        there = [place for place, column in enumerate(layout.columns) if column.field != NOT_THERE]
        fields = {place: field for field, place in enumerate(there)}
        return replace(
            layout,
            fields=len(there),
            columns=tuple(
                replace(column, field=fields.get(place, NOT_THERE)) for place, column in enumerate(layout.columns)
            ),
            names=tuple(wanted[place].header for place in there),
        )

    def _cursor(self, kinds: Mapping[str, str]) -> CursorRange:
        """The range of all values. Raises SpecError for a column whose values aren't what is declared."""
        column = self.source.cursor_column
        assert column is not None  # the model's rule
        name = column.from_ or column.name
        kind = _key_type(kinds[name])
        if kind is None or cursors.FAMILY[kind] != cursors.FAMILY[cursors.kind_of(column.type) or "bigint"]:
            raise SpecError(
                f"{self.field.removesuffix('.postgres')}.incremental.cursor",
                f"{column.name} is declared as {column.type}, and in {self.settings.table} it is of type "
                f"{kinds[name]}: a cursor is a column of whole numbers, dates or timestamps, and declared as such",
            )
        return CursorRange(self.settings.split_by or name, cursor=name, kind=kind)

    def _hint(self, oid: int, column: str) -> None:
        """Say that there is no index for the cursor, where there could be one."""
        if self.database.fetch(_NO_INDEX, oid, column) == [(True,)]:
            _log.warning(
                "source %s: %s has no index that begins with %s: each run reads the whole table to find what is new",
                *(self.source.name, self.settings.table, column),
            )

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

    def _bounds(self, oid: int, keys: KeyRange, count: int) -> tuple[str, ...]:
        """The beginnings of all ranges but the first, as literals."""
        kinds, key = self._kinds(oid), keys.column
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
        where = f" WHERE {' AND '.join(cursor_bounds(keys))}" if isinstance(keys, CursorRange) else ""
        ((low, high),) = self.database.fetch(
            f"SELECT min({column}){finite}, max({column}){finite} FROM {quoted_table(self.settings.table)}{where}"
        )
        return () if low is None else cuts(low, high, count, kind)


def cuts(low: Any, high: Any, count: int, kind: Kind) -> tuple[str, ...]:
    """Literals that cut the values from `low` to `high` into at most `count` ranges of the same width; ascending."""
    first, last = cursors.number(low), cursors.number(high)
    width = max(1, -(-(last - first + 1) // count))
    return tuple(f"'{cursors.text(value, kind)}'::{kind}" for value in range(first + width, last + 1, width))


def _beyond(keys: CursorRange) -> str:
    """The condition of rows that may be new: an index finds the greatest of them at once."""
    column = quoted(keys.cursor)
    bounds = [f"{column} > '{keys.after}'::{keys.kind}"] if keys.after is not None else []
    return " AND ".join([*bounds, f"{column} < 'infinity'" if keys.kind != "bigint" else f"{column} IS NOT NULL"])


def _key_type(kind: str) -> Kind | None:
    return cursors.kind_of(type_of(kind))


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
