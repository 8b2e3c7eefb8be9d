"""Queries over all rows: which may be asked, and that their answer doesn't depend on the order in which rows come."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill_check.duckdb_parser import LOCKED_DOWN
from tidemill_check.sql import check_query, needs_all_rows, whole_query

Row = tuple[object, ...]

GOOD = (
    "SELECT g, sum(x) AS s, avg(x) AS a, count(*) AS n FROM t GROUP BY g",
    "SELECT g, stddev(x) AS d, var_pop(x) AS v, corr(x, y) AS c, product(x) AS p FROM t GROUP BY ALL",
    "SELECT sum(x) AS s, sum(DISTINCT x) AS d, avg(x) FILTER (y > 1) AS f, kahan_sum(x) AS k FROM t",
    "SELECT g, median(x) AS m, quantile_cont(x, 0.3) AS q, mad(x) AS d FROM t GROUP BY g HAVING sum(x) > 0",
    "SELECT g, list(s ORDER BY y) AS l, string_agg(s, '-' ORDER BY y DESC) AS j FROM t GROUP BY g",
    "SELECT g, string_agg(DISTINCT s, ',' ORDER BY s) AS j, first(x ORDER BY y) AS f FROM t GROUP BY g",
    "SELECT g, arg_max(s, y) AS l, min_by(x, y) AS f, mode(s) AS m FROM t GROUP BY g",
    "SELECT DISTINCT g, y FROM t",
    "SELECT DISTINCT g FROM t ORDER BY g DESC",
    "SELECT DISTINCT ON (g) * FROM t ORDER BY g, y",
    "SELECT * FROM t ORDER BY y LIMIT 3",
    "SELECT * FROM t ORDER BY y DESC NULLS LAST LIMIT 3 OFFSET 2",
    "SELECT * FROM t ORDER BY y LIMIT 30 PERCENT",
    "SELECT * FROM t ORDER BY ALL LIMIT 3",
    "SELECT s FROM t ORDER BY y, g",
    "SELECT g, count(*) AS n FROM t GROUP BY g ORDER BY n DESC LIMIT 2",
    "SELECT g, y, count(*) AS n FROM t GROUP BY 1, 2 ORDER BY n LIMIT 2",
    "SELECT g AS d, row_number() OVER (ORDER BY count(*), d) AS r FROM t GROUP BY d",
    "SELECT g, y, sum(sum(x)) OVER (PARTITION BY g ORDER BY y ROWS UNBOUNDED PRECEDING) AS r FROM t GROUP BY g, y",
    "SELECT * FROM t QUALIFY row_number() OVER (PARTITION BY g ORDER BY y DESC) = 1",
    "SELECT t.*, lag(s) OVER (PARTITION BY g ORDER BY y) AS l, ntile(3) OVER (ORDER BY y) AS n FROM t",
    "SELECT t.*, rank() OVER (ORDER BY y) AS r, cume_dist() OVER (ORDER BY y) AS c FROM t",
    "SELECT t.*, sum(x) OVER (PARTITION BY g) AS s, count(*) OVER (ORDER BY y) AS n FROM t",
    "SELECT t.*, avg(x) OVER (PARTITION BY g ORDER BY y ROWS 2 PRECEDING) AS s FROM t",
    "SELECT t.*, max(x) OVER (ORDER BY y RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS m FROM t",
    "SELECT t.*, first_value(s) OVER (PARTITION BY g ORDER BY y) AS f FROM t",
    "SELECT t.*, last_value(s) OVER (ORDER BY y ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) AS f FROM t",
    "SELECT sum(x) OVER w AS s FROM t WINDOW w AS (PARTITION BY g)",
    "SELECT a.x AS p, b.x AS q FROM t a JOIN t b USING (g)",
    "SELECT a.g, row_number() OVER (PARTITION BY a.g ORDER BY b.y) AS n, a.s, b.x FROM t a JOIN t b USING (g)",
    "SELECT * FROM t WHERE x > (SELECT avg(x) FROM t)",
    "SELECT x FROM t UNION SELECT y FROM t",
    "(SELECT x FROM t UNION ALL SELECT y FROM t) ORDER BY 1",
    "SELECT * FROM (SELECT x FROM t UNION ALL SELECT y FROM t) ORDER BY x LIMIT 4",
    "SELECT x FROM t EXCEPT SELECT y FROM t",
    "WITH m AS (SELECT g, sum(x) AS s FROM t GROUP BY g) SELECT t.s, m.s AS total FROM t JOIN m USING (g)",
    "SELECT g, sum(x) AS s FROM t GROUP BY ROLLUP (g)",
    "SELECT t.s, e FROM t, unnest([1, 2]) AS u(e) ORDER BY e, y LIMIT 5",
    "SELECT * FROM (VALUES (1, 2), (1, 3)) v(a, b), t ORDER BY a, y, b LIMIT 5",
)

REFUSED = (
    ("SELECT first(x) FROM t", "depends on the order of rows: give it one"),
    ("SELECT any_value(x) FROM t", "depends on the order of rows"),
    ("SELECT list(x) FROM t", "give it one, as in list(x ORDER BY y)"),
    ("SELECT array(SELECT x FROM t)", "depends on the order of rows"),
    ("SELECT string_agg(s, ',') FROM t", "depends on the order of rows"),
    ("SELECT (SELECT list(t.x ORDER BY t.y)) FROM t", "rows of another SELECT"),
    ("SELECT reservoir_quantile(x, 0.5) FROM t", "is not known to give the same answer"),
    ("SELECT approx_quantile(x, 0.5) FROM t", "is not known to give the same answer"),
    ("SELECT geomean(x) FROM t", "stands for other aggregates: write these"),
    ("SELECT x.sum() FROM t", "write sum(x)"),
    ("SELECT sum((SELECT max(y) FROM t)) FROM t", "holds a subquery: compute it in a WITH clause"),
    ("SELECT * FROM t LIMIT 3", "LIMIT without ORDER BY takes any rows"),
    ("SELECT * FROM t OFFSET 3", "LIMIT without ORDER BY takes any rows"),
    ("SELECT * FROM (SELECT * FROM t LIMIT 1)", "LIMIT without ORDER BY takes any rows"),
    ("SELECT x FROM t UNION SELECT y FROM t ORDER BY 1 LIMIT 1", "LIMIT of a set operation"),
    ("SELECT DISTINCT g FROM t ORDER BY g LIMIT 2", "make the rows distinct in a subquery"),
    ("SELECT DISTINCT ON (g) * FROM t", "DISTINCT ON without ORDER BY"),
    ("SELECT row_number() OVER () FROM t", "row_number without ORDER BY depends on the order of rows"),
    ("SELECT lag(x) OVER (PARTITION BY g) FROM t", "lag without ORDER BY"),
    ("SELECT sum(x) OVER (ORDER BY y) FROM t", "add ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"),
    ("SELECT last_value(x) OVER (ORDER BY y) FROM t", "add ROWS BETWEEN UNBOUNDED PRECEDING"),
    ("SELECT sum(x) OVER (ROWS 1 PRECEDING) FROM t", "a frame of ROWS without ORDER BY"),
    ("SELECT list(x) OVER () FROM t", "write OVER (... ORDER BY"),
    ("SELECT sum(DISTINCT x) OVER () FROM t", "make the rows distinct in a subquery"),
    ("SELECT sum(x ORDER BY y) OVER () FROM t", "write the order into OVER"),
    ("SELECT sum(x) OVER (ORDER BY y ROWS 1 PRECEDING EXCLUDE TIES) FROM t", "exclude_clause"),
    ("SELECT g FROM t GROUP BY ROLLUP (g) ORDER BY g LIMIT 1", "group in a subquery"),
    ("SELECT *, count(*) FROM t GROUP BY ALL ORDER BY 1 LIMIT 1", "group in a subquery"),
    ("SELECT count(*) FROM t USING SAMPLE 3", "SAMPLE can't be used"),
    ("SELECT count(*) FROM t TABLESAMPLE 10%", "SAMPLE"),
    ("SELECT count(*) FROM t POSITIONAL JOIN t u", "POSITIONAL pairs rows by their order"),
    ("SELECT count(*) FROM t ASOF JOIN t u ON t.y >= u.y", "ASOF pairs rows by their order"),
    ("WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL FROM r) SELECT count(*) FROM t, r", "a recursive query"),
    ("SELECT count(*) FROM t, read_csv('x.csv')", "reads its inputs only"),
    ("SELECT count(*) FROM t JOIN other USING (x)", "other is not an input"),
    ("SELECT max(now()) FROM t", "use $run_time"),
    ("SELECT count(*) FROM t ORDER BY random()", "gives another answer each time"),
    ("SELECT sum(random()) OVER () FROM t", "gives another answer each time"),
    ("SELECT count(*), $nothing FROM t", "there is no parameter $nothing"),
)


@pytest.mark.parametrize("query", GOOD)
def test_may_be_asked(query: str) -> None:
    assert check_query(query, ["t"], []) == ()
    assert needs_all_rows(query, ["t"], [])


@pytest.mark.parametrize(("query", "says"), REFUSED)
def test_refused(query: str, says: str) -> None:
    found = [problem.message for problem in check_query(query, ["t"], []) if problem.field == "sql.query"]
    assert any(says in message for message in found), found
    with pytest.raises(ValueError, match="not a query over all rows"):
        whole_query(query, ["t"], [])


def test_an_input_that_is_never_read_is_named() -> None:
    (found,) = check_query("SELECT count(*) FROM u", ["t", "u"], [])
    assert (found.field, found.message) == ("inputs[0]", "the query doesn't read t")


def test_nested_queries_stay_small() -> None:
    """What settles ties is added once, whatever stands in it."""
    query = "SELECT sum(x) AS x FROM t"
    for _ in range(40):
        query = f"SELECT sum(x) AS x FROM ({query}) q"
    assert len(whole_query(query, ["t"], [])) < 6_000


FRACTIONS = [0.1, 0.2, 0.3, 1e16, -1e16, 1 / 3, 7.7e-9, 1e8 + 0.1]
_TIED: list[Row] = [
    (place % 3, fraction * factor, place % 4, f"s{place % 5}")
    for factor in (1, 3, -1)
    for place, fraction in enumerate(FRACTIONS)
]
_ALIKE: list[Row] = [(None, None, None, None), (1, 0.1, 0, "s0"), (1, 0.1, 0, "s0")]
ROWS = [*_TIED, *_ALIKE]
"""Rows of `t`: g, x, y, s; with ties in each, some rows alike, and fractions whose sum depends on the order."""


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config=dict(LOCKED_DOWN)) as opened:
        yield opened


def answer(connection: duckdb.DuckDBPyConnection, query: str, rows: Sequence[Row]) -> list[str]:
    """The rows of the answer, in its order."""
    connection.execute("CREATE OR REPLACE TABLE t (g INT, x DOUBLE, y INT, s VARCHAR)")
    connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", list(rows))
    return [repr(row) for row in connection.execute(query).fetchall()]


@pytest.mark.parametrize("query", GOOD)
def test_the_order_of_rows_changes_nothing(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    asked = whole_query(query, ["t"], [])
    first = answer(connection, asked, ROWS)
    dice = random.Random(query)
    for _ in range(4):
        assert answer(connection, asked, dice.sample(ROWS, len(ROWS))) == first


@pytest.mark.parametrize("query", GOOD)
def test_the_answer_is_one_that_the_query_may_give(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Without ties and with sums that are exact there is only one."""
    rows: list[Row] = [(place % 3, place * 0.5, place, f"s{place}") for place in range(12)]
    assert sorted(answer(connection, whole_query(query, ["t"], []), rows)) == sorted(answer(connection, query, rows))


