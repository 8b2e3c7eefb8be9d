"""Dead letters as columns: rows that were rejected, where they came from, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from tidemill_worker.engine.blocks import SHOWN, BrokenRow, PageBlock, Piece

Reason = Literal["BadValue", "BadRow", "RuleBroken", "BadKey"]
"""BadValue: a value of the wrong type, or a required one that is missing.
BadRow: fields, quoting, encoding, NUL bytes, length.
RuleBroken: rules of a validate step. BadKey: a sink can't take the row (no value in its primary key)."""

SCHEMA: Final = pa.schema(
    [
        pa.field("step", pa.string(), nullable=False),  # source, validate step or sink that rejected the row
        pa.field("source", pa.string(), nullable=False),
        pa.field("chunk", pa.int32(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),  # of the source's row: its byte offset in the file
        pa.field("part", pa.int32(), nullable=False),  # which of the rows that a query made of it; else 0
        pa.field("file", pa.string(), nullable=False),  # `a.zip!b.csv` for a member
        pa.field("byte_offset", pa.int64(), nullable=False),  # in the uncompressed bytes; of typed rows, number from 0
        pa.field("line", pa.int64(), nullable=False),  # from 1
        pa.field("reason", pa.string(), nullable=False),
        pa.field("rules", pa.list_(pa.string()), nullable=False),  # rules that the row broke; else empty
        pa.field("error", pa.string(), nullable=False),  # a sentence; may hold the value at fault
        pa.field("cause", pa.string(), nullable=False),  # the same without values: what errors are counted by
        pa.field("row_text", pa.string(), nullable=True),  # as it stands in the file (or JSON), NUL as U+FFFD
        pa.field("row_columns", pa.string(), nullable=True),  # JSON object of the columns, if a query changed the row
    ]
)


class RowsOf(Protocol):
    """Where the rows of a piece stand in their file, and how they are shown. Rows go by their number in the piece."""

    def offset(self, row: int) -> int:
        """What tells the row from all others of its file: its byte, or its number from 0."""
        ...

    def where(self, row: int) -> str:
        """The same, for a sentence: `byte 17`, `row 3`."""
        ...

    def texts(self, rows: Sequence[int]) -> list[str]:
        """These rows as text that Postgres can keep."""
        ...

    def lines(self, rows: Sequence[int]) -> list[int]:
        """Lines (from 0, within the piece) at which these rows begin; the rows ascend."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the rows of a piece come from."""

    source: str
    chunk: int
    file: str
    ordinal: int = 0
    """Which of the files that this chunk reports; 0 for the chunk's own."""

    def position(self, offset: int) -> int:
        """A row's position: its byte offset, made unique among the files of the chunk."""
        return (self.ordinal << 44) + offset


def origin_of(origin: Origin, piece: Piece) -> Origin:
    """Where the rows of a piece come from: of an API, from their page."""
    return replace(origin, file=piece.page) if isinstance(piece, PageBlock) else origin


def first_line(piece: Piece, line: int) -> int:
    """The line at which a piece begins in its file (or page), of which `line` is known."""
    return piece.line if isinstance(piece, PageBlock) else line


@dataclass(frozen=True, slots=True)
class Letter:
    """Why one row was rejected, and which one it was."""

    row: int
    """Of the block."""
    reason: Reason
    error: str
    rules: Sequence[str] = ()
    part: int = 0
    columns: str | None = None
    cause: str = ""
    """The error without the value at fault; empty if it is the error as it stands."""


def of_rows(step: str, origin: Origin, rows: RowsOf, letters: Sequence[Letter]) -> pa.Table:
    """Letters of a piece; lines count from the piece's first one until `shifted`."""
    places = [letter.row for letter in letters]
    offsets = [rows.offset(row) for row in places]
    return _table(
        step=[step] * len(letters),
        source=[origin.source] * len(letters),
        chunk=[origin.chunk] * len(letters),
        position=[origin.position(offset) for offset in offsets],
        part=[letter.part for letter in letters],
        file=[origin.file] * len(letters),
        byte_offset=offsets,
        line=rows.lines(places),
        reason=[letter.reason for letter in letters],
        rules=[list(letter.rules) for letter in letters],
        error=[letter.error.replace("\0", "\ufffd") for letter in letters],
        cause=[(letter.cause or letter.error).replace("\0", "\ufffd") for letter in letters],
        row_text=[_shown(text) for text in rows.texts(places)],
        row_columns=[letter.columns for letter in letters],
    )


def of_broken_row(origin: Origin, row: BrokenRow, encoding: str) -> pa.Table:
    """The letter of a row that has no proper end."""
    text = row.data.rstrip(b"\r\n").decode(encoding, errors="replace").replace("\0", "\ufffd")
    return _table(
        step=[origin.source],
        source=[origin.source],
        chunk=[origin.chunk],
        position=[origin.position(row.offset)],
        part=[0],
        file=[origin.file],
        byte_offset=[row.offset],
        line=[0],
        reason=["BadRow"],
        rules=[[]],
        error=[row.error],
        cause=[row.error],
        row_text=[text + " … (cut)" if row.length > len(row.data) else text],
        row_columns=[None],
    )


def shifted(letters: pa.Table, line: int) -> pa.Table:
    """With true lines, `line` being the piece's first."""
    place = SCHEMA.get_field_index("line")
    return letters.set_column(place, SCHEMA.field(place), pc.add(letters.column(place), line))


def _table(**columns: Sequence[object]) -> pa.Table:
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else text[:SHOWN] + " … (cut)"
