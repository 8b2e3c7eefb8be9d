"""The forms in which files hold rows: how each is cut into pieces, and a piece becomes typed columns.

All that reading needs to know of a format is here; `planning` has how its files are planned.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final, Protocol, assert_never

from tidemill_api.v1alpha1.datapipeline import CSV, JSON, JSONLines, Parquet, Source
from tidemill_worker.engine import files, parquet
from tidemill_worker.engine import reading_tables as tables
from tidemill_worker.engine.blocks import Block, Piece, Typed, page_blocks, pieces
from tidemill_worker.engine.dialect import TABLE, Dialect, dialect_of
from tidemill_worker.engine.fit import TypedRows, fitted
from tidemill_worker.engine.json_lines import LINES, Keys, parse_lines
from tidemill_worker.engine.letters import RowsOf
from tidemill_worker.engine.model import Layout, Pages, Part, Place
from tidemill_worker.engine.parse import Parsed, Rows, parse
from tidemill_worker.engine.wanted import adds
from tidemill_worker.files import Files


class Form(Protocol):
    """One format."""

    @property
    def encoding(self) -> str:
        """Of text that is kept of rows without an end."""
        ...

    def pieces(
        self, stack: ExitStack, place: Place, source: Source, part: Part, offset: int, size: int
    ) -> Iterator[Piece]:
        """The pieces of a part, in order and without gaps, of about `size` bytes each, from `offset` on.

        What is opened is closed with `stack`. Raises SourceChanged, SourceUnreadable.
        """
        ...

    def parse(self, piece: Block | Typed, layout: Layout) -> Parsed:
        """The good rows as the layout's columns, and what is wrong with the others. Never raises for what rows hold."""
        ...

    def rows(self, piece: Block | Typed) -> RowsOf:
        """Where the rows of a piece stand."""
        ...


def form_of(source: Source, field: str) -> Form:
    """The form of a source, whose `format` is at `field`. Raises SpecError for a dialect that can't be read."""
    null_values = source.contract.bad_values == "SetNull"
    if source.http is not None or source.python is not None:
        return APIRows(keys_of(source), null_values=null_values)
    if source.files is None:
        return TableRows(null_values=null_values)
    match source.files.format.chosen:
        case CSV() as csv:
            return DelimitedText(dialect_of(csv, f"{field}.csv"), null_values=null_values)
        case JSONLines() | JSON():
            return JSONText(keys_of(source), null_values=null_values)
        case Parquet():
            return ParquetFiles(null_values=null_values)
        case other:
            assert_never(other)


@dataclass(frozen=True, slots=True)
class DelimitedText:
    """CSV."""

    dialect: Dialect
    null_values: bool = False
    """Values of the wrong type are NULL (`contract.badValues: SetNull`); so of each form."""

    @property
    def encoding(self) -> str:
        """See `Form`."""
        return self.dialect.encoding

    def pieces(
        self, stack: ExitStack, place: Place, source: Source, part: Part, offset: int, size: int
    ) -> Iterator[Piece]:
        """See `Form`."""
        read = stack.enter_context(files.opened(files_at(place), part.file, source.in_files, offset, part.end))
        return pieces(read, self.dialect, offset, size)

    def parse(self, piece: Block | Typed, layout: Layout) -> Parsed:
        """See `Form`."""
        assert isinstance(piece, Block)
        return parse(piece, layout, self.dialect, null_values=self.null_values)

    def rows(self, piece: Block | Typed) -> RowsOf:
        """See `Form`."""
        assert isinstance(piece, Block)
        return Rows(piece, self.dialect)


def files_at(place: Place) -> Files:
    """The place of a source that is one of files."""
    assert isinstance(place, Files)
    return place


_OF_TABLES: Final = replace(dialect_of(TABLE.csv or CSV(), ""), quoted_nulls=False)


@dataclass(frozen=True, slots=True)
class TableRows(DelimitedText):
    """Rows of a table, which Postgres writes as CSV."""

    dialect: Dialect = _OF_TABLES

    def pieces(
        self, stack: ExitStack, place: Place, source: Source, part: Part, offset: int, size: int
    ) -> Iterator[Piece]:
        """See `Form`. A table is read from its beginning: `offset` is 0."""
        assert not isinstance(place, Files | Pages)
        assert part.keys is not None
        del source
        read = stack.enter_context(place.copied(tables.query_of(part.file.path, part.keys, part.layout)))
        return pieces(read, self.dialect, offset, size)


def keys_of(source: Source) -> Keys:
    """Where the columns of a source are found in its objects."""
    keys = {column.name: column.from_ for column in source.columns if column.from_ is not None}
    return Keys(source.name, keys, source.contract.new_columns == "Fail", adds(source))


@dataclass(frozen=True, slots=True)
class JSONText:
    """JSON Lines, and JSON arrays, which become such before."""

    keys: Keys
    encoding: str = "utf-8"
    null_values: bool = False

    def pieces(
        self, stack: ExitStack, place: Place, source: Source, part: Part, offset: int, size: int
    ) -> Iterator[Piece]:
        """See `Form`."""
        read = stack.enter_context(files.opened(files_at(place), part.file, source.in_files, offset, part.end))
        return pieces(read, LINES, offset, size)

    def parse(self, piece: Block | Typed, layout: Layout) -> Parsed:
        """See `Form`. Raises NewColumn where the contract says so."""
        assert isinstance(piece, Block)
        return parse_lines(piece, layout, self.keys, null_values=self.null_values)

    def rows(self, piece: Block | Typed) -> RowsOf:
        """See `Form`."""
        assert isinstance(piece, Block)
        return Rows(piece, LINES)


@dataclass(frozen=True, slots=True)
class APIRows(JSONText):
    """Rows of an API or a function, each of which became a line of JSON."""

    def pieces(
        self, stack: ExitStack, place: Place, source: Source, part: Part, offset: int, size: int
    ) -> Iterator[Piece]:
        """See `Form`. An API is read from its beginning: `offset` is 0."""
        del stack, source
        assert isinstance(place, Pages)
        assert part.asked is not None
        for page in place.pages(part.asked):
            yield from page_blocks(page.label, page.lines, offset, size)
            offset += len(page.lines)


@dataclass(frozen=True, slots=True)
class ParquetFiles:
    """Parquet."""

    encoding: str = "utf-8"
    null_values: bool = False

    def pieces(
        self, stack: ExitStack, place: Place, source: Source, part: Part, offset: int, size: int
    ) -> Iterator[Piece]:
        """See `Form`."""
        del source  # its format has no settings, and is compressed inside
        return parquet.pieces(stack, files_at(place), part, offset, size)

    def parse(self, piece: Block | Typed, layout: Layout) -> Parsed:
        """See `Form`."""
        assert isinstance(piece, Typed)
        return fitted(piece, layout, null_values=self.null_values)

    def rows(self, piece: Block | Typed) -> RowsOf:
        """See `Form`."""
        assert isinstance(piece, Typed)
        return TypedRows(piece)
