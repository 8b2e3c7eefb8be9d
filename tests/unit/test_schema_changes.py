"""What of the columns of sources has changed from one run to the next."""

from __future__ import annotations

import pytest

from tidemill_worker.engine.model import Chunk, Layout, Part, PlannedColumn
from tidemill_worker.engine.schemas import changes, schemas_of
from tidemill_worker.files import FileRef

A = {"a": {"id": "int64", "x": "string"}}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (A, A, []),
        ({}, A, []),
        (A, {}, []),
        (A, {"b": {"id": "int64"}}, []),
        (A, {"a": {"x": "string", "id": "int64"}}, []),  # another order is no change
        (A, {"a": {"id": "int64", "x": "string", "y": "date"}}, ["source a: y is new (date)"]),
        (A, {"a": {"id": "int64"}}, ["source a: x is gone (it was string)"]),
        (A, {"a": {"id": "float64", "x": "string"}}, ["source a: id is float64, and was int64"]),
        (
            A,
            {"a": {"ID": "int64", "x": "string"}},
            ["source a: ID is new (int64)", "source a: id is gone (it was int64)"],
        ),
    ],
)
def test_changes(before: dict[str, dict[str, str]], now: dict[str, dict[str, str]], expected: list[str]) -> None:
    assert list(changes(before, now)) == expected


def test_many_changes_are_counted() -> None:
    told = changes({"a": {}}, {"a": {f"c{each}": "string" for each in range(30)}})
    assert (len(told), told[-1]) == (21, "source a: 10 columns more have changed")


def test_the_columns_of_a_plan() -> None:
    def part(*columns: tuple[str, str]) -> Part:
        planned = tuple(PlannedColumn(name, kind, False, place) for place, (name, kind) in enumerate(columns))
        return Part(FileRef("f", 0, 0), Layout(len(planned), planned), 0, None, 1)

    chunk = Chunk(0, 0, "raw", part(("id", "int64")), (("names", (part(("n", "string")),)), ("none", ())))
    assert schemas_of([chunk, chunk, object()]) == {"raw": {"id": "int64"}, "names": {"n": "string"}}
