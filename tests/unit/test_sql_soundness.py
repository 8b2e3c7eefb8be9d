"""The proof is sound: what it accepts gives the same rows however the first input is cut; what it refuses may not.

Queries are made from a grammar that goes well beyond what is accepted, and run by a real DuckDB over all of the first
input and over a split of it. For each class of refusals a witness shows an answer that a split does change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeVar

import duckdb
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from tidemill_check.duckdb_parser import LOCKED_DOWN
from tidemill_check.sql import check_query, needs_all_rows

Row = tuple[object, ...]
T = TypeVar("T")

FIRST: list[Row] = [
    (k, x, f"n{x % 3}", [x, k]) for k, x in [(1, 10), (1, 20), (2, 30), (3, 5), (None, 7), (2, 1), (4, 40)]
]
"""Rows of `t`: k, x, s, l."""
BROADCAST = [(1, 100), (1, 110), (2, 200), (5, 500), (None, 1)]
"""Rows of `u`: k, z."""


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A sandbox as the worker's, with the broadcast input in place and an empty first one."""
    with duckdb.connect(":memory:", config=dict(LOCKED_DOWN)) as opened:
        opened.execute("CREATE TABLE u (k INT, z INT)")
        opened.executemany("INSERT INTO u VALUES (?, ?)", BROADCAST)
        opened.execute("CREATE TABLE first (place INT, k INT, x INT, s VARCHAR, l INT[])")
        opened.executemany(
            "INSERT INTO first VALUES (?, ?, ?, ?, ?)", [(place, *row) for place, row in enumerate(FIRST)]
        )
        yield opened


def answer(connection: duckdb.DuckDBPyConnection, query: str, rows: Sequence[Row]) -> list[Row]:
    """The rows of the query with `rows` in the first input."""
    chosen = ", ".join(str(FIRST.index(row)) for row in rows) or "NULL"
    connection.execute(
        f"CREATE OR REPLACE TABLE t AS SELECT k, x, s, l FROM first WHERE place IN ({chosen}) ORDER BY place"
    )
    return connection.execute(query, {"p": 15} if "$p" in query else None).fetchall()


def counted(rows: Sequence[Row]) -> Counter[str]:
    """The rows as a multiset."""
    return Counter(repr(row) for row in rows)


def in_parts(connection: duckdb.DuckDBPyConnection, query: str, parts: Sequence[Sequence[Row]]) -> Counter[str]:
    return sum((counted(answer(connection, query, part)) for part in parts), Counter())


# A grammar of queries over t(k, x, s, l) and u(k, z), most of them sensible.


