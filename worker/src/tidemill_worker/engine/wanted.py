"""The columns that a source is read for, and where a file has them: by name, or where there are no names by order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tidemill_api.errors import ColumnMissing, NewColumn, SourceUnreadable
from tidemill_api.v1alpha1.datapipeline import Source
from tidemill_worker.engine.model import NOT_THERE, Layout, PlannedColumn

_MOST: Final = 50
"""Columns that a message names."""
_NAME: Final = re.compile(r"[^\W\d][\w .:/()#%$-]{0,62}")
_UNNAMED: Final = (
    "columns that can't be told apart, and its first line doesn't look like a header: declare columns, with "
    "header: false if it has none"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A column to read, by the name that it has in the file."""

    name: str
    header: str
    type: str
    required: bool
    optional: bool = False
    """A file may be without it."""


def declared(source: Source, *, named: bool = True) -> tuple[Wanted, ...]:
    """The declared columns; without `named`, files have no names of columns, and `from` means nothing."""
    cursor = source.cursor_column
    return tuple(
        Wanted(
            c.name,
            (c.from_ if named else None) or c.name,
            c.type,
            c.required,
            optional=adds(source) and not c.required and c is not cursor,
        )
        for c in source.columns
    )


def adds(source: Source) -> bool:
    """Whether columns that nobody declared are read too, and declared ones may be missing."""
    return source.contract.new_columns == "Add"


def unknown(source: Source, names: Iterable[str]) -> tuple[str, ...]:
    """Those of a source's columns, by their names in its files, that nobody declared; each once."""
    known = {column.header for column in declared(source)}
    return tuple(dict.fromkeys(name for name in names if name not in known))


def added(source: Source, types: Mapping[str, str]) -> tuple[Wanted, ...]:
    """The columns to read of a source that adds columns: the declared ones, and those of `types` beside them."""
    return (*declared(source), *(Wanted(name, name, kind, False, optional=True) for name, kind in types.items()))


def by_order(source: Source, label: str, wanted: Sequence[Wanted], fields: int) -> Layout:
    """The layout of the file `label`, whose columns have no names. Raises SourceUnreadable as `by_name` does."""
    _told_apart(source, label, wanted)
    return Layout(fields, tuple(PlannedColumn(c.name, c.type, c.required, i) for i, c in enumerate(wanted)))


def by_name(
    source: Source, label: str, names: Sequence[str], wanted: Sequence[Wanted], *, surely: bool = False
) -> Layout:
    """The layout of the file `label`, whose columns are called `names`; `surely`: it says so itself.

    Else that is what stands in its first line, which is a row of data where a header is missing. What is raised goes
    to logs, status and Events: it quotes such names only if they turn out to be some.

    Raises ColumnMissing, NewColumn if the contract says Fail, SourceUnreadable for names that can't be told apart.
    """
    missing = [column.header for column in wanted if column.header not in names and not column.optional]
    if not missing and wanted and not any(column.header in names for column in core(source, wanted)):
        missing = [column.header for column in core(source, wanted)][:_MOST]  # another file altogether
    named = surely or bool(source.columns) or _is_header([column.header for column in wanted])
    if missing:
        lacks = f"has no column {', '.join(missing)}" if named else f"lacks {len(missing)} of the first file's columns"
        shown = surely or (len(missing) < len(wanted) and named)
        has = ", ".join(names[:50]) if shown else f"{len(names)} columns, and its first line doesn't look like a header"
        raise ColumnMissing(f"source {source.name}: {label} {lacks}; it has {has}")
    twice = sorted({column.header for column in wanted if names.count(column.header) > 1})
    if twice:
        which = f"more than one column {', '.join(twice)}" if named else _UNNAMED
        raise SourceUnreadable(f"source {source.name}: {label} has {which}")
    _told_apart(source, label, wanted, named=named)
    if adds(source) and not surely and not _is_header(unknown(source, names)):
        raise SourceUnreadable(
            f"source {source.name}: {label} has columns that aren't declared, and whose names don't look like some: "
            "declare them (from), or set newColumns to Ignore"
        )
    new = [name for name in names if name not in {column.header for column in wanted}]
    if new and source.contract.new_columns == "Fail":
        raise NewColumn(
            f"source {source.name}: {label} has columns that aren't declared: {', '.join(new[:50])}; newColumns is Fail"
        )
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    return Layout(
        len(names),
        tuple(PlannedColumn(c.name, c.type, c.required, places.get(c.header, NOT_THERE)) for c in wanted),
    )


def core(source: Source, wanted: Sequence[Wanted]) -> Sequence[Wanted]:
    """The columns of which each file has one at least: those that are declared, else all."""
    return wanted[: len(source.columns)] or wanted


def _is_header(names: Sequence[str]) -> bool:
    """Whether names that nobody declared look like some, and not like data."""
    return all(_NAME.fullmatch(name) for name in names)


def _told_apart(source: Source, label: str, wanted: Sequence[Wanted], *, named: bool = True) -> None:
    odd = [column.name for column in wanted if not column.name or "\0" in column.name]
    if odd:
        raise SourceUnreadable(
            f"source {source.name}: {label} has a column called {odd[0] if named else ''!r}, which no table can have: "
            "declare columns"
        )
    folded = [column.name.lower() for column in wanted]
    alike = sorted({column.name for column in wanted if folded.count(column.name.lower()) > 1})
    if alike and not named:
        raise SourceUnreadable(f"source {source.name}: {label} has {_UNNAMED}")
    if alike:
        raise SourceUnreadable(
            f"source {source.name}: columns {', '.join(alike)} of {label} differ only in case; declare them with "
            f"names of their own (from)"
        )
