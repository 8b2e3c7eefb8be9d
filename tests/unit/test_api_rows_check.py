"""Which expressions may find the rows that pages are counted by: those that give as many rows as the API has sent."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.engine import spec_of
from tidemill_check.apis import check_apis

COUNTED: Final[list[dict[str, Any]]] = [{"offset": {}}, {"offset": {"total": "n"}}, {"page": {}}]
NOT_COUNTED: Final[list[dict[str, Any] | None]] = [
    None,
    {"page": {"total": "n"}},
    {"cursor": {"next": "next"}},
    {"link": {}},
    {"next": {"url": "next"}},
]
AS_MANY: Final = [
    *("@", "items", "items[*]", "items[]", "items[*].{id: id, n: a.b}", "items.*", "data[0].items || `[]`"),
    *("items[*].row | @", "not_null(items, `[]`)", "sort_by(items, &id)", "values(items)", "[items[0], items[1]]"),
]
OTHERS: Final = [
    *("items[?a]", "items[:5]", "items[1:].row", "items[].lines[]", "items[*].lines[]", "items[?a].b | @"),
    *("join(',', items)", "a || items[?b]", "{a: items[*], b: others[*]}", "sort_by(items[?a], &id)", "merge(a, b)"),
]


def refused(rows: str, paging: dict[str, Any] | None) -> list[tuple[str, str]]:
    http = {"rows": rows} | ({"paging": paging} if paging is not None else {})
    source = {"files": None, "http": http, "columns": [{"name": "id", "type": "int64"}]}
    return [(problem.field, problem.message) for problem in check_apis(spec_of(source=source))]


@pytest.mark.parametrize("rows", AS_MANY)
def test_rows_as_they_were_sent_are_counted(rows: str) -> None:
    assert [refused(rows, paging) for paging in (*COUNTED, *NOT_COUNTED)] == [[]] * 8


@pytest.mark.parametrize("rows", OTHERS)
def test_other_rows_are_refused_where_they_are_counted(rows: str) -> None:
    message = "pages are counted by these rows: filter in a step, or page by cursor"
    assert [refused(rows, paging) for paging in COUNTED] == [[("spec.sources[0].http.rows", message)]] * 3
    assert [refused(rows, paging) for paging in NOT_COUNTED] == [[]] * 5
