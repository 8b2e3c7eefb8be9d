"""One block of CSV to typed columns.

The usual way is Arrow's reader on the whole block. A block that it refuses, or that shows signs of trouble (NUL bytes,
an open quote), is read again as text, and each column is cast value by value: one bad value costs one row.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from tidemill_worker.engine.blocks import Block
from tidemill_worker.engine.borders import newlines, scan, whole_rows
from tidemill_worker.engine.casts import try_cast
from tidemill_worker.engine.columns import FALSE, TRUE, arrow_type
from tidemill_worker.engine.dialect import Dialect
from tidemill_worker.engine.faults import Fault, Faults, shortened
from tidemill_worker.engine.model import NOT_THERE, Layout


@dataclass(frozen=True)
class Rows:
    """Where the rows of a block stand in it; blank lines are no rows."""

    block: Block
    dialect: Dialect

    @cached_property
    def _ends(self) -> tuple[list[int], list[int]]:
        """Offsets of begin and end of each row."""
        data = self.block.data
        if data.find(self.dialect.quote) < 0 and data.find(b"\r") < 0:
            ends = pc.add(newlines(data), 1).to_pylist()
            if not data.endswith(b"\n"):
                ends.append(len(data))
        else:
            ends = scan(data, self.dialect).ends
        begins = [0, *ends[:-1]]
        if b"\n\n" in data or b"\r" in data or data.startswith(b"\n"):
            kept = [(b, e) for b, e in zip(begins, ends, strict=True) if data[b:e].strip(b"\r\n")]
            return [b for b, _ in kept], [e for _, e in kept]
        return begins, ends

    def __len__(self) -> int:
        return len(self._ends[0])

    def begin(self, row: int) -> int:
        """Offset of a row in the block."""
        return self._ends[0][row]

    def offset(self, row: int) -> int:
        """Offset of a row in the file."""
        return self.block.offset + self.begin(row)

    def where(self, row: int) -> str:
        """The row's place in the file, for a sentence."""
        return f"byte {self.offset(row)}"

    def raw(self, row: int) -> bytes:
        """A row without its line break."""
        return self.block.data[self._ends[0][row] : self._ends[1][row]].rstrip(b"\r\n")

    def text(self, row: int) -> str:
        """A row as text that Postgres can keep."""
        return self.raw(row).decode(self.dialect.encoding, errors="replace").replace("\0", "\ufffd")

    def texts(self, rows: Sequence[int]) -> list[str]:
        """These rows as text that Postgres can keep."""
        return [self.text(row) for row in rows]

    def lines(self, rows: Sequence[int]) -> list[int]:
        """Lines (from 0, within the block) at which these rows begin; the rows ascend."""
        data = self.block.data
        ending = b"\n" if b"\n" in data else b"\r"
        found, line, seen = [], 0, 0
        for row in rows:
            line += data.count(ending, seen, self.begin(row))
            seen = self.begin(row)
            found.append(line)
        return found


@dataclass(frozen=True, slots=True)
class Parsed:
    """The good rows of a block as columns, and what is wrong with the others."""

    table: pa.Table
    rows: int
    """All rows, bad ones included."""
    origin: pa.Int32Array | None = None
    """Which row of the block each row of the table is; None: the same."""
    faults: dict[int, Fault] = field(default_factory=dict)
    """By row of the block."""
    lines: int | None = None
    """Line breaks of the block, if reading came to know them; None: still to be counted."""
    nulled: dict[str, int] = field(default_factory=dict)
    """By column the values of the good rows that are NULL because they weren't of its type."""


def parse(block: Block, layout: Layout, dialect: Dialect, *, null_values: bool = False) -> Parsed:
    """Read a block of whole rows; `null_values`: see `Faults`. Never raises for what its rows hold."""
    if not _suspicious(block.data, dialect):
        for lines_are_rows in _assumptions(block.data, layout, dialect):
            try:
                table = _read(_utf8(block.data, dialect), layout, dialect, typed=True, blank_lines=not lines_are_rows)
            except pa.ArrowInvalid:
                continue
            if lines_are_rows and _may_hold_blank_lines(table, dialect) and _blank_lines(block.data):
                continue
            if not _holds(table, layout):
                break
            ended = block.data.endswith(b"\n")
            return Parsed(table, table.num_rows, lines=table.num_rows - (not ended) if lines_are_rows else None)
    return _carefully(block, layout, dialect, null_values)