SCALARS = (
    [
        *("t.x", "t.k", "t.s", "t.x + 1", "coalesce(t.x, 0)", "upper(t.s)", "t.x > $p", "list_sum(t.l)", "t.s.upper()"),
        *("t.l[1]", "CASE WHEN t.x > 10 THEN 'big' END", "list_transform(t.l, lambda e: e + t.x)", "t.x IN (1, 10)"),
        *("(SELECT z FROM u WHERE u.z = t.x)", "EXISTS (FROM u WHERE u.k = t.k)", "t.k IN (SELECT k FROM u)"),
        *("unnest(t.l)", "hash(t.s)", "row(t.x, t.s)", "t.x::VARCHAR || t.s", "try_cast(t.s AS INT)", "list_sort(t.l)"),
        *("(SELECT u.z + t.x FROM u WHERE u.z > 450)", "array_to_string(t.l, ',')", "t.x = ANY (SELECT z / 10 FROM u)"),
    ],
    [
        *("(SELECT count(*) FROM u)", "(SELECT max(z) FROM u)", "(SELECT max(x) FROM u)", "(SELECT max(t.x))"),
        *("count(*)", "max(t.x)", "sum(t.x) OVER ()", "row_number() OVER ()", "rowid", "t.rowid", "first(t.s)"),
        *("lag(t.x) OVER (ORDER BY t.x)", "(SELECT sum(u.z + t.x) FROM u)", "(SELECT count(x) FROM t)"),
        *("(SELECT m FROM (SELECT max(x) AS m FROM u))", "unnest([(SELECT max(x) FROM u)])", "t.x.max()"),
    ],
)
CONDITIONS = (
    [
        *("true", "t.x > 5", "t.x > $p", "t.s LIKE 'n%'", "t.k IS NULL", "t.x > (SELECT min(z) FROM u) * 9"),
        *("t.k IN (SELECT k FROM u)", "t.k NOT IN (SELECT k FROM u WHERE k IS NOT NULL)", "list_contains(t.l, 1)"),
        *("EXISTS (FROM u WHERE u.k = t.k AND u.z > t.x)", "t.x = (SELECT max(x) FROM u)"),
        *("t.x < (SELECT count(*) + 20 FROM u)", "t.x < (SELECT max(z) FROM u WHERE u.k = t.k)"),
    ],
    ["t.x = (SELECT max(x) FROM t)", "t.x >= ALL (SELECT x FROM t WHERE x IS NOT NULL)", "count(*) > 1"],
)
JOINS = (
    [
        *("", "", "LEFT JOIN u ON u.k = t.k", "JOIN u ON u.k = t.k AND u.z > t.x", "SEMI JOIN u ON u.k = t.k"),
        *("ANTI JOIN u ON u.k = t.k", "CROSS JOIN u", "NATURAL LEFT JOIN u", ", u", ", unnest(t.l) q(e)"),
        *(
            "JOIN (SELECT k, max(z) AS z FROM u GROUP BY k) u ON u.k = t.k",
            "JOIN (SELECT DISTINCT k FROM u) u ON u.k = t.k",
        ),
        *(", (SELECT z + t.x AS z FROM u) q", ", (SELECT max(x) AS m FROM u) q", ", (SELECT max(z) AS m FROM u) q"),
        *(
            "LEFT JOIN (FROM u UNION ALL FROM u) u ON u.k = t.k",
            "JOIN m ON true",
            "LEFT JOIN (u FULL JOIN u v USING (z)) ON z > t.x",
        ),
        "LEFT JOIN LATERAL (SELECT z FROM u WHERE u.k = t.k) q ON true",
    ],
    [
        *("RIGHT JOIN u ON u.k = t.k", "FULL JOIN u ON u.k = t.k", "POSITIONAL JOIN u", "JOIN t AS b ON b.k = t.k"),
        *("ASOF JOIN u ON t.k = u.k AND t.x >= u.z", "JOIN (FROM u ORDER BY z LIMIT 2) u ON u.k = t.k"),
    ],
)
SOURCES = (
    [
        # a WITH clause, and what stands first in FROM
        ("", "t"),
        ("", "(FROM t) t"),
        ("", "(SELECT * FROM t WHERE x > 5) t"),
        ("", "(SELECT t.k, x, s, [x] AS l FROM t, u) t"),
        ("a AS (FROM t)", "a t"),
        ("a AS (SELECT * FROM t WHERE x > 5)", "a t"),
        ("a AS (FROM t), b AS (SELECT k, x + 1 AS x, s, l FROM a)", "b t"),
        ("t AS (SELECT * FROM t WHERE x > 5)", "t"),
        ("u AS (SELECT k, sum(z) AS z FROM u GROUP BY k)", "t"),
    ],
    [
        ("", "(SELECT DISTINCT k, x, s, l FROM t) t"),
        ("", "(FROM t LIMIT 3) t"),
        ("", "(FROM t ORDER BY x) t"),
        ("", "(SELECT k, max(x) AS x, s, l FROM t GROUP BY ALL) t"),
        ("", "(FROM t UNION ALL FROM t) t"),
        ("a AS (FROM t LIMIT 2)", "a t"),
        ("a AS (SELECT DISTINCT * FROM t)", "a t"),
        ("a AS (SELECT k, count(*) AS x, s, l FROM t GROUP BY ALL)", "a t"),
        ("t AS (FROM t ORDER BY x)", "t"),
    ],
)
SIDES = (
    [
        *("m AS (SELECT max(z) AS q FROM u)", "m AS MATERIALIZED (SELECT count(*) AS q FROM u)"),
        *(
            "m AS (SELECT max(x) AS q FROM u)",
            "m AS (SELECT DISTINCT z AS q FROM u)",
            "m AS (SELECT 1 AS q UNION SELECT 2)",
        ),
    ],
    ["m AS (SELECT max(x) AS q FROM t)", "m AS (SELECT z AS q FROM u LIMIT 1)", "m AS (SELECT first(z) AS q FROM u)"],
)
ENDS = (
    [""],
    ["LIMIT 2", "ORDER BY ALL", "GROUP BY ALL", "UNION SELECT 1", "QUALIFY row_number() OVER () = 1", "OFFSET 1"],
)


