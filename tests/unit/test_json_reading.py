"""JSON Lines and JSON arrays: cut anywhere, both ways of parsing of one mind, and every row accounted for."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.engine import spec_of
from tidemill_api.errors import NewColumn, SourceUnreadable
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker.engine import json_lines
from tidemill_worker.engine.blocks import Block
from tidemill_worker.engine.json_array import lines_of_array
from tidemill_worker.engine.json_lines import LINES, Keys, parse_lines
from tidemill_worker.engine.letters import Origin
from tidemill_worker.engine.model import Layout, PlannedColumn
from tidemill_worker.engine.parse import Parsed, Rows
from tidemill_worker.engine.planning import chunks_of
from tidemill_worker.engine.stage import reader_of
from tidemill_worker.files.folder import Folder

PLAIN = Keys("raw", {})


def layout(**types: str) -> Layout:
    return Layout(len(types), tuple(PlannedColumn(n, kind, False, i) for i, (n, kind) in enumerate(types.items())))


def read(data: str | bytes, keys: Keys = PLAIN, **types: str) -> tuple[list[Any], list[str]]:
    """Good rows, and the errors of bad ones in the order of rows."""
    block = Block(0, data.encode() if isinstance(data, str) else data)
    parsed = parse_lines(block, layout(**types), keys)
    assert parsed.rows == parsed.table.num_rows + len(parsed.faults) == len(Rows(block, LINES))
    return parsed.table.to_pylist(), [fault.error for _, fault in sorted(parsed.faults.items())]


BAD: dict[str, tuple[str | bytes, list[Any], list[str]]] = {
    "wrong types": (
        '{"n": "x"}\n{"n": 1.5}\n{"n": true}\n{"n": [1]}\n{"n": 5}\n{"n": "6"}\n',
        [{"n": 5}, {"n": 6}],
        [f"n: {shown!r} is not of type int32" for shown in ("x", "1.5", "true", "[1]")],
    ),
    "out of range": (
        '{"n": 2147483648}\n{"n": 99999999999999999999}\n{"n": -1}\n',
        [{"n": -1}],
        ["n: '2147483648' is not of type int32", "n: '99999999999999999999' is not of type int32"],
    ),
    "out of range, all whole numbers": (
        '{"n": 1}\n{"n": 3000000000}\n',
        [{"n": 1}],
        ["n: '3000000000' is not of type int32"],
    ),
    "nothing there": ('{}\n{"n": null}\n{"m": 1}\n', [{"n": None}] * 3, []),
    "no JSON": ('{"n": 1}\n{"n": \nn: 1\n{"n": 1}}\n', [{"n": 1}], ["the row is not JSON"] * 3),
    "no objects": ('[{"n": 1}]\n1\nnull\n{"n": 1}\n', [{"n": 1}], ["the row is not a JSON object"] * 3),
    "two on a line": ('{"n": 1}{"n": 2}\n{"n": 3}\n', [{"n": 3}], ["the row is not JSON"]),
    "two on a line, one on two": ('{"n": 1}{"n":\n2}\n', [], ["the row is not JSON"] * 2),
    "encoding": (b'{"n": 1, "t": "\xff"}\n{"n": 2}\n', [{"n": 2}], ["the row is not valid UTF-8"]),
    "NUL": (b'{"n": 1}\n{"n": 2, "\0": 1}\n', [{"n": 1}], ["the row holds a NUL byte"]),
    "half a pair": ('{"n": 1}\n{"n": 2, "t": "\\ud800"}\n', [{"n": 1}], ["the row holds half of a surrogate pair"]),
    "too deep": (
        '{"n": 1}\n{"n": ' + "[" * 100_000 + "]" * 100_000 + "}\n",
        [{"n": 1}],
        ["the row is nested too deeply"],
    ),
    "blank lines and blanks": ('\n{"n": 1}\r\n\n {"n": 2} \n', [{"n": 1}, {"n": 2}], []),
    "a key twice": ('{"n": 1, "n": 2}\n', [{"n": 2}], []),
    "no line break at the end": ('{"n": 1}\n{"n": 2}', [{"n": 1}, {"n": 2}], []),
}


@pytest.mark.parametrize("case", BAD)
def test_each_kind_of_bad_row(case: str) -> None:
    data, good, errors = BAD[case]
    assert read(data, n="int32") == (good, errors)


VALUES: list[tuple[str, str, Any]] = [
    ("string", '"a"', "a"),
    ("string", "1.50", "1.50"),
    ("string", "true", "true"),
    ("string", '{"b": [1.50, null, "x"]}', '{"b": [1.50, null, "x"]}'),
    ("boolean", "1", True),
    ("boolean", "false", False),
    ("float64", "1e3", 1000.0),
    ("float32", "1e39", None),
    ("float64", '"2.5"', 2.5),
    ("date", '"2026-01-31"', "2026-01-31"),
    ("date", "20260131", None),
    ("timestamp", '"2026-01-31T10:00:00"', "2026-01-31 10:00:00"),
    ("timestamptz", '"2026-01-31T10:00:00+02:00"', "2026-01-31 08:00:00+00:00"),
    ("decimal(5,2)", "1.50", "1.50"),
    ("decimal(5,2)", '"1.5"', "1.50"),
    ("decimal(5,2)", "1.555", None),
    ("decimal(38,20)", "1.12345678901234567890", "1.12345678901234567890"),
    ("string", '"\\u0000"', None),
]


@pytest.mark.parametrize(("kind", "value", "expected"), VALUES)
@pytest.mark.parametrize("beside", ["", '{"c": {}}\n'], ids=["alone", "beside a row of another sort"])
def test_values(kind: str, value: str, expected: Any, beside: str) -> None:
    good, errors = read(f'{{"c": {value}}}\n{beside}', c=kind)
    if beside and kind == "string":
        good = good[:-1]
    found = [row["c"] for row in good]
    assert len(errors) == (expected is None) + bool(beside and kind != "string")
    assert [each if isinstance(each, (bool, float)) else str(each) for each in found] == (
        [] if expected is None else [expected]
    )


def test_names_and_undeclared_keys() -> None:
    keys = Keys("raw", {"n": "Number", "again": "Number"})
    assert read('{"Number": 1, "n": 9}\n', keys, n="int32", again="int32") == ([{"n": 1, "again": 1}], [])
    assert read('{"Number": 1, "n": 9}\n', keys, n="int32", again="string") == ([{"n": 1, "again": "1"}], [])
    only = Keys("raw", {"n": "Number"}, only=True)
    assert read('{"Number": 1}\n', only, n="int32") == ([{"n": 1}], [])
    with pytest.raises(NewColumn, match="the row at byte 14 has keys that aren't declared: x"):
        read('{"Number": 1}\n{"Number": 1, "x": null}\n', only, n="int32")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
TYPES = ("boolean", "int16", "int64", "float32", "float64", "string", "date", "timestamptz", "decimal(10,3)")


@given(
    rows=st.lists(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), max_size=6),
    kinds=st.tuples(st.sampled_from(TYPES), st.sampled_from(TYPES)),
    ascii_only=st.booleans(),
)
def test_both_ways_of_parsing_say_the_same(
    rows: list[dict[str, Any]], kinds: tuple[str, str], ascii_only: bool
) -> None:
    data = "".join(json.dumps(row, ensure_ascii=ascii_only, separators=(",", ":")) + "\n" for row in rows).encode()
    wanted = layout(a=kinds[0], b=kinds[1])
    quick = parse_lines(Block(0, data), wanted, PLAIN)
    slow = json_lines._line_by_line(Block(0, data), wanted, PLAIN)
    assert (quick.rows, quick.table) == (slow.rows, slow.table) or _only_nan_differs(quick, slow)
    assert {row: fault.cause for row, fault in quick.faults.items()} == {
        row: fault.cause for row, fault in slow.faults.items()
    }


def _only_nan_differs(quick: Parsed, slow: Parsed) -> bool:
    return str(quick.table.to_pylist()) == str(slow.table.to_pylist())


@given(
    data=st.binary(max_size=60)
    | st.lists(st.sampled_from(['{"a":', '"x', '"', "1", "}", "{", "[", "]", "\n", "\r", ",", "\\", " "]), max_size=20)
    .map("".join)
    .map(str.encode)
)
def test_nothing_breaks_the_reader_and_every_row_is_accounted_for(data: bytes) -> None:
    read(data, a="int32")
    read(data, a="string")


def through(data: bytes, size: int) -> bytes:
    """An array's lines, read so many bytes at a time."""
    source = io.BytesIO(data)
    return b"".join(lines_of_array(lambda _most: source.read(size), "a.json"))


