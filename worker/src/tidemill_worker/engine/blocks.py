"""What a source gives, piece by piece: blocks of whole rows of text, rows without an end, or columns.

Here a stream of bytes is cut into blocks. Nothing is parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from tidemill_worker.engine.borders import last_border, line_breaks, scan, whole_rows
from tidemill_worker.engine.dialect import BLOCK, MAX_ROW, Dialect

Read = Callable[[int], bytes]
"""At most so many bytes; fewer or none only at the end."""
SHOWN = 64 << 10
"""Bytes of a broken row that are kept."""


@dataclass(frozen=True, slots=True)
class Block:
    """Whole rows; the last one of a file may lack its line break."""

    offset: int
    """Of `data`, in the uncompressed file."""
    data: bytes

    @property
    def end(self) -> int:
        """Offset after it."""
        return self.offset + len(self.data)

    @property
    def bytes(self) -> int:
        """How much was read for it."""
        return len(self.data)

    @property
    def lines(self) -> int:
        """Physical lines in it. Counts them each time."""
        return line_breaks(self.data)


@dataclass(frozen=True, slots=True)
class PageBlock(Block):
    """Whole rows of one page of an API, each on a line."""

    page: str
    """How letters call the page."""
    line: int
    """Number of the first row in its page, from 1."""


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that can't be one: too long, or with a quote that isn't closed. Reading goes on with the next line."""

    offset: int
    data: bytes
    """Its beginning."""
    length: int
    lines: int
    error: str

    @property
    def end(self) -> int:
        """Offset after it."""
        return self.offset + self.length

    @property
    def bytes(self) -> int:
        """How much was read for it."""
        return self.length


@dataclass(frozen=True, slots=True)
class Typed:
    """Rows that come as columns: there is no text to be parsed, but the types may not be those that are wanted."""

    offset: int
    """Number (from 0) of its first row in the file."""
    table: pa.Table
    """The layout's columns in its order and under its names, with the types that the file has them in."""
    bytes: int
    """How much was read for it, about."""

    @property
    def end(self) -> int:
        """Number of the row after it."""
        return self.offset + self.lines

    @property
    def lines(self) -> int:
        """Each row counts as a line."""
        return int(self.table.num_rows)


TextPiece = Block | BrokenRow
Piece = TextPiece | Typed


def page_blocks(page: str, lines: bytes, offset: int, size: int) -> Iterator[PageBlock]:
    """A page's rows in blocks of about `size` bytes; `offset` is where they begin among the rows of all pages."""
    begin, line = 0, 1
    while begin < len(lines):
        end = lines.find(b"\n", min(begin + size, len(lines)) - 1) + 1 or len(lines)
        data = lines[begin:end]
        yield PageBlock(offset + begin, data, page, line)
        begin, line = end, line + data.count(b"\n")


def pieces(read: Read, dialect: Dialect, offset: int, size: int = BLOCK) -> Iterator[TextPiece]:
    """Cut what `read` gives into pieces, in order and without gaps. The same bytes and `size` give the same pieces.

    `offset` is the stream's first byte within the file, where a row must begin. Holds at most `size` + MAX_ROW bytes.
    """
    rest = b""
    while True:
        more = read(size)
        border = _simple_border(rest, more, dialect)
        if border:
            data = b"".join((rest, memoryview(more)[:border]))  # the one copy of what is read
            yield Block(offset, data)
            offset += len(data)
            rest = more[border:]
            continue
        data = rest + more if rest else more
        if not more:
            yield from _last(data, offset, dialect)
            return
        while True:
            border = last_border(data, dialect)
            if border:
                yield Block(offset, data[:border])
                offset += border
            rest = data[border:]
            if len(rest) <= MAX_ROW:
                break
            broken, data = _broken(rest, offset, dialect, read)
            yield broken
            offset = broken.end


def _simple_border(rest: bytes, more: bytes, dialect: Dialect) -> int:
    """Offset in `more` after its last row, where no quote may be in the way of seeing it at once; else 0."""
    if dialect.quoted_newlines and (dialect.quote in more or dialect.quote in rest):
        return 0
    border = more.rfind(b"\n") + 1
    return border if len(more) - border <= MAX_ROW else 0


def _last(data: bytes, offset: int, dialect: Dialect) -> Iterator[TextPiece]:
    """The end of the stream, where a row may lack its line break, or a quote its partner."""
    while data:
        closed = data if data.endswith((b"\n", b"\r")) else data + b"\n"
        if not dialect.quoted_newlines or whole_rows(closed, len(closed), dialect):
            yield Block(offset, data)
            return
        found = scan(data, dialect)
        begin = found.ends[-2] if len(found.ends) > 1 else 0
        if begin:
            yield Block(offset, data[:begin])
        line = data.find(b"\n", found.unclosed[0]) + 1 or len(data)
        row = data[begin:line]
        yield BrokenRow(offset + begin, row[:SHOWN], len(row), _lines(row), "a quoted value isn't closed")
        offset += line
        data = data[line:]


def _broken(data: bytes, offset: int, dialect: Dialect, read: Read) -> tuple[BrokenRow, bytes]:
    """`data` begins with a row that has no end within MAX_ROW bytes.

    End it at a line break, and return what follows.
    """
    limit = f"{MAX_ROW >> 20} MiB"
    unclosed = scan(data, dialect).unclosed if dialect.quoted_newlines else []
    line = data.find(b"\n", unclosed[0]) + 1 if unclosed else 0
    if line:
        row = data[:line]
        return BrokenRow(offset, row[:SHOWN], line, _lines(row), f"a quoted value isn't closed within {limit}"), data[
            line:
        ]
    length = len(data)
    while more := read(BLOCK):
        line = more.find(b"\n") + 1
        if line:
            return BrokenRow(offset, data[:SHOWN], length + line, 1, f"the row is longer than {limit}"), more[line:]
        length += len(more)
    return BrokenRow(offset, data[:SHOWN], length, 1, f"the row is longer than {limit}"), b""


def _lines(data: bytes) -> int:
    return data.count(b"\n") or 1
