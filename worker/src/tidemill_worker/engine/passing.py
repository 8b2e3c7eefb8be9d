"""The rows that a rehearsal takes through a pipeline, piece by piece: of a source, or of a computation's answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from tidemill_worker.engine.blocks import Block, Piece, Typed
from tidemill_worker.engine.fit import TypedRows
from tidemill_worker.engine.letters import Origin, RowsOf
from tidemill_worker.engine.model import Layout, Part, Place
from tidemill_worker.engine.stage import Done, Reader, Reads, RefusedRow
from tidemill_worker.engine.steps import Batch

BLOCK: Final = 1 << 20
"""Bytes that are worked on at once: small, so that the first rows are there soon."""


@dataclass(frozen=True, slots=True)
class Passing:
    """A piece of a source on its way, with what became of it so far."""

    piece: Piece
    origin: Origin
    line: int
    batches: dict[str, Batch]


class Answer:
    """The answer of a computation, as one piece."""

    def __init__(self, name: str, table: pa.Table, sound: bool) -> None:
        self.reader: Reads = _AnswerReader(name, table.schema)
        self.sound = sound
        """It was computed from all rows, not only from those that were read."""
        self.most: int | None = None
        self._table: pa.Table | None = table

    def more(self) -> bool:
        """Whether it wasn't given yet."""
        return self._table is not None

    def next(self) -> tuple[Passing, Done] | None:
        """The piece, once."""
        table, self._table = self._table, None
        if table is None:
            return None
        name, done = self.reader.name, Done(Batch(table))
        return Passing(Typed(0, table, table.nbytes), Origin(name, 0, name), 1, {name: done.batch}), done


@dataclass(frozen=True, slots=True)
class _AnswerReader:
    """Where the rows of an answer stand: letters of later steps have them as JSON."""

    name: str
    columns: pa.Schema

    def schema(self, layout: Layout) -> pa.Schema:
        """See `Reads`."""
        del layout
        return self.columns

    def open(self, stack: ExitStack, place: Place | None, part: Part, offset: int, size: int) -> Iterator[Piece]:
        """See `Reads`; an answer is in no file."""
        del stack, place, part, offset, size
        return iter(())

    def rows(self, piece: Block | Typed) -> RowsOf:
        """See `Reads`."""
        assert isinstance(piece, Typed)
        return TypedRows(piece)

    def read(self, piece: Piece, layout: Layout, origin: Origin) -> Done:
        """See `Reads`."""
        del layout, origin
        assert isinstance(piece, Typed)
        return Done(Batch(piece.table))


class Reading:
    """The pieces of a source, one after another. Says whether there are more without counting them."""

    sound: Final = True

    def __init__(self, reader: Reader, parts: Sequence[Part], place: Place) -> None:
        self.reader = reader
        self.most: int | None = None
        """Bytes after which no more piece is given."""
        self._parts = parts
        self._place = place
        self._pieces = self._all()
        self._ahead: tuple[Piece, Part, Origin] | None = None
        self._line = 0
        self._bytes = 0

    def more(self) -> bool:
        """Whether the source goes on."""
        if self._ahead is None:
            self._ahead = next(self._pieces, None)
        return self._ahead is not None

    def next(self) -> tuple[Passing, Done] | None:
        """The next piece, parsed. Raises what reading raises."""
        if (self.most is not None and self._bytes >= self.most) or not self.more():
            return None
        assert self._ahead is not None
        (piece, part, origin), self._ahead = self._ahead, None
        if piece.offset == part.start:
            self._line = part.first_line
        try:
            done = self.reader.read(piece, part.layout, origin)
        except RefusedRow as refused:
            raise refused.at(self._line) from None
        passing = Passing(piece, origin, self._line, {self.reader.source.name: done.batch})
        self._line += piece.lines if done.lines is None else done.lines
        self._bytes += piece.bytes
        return passing, done

    def _all(self) -> Iterator[tuple[Piece, Part, Origin]]:
        source = self.reader.source
        for ordinal, part in enumerate(self._parts):
            origin = Origin(source.name, 0, part.file.label, ordinal)
            with ExitStack() as stack:
                for piece in self.reader.open(stack, self._place, part, part.start, BLOCK):
                    yield piece, part, origin