def compose(
    columns: Sequence[str], star: str, source: tuple[str, str], side: str, join: str, where: str, end: str
) -> str:
    """The query of these parts."""
    chosen = ", ".join(f"{column} AS c{place}" for place, column in enumerate(columns))
    clauses = ", ".join(filter(None, [source[0], side]))
    return f"WITH {clauses} SELECT {star}{chosen} FROM {source[1]} {join} WHERE {where} {end}".strip()


@st.composite
def queries(draw: st.DrawFn) -> str:
    """A query; in every second one a part is what must be refused."""
    spoiled = draw(st.sampled_from([*[""] * 6, "scalar", "condition", "join", "source", "side", "end"]))

    def pick(name: str, options: tuple[list[T], list[T]]) -> T:
        return draw(st.sampled_from(options[name == spoiled]))

    return compose(
        [*draw(st.lists(st.sampled_from(SCALARS[0]), max_size=2)), pick("scalar", SCALARS)],
        draw(st.sampled_from(["", "", "t.*, ", "t.* REPLACE (t.x + 1 AS x), "])),
        pick("source", SOURCES),
        pick("side", SIDES),
        pick("join", JOINS),
        pick("condition", CONDITIONS),
        pick("end", ENDS),
    )


def one_part_each(good: bool) -> Iterator[str]:
    """Queries that are plain but for one part, each part once."""
    which = 0 if good else 1
    plain = ["t.x"], "t.*, ", SOURCES[0][0], SIDES[0][0]
    yield from (compose([part], *plain[1:], "", "true", "") for part in SCALARS[which])
    yield from (compose(*plain, join, "true", "") for join in JOINS[which])
    yield from (compose(*plain, "", condition, "") for condition in CONDITIONS[which])
    yield from (compose(*plain, "", "true", end) for end in ENDS[which])
    yield from (compose(["t.x"], "", source, SIDES[0][0], "", "true", "") for source in SOURCES[which])
    yield from (compose(["t.x", "m.q"], "", SOURCES[0][0], side, "JOIN m ON true", "true", "") for side in SIDES[which])


PARTS = st.lists(st.integers(0, 3), min_size=len(FIRST), max_size=len(FIRST))
SLOW = (HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much, HealthCheck.too_slow)


def is_accepted(query: str) -> bool:
    """Whether the query is proved; what is said of inputs that aren't read is no part of the proof."""
    problems = [problem for problem in check_query(query, ["t", "u"], ["p"]) if problem.field == "sql.query"]
    return not problems and not needs_all_rows(query, ["t", "u"], ["p"])


def holds(connection: duckdb.DuckDBPyConnection, query: str, cut: list[int]) -> None:
    """The law, for one query and one cut."""
    event("accepted" if is_accepted(query) else "refused")
    assume(is_accepted(query))
    parts = [[row for row, part in zip(FIRST, cut, strict=True) if part == number] for number in range(4)]
    try:
        whole = counted(answer(connection, query, FIRST))
    except duckdb.Error as error:
        event(type(error).__name__ + str(error)[:60])
        return  # a query that fails over all rows is no answer that a cut could change
    assert in_parts(connection, query, parts) == whole


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(query=queries(), cut=PARTS)
def test_what_is_accepted_gives_the_same_rows_for_any_cut(
    connection: duckdb.DuckDBPyConnection, query: str, cut: list[int]
) -> None:
    holds(connection, query, cut)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=3000, deadline=None, suppress_health_check=SLOW)
@given(query=queries(), cut=PARTS)
def test_the_same_for_many_more_queries(connection: duckdb.DuckDBPyConnection, query: str, cut: list[int]) -> None:
    holds(connection, query, cut)