@given(rows=st.lists(JSON, max_size=6), indent=st.sampled_from([None, 1]), size=st.integers(1, 30), bom=st.booleans())
def test_an_array_cut_anywhere_has_its_elements_as_lines(
    rows: list[Any], indent: int | None, size: int, bom: bool
) -> None:
    data = (b"\xef\xbb\xbf" if bom and size > 2 else b"") + json.dumps(rows, indent=indent).encode() + b"\n"
    lines = through(data, size).splitlines()
    assert [json.loads(line) for line in lines if line] == rows
    assert sum(bool(line) for line in lines) == len(rows)


NO_ARRAY = {
    b"": "holds no JSON array",
    b"  ": "holds no JSON array",
    b'{"a": 1}\n': "holds no JSON array",
    b'[{"a": 1}': "ends before the array does",
    b'[{"a": "x': "ends before the array does",
    b'[{"a": 1}] [2]': "something follows it",
    b"[1]}": "something follows it",
    b"[}]": "closes what isn't open",
}


@pytest.mark.parametrize("data", NO_ARRAY)
def test_what_is_no_array_is_refused(data: bytes) -> None:
    for size in (1, 1 << 20):
        with pytest.raises(SourceUnreadable, match=NO_ARRAY[data]):
            through(data, size)


@given(
    st.lists(st.sampled_from(['{"a":1}', '"x', '"', "1", "}", "{", "[", "]", "\n", ",", "\\", " "]), max_size=20),
    st.integers(1, 9),
)
def test_damaged_arrays_are_refused_or_give_lines(parts: list[str], size: int) -> None:
    data = ("[" + "".join(parts) + "]").encode()
    try:
        lines = through(data, size)
    except SourceUnreadable:
        return
    assert lines == through(data, 1 << 20)
    read(lines, a="int32")


