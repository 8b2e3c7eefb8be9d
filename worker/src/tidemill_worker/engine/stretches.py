"""A plain file, looked through for the borders and lines of its rows, before any of it is loaded.

Where there are no quotes a row ends at each LF, so nothing of the file needs to be kept: it is read into the same few
buffers again and again, and other threads count lines meanwhile, which takes longer than reading.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Final

from tidemill_api.v1alpha1.datapipeline import FileSource
from tidemill_worker.engine import files
from tidemill_worker.engine.blocks import Block, TextPiece, pieces
from tidemill_worker.engine.borders import line_breaks
from tidemill_worker.engine.dialect import Dialect
from tidemill_worker.engine.model import Part
from tidemill_worker.files import Files

_COUNTERS: Final = 2
"""Threads that count lines."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some whole rows, or a part of a row that is too long; stretches have no gaps."""

    offset: int
    end: int
    """Offset after it."""
    lines: int
    whole: Callable[[], bytes] | None
    """Gives its bytes, if it is whole rows."""


def stretches(place: Files, part: Part, source: FileSource, dialect: Dialect, size: int) -> Iterator[Stretch]:
    """A part that isn't compressed, in stretches of about `size` bytes. Raises SourceChanged, SourceUnreadable."""
    with ThreadPoolExecutor(_COUNTERS, thread_name_prefix="tidemill-lines") as counters:
        ahead: deque[tuple[_Found, Future[int]]] = deque()
        for found in _found(place, part, source, dialect, size):
            ahead.append((found, counters.submit(found.count)))
            if len(ahead) > _COUNTERS:
                first, lines = ahead.popleft()
                yield Stretch(first.offset, first.end, lines.result(), first.whole)
        for rest, lines in ahead:
            yield Stretch(rest.offset, rest.end, lines.result(), rest.whole)


@dataclass(frozen=True, slots=True)
class _Found:
    offset: int
    end: int
    count: Callable[[], int]
    """Gives the number of lines. To be asked before `_COUNTERS` more have been found."""
    whole: Callable[[], bytes] | None


def _found(place: Files, part: Part, source: FileSource, dialect: Dialect, size: int) -> Iterator[_Found]:
    end = part.start
    for found in _plain(place, part, source, dialect, size):
        end = found.end
        yield found
    with files.opened(place, part.file, source, end, part.end) as read:
        for piece in pieces(read, dialect, end, size):
            whole = partial(_of, piece) if isinstance(piece, Block) else None
            yield _Found(piece.offset, piece.end, partial(_lines, piece), whole)


def _of(block: Block) -> bytes:
    return block.data


def _lines(piece: TextPiece) -> int:
    return piece.lines


def _plain(place: Files, part: Part, source: FileSource, dialect: Dialect, size: int) -> Iterator[_Found]:
    """What is found before it isn't that simple any more: a quote, a row longer than `size`, the end."""

    def read_again(start: int, end: int) -> bytes:
        with files.opened(place, part.file, source, start, end) as read:
            return read(end - start)

    buffers = [bytearray(size) for _ in range(_COUNTERS + 1)]
    start = looked = part.start
    with files.opened_to_fill(place, part.file, source, part.start, part.end) as fill:
        for buffer in cycle(buffers):
            length = fill(buffer)
            border = buffer.rfind(b"\n", 0, length) + 1
            if not border or (dialect.quoted_newlines and buffer.find(dialect.quote, 0, length) >= 0):
                return
            end = looked + border
            yield _Found(start, end, partial(line_breaks, memoryview(buffer)[:border]), partial(read_again, start, end))
            start, looked = end, looked + length
            if length < size:
                return