@pytest.mark.parametrize("query", list(one_part_each(good=True)))
def test_each_good_part_is_accepted_and_holds(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    assert is_accepted(query)
    try:
        whole = counted(answer(connection, query, FIRST))
    except duckdb.BinderException:
        return  # DuckDB refuses it itself, whatever the rows are
    assert in_parts(connection, query, CUT) == whole
    assert in_parts(connection, query, [[row] for row in FIRST]) == whole


@pytest.mark.parametrize("query", list(one_part_each(good=False)))
def test_each_bad_part_is_refused(query: str) -> None:
    assert not is_accepted(query)


CUT = [FIRST[:2], FIRST[2:5], [], FIRST[5:]]
WITNESSES = (
    "SELECT count(*) FROM t",
    "SELECT max(x) FROM t",
    "SELECT DISTINCT s FROM t",
    "SELECT s FROM t GROUP BY s",
    "SELECT s FROM t GROUP BY ALL",
    "SELECT s FROM t GROUP BY s HAVING count(*) > 1",
    "SELECT x FROM t LIMIT 1",
    "SELECT x FROM t OFFSET 1",
    "SELECT x FROM t LIMIT 50 PERCENT",
    "SELECT x FROM t USING SAMPLE 1 ROWS",
    "SELECT x, row_number() OVER () FROM t",
    "SELECT x, sum(x) OVER () FROM t",
    "SELECT x FROM t QUALIFY row_number() OVER () = 1",
    "SELECT s FROM t UNION SELECT 'n1'",
    "SELECT s FROM t UNION ALL SELECT 'more'",
    "SELECT s FROM t INTERSECT ALL SELECT 'n1'",
    "SELECT s FROM t EXCEPT ALL SELECT 'n1'",
    "SELECT t.x, u.z FROM t RIGHT JOIN u ON u.k = t.k",
    "SELECT t.x, u.z FROM t FULL JOIN u ON u.k = t.k",
    "SELECT t.x, u.z FROM t POSITIONAL JOIN u",
    "SELECT a.x, b.x FROM t a JOIN t b ON a.k = b.k",
    "SELECT x FROM t WHERE x = (SELECT max(x) FROM t)",
    "SELECT x, (SELECT count(*) FROM t) FROM t",
    "WITH a AS (FROM t) SELECT p.x, q.x FROM a p JOIN a q ON p.k = q.k",
    "WITH a AS (SELECT count(*) AS n FROM t) SELECT n FROM a",
    "SELECT u.z, t.x FROM u LEFT JOIN t ON u.k = t.k",
    "SELECT z FROM u",
    "SELECT 1",
    "SELECT rowid, x FROM t",
    "SELECT (SELECT max(t.x)) FROM t",
    "SELECT unnest([(SELECT max(x) FROM (VALUES (1)))]) FROM t",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < (SELECT count(*) FROM t)) FROM r",
    "FROM (PIVOT t ON s IN ('n0', 'n1') USING count(x) GROUP BY k)",
)


@pytest.mark.parametrize("query", WITNESSES)
def test_what_is_refused_can_change_with_the_cut(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    assert not is_accepted(query)
    assert in_parts(connection, query, CUT) != counted(answer(connection, query, FIRST))


ORDER_WITNESSES = (
    "SELECT x, z FROM t JOIN (SELECT k, first(z) AS z FROM u GROUP BY k) u ON u.k = t.k",
    "SELECT x, z FROM t JOIN (SELECT string_agg(z, ',') AS z FROM u) ON true",
    "SELECT x, z FROM t JOIN (SELECT z FROM u LIMIT 1) ON true",
    "SELECT x, z FROM t JOIN (SELECT DISTINCT ON (k) k, z FROM u) u ON u.k = t.k",
    "SELECT x, n FROM t JOIN (SELECT k, z, row_number() OVER () AS n FROM u) u ON u.k = t.k",
    "SELECT x, z FROM t JOIN (SELECT arg_max(z, 0) AS z FROM u) ON true",
)


@pytest.mark.parametrize("query", ORDER_WITNESSES)
def test_what_is_refused_of_broadcast_rows_can_change_with_their_order(
    connection: duckdb.DuckDBPyConnection, query: str
) -> None:
    assert not is_accepted(query)
    before = counted(answer(connection, query, FIRST))
    try:
        connection.execute("CREATE TABLE turned AS SELECT * FROM u ORDER BY z DESC")
        connection.execute("DELETE FROM u")
        connection.execute("INSERT INTO u FROM turned")
        assert counted(answer(connection, query, FIRST)) != before
    finally:
        connection.execute("DELETE FROM u")
        connection.executemany("INSERT INTO u VALUES (?, ?)", BROADCAST)
        connection.execute("DROP TABLE IF EXISTS turned")
