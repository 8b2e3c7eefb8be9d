"""CSV files: their columns and the types of these, and where the files are cut into chunks."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from tidemill_api.errors import SourceUnreadable
from tidemill_api.v1alpha1.datapipeline import CSV, Source
from tidemill_worker.engine import files
from tidemill_worker.engine.borders import last_border, scan
from tidemill_worker.engine.columns import infer
from tidemill_worker.engine.dialect import BLOCK, Dialect, dialect_of
from tidemill_worker.engine.model import Layout, Part
from tidemill_worker.engine.parse import text_rows
from tidemill_worker.engine.recoding import is_recoded
from tidemill_worker.engine.stretches import Stretch, stretches
from tidemill_worker.engine.wanted import Wanted, added, adds, by_name, by_order, declared, unknown
from tidemill_worker.files import FileRef, Files

SAMPLE_BYTES: Final = 1 << 20
"""Beginning of a file that is looked at for inferring types."""
SAMPLE_FILES: Final = 8
"""Files of a source that are looked at for inferring types: the first ones."""
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class _Head:
    """The beginning of a file."""

    ref: FileRef
    names: tuple[str, ...]
    """Of its header, or of the columns in order where there is none."""
    start: int
    first_line: int
    sample: bytes
    """Whole rows after the header; none if the file has no rows."""
    unnamed: frozenset[str] = frozenset()
    """Of the names those that the header hasn't: it has nothing there."""


@dataclass(frozen=True, slots=True)
class CSVPlanner:
    """Plans the CSV files of one source."""

    source: Source
    csv: CSV
    field: str
    """Of `csv` in the manifest."""
    place: Files

    @property
    def _dialect(self) -> Dialect:
        return dialect_of(self.csv, self.field)

    def parts(self, refs: Sequence[FileRef]) -> tuple[Part, ...]:
        """Each of the files that has rows, or the first one if none has."""
        heads = [self._head(ref) for ref in refs]
        named = [head for head in heads if head.names]
        if adds(self.source) and named:
            names = (name for head in named for name in head.names if name not in head.unnamed)
            wanted = added(self.source, self._types(unknown(self.source, names), named))
        elif self.source.columns:
            wanted = declared(self.source, named=self.csv.header)
        elif named:
            wanted = self._inferred(named)
        else:
            raise SourceUnreadable(f"{heads[0].ref.label} is empty: it has no header, and no columns are declared")
        if not named:
            return (
                Part(
                    heads[0].ref,
                    by_order(self.source, heads[0].ref.label, wanted, len(wanted)),
                    heads[0].start,
                    None,
                    1,
                ),
            )
        filled = [head for head in named if head.sample] or named[:1]
        layouts = {head.ref: self._layout(head, wanted) for head in named}
        return tuple(Part(head.ref, layouts[head.ref], head.start, None, head.first_line) for head in filled)

    def _head(self, ref: FileRef) -> _Head:
        with files.opened(self.place, ref, self.source.in_files) as read:
            data = read(SAMPLE_BYTES)
        if data.startswith(_UTF16) and not is_recoded(self.source.in_files):
            raise SourceUnreadable(f"{ref.label} is UTF-16, not {self.csv.encoding}: set files.format.csv.encoding")
        start = len(_BOM) if data.startswith(_BOM) and self._dialect.encoding == "utf-8" else 0
        start += _blank(data[start:])
        if not self.csv.header:
            names = tuple(column.name for column in self.source.columns)
            return _Head(ref, names if start < len(data) else (), start, 1 + data[:start].count(b"\n"), data[start:])
        rows = scan(_first_lines(data[start:], self._dialect), self._dialect)
        end = start + (rows.ends or [0])[0]
        if rows.unclosed and start + rows.unclosed[0] < end:
            raise SourceUnreadable(f"the header of {ref.label} has a quoted name that isn't closed")
        written = self._header(data[start:end], ref)
        names = tuple(name or f"column_{index + 1}" for index, name in enumerate(written))
        unnamed = frozenset(name for name, found in zip(names, written, strict=True) if not found)
        first_line = 1 + (data[:end].count(b"\n") or data[:end].count(b"\r"))
        return _Head(ref, names, end, first_line, data[end:], unnamed)

    def _header(self, row: bytes, ref: FileRef) -> list[str]:
        """The names as they stand there, some of them empty."""
        if not row:
            return []
        if b"\0" in row or len(row) >= SAMPLE_BYTES:
            raise SourceUnreadable(f"{ref.label} is no text file: its first line is no header")
        try:
            text = row.decode(self._dialect.encoding)
        except UnicodeDecodeError:
            raise SourceUnreadable(
                f"the header of {ref.label} is not {self.csv.encoding}: set files.format.csv.encoding"
            ) from None
        delimiter, quote = self._dialect.delimiter.decode(), self._dialect.quote.decode()
        try:
            return next(csv.reader([text], delimiter=delimiter, quotechar=quote))
        except csv.Error as error:  # a name longer than the module takes
            raise SourceUnreadable(f"the first line of {ref.label} is no header: {error}") from None

    def _inferred(self, heads: list[_Head]) -> tuple[Wanted, ...]:
        """All columns of the first file."""
        types = self._types(heads[0].names, heads)
        return tuple(Wanted(name, name, types[name], False) for name in heads[0].names)

    def _types(self, names: Sequence[str], heads: list[_Head]) -> dict[str, str]:
        """The types of these columns that the samples of the first files agree with which have them."""
        samples: dict[str, list[pa.StringArray]] = {name: [] for name in names}
        for head in heads:
            lacking = {name for name in head.names if name in samples and len(samples[name]) < SAMPLE_FILES}
            if not lacking:
                continue
            rows = head.sample[: last_border(head.sample, self._dialect)] or head.sample
            table = text_rows(rows, len(head.names), self._dialect)
            for index, name in enumerate(head.names):
                if name in lacking:
                    samples[name].append(table.column(index).combine_chunks())
        return {name: infer(samples[name]) for name in names}

    def _layout(self, head: _Head, wanted: tuple[Wanted, ...]) -> Layout:
        if not self.csv.header:
            return by_order(self.source, head.ref.label, wanted, len(head.names))
        return by_name(self.source, head.ref.label, head.names, wanted)

    def cut(self, part: Part, most_bytes: int, most_rows: int) -> Iterator[Part]:
        """See `cut_text`."""
        return cut_text(self.source, self.place, self._dialect, part, most_bytes, most_rows)


