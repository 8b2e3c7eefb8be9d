"""A query that may make several rows of one is known; the answers of DuckDB say that nothing else does."""

from __future__ import annotations

import duckdb
import pytest

from tidemill_check.sql_single import may_multiply

QUERIES = (
    ("SELECT * FROM raw", False),
    ("SELECT r.a + 1 AS a, upper(b) AS b FROM raw r WHERE a > 1", False),
    ("SELECT CASE WHEN a > 1 THEN b END AS b, list_transform([a], lambda x: x + 1) AS l FROM raw", False),
    ("SELECT a, (SELECT 1) AS one FROM raw", False),
    ("SELECT unnest([1, 2]) AS n, a FROM raw", True),
    ("SELECT regexp_split_to_table('x y', ' ') AS n FROM raw", True),
    ("SELECT generate_subscripts([4, 5], 1) AS n FROM raw", True),
    ("SELECT * FROM raw, (VALUES (1), (2)) v(x)", True),
    ("SELECT * FROM raw JOIN (VALUES (1), (2)) v(x) ON true", True),
    ("SELECT * FROM raw LEFT JOIN other USING (a)", True),
    ("SELECT * FROM (SELECT unnest([1, 2]) AS n, a FROM raw)", True),
    ("WITH two AS (SELECT unnest([1, 2]) AS n, a FROM raw) SELECT * FROM two", True),
    ("SELECT * FROM raw UNION ALL SELECT * FROM raw", True),
    ("SELECT * FROM raw CROSS JOIN range(3)", True),
    ("not SQL", True),
)


@pytest.mark.parametrize(("query", "several"), QUERIES)
def test_queries(query: str, several: bool) -> None:
    assert may_multiply(query) is several
    if query.startswith(("SELECT", "WITH")):
        with duckdb.connect() as connection:
            connection.execute("CREATE TABLE raw AS SELECT 2 AS a, 'x' AS b")
            connection.execute("CREATE TABLE other AS SELECT unnest([2, 2]) AS a")
            assert (len(connection.execute(query).fetchall()) > 1) is several
