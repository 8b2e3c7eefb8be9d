"""Parquet files: their columns, and the rows of some row groups as pieces."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import pyarrow as pa
from pyarrow import parquet as pq

from tidemill_api.errors import SourceUnreadable
from tidemill_worker.engine.blocks import Typed
from tidemill_worker.engine.model import NOT_THERE, Part
from tidemill_worker.files import FileRef, Files

MOST_ROWS: Final = 1 << 17
"""Of a piece."""


@contextmanager
def opened(place: Files, ref: FileRef) -> Iterator[pq.ParquetFile]:
    """A file as planning saw it. Raises SourceChanged, SourceUnreadable if it is no Parquet file."""
    with place.held(ref) as held, ExitStack() as stack:
        with readable(ref.label):
            raw = stack.enter_context(for_arrow(held))
            file = stack.enter_context(
                pq.ParquetFile(raw, coerce_int96_timestamp_unit="us", page_checksum_verification=True)
            )
        yield file


def for_arrow(held: io.RawIOBase) -> pa.NativeFile:
    """A file of this machine is read without Python."""
    return pa.OSFile(str(held.name)) if isinstance(held, io.FileIO) else pa.PythonFile(held, "r")


def pieces(stack: ExitStack, place: Files, part: Part, offset: int, size: int) -> Iterator[Typed]:
    """The rows of a part from number `offset` on, in pieces of about `size` bytes. Raises as `opened` does."""
    file = stack.enter_context(opened(place, part.file))
    return _pieces(file, part, offset, size)


def _pieces(file: pq.ParquetFile, part: Part, offset: int, size: int) -> Iterator[Typed]:
    layout, end = part.layout, file.metadata.num_rows if part.end is None else part.end
    names = [None if column.field == NOT_THERE else file.schema_arrow.names[column.field] for column in layout.columns]
    first = 0
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        if first < end and first + group.num_rows > offset:
            a_row = max(1, group.total_byte_size) / group.num_rows
            rows = max(1, min(int(size / a_row), MOST_ROWS))
            place = first
            for batch in _batches(file, number, [name for name in names if name], rows, part.file.label):
                begin, stop = max(offset, place), min(end, place + batch.num_rows)
                if begin < stop:
                    shown = batch.slice(begin - place, stop - begin)
                    table = pa.table(
                        [pa.nulls(shown.num_rows) if name is None else shown.column(name) for name in names],
                        names=[column.name for column in layout.columns],
                    )
                    yield Typed(begin, table, int(shown.num_rows * a_row))
                place += batch.num_rows
        first += group.num_rows


def _batches(file: pq.ParquetFile, group: int, names: list[str], rows: int, label: str) -> Iterator[pa.RecordBatch]:
    with readable(label):
        batches = file.iter_batches(rows, row_groups=[group], columns=list(dict.fromkeys(names)), use_threads=False)
    while True:
        with readable(label):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


@contextmanager
def readable(label: str) -> Iterator[None]:
    """What Arrow raises of a file that is damaged or isn't one, as one typed error."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        words = str(error).partition("\n")[0][:300]
        raise SourceUnreadable(f"{label} can't be read as Parquet: {words}") from error