def cut_text(
    source: Source, place: Files, dialect: Dialect, part: Part, most_bytes: int, most_rows: int
) -> Iterator[Part]:
    """Ranges of a part. What is compressed or recoded stays whole: it can't be read from the middle."""
    if not (files.can_be_cut(part.file.path, source.in_files) and place.ranged(part.file)):
        yield part
        return
    whole = replace(part, end=max(part.file.size, part.start))
    if _small(place, whole, source, most_bytes, most_rows):
        yield whole
        return
    found = stretches(place, whole, source.in_files, dialect, min(BLOCK, most_bytes))
    cuts = list(cuts_of(found, dialect, part, most_bytes, most_rows))
    for (start, line), (end, _) in zip(cuts, [*cuts[1:], (part.file.size, 0)], strict=True):
        yield replace(part, start=start, end=end, first_line=line)


def _first_lines(data: bytes, dialect: Dialect) -> bytes:
    """The first line if it surely is the first row; else all, for a quoted value may go over many lines."""
    line = data[: data.find(b"\n") + 1]
    return data if not line or b"\r" in line[:-2] or dialect.quote in line else line


def _blank(data: bytes) -> int:
    """Bytes of blank lines at the beginning."""
    return len(data) - len(data.lstrip(b"\r\n"))


def _small(place: Files, part: Part, source: Source, most_bytes: int, most_rows: int) -> bool:
    """Whether the part is surely one chunk, so that it needn't be looked through for borders."""
    size = (part.end or 0) - part.start
    if size > most_bytes:
        return False
    if size <= most_rows:  # a row takes a byte at least
        return True
    with files.opened(place, part.file, source.in_files, part.start, part.end) as read:
        sample = read(SAMPLE_BYTES)
    rows = sample.count(b"\n") or sample.count(b"\r") or 1
    return size * rows / len(sample) < 0.9 * most_rows


def cuts_of(
    found: Iterable[Stretch], dialect: Dialect, part: Part, most_bytes: int, most_rows: int
) -> Iterator[tuple[int, int]]:
    """Offset and line of each chunk's first row. A chunk has a stretch at least, and else no more than the limits."""
    start, line, rows = part.start, part.first_line, 0
    yield start, line
    for stretch in found:
        if stretch.offset > start and stretch.end - start > most_bytes:
            start, rows = stretch.offset, 0
            yield start, line
        if rows + stretch.lines > most_rows and stretch.whole is not None:
            data = stretch.whole()
            ends = scan(data, dialect).ends
            counted = line
            for index, end in enumerate(ends[:-1]):
                rows += 1
                if rows == most_rows:
                    counted = line + data.count(b"\n", 0, end)
                    start, rows = stretch.offset + ends[index], 0
                    yield start, counted
            rows += 1
        else:
            rows += stretch.lines
        line += stretch.lines