def _assumptions(data: bytes, layout: Layout, dialect: Dialect) -> Iterator[bool]:
    """Whether to read each line as a row, so that they needn't be counted; then whether to try again otherwise."""
    plain = layout.fields > 1 and data.find(dialect.quote) < 0 and data.find(b"\r") < 0
    if plain:
        yield True
    if not plain or _blank_lines(data):
        yield False


def _may_hold_blank_lines(table: pa.Table, dialect: Dialect) -> bool:
    """Whether rows may have been blank lines: such a row has no value in any column. Quick, unlike looking for them."""
    empty_is_null = "" in dialect.nulls
    return all(column.null_count or (pa.types.is_string(column.type) and not empty_is_null) for column in table.columns)


def _blank_lines(data: bytes) -> bool:
    return data.startswith(b"\n") or b"\n\n" in data


def schema_of(layout: Layout) -> pa.Schema:
    """The columns of a source."""
    return pa.schema([(column.name, arrow_type(column.type)) for column in layout.columns])


def text_rows(data: bytes, fields: int, dialect: Dialect) -> pa.Table:
    """Good rows as text, columns named by their index: a sample for inferring types. Bad rows are left out."""
    wanted = {str(index): pa.string() for index in range(fields)}
    try:
        readable = data.decode(dialect.encoding, errors="replace").encode()
        return _csv(readable, fields, wanted, dialect, lambda _row: "skip")
    except pa.ArrowInvalid:
        return pa.table({name: pa.array([], pa.string()) for name in wanted})


def _suspicious(data: bytes, dialect: Dialect) -> bool:
    """Signs of what Arrow would take without a word: NUL bytes, and quotes that aren't closed where they must be."""
    if b"\0" in data:
        return True
    if dialect.quoted_newlines or data.find(dialect.quote) < 0:
        return False
    closed = data if data.endswith((b"\n", b"\r")) else data + b"\n"
    return not whole_rows(closed, len(closed), dialect)


def _holds(table: pa.Table, layout: Layout) -> bool:
    """What Arrow's reader doesn't see to: required values, and numbers beyond their type's range."""
    for place, column in enumerate(layout.columns):
        values = table.column(place)
        if column.required and values.null_count:
            return False
        if pa.types.is_floating(values.type) and pc.any(pc.is_inf(values)).as_py():
            return False  # perhaps it is written so: looked at value by value
        if pa.types.is_decimal(values.type):
            limit = 10 ** (values.type.precision - values.type.scale)
            extremes = [value for value in pc.min_max(values).as_py().values() if value is not None]
            if any(value.copy_abs() >= limit for value in extremes):
                return False
    return True


def _utf8(data: bytes, dialect: Dialect) -> bytes:
    return data if dialect.encoding == "utf-8" or data.isascii() else data.decode(dialect.encoding).encode()


def _read(
    data: bytes,
    layout: Layout,
    dialect: Dialect,
    *,
    typed: bool,
    skipped: list[csv.InvalidRow] | None = None,
    blank_lines: bool = True,
) -> pa.Table:
    """The layout's columns, typed or as text. Blank lines are no rows, or without `blank_lines` rows without values."""
    kinds = {c.name: arrow_type(c.type) if typed else pa.string() for c in layout.columns}
    wanted = {str(c.field): kinds[c.name] for c in layout.columns if c.field != NOT_THERE}

    def skip(row: csv.InvalidRow) -> str:
        assert skipped is not None
        skipped.append(row)
        return "skip"

    table = _csv(data, layout.fields, wanted, dialect, None if skipped is None else skip, blank_lines)
    # By position: two columns of the manifest may read the same field.
    rows = table.num_rows
    arrays = [
        table.column(str(c.field)) if c.field != NOT_THERE else pa.chunked_array([pa.nulls(rows, kinds[c.name])])
        for c in layout.columns
    ]
    if typed:
        arrays = [
            a if a.type == arrow_type(c.type) else a.cast(arrow_type(c.type))
            for a, c in zip(arrays, layout.columns, strict=True)
        ]
    return pa.table(arrays, names=[c.name for c in layout.columns])


