"""Rows as bodies of requests, what these are known by, and when they are sent."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill_api.errors import TableMismatch
from tidemill_api.v1alpha1.http_sink import SentRows
from tidemill_worker.engine.httpsink.bodies import batches, body_of, check_columns, content_type, key_of, objects
from tidemill_worker.engine.httpsink.sending import Pace, meaning

ROWS = [b'{"id":1}', b'{"id":2}']


def settings(**given: Any) -> SentRows:
    return SentRows.model_validate(given)


@pytest.mark.parametrize(
    ("given", "body", "kind"),
    [
        ({}, b'[{"id":1},{"id":2}]', "application/json"),
        ({"wrap": 'a"b'}, b'{"a\\"b":[{"id":1},{"id":2}]}', "application/json"),
        ({"body": "JSONLines"}, b'{"id":1}\n{"id":2}\n', "application/x-ndjson"),
        ({"body": "JSONObject"}, b'{"id":1}', "application/json"),
    ],
)
def test_forms(given: dict[str, Any], body: bytes, kind: str) -> None:
    chosen = settings(**given)
    (first, end), *_ = batches(ROWS, chosen)
    assert (body_of(ROWS[first:end], chosen), content_type(chosen)) == (body, kind)


@given(st.lists(st.binary(max_size=300), max_size=60), st.integers(1, 9), st.integers(1, 900))
def test_each_row_is_in_one_batch_within_its_bounds(rows: list[bytes], most: int, size: int) -> None:
    chosen = settings(batch={"maxRows": most, "maxBytes": str(size)})
    found = list(batches(rows, chosen))
    assert [place for first, end in found for place in range(first, end)] == list(range(len(rows)))
    for first, end in found:
        assert 1 <= end - first <= most
        assert end - first == 1 or sum(len(row) + 1 for row in rows[first:end]) <= size


def test_values_are_those_of_json() -> None:
    zone = pa.timestamp("us", "Europe/Berlin")
    moment = datetime(2026, 7, 1, 10, 0, 0, 123456, tzinfo=UTC)
    table = pa.table(
        {
            "n": pa.array([2**63 - 1, None]),
            "x": pa.array([0.1, float("nan")]),
            "d": pa.array([Decimal("1.10"), None], pa.decimal128(20, 2)),
            "t": ["ä\n", ""],
            "day": [date(2026, 1, 31), None],
            "at": pa.array([datetime(2026, 1, 31, 1, 2, 3, tzinfo=UTC), None], pa.timestamp("ns")),
            "atz": pa.array([moment, None], pa.timestamp("us", "UTC")),
            "there": pa.array([moment, None], zone),
            "ok": [True, None],
            "list": [[1, 2], None],
            "word": pa.array(["a", None]).dictionary_encode(),
        }
    )
    first, second = (json.loads(row) for row in objects(table))
    assert first == {
        "n": 2**63 - 1,
        "x": 0.1,
        "d": "1.10",
        "t": "ä\n",
        "day": "2026-01-31",
        "at": "2026-01-31T01:02:03",
        "atz": "2026-07-01T10:00:00.123456Z",
        "there": "2026-07-01T12:00:00.123456+02:00",
        "ok": True,
        "list": [1, 2],
        "word": "a",
    }
    assert {value for name, value in second.items() if name != "t"} == {None}


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.duration("us"), pa.month_day_nano_interval()])
def test_what_json_has_no_value_for(kind: pa.DataType) -> None:
    with pytest.raises(TableMismatch, match=r"sink out: the column b is of type .*, for which JSON has no value"):
        check_columns("out", pa.schema({"a": pa.int64(), "b": kind}))


def test_a_request_is_known_by_run_place_and_rows() -> None:
    key = key_of(("uid", "key", "out", "content", 3, 0), 0, b"[]")
    assert key == key_of(("uid", "key", "out", "content", 3, 0), 0, b"[]")
    others = [
        key_of((*names, 0), first, body)
        for names, first, body in [
            (("other", "key", "out", "content", 3), 0, b"[]"),
            (("uid", "other", "out", "content", 3), 0, b"[]"),
            (("uid", "key", "other", "content", 3), 0, b"[]"),
            (("uid", "key", "out", "other", 3), 0, b"[]"),
            (("uid", "key", "out", "content", 4), 0, b"[]"),
            (("uid", "key", "out", "content", 3), 1, b"[]"),
            (("uid", "key", "out", "content", 3), 0, b"[1]"),
        ]
    ]
    assert len({key, *others}) == 8
    assert all(len(each) == 32 and each.isalnum() for each in (key, *others))


@pytest.mark.parametrize(
    ("meant", "statuses"),
    [
        ("taken", (200, 201, 202, 204, 207)),
        ("later", (408, 409, 425, 429, 500, 502, 503, 504)),
        ("rows", (400, 413, 422)),
        ("denied", (401, 403)),
        ("refused", (301, 302, 304, 402, 404, 405, 410, 415, 418, 501)),
    ],
)
def test_what_statuses_mean(meant: str, statuses: tuple[int, ...]) -> None:
    assert {meaning(status) for status in statuses} == {meant}


def test_requests_are_spread_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    waited: list[float] = []
    pace = Pace(0.5)
    for _ in range(3):  # at once
        pace.keep(waited.append)
    now = 200.0
    pace.keep(waited.append)
    assert waited == [0.5, 1.0]
