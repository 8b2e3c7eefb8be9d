"""Which files there are, what their columns are, and where they are cut into chunks."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa

from tidemill_api.errors import ColumnMissing, NewColumn, SourceUnreadable
from tidemill_api.v1alpha1 import DataPipelineSpec, parse_bytes
from tidemill_api.v1alpha1.datapipeline import Source
from tidemill_check.parameters import bind_parameters
from tidemill_check.paths import rendered
from tidemill_check.stages import stages
from tidemill_worker.engine import files
from tidemill_worker.engine.borders import last_border, scan
from tidemill_worker.engine.columns import infer
from tidemill_worker.engine.dialect import BLOCK, Dialect, dialect_of
from tidemill_worker.engine.model import Chunk, Connections, FileRef, Layout, Parameters, Part, PlannedColumn, RunRef
from tidemill_worker.engine.parse import text_rows
from tidemill_worker.engine.postgres.reprocess import refuse_other_rows
from tidemill_worker.engine.stretches import Stretch, stretches

SAMPLE_BYTES: Final = 1 << 20
"""Beginning of a file that is looked at for inferring types."""
SAMPLE_FILES: Final = 8
"""Files of a source that are looked at for inferring types: the first ones."""
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_BOM: Final = b"\xef\xbb\xbf"


async def plan(
    spec: DataPipelineSpec, parameters: Parameters, run: RunRef, connections: Connections
) -> tuple[Chunk, ...]:
    """See `engine.plan`."""
    folders = {source.name: connections.folder(source.connection) for source in spec.sources}
    located = rendered(spec, bind_parameters(spec, parameters, run.run_time, run.interval_start))
    chunks = await asyncio.to_thread(chunks_of, located, folders)
    if run.execution > 1:
        await refuse_other_rows(spec, parameters, run, chunks, connections)
    return chunks


def chunks_of(spec: DataPipelineSpec, folders: Mapping[str, Path]) -> tuple[Chunk, ...]:
    """The chunks of all stages, from what is in the folders now. Blocks; raises what `engine.plan` raises of files."""
    cut = stages(spec)
    driving = {name for stage in cut for name in (stage.source, *stage.steps)}
    parts: dict[str, tuple[Part, ...]] = {}
    for place, source in enumerate(spec.sources):
        if any(source.name in (stage.source, *stage.broadcast) for stage in cut):
            parts[source.name] = _Planner(source, place, folders[source.name]).parts()
    chunks: list[Chunk] = []
    reported: set[str] = set(driving)
    for number, stage in enumerate(cut):
        broadcast = tuple((name, parts[name]) for name in stage.broadcast if name in parts)
        reports = tuple(name for name in stage.broadcast if name not in reported)
        reported.update(reports)
        for part in _chunked(spec, parts[stage.source], stage.source, folders):
            chunks.append(Chunk(len(chunks), number, stage.source, part, broadcast, reports))
            reports = ()
    return tuple(chunks)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A column to read, by the name that it has in the file."""

    name: str
    header: str
    type: str
    required: bool


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


