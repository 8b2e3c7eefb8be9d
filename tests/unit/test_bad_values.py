"""What becomes of values that aren't of their column's type, by each setting of a contract and in each form of rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill_api.contract import StepCount
from tidemill_api.errors import BadRow
from tidemill_api.v1alpha1.datapipeline import Source
from tidemill_worker.engine.blocks import Block, PageBlock, Piece, Typed
from tidemill_worker.engine.counts import total
from tidemill_worker.engine.forms import form_of
from tidemill_worker.engine.letters import Origin
from tidemill_worker.engine.model import Layout, PlannedColumn
from tidemill_worker.engine.stage import Reader, RefusedRow

Row = tuple[str | None, str | None, str | None]
"""Of `id` (required), `n` and `day`: texts, as a file would have them; None is no value."""
TYPES: Final = {"id": "int32", "n": "int16", "day": "date"}
LAYOUT: Final = Layout(
    3, tuple(PlannedColumn(name, kind, name == "id", i) for i, (name, kind) in enumerate(TYPES.items()))
)
GOOD: Final = {"id": ("1", "-7", "2147483647"), "n": ("0", "32767"), "day": ("2026-01-31",)}
BAD: Final = {"id": ("x", "2147483648", "1.5"), "n": ("40000", "seven"), "day": ("2026-02-30", "today")}
SORTS: Final[dict[str, dict[str, Any]]] = {
    "csv": {"files": {"path": "a", "format": {"csv": {}}}},
    "jsonLines": {"files": {"path": "a", "format": {"jsonLines": {}}}},
    "json": {"files": {"path": "a", "format": {"json": {}}}},
    "parquet": {"files": {"path": "a", "format": {"parquet": {}}}},
    "http": {"http": {"path": "a"}},
    "postgres": {"postgres": {"table": "public.a"}},
}


def csv(rows: Sequence[Row], null: str) -> bytes:
    return "".join(",".join(null if value is None else value for value in row) + "\n" for row in rows).encode()


def lines(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(dict(zip(TYPES, row, strict=True))) + "\n" for row in rows).encode()


PIECES: Final[dict[str, Callable[[Sequence[Row]], Piece]]] = {
    "csv": lambda rows: Block(0, csv(rows, "")),
    "jsonLines": lambda rows: Block(0, lines(rows)),
    "json": lambda rows: Block(0, lines(rows)),
    "parquet": lambda rows: Typed(
        0, pa.table({name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(TYPES)}), 1
    ),
    "http": lambda rows: PageBlock(0, lines(rows), "a#0", 1),
    "postgres": lambda rows: Block(0, csv(rows, "\\N")),
}


def reader(sort: str, bad_values: str) -> Reader:
    source = Source.model_validate(
        {
            "name": "raw",
            "connection": "landing",
            "columns": [{"name": name, "type": kind, "required": name == "id"} for name, kind in TYPES.items()],
            "contract": {"badValues": bad_values},
            **SORTS[sort],
        }
    )
    return Reader(source, form_of(source, "spec.sources[0].files.format"))


def read(sort: str, bad_values: str, rows: Sequence[Row]) -> tuple[StepCount, list[dict[str, Any]]]:
    """Counts, and the rows that go on."""
    done = reader(sort, bad_values).read(PIECES[sort](rows), LAYOUT, Origin("raw", 0, "a"))
    assert done.count is not None
    assert (done.letters.num_rows if done.letters is not None else 0) == done.count.rejected
    return done.count, done.batch.table.to_pylist()


def value(name: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from((*GOOD[name], *BAD[name], None))


ROWS = st.lists(st.tuples(value("id"), value("n"), value("day")), min_size=1, max_size=12)


@pytest.mark.parametrize("sort", SORTS)
@given(rows=ROWS)
@settings(max_examples=25, deadline=None)
def test_rows_in_are_rows_out_and_rejected_whatever_the_contract_says(sort: str, rows: list[Row]) -> None:
    misfits = [[name for name, each in zip(TYPES, row, strict=True) if each in BAD[name]] for row in rows]
    lost = [row[0] is None or "id" in bad for row, bad in zip(rows, misfits, strict=True)]
    kept, good = read(sort, "DeadLetter", rows)
    nulled, all_good = read(sort, "SetNull", rows)
    rejected = [alone or bool(bad) for alone, bad in zip(lost, misfits, strict=True)]
    assert (kept.rows_in, kept.rows_out, kept.rejected, kept.nulled) == (
        *(len(rows), rejected.count(False), rejected.count(True)),
        {},
    )
    assert (nulled.rows_in, nulled.rows_out, nulled.rejected) == (len(rows), lost.count(False), lost.count(True))
    counts = {
        name: sum(name in bad for bad, gone in zip(misfits, lost, strict=True) if not gone) for name in ("n", "day")
    }
    assert nulled.nulled == {name: count for name, count in counts.items() if count}
    assert [row for row, bad in zip(all_good, _left(misfits, lost), strict=True) if not bad] == good
    assert all(row[name] is None for row, bad in zip(all_good, _left(misfits, lost), strict=True) for name in bad)
    if any(rejected):
        with pytest.raises(BadRow, match="badValues is Fail"):
            read(sort, "Fail", rows)
    else:
        assert read(sort, "Fail", rows)[0] == kept


def _left(misfits: list[list[str]], lost: list[bool]) -> list[list[str]]:
    return [bad for bad, gone in zip(misfits, lost, strict=True) if not gone]


@pytest.mark.parametrize(
    ("sort", "where"),
    [
        ("csv", "line 12 (byte 15) of a"),
        ("jsonLines", "line 12 (byte 43) of a"),
        ("parquet", "row 2 of a"),
        ("http", "line 2 (byte 43) of a"),
        ("postgres", "line 12 (byte 15) of a"),
    ],
)
def test_a_row_that_fails_the_run_is_named_by_line_and_column(sort: str, where: str) -> None:
    rows: list[Row] = [("1", "0", "2026-01-31"), ("2", "seven", None)]
    with pytest.raises(RefusedRow) as caught:
        read(sort, "Fail", rows)
    said = f"source raw: the row at {where} is bad: n is not of type int16; badValues is Fail"
    assert (caught.value.type, str(caught.value.at(11))) == ("BadRow", said)


@pytest.mark.parametrize(
    ("text", "error"),
    [("1,2\n", "the row has 2 fields, not 3"), ("1,0,2026-01-31\0\n", "the row holds a NUL byte")],
)
def test_a_row_that_is_none_is_rejected_though_its_values_would_be_nulled(text: str, error: str) -> None:
    data = f"1,seven,\n{text}".encode()
    done = reader("csv", "SetNull").read(Block(0, data), LAYOUT, Origin("raw", 0, "a"))
    assert done.count == StepCount(step="raw", rows_in=2, rows_out=1, rejected=1, nulled={"n": 1})
    assert done.letters is not None
    assert done.letters.column("error").to_pylist() == [error]


def test_what_pieces_have_nulled_is_added_up() -> None:
    counts = [
        StepCount(step="raw", rows_in=1, rows_out=1, nulled={"n": 1}),
        StepCount(step="raw", rows_in=2, rows_out=2, nulled={"n": 2, "day": 1}),
        StepCount(step="v", rows_in=3, rows_out=3),
    ]
    assert total(counts) == (
        StepCount(step="raw", rows_in=3, rows_out=3, nulled={"n": 3, "day": 1}),
        StepCount(step="v", rows_in=3, rows_out=3),
    )
