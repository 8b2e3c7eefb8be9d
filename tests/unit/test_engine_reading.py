"""Blocks, rows and values: cut anywhere, read as Python's `csv` reads them, judged the same on both ways of parsing."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill_api.errors import SpecError
from tidemill_api.v1alpha1.datapipeline import CSV
from tidemill_worker.engine import blocks, parse
from tidemill_worker.engine.blocks import Block, BrokenRow, TextPiece, pieces
from tidemill_worker.engine.columns import infer
from tidemill_worker.engine.dialect import Dialect, dialect_of
from tidemill_worker.engine.model import Layout, PlannedColumn

PLAIN = Dialect(b",", b'"', True, "utf-8", ("",))
LINEWISE = Dialect(b",", b'"', False, "utf-8", ("",))


def layout(*types: str, required: bool = False) -> Layout:
    return Layout(len(types), tuple(PlannedColumn(f"c{i}", kind, required, i) for i, kind in enumerate(types)))


def cut(data: bytes, dialect: Dialect = PLAIN, size: int = 1 << 20) -> list[TextPiece]:
    return list(pieces(io.BytesIO(data).read, dialect, 0, size))


def read(data: bytes, *types: str, dialect: Dialect = PLAIN, required: bool = False) -> tuple[list[Any], list[str]]:
    """Good rows, and the errors of bad ones in the order of rows."""
    good: list[Any] = []
    errors: list[str] = []
    for piece in cut(data, dialect):
        if isinstance(piece, BrokenRow):
            errors.append(piece.error)
            continue
        parsed = parse.parse(piece, layout(*types, required=required), dialect)
        good += [tuple(row.values()) for row in parsed.table.to_pylist()]
        errors += [fault.error for _, fault in sorted(parsed.faults.items())]
        assert parsed.rows == parsed.table.num_rows + len(parsed.faults)
        assert len(parse.Rows(piece, dialect)) == parsed.rows
        assert parsed.lines in {None, piece.lines}
    return good, errors


@pytest.mark.parametrize(
    ("data", "known"),
    [
        (b"1,2\n3,4\n", True),
        (b"1,2\n3,4", True),
        (b"1,2\n\n\n3,4\n", False),  # blank lines are no rows, but lines
        (b"\n1,2\n3,4\n\n", False),
        (b"1,2\r\n3,4\r\n", False),
        (b"1,2\r3,4\r", False),
        (b'1,"2"\n3,4\n', False),
        (b'1,"2"\n3,"4\n"\n', False),
    ],
)
def test_lines_that_reading_tells_are_those_of_the_block(data: bytes, known: bool) -> None:
    block = Block(0, data)
    assert block.lines == (data.count(b"\n") or data.count(b"\r"))
    for nulls in (("",), ("NA",)):
        for types in (("string", "string"), ("int32", "string")):
            parsed = parse.parse(block, layout(*types), replace(PLAIN, nulls=nulls))
            assert (parsed.rows, parsed.table.num_rows, parsed.lines) == (2, 2, block.lines if known else None)


def test_rows_without_values_are_rows() -> None:
    for data, rows in ((b",\n1,2\n,\n", 3), (b",\n\n1,2\n", 2)):
        parsed = parse.parse(Block(0, data), layout("int32", "string"), PLAIN)
        assert (parsed.rows, parsed.lines) == (rows, None if b"\n\n" in data else 3)


@pytest.mark.parametrize("data", [b"1\n2\n", b"1\n\n2\n", b"\n\n1\n2"])
def test_blank_lines_are_no_rows_of_one_column_either(data: bytes) -> None:
    assert read(data, "int32") == ([(1,), (2,)], [])


FIELD = st.text(st.sampled_from('ab,;"\n\r é'), max_size=6).map(lambda text: text + "x")


@given(
    rows=st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=12),
    end=st.sampled_from(["\n", "\r\n"]),
    size=st.integers(1, 60),
    bare_end=st.booleans(),
    delimiter=st.sampled_from(",;"),
)
def test_any_block_size_reads_what_the_csv_module_reads(
    rows: list[tuple[str, str, str]], end: str, size: int, bare_end: bool, delimiter: str
) -> None:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator=end, delimiter=delimiter).writerows(rows)
    data = written.getvalue().encode()
    data = data.removesuffix(end.encode()) if bare_end else data
    dialect = Dialect(delimiter.encode(), b'"', True, "utf-8", ("",))
    found = cut(data, dialect, size)
    assert b"".join(piece.data for piece in found) == data
    assert [piece.offset for piece in found] == [sum(len(p.data) for p in found[:n]) for n in range(len(found))]
    got = []
    for piece in found:
        assert isinstance(piece, Block)
        parsed = parse.parse(piece, layout("string", "string", "string"), dialect)
        index = parse.Rows(piece, dialect)
        got += [tuple(row.values()) for row in parsed.table.to_pylist()]
        lines = [piece.data[: index.begin(row)].count(b"\n") for row in range(len(index))]
        assert index.lines(range(len(index))) == lines
    assert got == rows


@given(
    data=st.binary(max_size=80) | st.text(st.sampled_from('ab,"\n\r'), max_size=80).map(str.encode),
    size=st.integers(1, 40),
)
def test_nothing_breaks_the_reader_and_every_row_is_accounted_for(data: bytes, size: int) -> None:
    for dialect in (PLAIN, LINEWISE):
        found = cut(data, dialect, size)
        assert sum(piece.end - piece.offset for piece in found) == len(data)
        for piece in found:
            if isinstance(piece, Block):
                parsed = parse.parse(piece, layout("int32", "string"), dialect)
                assert parsed.rows == parsed.table.num_rows + len(parsed.faults)
                assert all(0 <= row < parsed.rows for row in parsed.faults)


BAD: dict[str, tuple[bytes, list[Any], list[str]]] = {
    "wrong type": (b"1,a\nx,b\n", [(1, "a")], ["c0: 'x' is not of type int32"]),
    "out of range": (b"2147483648,a\n-2147483648,b\n", [(-2147483648, "b")], ["c0: '2147483648' is not of type int32"]),
    "too few and too many fields": (
        b"1\n2,b\n3,c,d\n",
        [(2, "b")],
        ["the row has 1 fields, not 2", "the row has 3 fields, not 2"],
    ),
    "encoding": (b"1,\xff\n2,b\n", [(2, "b")], ["the row is not valid UTF-8"]),
    "NUL": (b"1,a\n2,\0\n", [(1, "a")], ["the row holds a NUL byte"]),
    "an open quote at the end": (b'1,a\n2,"b\n3,c\n', [(1, "a"), (3, "c")], ["a quoted value isn't closed"]),
    "a stray quote": (b'1,5" pipe\n2,"a""b"\n', [(1, '5" pipe'), (2, 'a"b')], []),
    "a missing value": (b",a\n1,\n", [(None, "a"), (1, None)], []),
}


@pytest.mark.parametrize("case", BAD)
def test_each_kind_of_bad_row(case: str) -> None:
    data, good, errors = BAD[case]
    assert read(data, "int32", "string") == (good, errors)


def test_required_values_and_lines_with_open_quotes() -> None:
    assert read(b"1,a\n,b\n", "int32", "string", required=True) == ([(1, "a")], ["c0 is required and has no value"])
    expected = ([(2, "b"), (4, "d")], ["a quoted value isn't closed in its line"] * 2)
    assert read(b'1,"a\n2,b\n3,"c\n4,d\n', "int32", "string", dialect=LINEWISE) == expected


def test_a_row_without_end_costs_one_row_and_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_ROW", 1 << 20)
    monkeypatch.setattr(blocks, "BLOCK", 1 << 16)
    long = b"1,a\n" + b"x" * (3 << 20) + b"\n2,b\n"
    found = cut(long, size=1 << 16)
    broken = [piece for piece in found if isinstance(piece, BrokenRow)]
    assert [(piece.offset, piece.length, piece.error) for piece in broken] == [
        (4, (3 << 20) + 1, "the row is longer than 1 MiB")
    ]
    assert len(broken[0].data) == blocks.SHOWN
    open_quote = b'1,a\n2,"b\n' + b"3,c\n" * 400_000
    found = cut(open_quote, size=1 << 16)
    assert [piece.data for piece in found if isinstance(piece, BrokenRow)] == [b'2,"b\n']
    assert sum(piece.data.count(b"3,c\n") for piece in found) == 400_000


VALUES = (
    "1",
    "-1",
    "+1",
    "01",
    "0x1F",
    "1.0",
    "1e3",
    "1e400",
    "inf",
    "nan",
    "-inf",
    ".5",
    "5.",
    "1.255",
    "1.25",
    "1.250",
    "999.999",
    "1000",
    "99999",
    "-0",
    "32768",
    "-32769",
    "2147483648",
    "9223372036854775808",
    "true",
    "T",
    "yes",
    "no",
    "2020-01-01",
    "2020-02-30",
    "20200101",
    "2020-1-1",
    "2020-01-01T10:00:00",
    "2020-01-01T10:00",
    "2020-01-01T10:00:00.123",
    "2020-01-01T10:00:00.1234567",
    "2020-01-01T10:00:00Z",
    "2020-01-01T10:00:00+02:00",
    "1_000",
    "1e-3",
    "--1",
    "9999-12-31",
    "10000-01-01",
    "0001-01-01",
    "-5.55E+2",
    "1.0E2",
    "123e-2",
    " 1 ",
    "\t1",
    "1 2",
    "true ",
    " 2020-01-01",
    "2020-01-01 10:00:00",
    " 1.25 ",
)
TYPES = (
    "boolean",
    "int16",
    "int32",
    "int64",
    "float32",
    "float64",
    "decimal(5,2)",
    "decimal(38,10)",
    "string",
    "date",
    "timestamp",
    "timestamptz",
)


@pytest.mark.parametrize("kind", TYPES)
def test_a_value_is_judged_the_same_alone_and_among_others(kind: str) -> None:
    """A block that holds one bad value is parsed in another way.

    That must not change what happens to its other rows.
    """
    alone = {value: read(f'"{value}"\n'.encode(), kind)[0] for value in VALUES}
    together = "".join(f'"{value}"\n' for value in VALUES) + '"certainly bad",too many\n'
    expected = [row for value in VALUES for row in alone[value]]
    assert str(read(together.encode(), kind)[0]) == str(expected)


INFERRED = {
    "int64": ["1", "-20", None],
    "float64": ["1", "2.5", "1e3"],
    "boolean": ["true", "FALSE"],
    "date": ["2026-01-31"],
    "timestamp": ["2026-01-31 10:00:00", "2026-01-31T10:00"],
    "timestamptz": ["2026-01-31T10:00:00Z", "2026-01-31 10:00:00+02:00"],
    "string": ["007", "1"],
}


@pytest.mark.parametrize("kind", INFERRED)
def test_types_are_inferred_from_samples(kind: str) -> None:
    assert infer([pa.array(INFERRED[kind], pa.string())]) == kind
    assert infer([pa.array(INFERRED[kind], pa.string()), pa.array(["text"], pa.string())]) == "string"


def test_nothing_to_infer_from_is_text() -> None:
    assert infer([pa.array([None], pa.string()), pa.array([], pa.string())]) == "string"


@pytest.mark.parametrize("text", ["\ufeff", "\ufeffx", "\ufeff\ufeffx"])
def test_a_mark_of_byte_order_that_is_a_value_stays(text: str) -> None:
    """The file's own is left out by planning; a block may begin with one all the same."""
    assert read(f"{text}\n1\n".encode(), "string") == ([(text,), ("1",)], [])


def test_latin_1_and_other_characters() -> None:
    latin = Dialect(b";", b"'", True, "latin-1", ("NA",))
    assert read("caf\u00e9;'a;b'\nNA;x\n".encode("latin-1"), "string", "string", dialect=latin)[0] == [
        ("caf\u00e9", "a;b"),
        (None, "x"),
    ]


@pytest.mark.parametrize(
    ("csv_options", "field"), [({"delimiter": "§"}, "delimiter"), ({"quote": "«"}, "quote"), ({"quote": ","}, "quote")]
)
def test_dialects_that_cannot_be_read(csv_options: dict[str, str], field: str) -> None:
    try:
        options = CSV.model_validate(csv_options)
    except ValueError:
        return  # the schema refuses it already
    with pytest.raises(SpecError) as caught:
        dialect_of(options, "csv")
    assert caught.value.field == f"csv.{field}"