def spec(form: str, path: str = "*.json*", **source: Any) -> DataPipelineSpec:
    return spec_of(source={"files": {"path": path, "format": {form: {}}}} | source, execution={"chunk": {"maxRows": 3}})


def all_rows(folder: Path, spec: DataPipelineSpec, size: int = 1 << 20) -> list[dict[str, Any]]:
    """All good rows of all chunks."""
    reader, found = reader_of(spec, "raw"), []
    for chunk in chunks_of(spec, {"raw": Folder(folder)}):
        with ExitStack() as stack:
            for piece in reader.open(stack, Folder(folder), chunk.part, chunk.part.start, size):
                done = reader.read(piece, chunk.part.layout, Origin("raw", chunk.index, chunk.file))
                assert done.count is not None
                assert done.count.rows_in == done.count.rows_out + done.count.rejected
                found += done.batch.table.to_pylist()
    return found


WRITTEN: dict[str, tuple[str, Callable[[list[dict[str, Any]]], bytes]]] = {
    "lines": ("jsonLines", lambda rows: "".join(f"{json.dumps(row)}\n" for row in rows).encode()),
    "lines with a mark": ("jsonLines", lambda rows: b"\xef\xbb\xbf" + "\n".join(map(json.dumps, rows)).encode()),
    "array": ("json", lambda rows: json.dumps(rows, indent=2).encode()),
    "array with a mark": ("json", lambda rows: b"\xef\xbb\xbf" + json.dumps(rows).encode()),
}


@given(count=st.integers(1, 20), size=st.integers(1, 200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@pytest.mark.parametrize("case", WRITTEN)
def test_files_are_read_whole_however_they_are_cut(tmp_path: Path, case: str, count: int, size: int) -> None:
    form, write = WRITTEN[case]
    rows = [{"n": n, "t": f"row {n}, [{n}]", "w": {"deep": [n]}} for n in range(count)]
    (tmp_path / "a.json").write_bytes(write(rows))
    expected = [{**row, "w": json.dumps(row["w"])} for row in rows]
    assert all_rows(tmp_path, spec(form), size) == expected


def test_types_are_inferred_from_the_first_files(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"i": 1, "f": 1, "b": true, "t": "1", "d": "2026-01-31", "z": null, "l": [1]}\n'
        '{"i": 2, "f": 0.5, "b": false, "m": 1, "w": "2026-01-31T10:00:00Z"}\nnot JSON\n'
    )
    (tmp_path / "b.jsonl").write_text('{"m": "x"}\n')
    chunks = chunks_of(spec("jsonLines", "*.jsonl"), {"raw": Folder(tmp_path)})
    assert {column.name: column.type for column in chunks[0].part.layout.columns} == {
        "i": "int64", "f": "float64", "b": "boolean", "t": "string", "d": "date", "z": "string", "l": "string",
        "m": "string", "w": "timestamptz",
    }  # fmt: skip
    assert [chunk.file for chunk in chunks] == ["a.jsonl", "b.jsonl"]


def test_what_is_refused_when_a_run_is_planned(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"n": 1, "x": 1}\n')
    folders = {"raw": Folder(tmp_path)}
    columns = [{"name": "n", "type": "int32"}]
    with pytest.raises(NewColumn, match="keys that aren't declared: x"):
        chunks_of(spec("jsonLines", columns=columns, contract={"newColumns": "Fail"}), folders)
    with pytest.raises(SourceUnreadable, match="holds no JSON array"):
        chunks_of(spec("json"), folders)
    (tmp_path / "a.json").write_text("")
    with pytest.raises(SourceUnreadable, match="no JSON object to tell columns from"):
        chunks_of(spec("jsonLines"), folders)
    (tmp_path / "a.json").write_text('{"n": 1, "N": 1}\n')
    with pytest.raises(SourceUnreadable, match="differ only in case"):
        chunks_of(spec("jsonLines"), folders)
    (tmp_path / "a.json").write_text('{"": 1}\n')
    with pytest.raises(SourceUnreadable, match="a column called '', which no table can have"):
        chunks_of(spec("jsonLines"), folders)


def test_a_table_of_a_block_is_what_was_wanted() -> None:
    parsed = parse_lines(Block(0, b'{"a":1}\n'), layout(a="int16", b="date"), PLAIN)
    assert parsed.table.schema == pa.schema([("a", pa.int16()), ("b", pa.date32())])
