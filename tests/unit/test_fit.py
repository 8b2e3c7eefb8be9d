"""Typed columns fitted into declared ones: what fits is kept whole, what doesn't costs its row, nothing is lost."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill_worker.engine.blocks import Typed
from tidemill_worker.engine.casts import try_cast
from tidemill_worker.engine.columns import arrow_type, common_type, type_name
from tidemill_worker.engine.fit import TypedRows, fitted
from tidemill_worker.engine.model import Layout, PlannedColumn

DAY = datetime.fromisoformat("2020-01-02")
HOUR = datetime.fromisoformat("2020-01-02T10:00:00")
EPOCH = datetime.fromisoformat("1970-01-01")


def piece(array: pa.Array, offset: int = 0) -> Typed:
    return Typed(offset, pa.table({"c": array}), array.nbytes)


def layout(kind: str, *, required: bool = False) -> Layout:
    return Layout(1, (PlannedColumn("c", kind, required, 0),))


BAD = object()
CASES: list[tuple[pa.Array, str, list[Any]]] = [
    (pa.array([1, 300, None, -70_000]), "int16", [1, 300, None, BAD]),
    (pa.array([1.0, 2.5, float("nan"), float("inf")]), "int32", [1, BAD, BAD, BAD]),
    (pa.array([1.0, 1.25, 1.255]), "decimal(5,2)", [Decimal("1.00"), Decimal("1.25"), BAD]),
    (pa.array([1, 1_000_000]), "decimal(5,2)", [Decimal("1.00"), BAD]),
    (pa.array([Decimal("999.99"), Decimal("1000.00")]), "decimal(5,2)", [Decimal("999.99"), BAD]),
    (pa.array([Decimal("1.50")], pa.decimal256(50, 2)), "decimal(5,2)", [Decimal("1.50")]),
    (pa.array([Decimal("2.00"), Decimal("1.50")]), "int32", [2, BAD]),
    (pa.array([1e300, 1.5, float("inf")]), "float32", [BAD, 1.5, float("inf")]),
    (pa.array([2**53 + 1]), "float64", [float(2**53)]),
    (pa.array([1.5], pa.float16()), "float32", [1.5]),
    (pa.array([0, 1, 2]), "boolean", [False, True, BAD]),
    (pa.array([True, None]), "int32", [BAD, None]),
    (pa.array([2**63 + 1, 5], pa.uint64()), "int64", [BAD, 5]),
    (pa.array(["x", "1", "2020-01-02", " 2020-01-02"]), "date", [BAD, BAD, DAY.date(), DAY.date()]),
    (pa.array([b"\xff", b"a\0", b"ok", None]), "string", [BAD, BAD, "ok", None]),
    (pa.array(["a", "b", "a"]).dictionary_encode(), "string", ["a", "b", "a"]),
    (pa.array([[1, None], None, []]), "string", ["[1, null]", None, "[]"]),
    (pa.array([{"a": {"b": b"\0"}}, None]), "string", ['{"a": {"b": "\ufffd"}}', None]),
    (pa.array([[(1, [2])], None], pa.map_(pa.int32(), pa.list_(pa.int64()))), "string", ['{"1": [2]}', None]),
    (pa.array([[2**62]], pa.list_(pa.timestamp("us"))), "string", ["[4611686018427387904]"]),  # no day of any year
    (pa.array([[1, 2], None]), "int32", [BAD, None]),
    (pa.array([DAY, HOUR]), "date", [BAD, BAD]),  # a timestamp's text is no date's, in CSV neither
    (pa.array([DAY.date()]), "timestamp", [DAY]),
    (pa.array([HOUR]), "timestamptz", [BAD]),
    (pa.array([HOUR.replace(tzinfo=UTC)]), "timestamptz", [HOUR.replace(tzinfo=UTC)]),
    (pa.array([HOUR.replace(tzinfo=UTC)]), "timestamp", [BAD]),
    (pa.array([HOUR]), "string", ["2020-01-02 10:00:00.000000"]),
    (pa.array([2**40, 0], pa.timestamp("s")), "timestamp", [BAD, EPOCH]),
    (pa.array([2**31 - 1, 0], pa.date32()), "date", [BAD, date(1970, 1, 1)]),
    (pa.array([2**31 - 1], pa.date32()), "string", [BAD]),
    (pa.array([1001, 1000], pa.timestamp("ns")), "timestamp", [BAD, EPOCH + timedelta(microseconds=1)]),
    (pa.array([1, None], pa.time64("us")), "string", ["00:00:00.000001", None]),
    (pa.array([timedelta(days=1)]), "string", ["1 day, 0:00:00"]),
    (pa.array([UUID(int=1).bytes], pa.uuid()), "string", [str(UUID(int=1))]),
    (pa.array([None, None]), "int32", [None, None]),
]


@pytest.mark.parametrize(("array", "kind", "expected"), CASES, ids=[f"{a.type}-to-{k}" for a, k, _ in CASES])
def test_values_fit_or_cost_their_row(array: pa.Array, kind: str, expected: list[Any]) -> None:
    found = fitted(piece(array), layout(kind))
    assert found.table.schema.types == [arrow_type(kind)]
    assert found.table.column(0).to_pylist() == [value for value in expected if value is not BAD]
    assert sorted(found.faults) == [row for row, value in enumerate(expected) if value is BAD]
    assert (found.rows, found.lines) == (len(expected), len(expected))
    for fault in found.faults.values():
        assert fault.error.startswith("c: ")
        assert fault.cause == f"c is not of type {kind}"


def test_required_values_and_the_first_fault_of_a_row() -> None:
    table = pa.table({"a": pa.array([1, None, 70_000]), "b": pa.array(["x", "1", "y"])})
    wanted = Layout(2, (PlannedColumn("a", "int16", True, 0), PlannedColumn("b", "int32", False, 1)))
    found = fitted(Typed(5, table, 0), wanted)
    assert [fault.error for _, fault in sorted(found.faults.items())] == [
        "b: 'x' is not of type int32",
        "a is required and has no value",
        "a: '70000' is not of type int16",
    ]
    rows = TypedRows(Typed(5, table, 0))
    assert (rows.offset(2), rows.where(2), rows.lines([0, 2])) == (7, "row 8", [0, 2])
    assert rows.texts([0, 1]) == ['{"a": 1, "b": "x"}', '{"a": null, "b": "1"}']


def test_rows_are_shown_as_json_whatever_they_hold() -> None:
    table = pa.table(
        {
            "n": pa.array([float("nan"), None]),
            "t": pa.array([b"\xff\0", None]),
            "d": pa.array([Decimal("1.50"), None]),
            "w": pa.array([2**62, 0], pa.timestamp("us")),
            "l": pa.array([[{"x": float("inf")}], None]),
        }
    )
    assert [json.loads(text) for text in TypedRows(Typed(0, table, 0)).texts([0, 1])] == [
        {"n": "nan", "t": "\ufffd\ufffd", "d": "1.50", "w": 2**62, "l": [{"x": "inf"}]},
        {"n": None, "t": None, "d": None, "w": "1970-01-01 00:00:00.000000", "l": None},
    ]


ARROW = {
    pa.int8(): st.integers(-128, 127),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.decimal128(10, 3): st.decimals(-9_999_999, 9_999_999, places=3),
    pa.string(): st.text(max_size=12) | st.integers().map(str) | st.dates().map(str) | st.floats().map(str),
    pa.binary(): st.binary(max_size=6),
    pa.binary(2): st.binary(min_size=2, max_size=2),
    pa.date32(): st.integers(-(2**31), 2**31 - 1),
    pa.timestamp("s"): st.integers(-(2**62), 2**62),
    pa.timestamp("us", "UTC"): st.integers(-(2**62), 2**62),
    pa.timestamp("ns"): st.integers(-(2**62), 2**62),
    pa.time64("ns"): st.integers(0, 86_399_999_999_999),
    pa.list_(pa.timestamp("ns")): st.lists(st.integers(-(2**62), 2**62), max_size=3),
    pa.map_(pa.string(), pa.float64()): st.lists(st.tuples(st.text(max_size=3), st.floats()), max_size=3),
    pa.struct([("a", pa.binary()), ("b", pa.date32())]): st.fixed_dictionaries(
        {"a": st.none() | st.binary(max_size=3), "b": st.none() | st.integers(-(2**31), 2**31 - 1)}
    ),
}
TYPES = (
    "boolean", "int16", "int32", "int64", "float32", "float64", "string", "date", "timestamp", "timestamptz",
    "decimal(5,2)", "decimal(38,10)",
)  # fmt: skip


@given(data=st.data(), kind=st.sampled_from(list(ARROW)), target=st.sampled_from(TYPES))
def test_every_row_is_accounted_for(data: st.DataObject, kind: pa.DataType, target: str) -> None:
    values = data.draw(st.lists(st.none() | ARROW[kind], max_size=8))
    given_rows = piece(pa.array(values, kind))
    found = fitted(given_rows, layout(target))
    assert found.rows == len(values) == found.table.num_rows + len(found.faults)
    found.table.validate(full=True)
    kept = range(len(values)) if found.origin is None else found.origin.to_pylist()
    assert {*kept, *found.faults} == set(range(len(values)))
    for row, value in zip(kept, found.table.column(0).to_pylist(), strict=True):
        assert (value is None) == (values[row] is None)
    for text in TypedRows(given_rows).texts(sorted(found.faults)):
        assert set(json.loads(text)) == {"c"}
        assert "\0" not in text


@given(
    values=st.lists(st.none() | st.text(max_size=12) | st.integers().map(str) | st.dates().map(str), max_size=8),
    target=st.sampled_from(TYPES),
)
def test_texts_mean_what_they_mean_in_a_csv_file(values: list[str | None], target: str) -> None:
    values = [value and value.replace("\0", "") for value in values]
    array = pa.array(values, pa.string())
    expected, bad = try_cast(array, arrow_type(target))
    faulty = [] if bad is None else [row for row, at_fault in enumerate(bad.to_pylist()) if at_fault]
    found = fitted(piece(array), layout(target))
    assert sorted(found.faults) == faulty
    assert found.table.column(0).to_pylist() == [v for row, v in enumerate(expected.to_pylist()) if row not in faulty]


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (["int16", "int64", "int32"], "int64"),
        (["int16", "float32"], "float64"),
        (["int32", "decimal(5,2)"], "decimal(12,2)"),
        (["decimal(38,0)", "decimal(38,10)"], "string"),
        (["date", "timestamp"], "timestamp"),
        (["timestamp", "timestamptz"], "string"),
        (["boolean", "int16"], "string"),
        (["string", "string"], "string"),
    ],
)
def test_the_type_that_holds_all(names: list[str], common: str) -> None:
    assert common_type(names) == common
    assert common_type(names[::-1]) == common


def test_each_type_of_arrow_has_a_word() -> None:
    words = {str(kind): type_name(kind) for kind in ARROW}
    assert words["uint64"] == "decimal(20,0)"
    assert words["timestamp[us, tz=UTC]"] == "timestamptz"
    assert type_name(pa.decimal256(50, 2)) == type_name(pa.list_(pa.int8())) == "string"
    assert type_name(pa.dictionary(pa.int32(), pa.int16())) == "int16"