@given(rows=st.permutations(ROWS), query=st.sampled_from(GOOD))
@settings(deadline=None, max_examples=60)
def test_any_order_of_rows(rows: list[Row], query: str) -> None:
    asked = whole_query(query, ["t"], [])
    with duckdb.connect(":memory:", config=dict(LOCKED_DOWN)) as opened:
        assert answer(opened, asked, rows) == answer(opened, asked, ROWS)


WITNESSES = (
    "SELECT sum(x) AS s FROM t",
    "SELECT g, avg(x) AS a FROM t GROUP BY g ORDER BY g",
    "SELECT arg_max(s, g) AS l FROM t",
    "SELECT s, y FROM t ORDER BY y LIMIT 3",
    "SELECT s, row_number() OVER (ORDER BY y) AS n FROM t ORDER BY ALL",
)


@pytest.mark.parametrize("query", WITNESSES)
def test_without_settled_ties_the_order_does_change_it(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    dice = random.Random(0)
    answers = {tuple(answer(connection, query, dice.sample(ROWS, len(ROWS)))) for _ in range(12)}
    settled = {
        tuple(answer(connection, whole_query(query, ["t"], []), dice.sample(ROWS, len(ROWS)))) for _ in range(12)
    }
    assert len(answers) > 1
    assert len(settled) == 1