@dataclass(frozen=True, slots=True)
class _Planner:
    source: Source
    place: int
    folder: Path

    @property
    def _dialect(self) -> Dialect:
        return dialect_of(self.source.files.format.csv, f"spec.sources[{self.place}].files.format.csv")

    def parts(self) -> tuple[Part, ...]:
        """Each file that has rows, or the first one if none has."""
        heads = [self._head(ref) for ref in files.find(self.folder, self.source.files)]
        named = [head for head in heads if head.names]
        if self.source.columns:
            header = self.source.files.format.csv.header  # without one, columns go by their order
            wanted = tuple(
                _Wanted(c.name, (c.from_ if header else None) or c.name, c.type, c.required)
                for c in self.source.columns
            )
        elif named:
            wanted = self._inferred(named)
        else:
            raise SourceUnreadable(f"{heads[0].ref.label} is empty: it has no header, and no columns are declared")
        if not named:
            fields = tuple(PlannedColumn(c.name, c.type, c.required, index) for index, c in enumerate(wanted))
            return (Part(heads[0].ref, Layout(len(fields), fields), heads[0].start, None, 1),)
        filled = [head for head in named if head.sample] or named[:1]
        layouts = {head.ref: self._layout(head, wanted) for head in named}
        return tuple(Part(head.ref, layouts[head.ref], head.start, None, head.first_line) for head in filled)

    def _head(self, ref: FileRef) -> _Head:
        with files.opened(self.folder, ref, self.source.files) as read:
            data = read(SAMPLE_BYTES)
        if data.startswith(_UTF16):
            raise SourceUnreadable(f"{ref.label} is UTF-16, not {self._dialect.encoding}: convert it to UTF-8")
        start = len(_BOM) if data.startswith(_BOM) and self._dialect.encoding == "utf-8" else 0
        start += _blank(data[start:])
        if not self.source.files.format.csv.header:
            names = tuple(column.name for column in self.source.columns)
            return _Head(ref, names if start < len(data) else (), start, 1 + data[:start].count(b"\n"), data[start:])
        rows = scan(_first_lines(data[start:], self._dialect), self._dialect)
        end = start + (rows.ends or [0])[0]
        if rows.unclosed and start + rows.unclosed[0] < end:
            raise SourceUnreadable(f"the header of {ref.label} has a quoted name that isn't closed")
        names = self._header(data[start:end], ref)
        return _Head(ref, names, end, 1 + (data[:end].count(b"\n") or data[:end].count(b"\r")), data[end:])

    def _header(self, row: bytes, ref: FileRef) -> tuple[str, ...]:
        if not row:
            return ()
        if b"\0" in row or len(row) >= SAMPLE_BYTES:
            raise SourceUnreadable(f"{ref.label} is no text file: its first line is no header")
        try:
            text = row.decode(self._dialect.encoding)
        except UnicodeDecodeError:
            raise SourceUnreadable(
                f"the header of {ref.label} is not {self._dialect.encoding}: set files.format.csv.encoding"
            ) from None
        delimiter, quote = self._dialect.delimiter.decode(), self._dialect.quote.decode()
        try:
            names = next(csv.reader([text], delimiter=delimiter, quotechar=quote))
        except csv.Error as error:  # a name longer than the module takes
            raise SourceUnreadable(f"the first line of {ref.label} is no header: {error}") from None
        return tuple(name or f"column_{index + 1}" for index, name in enumerate(names))

    def _inferred(self, heads: list[_Head]) -> tuple[_Wanted, ...]:
        """All columns of the first file, with the types that the samples of the first files agree with."""
        names = heads[0].names
        samples: dict[str, list[pa.StringArray]] = {name: [] for name in names}
        for head in heads[:SAMPLE_FILES]:
            rows = head.sample[: last_border(head.sample, self._dialect)] or head.sample
            table = text_rows(rows, len(head.names), self._dialect)
            for index, name in enumerate(head.names):
                if name in samples:
                    samples[name].append(table.column(index).combine_chunks())
        return tuple(_Wanted(name, name, infer(samples[name]), False) for name in names)

    def _layout(self, head: _Head, wanted: tuple[_Wanted, ...]) -> Layout:
        names, label = head.names, head.ref.label
        missing = [column.header for column in wanted if column.header not in names]
        if missing:
            raise ColumnMissing(
                f"source {self.source.name}: {label} has no column {', '.join(missing)}; it has {', '.join(names[:50])}"
            )
        twice = sorted({c.header for c in wanted if names.count(c.header) > 1 and self.source.files.format.csv.header})
        if twice:
            raise SourceUnreadable(f"source {self.source.name}: {label} has more than one column {', '.join(twice)}")
        folded = [column.name.lower() for column in wanted]
        alike = sorted({column.name for column in wanted if folded.count(column.name.lower()) > 1})
        if alike:
            raise SourceUnreadable(
                f"source {self.source.name}: columns {', '.join(alike)} of {label} differ only in case; declare "
                f"them with names of their own (from)"
            )
        new = [name for name in names if name not in {column.header for column in wanted}]
        if new and self.source.contract.new_columns == "Fail" and self.source.files.format.csv.header:
            raise NewColumn(
                f"source {self.source.name}: {label} has columns that aren't declared: {', '.join(new[:50])}; "
                f"newColumns is Fail"
            )
        if not self.source.files.format.csv.header:
            return Layout(len(names), tuple(PlannedColumn(c.name, c.type, c.required, i) for i, c in enumerate(wanted)))
        return Layout(
            len(names), tuple(PlannedColumn(c.name, c.type, c.required, names.index(c.header)) for c in wanted)
        )


def _first_lines(data: bytes, dialect: Dialect) -> bytes:
    """The first line if it surely is the first row; else all, for a quoted value may go over many lines."""
    line = data[: data.find(b"\n") + 1]
    return data if not line or b"\r" in line[:-2] or dialect.quote in line else line


def _blank(data: bytes) -> int:
    """Bytes of blank lines at the beginning."""
    return len(data) - len(data.lstrip(b"\r\n"))


def _chunked(spec: DataPipelineSpec, parts: tuple[Part, ...], name: str, folders: Mapping[str, Path]) -> Iterator[Part]:
    """Ranges of the parts. What is compressed stays whole: it can't be read from the middle."""
    place, source = next((i, s) for i, s in enumerate(spec.sources) if s.name == name)
    dialect = dialect_of(source.files.format.csv, f"spec.sources[{place}].files.format.csv")
    most_bytes, most_rows = parse_bytes(spec.execution.chunk.max_bytes), spec.execution.chunk.max_rows
    for part in parts:
        if files.compression(part.file.path, source.files) != "None":
            yield part
            continue
        whole = replace(part, end=max(part.file.size, part.start))
        if _small(folders[name], whole, source, most_bytes, most_rows):
            yield whole
            continue
        found = stretches(folders[name], whole, source.files, dialect, min(BLOCK, most_bytes))
        cuts = list(cuts_of(found, dialect, part, most_bytes, most_rows))
        for (start, line), (end, _) in zip(cuts, [*cuts[1:], (part.file.size, 0)], strict=True):
            yield replace(part, start=start, end=end, first_line=line)


def _small(folder: Path, part: Part, source: Source, most_bytes: int, most_rows: int) -> bool:
    """Whether the part is surely one chunk, so that it needn't be looked through for borders."""
    size = (part.end or 0) - part.start
    if size > most_bytes:
        return False
    if size <= most_rows:  # a row takes a byte at least
        return True
    with files.opened(folder, part.file, source.files, part.start, part.end) as read:
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


def parts_of(
    spec: DataPipelineSpec, names: Iterable[str], folders: Mapping[str, Path]
) -> tuple[tuple[str, tuple[Part, ...]], ...]:
    """The files of sources that are read whole. Blocks; raises what `engine.plan` raises of files."""
    places = {source.name: place for place, source in enumerate(spec.sources)}
    return tuple(
        (name, _Planner(spec.sources[places[name]], places[name], folders[name]).parts())
        for name in names
        if name in places
    )
