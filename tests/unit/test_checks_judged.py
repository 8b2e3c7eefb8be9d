"""Whether a check holds, by what was measured; and its condition as Postgres is asked it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tidemill_api.v1alpha1.check import Check
from tidemill_check.sql_postgres import to_postgres
from tidemill_worker.engine.checking import judged, meaning, refusal

TWO_FAULTS = (
    "rowsLoaded is 1, which is less than atLeast (10); "
    "rowsLoaded is 1, which is more than 10% from 100, the median of the last 1 runs"
)


def check(**parts: Any) -> Check:
    return Check.model_validate({"name": "c", "sink": "out", "metric": "rowsLoaded"} | parts)


@pytest.mark.parametrize(
    ("parts", "value", "former", "said"),
    [
        ({"atLeast": 10}, 10, (), ""),
        ({"atLeast": 10}, 9, (), "rowsLoaded is 9, which is less than atLeast (10)"),
        ({"atMost": 2.5}, 3, (), "rowsLoaded is 3, which is more than atMost (2.5)"),
        ({"atLeast": 1, "atMost": 2}, 2, (), ""),
        ({"metric": "duplicateRows", "columns": ["a"]}, 0, (), ""),
        ({"metric": "duplicateRows", "columns": ["a"]}, 1, (), "duplicateRows is 1, which is more than atMost (0)"),
        ({"metric": "nullRows", "columns": ["a"], "atMost": 5}, 5, (), ""),
        ({"metric": "nullRows", "columns": ["a"], "atLeast": 1}, 7, (), ""),
        ({"metric": "freshness", "columns": ["a"], "within": "1h"}, 3600, (), ""),
        (
            {"metric": "freshness", "columns": ["a"], "within": "1h"}, 3600.5, (),
            "freshness is 3600.5 seconds, which is more than within allows (1h)",
        ),
        (
            {"metric": "freshness", "columns": ["a"], "within": "1h"}, None, (),
            "freshness can't be told: a holds no moment",
        ),
        ({"withinPercentOfLast": {"percent": 50}}, 10**9, (), ""),
        ({"withinPercentOfLast": {"percent": 50}}, 150, (100,), ""),
        ({"withinPercentOfLast": {"percent": 50}}, 50, (100,), ""),
        (
            {"withinPercentOfLast": {"percent": 50}}, 151, (100, 90, 1000),
            "rowsLoaded is 151, which is more than 50% from 100, the median of the last 3 runs",
        ),
        (
            {"withinPercentOfLast": {"runs": 2, "percent": 0}}, 100, (100, 90, 100),
            "rowsLoaded is 100, which is more than 0% from 95, the median of the last 2 runs",
        ),
        (
            {"atLeast": 10, "withinPercentOfLast": {"percent": 10}}, 1, (100,), TWO_FAULTS,
        ),
    ],
)  # fmt: skip
def test_what_a_value_comes_to(parts: dict[str, Any], value: float | None, former: Sequence[float], said: str) -> None:
    found = judged(check(**parts), value, former)
    assert (found.message, found.passed, found.value) == (said, not said, value)


def test_only_errors_refuse() -> None:
    good, warned = judged(check(atLeast=1), 1, ()), judged(check(atLeast=1, severity="Warn"), 0, ())
    assert refusal((good, warned)) is None
    failed = judged(check(atLeast=1), 0, ())
    assert str(refusal((good, warned, failed))) == (
        "sink out: check c: rowsLoaded is 0, which is less than atLeast (1)"
    )


def test_values_are_compared_with_those_of_the_same_meaning() -> None:
    assert meaning(check(atLeast=1)) == meaning(check(atLeast=2, severity="Warn"))
    assert meaning(check(atLeast=1)) != meaning(check(atLeast=1, metric="rowCount"))


@pytest.mark.parametrize(
    ("expression", "asked"),
    [
        ("a < 2000", '(t."a" < (2000))'),
        ("a IS NULL OR NOT b", '((t."a" IS NULL) OR (NOT t."b"))'),
        ("\"A\"\"b\" <> 'it''s \\'", "(t.\"A\"\"b\" <> E'it''s \\\\')"),
        ("a NOT BETWEEN -1 AND 2.5", '(NOT (t."a" BETWEEN (-1) AND (2.5)))'),
        ("a IN ('x', NULL) AND TRUE", "((t.\"a\" IN (E'x', NULL)) AND true)"),
        ("a NOT ILIKE 'x%'", "(t.\"a\" NOT ILIKE E'x%')"),
        ("a / 2 + -b > 1e3", '((((t."a")::double precision / (2)) + (- t."b")) > (1e3))'),
        ("CASE WHEN a THEN 1 ELSE b END = 1", '((CASE WHEN t."a" THEN (1) ELSE t."b" END) = (1))'),
        ("CASE WHEN a THEN 1 END = 1", '((CASE WHEN t."a" THEN (1) ELSE NULL END) = (1))'),
        ("a::DATE >= DATE '2020-01-01'", "((t.\"a\")::date >= (E'2020-01-01')::date)"),
        ("coalesce(length(a), nullif(b, 1)) = 0", '(coalesce(pg_catalog.length(t."a"), nullif(t."b", (1))) = (0))'),
        ("a = 1 -- always", '(t."a" = (1))'),
        ("a IS DISTINCT FROM b", '(t."a" IS DISTINCT FROM t."b")'),
    ],
)
def test_a_condition_is_asked_of_postgres(expression: str, asked: str) -> None:
    assert to_postgres(expression)[0] == asked


def test_the_columns_that_a_condition_reads() -> None:
    assert to_postgres("b > 1 AND a < b")[1] == ("b", "a")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("a <", "doesn't parse"),
        ("a) OR (b", "doesn't parse"),
        ("a; DROP TABLE t", "doesn't parse"),
        ("a, b", "can't compute"),
        ("1 FROM pg_shadow", "doesn't parse"),
        ("pg_sleep(10) IS NULL", "can't compute"),
        ("pg_catalog.length(a) = 1", "can't compute"),
        ("count(*) > 1", "can't compute"),
        ("(SELECT max(usesysid) FROM pg_user) > 1", "can't compute"),
        ("EXISTS (SELECT 1)", "can't compute"),
        ("a IN (SELECT 1)", "can't compute"),
        ("out.a = 1", "columns go by their bare names"),
        ("$carrier = a", "can't compute"),
        ("TRY_CAST(a AS DATE) IS NULL", "can't compute"),
        ("a::BLOB = a", "can't compute"),
        ("a::VARCHAR[] = a", "can't compute"),
        ("list_filter(a, lambda x: x) = a", "can't compute"),
        ("a[1] = 2", "can't compute"),
        ("sum(a) OVER () > 1", "can't compute"),
        ("length(a, b) = 1", "can't compute"),
        ("regexp_matches(a, '(a+)+')", "can't compute"),
        ("a SIMILAR TO 'x'", "can't compute"),
        ("* = 1", "can't compute|doesn't parse"),
        ("a = ?", "can't compute"),
        ("a COLLATE nocase = 'x'", "can't compute"),
    ],
)
def test_a_condition_that_postgres_isn_t_asked(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        to_postgres(expression)