def _csv(
    data: bytes,
    fields: int,
    wanted: dict[str, pa.DataType],
    dialect: Dialect,
    invalid: object,
    blank_lines: bool = True,
) -> pa.Table:
    if not data.lstrip(b"\r\n"):
        return pa.table({name: pa.array([], kind) for name, kind in wanted.items()})
    # A value's: the file's own was left out before. Arrow takes one away wherever it begins to read.
    if data.startswith(codecs.BOM_UTF8):
        data = codecs.BOM_UTF8 + data
    return csv.read_csv(
        pa.BufferReader(data),
        read_options=csv.ReadOptions(
            use_threads=False, block_size=len(data) + 1, column_names=[str(index) for index in range(fields)]
        ),
        parse_options=csv.ParseOptions(
            delimiter=dialect.delimiter.decode(),
            quote_char=dialect.quote.decode(),
            double_quote=True,
            newlines_in_values=dialect.quoted_newlines,
            ignore_empty_lines=blank_lines,
            invalid_row_handler=invalid,
        ),
        convert_options=csv.ConvertOptions(
            include_columns=list(wanted),
            column_types=wanted,
            null_values=list(dialect.nulls),
            strings_can_be_null=True,
            quoted_strings_can_be_null=dialect.quoted_nulls,
            true_values=list(TRUE),
            false_values=list(FALSE),
            check_utf8=not data.isascii(),
        ),
    )


def _carefully(block: Block, layout: Layout, dialect: Dialect, null_values: bool = False) -> Parsed:
    rows = Rows(block, dialect)
    total = len(rows)
    found = Faults(null_values, _raw_faults(rows, dialect))
    faults = found.rows
    data = block.data if not faults else b"".join(rows.raw(i) + b"\n" for i in range(total) if i not in faults)
    left = [index for index in range(total) if index not in faults]
    skipped: list[csv.InvalidRow] = []
    texts = _read(_utf8(data, dialect), layout, dialect, typed=False, skipped=skipped)
    for bad in skipped:
        faults[left[bad.number - 1]] = Fault(
            "BadRow", f"the row has {bad.actual_columns} fields, not {bad.expected_columns}"
        )
    if skipped:
        left = [index for index in left if index not in faults]
    if len(left) != texts.num_rows:
        raise AssertionError(f"{len(left)} rows were cut, {texts.num_rows} were read")
    table = _typed(texts.combine_chunks(), layout, left, found)
    good = [place for place, index in enumerate(left) if index not in faults]
    if len(good) < len(left):
        table = table.take(pa.array(good, pa.int64()))
    origin = None if len(good) == total else pa.array([left[place] for place in good], pa.int32())
    return Parsed(table, total, origin, faults, nulled=found.nulled)


def _raw_faults(rows: Rows, dialect: Dialect) -> dict[int, Fault]:
    """Rows whose bytes can't be read: an open quote in its line, NUL bytes, wrong encoding."""
    data = rows.block.data
    faults: dict[int, Fault] = {}
    if not dialect.quoted_newlines:
        for offset in scan(data, dialect).unclosed:
            faults[_row_at(rows, offset)] = Fault("BadRow", "a quoted value isn't closed in its line")
    place = data.find(b"\0")
    while place >= 0:
        row = _row_at(rows, place)
        faults[row] = Fault("BadRow", "the row holds a NUL byte")
        place = data.find(b"\0", rows.begin(row) + len(rows.raw(row)))
    begin = 0
    while dialect.encoding == "utf-8":
        try:
            data[begin:].decode()
            break
        except UnicodeDecodeError as error:
            row = _row_at(rows, begin + error.start)
            faults[row] = Fault("BadRow", f"the row is not valid {dialect.written_in}")
            begin = rows.begin(row) + len(rows.raw(row))
    return faults


def _row_at(rows: Rows, offset: int) -> int:
    """The row that holds a byte."""
    low, high = 0, len(rows) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if rows.begin(middle) <= offset:
            low = middle
        else:
            high = middle - 1
    return low


def _typed(texts: pa.Table, layout: Layout, left: list[int], faults: Faults) -> pa.Table:
    """Cast each column; note bad values and missing required ones."""
    arrays = []
    for place, column in enumerate(layout.columns):
        chunked = texts.column(place)
        text = chunked.chunk(0) if chunked.num_chunks else pa.array([], pa.string())
        values, bad = try_cast(text, arrow_type(column.type))
        arrays.append(values)
        if bad is not None:
            places = pc.indices_nonzero(bad).to_pylist()
            faults.values(column, ((left[place], shortened(text[place].as_py())) for place in places))
        if column.required and text.null_count:
            faults.missing(column, (left[place] for place in pc.indices_nonzero(pc.is_null(text)).to_pylist()))
    return pa.table(arrays, names=[column.name for column in layout.columns])
