"""What a query and a rule may be: tables of accepted and refused ones, and what is said of them."""

from __future__ import annotations

import time

import pytest

from tidemill_api import conditions
from tidemill_check.sql import check_expression, check_query, needs_all_rows

INPUTS = ("t", "u", "w")
PARAMETERS = ("carrier",)


def refusals(query: str) -> list[str]:
    """What is said of the query itself; that it leaves an input unread is looked at elsewhere."""
    found = check_query(query, INPUTS, PARAMETERS)
    assert all(problem.reason == conditions.INVALID_SQL for problem in found)
    return [problem.message for problem in found if problem.field == "sql.query"]


ROW_WISE = (
    "SELECT v.*, a.name AS airline FROM t v LEFT JOIN u a USING (carrier) WHERE $carrier IN ('', v.carrier)",
    "FROM t",
    "TABLE t",
    "FROM t SELECT x WHERE x > 1",
    'SELECT * FROM T v JOIN "U" ON true',
    "SELECT * FROM t NATURAL JOIN u CROSS JOIN w",
    "SELECT * FROM t, u, w",
    "SELECT * FROM t SEMI JOIN u USING (k) ANTI JOIN w USING (k)",
    "SELECT * FROM (SELECT * FROM t WHERE x > 1) s LEFT JOIN u USING (k)",
    "SELECT * FROM t JOIN LATERAL (SELECT * FROM u WHERE u.k = t.k) ON true",
    "SELECT * FROM t LEFT JOIN (VALUES (1, 'a')) v(k, name) USING (k)",
    "SELECT * FROM t JOIN (u JOIN w USING (k)) USING (k)",
    "SELECT * FROM t JOIN (u FULL JOIN w USING (k)) USING (k)",
    "SELECT * FROM t JOIN (SELECT DISTINCT k FROM u ORDER BY k) USING (k)",
    "SELECT * FROM t JOIN (SELECT k FROM u UNION SELECT k FROM w EXCEPT SELECT 1) USING (k)",
    "SELECT * FROM t JOIN (SELECT k, max(z) AS z FROM u GROUP BY k HAVING max(z) > 1) USING (k)",
    "SELECT * FROM t JOIN (SELECT k, count(*) FILTER (z > 1) AS n FROM u GROUP BY ALL) USING (k)",
    "SELECT * FROM t WHERE x > (SELECT avg(z) FROM u)",
    "SELECT * FROM t JOIN u ON t.k = u.k AND u.z > (SELECT min(z) FROM w)",
    "SELECT x, (SELECT z FROM u WHERE u.k = t.k) FROM t",
    "SELECT EXISTS (FROM u WHERE u.k = t.k), x IN (SELECT k FROM u), x = ANY (SELECT k FROM u) FROM t",
    "WITH m AS (SELECT k, max(z) AS z FROM u GROUP BY k) SELECT t.*, m.z FROM t LEFT JOIN m USING (k)",
    "WITH m AS MATERIALIZED (SELECT max(z) AS z FROM u) SELECT t.*, (SELECT z FROM m) FROM t",
    "WITH a(k, z) AS (FROM u), b AS (SELECT * FROM a) SELECT * FROM t JOIN b USING (k) JOIN b c USING (k)",
    "WITH a AS (SELECT * FROM t WHERE x > 1) SELECT * FROM a",
    "WITH a AS (FROM t), b AS (FROM a JOIN u USING (k)) SELECT * FROM b",
    "WITH t AS (SELECT * FROM t) SELECT * FROM t",
    "SELECT * FROM (WITH m AS (SELECT max(z) AS z FROM u) SELECT * FROM t, m) s",
    "SELECT unnest(l) FROM t",
    "SELECT * FROM t, unnest(t.l) AS q(y)",
    "SELECT list_transform(l, lambda x: x + 1), [x + 1 FOR x IN l IF x > 2], {'a': 1}.a, l[1:2], m['x'], l[-1] FROM t",
    "SELECT list_sum(l), list_first(l), list_aggregate(l, 'median'), list_reduce(l, lambda a, b: a + b) FROM t",
    "SELECT lower(a), Upper(b), a.upper(), a || b, a ->> 'p', -x, x!, x ** 2, NOT x, a LIKE 'x%', a ~ 'x' FROM t",
    "SELECT a::DECIMAL(3,1), a::TIMESTAMP WITH TIME ZONE, a::INT[], TRY_CAST(a AS DATE), TRY(a::INT) FROM t",
    "SELECT CASE a WHEN 1 THEN 2 ELSE 3 END, COALESCE(a, b), IF(a, b, c), NULLIF(a, b), x BETWEEN 1 AND 2 FROM t",
    "SELECT strptime(a, '%Y'), d + INTERVAL 1 DAY, extract(year FROM d), d AT TIME ZONE 'UTC', age(d, e) FROM t",
    "SELECT t.* EXCLUDE (a) REPLACE (b + 1 AS b) RENAME (c AS d), COLUMNS('x.*')::INT, t FROM t",
    "SELECT a COLLATE NOCASE = 'x', v.current_date, user FROM t v",
    "SELECT $run_time, $carrier FROM t",
    "SELECT a.upper(), v.a.lower().trim() FROM t v",
    "SELECT * FROM t -- a comment\n",
    "SELECT 'now() /* no call */', \"random()\" FROM t;",
    "SELECT hash(a), md5(a), sha256(a), regexp_extract(a, '(x)', 1), split_part(a, ',', 1) FROM t",
)


@pytest.mark.parametrize("query", ROW_WISE)
def test_row_wise(query: str) -> None:
    assert refusals(query) == []


NEEDS_ALL_ROWS = (
    ("SELECT count(*) FROM t", "count(*): is an aggregate, which needs all rows"),
    ("SELECT x + max(x) FROM t", "max(x): is an aggregate"),
    ("SELECT x.max() FROM t", "is an aggregate"),
    ("SELECT rowid.abs() FROM t", "depends on how the data is cut"),
    ("SELECT geomean(x) FROM t", "geomean(x): is an aggregate"),
    ("SELECT x FROM t HAVING sum(x) > 1", "HAVING needs all rows"),
    ("SELECT sum(x) OVER () FROM t", "sum(x) OVER (): is a window function"),
    ("SELECT x FROM t QUALIFY row_number() OVER () = 1", "QUALIFY needs all rows"),
    ("SELECT DISTINCT x FROM t", "DISTINCT needs all rows"),
    ("SELECT DISTINCT ON (x) * FROM t", "DISTINCT needs all rows"),
    ("SELECT x FROM t ORDER BY x", "ORDER BY needs all rows"),
    ("SELECT x FROM t LIMIT 1", "LIMIT needs all rows"),
    ("SELECT x FROM t OFFSET 1", "LIMIT needs all rows"),
    ("SELECT x FROM t LIMIT 5 PERCENT", "LIMIT needs all rows"),
    ("SELECT x FROM t USING SAMPLE 10%", "SAMPLE"),
    ("SELECT x FROM t TABLESAMPLE 10%", "SAMPLE"),
    ("SELECT x FROM (FROM t) TABLESAMPLE 10%", "SAMPLE"),
    ("SELECT x FROM t GROUP BY x", "GROUP BY needs all rows"),
    ("SELECT x FROM t GROUP BY ALL", "GROUP BY ALL needs all rows"),
    ("SELECT x FROM t GROUP BY GROUPING SETS ((x), ())", "GROUP BY needs all rows"),
    ("SELECT x FROM t UNION SELECT z FROM u", "UNION needs all rows"),
    ("SELECT x FROM t UNION ALL SELECT z FROM u", "UNION needs all rows"),
    ("SELECT x FROM t INTERSECT SELECT z FROM u", "INTERSECT needs all rows"),
    ("SELECT x FROM t EXCEPT SELECT z FROM u", "EXCEPT needs all rows"),
    ("SELECT * FROM t RIGHT JOIN u USING (k)", "a RIGHT join needs all rows"),
    ("SELECT * FROM t FULL JOIN u USING (k)", "a FULL join needs all rows"),
    ("SELECT * FROM t POSITIONAL JOIN u", "POSITIONAL pairs rows by their order"),
    ("SELECT * FROM t ASOF JOIN u ON t.k = u.k AND t.a >= u.a", "ASOF pairs rows by their order"),
    ("SELECT * FROM t a JOIN t b USING (x)", "can only stand first in FROM, once"),
    ("SELECT * FROM t WHERE x IN (SELECT x FROM t)", "can only stand first in FROM, once"),
    ("SELECT (SELECT count(*) FROM t) FROM t", "can only stand first in FROM, once"),
    ("WITH a AS (FROM t) SELECT * FROM a JOIN a b USING (x)", "a holds the first input's rows"),
    ("WITH a AS (FROM t), b AS (FROM t) SELECT * FROM a", "t is read a second time"),
    ("WITH a AS (SELECT count(*) FROM t) SELECT * FROM a", "is an aggregate, which needs all rows"),
    ("WITH RECURSIVE r AS (SELECT 1 UNION ALL FROM r) SELECT * FROM t, r", "a recursive query can't be used"),
    ("SELECT * FROM (SELECT x FROM t LIMIT 1)", "LIMIT needs all rows"),
    ("SELECT * FROM u JOIN t USING (k)", "the first input, t, must stand first in FROM"),
    ("SELECT * FROM u", "the first input, t, must stand first in FROM"),
    ("SELECT 1", "the first input, t, must stand first in FROM"),
    ("VALUES (1)", "the first input, t, must stand first in FROM"),
    ("SELECT * FROM (PIVOT t ON a IN (1, 2) USING sum(b))", "PIVOT in FROM can't be used in a step's query"),
    ("UNPIVOT t ON a, b INTO NAME n VALUE v", "PIVOT in FROM can't be used in a step's query"),
    ("SUMMARIZE t", "SHOW REF in FROM can't be used in a step's query"),
    ("SELECT rowid FROM t", "depends on how the data is cut"),
    ("SELECT t.ROWID FROM t", "depends on how the data is cut"),
    ("SELECT #1 FROM t", "write its name"),
    ("SELECT grouping(x) FROM t", "can't be used in a step's query"),
    ("SELECT * FROM t, unnest(l) WITH ORDINALITY", "WITH ORDINALITY can't be used in a step's query"),
)
ORDER_OF_BROADCAST_ROWS = (
    ("SELECT * FROM t JOIN (SELECT k, first(z) AS z FROM u GROUP BY k) USING (k)", "depends on the order of rows"),
    ("SELECT * FROM t JOIN (SELECT string_agg(z) AS z FROM u) ON true", "depends on the order of rows"),
    ("SELECT * FROM t JOIN (SELECT k, row_number() OVER () FROM u) USING (k)", "is a window function"),
    ("SELECT * FROM t JOIN (SELECT DISTINCT ON (k) * FROM u) USING (k)", "DISTINCT ON: with ties"),
    ("SELECT * FROM t JOIN (FROM u LIMIT 1) ON true", "LIMIT: with ties"),
    ("SELECT * FROM t JOIN (FROM u UNION FROM w LIMIT 1) ON true", "LIMIT: with ties"),
    ("SELECT * FROM t JOIN (FROM u TABLESAMPLE 10%) ON true", "SAMPLE"),
    ("SELECT * FROM t JOIN (FROM u USING SAMPLE 1) ON true", "SAMPLE"),
    ("SELECT x, (SELECT max(z) FROM u) FROM t", "write it in a WITH clause before the query"),
    ("SELECT x, (SELECT m FROM (SELECT max(z) AS m FROM u)) FROM t", "write it in a WITH clause before the query"),
    ("SELECT x, (WITH q AS (SELECT max(z) AS m FROM u) SELECT m FROM q) FROM t", "write it in a WITH clause"),
    ("SELECT array(SELECT k FROM u) FROM t", "is an aggregate"),
)
OUTSIDE = (
    ("SELECT * FROM 'x.csv'", "x.csv is not an input of this step"),
    ("SELECT * FROM t, read_csv('x.csv')", "read_csv is a table function: a query reads its inputs only (t, u and w)"),
    ("SELECT * FROM t, range(10)", "range is a table function"),
    ("SELECT * FROM t JOIN (FROM glob('*')) ON true", "glob is a table function"),
    ("SELECT * FROM t WHERE x IN (FROM read_text('/etc/passwd'))", "read_text is a table function"),
    ("SELECT * FROM t, duckdb_settings()", "duckdb_settings is a table function"),
    ("SELECT * FROM t, pragma_version()", "pragma_version is a table function"),
    ("SELECT * FROM main.t", "by their names without a schema"),
    ("SELECT * FROM memory.main.t", "by their names without a schema"),
    ("SELECT * FROM t, information_schema.tables", "by their names without a schema"),
    ("SELECT * FROM t, sqlite_master", "sqlite_master is not an input"),
    ("SELECT * FROM t JOIN other USING (k)", "other is not an input"),
    ("SELECT * FROM t AT (VERSION => 1)", "SAMPLE and AT can't be used"),
    ("SELECT main.lower(a) FROM t", "is called by a schema"),
    ("SELECT a::main.mood FROM t", "is a type of a schema"),
    ("SELECT getenv('HOME') FROM t", "getenv is not known"),
    ("SELECT getvariable('x') FROM t", "getvariable gives another answer each time"),
    ("SELECT current_setting('threads') FROM t", "current_setting gives another answer each time"),
    ("SELECT version() FROM t", "version reads the engine's own state"),
    ("SELECT current_database(), current_schema FROM t", "current_database reads the engine's own state"),
    ("SELECT json_serialize_plan('SELECT 1') FROM t", "reads the engine's own state"),
    ("SELECT pg_get_viewdef(1) FROM t", "pg_get_viewdef"),
    ("SELECT write_log('x') FROM t", "write_log gives another answer each time"),
    ("SELECT pg_sleep(1) FROM t", "pg_sleep"),
)
CHANCE = (
    ("SELECT now() FROM t", "now reads the clock, so a retry would give another answer: use $run_time"),
    ("SELECT today(), current_localtimestamp() FROM t", "today reads the clock"),
    ("SELECT current_date FROM t", "current_date: reads the clock"),
    ("SELECT current_date.year() FROM t", "reads the clock"),
    ("SELECT d.age() FROM t", "age reads the clock"),
    ("SELECT CURRENT_TIMESTAMP FROM t", "reads the clock"),
    ("SELECT age(d) FROM t", "age reads the clock"),
    ("SELECT ago(INTERVAL 1 DAY) FROM t", "ago reads the clock"),
    ("SELECT random() FROM t", "random gives another answer each time"),
    ("SELECT uuid() FROM t", "uuid gives another answer each time"),
    ("SELECT list_transform(l, lambda x: random()) FROM t", "random gives another answer each time"),
    ("SELECT x FROM t ORDER BY random()", "random gives another answer each time"),
    ("SELECT * FROM t JOIN u ON random() < 0.5", "random gives another answer each time"),
    ("SELECT nextval('s') FROM t", "nextval gives another answer each time"),
    ("SELECT list_aggregate(l, 'reservoir_quantile', 0.5) FROM t", "draws lots"),
    ("SELECT list_aggregate(l, a) FROM t", "needs the name of its aggregate written out"),
)
NO_SELECT = (
    ("", "holds no statements"),
    ("-- nothing", "holds no statements"),
    ("SELECT 1; SELECT 2", "holds 2 statements: write exactly one SELECT"),
    ("CREATE TABLE x AS SELECT 1", "is of the kind CREATE"),
    ("COPY t TO 'x.csv'", "is of the kind COPY"),
    ("ATTACH 'x'", "is of the kind ATTACH"),
    ("INSTALL httpfs", "is of the kind"),
    ("PRAGMA database_list", "is of the kind"),
    ("SET threads = 1", "is of the kind SET"),
    ("PIVOT t ON a USING sum(b)", "is a PIVOT"),
    ("EXPLAIN SELECT 1", "is of the kind EXPLAIN"),
    ("SELECT 1; DROP TABLE t", "is 2 statements"),
    ("SELEC 1", 'syntax error at or near "SELEC" (line 1, column 1)'),
    ("SELECT *\n  FRM t", 'syntax error at or near "t" (line 2, column 7)'),
    ("SELECT 'ä' 'x' FROM t", "(line 1, column 12)"),
    ("SELECT $carier FROM t", "there is no parameter $carier; did you mean carrier?"),
    ("SELECT ? FROM t", "is a parameter by position"),
    ("SELECT $1 FROM t", "is a parameter by position"),
    ("SELECT $1, $carrier FROM t", "Mixing named and positional parameters"),
    ("SELECT strptim(a, '%Y') FROM t", "strptim is not known; did you mean strptime?"),
    ("SELECT lower(DISTINCT a) FROM t", "is no aggregate"),
    ("SELECT " + "(" * 300 + "1" + ")" * 300 + " FROM t", "nested too deeply"),
    ("SELECT " + "+".join("1" * 5000) + " FROM t", "nested too deeply"),
    ("SELECT * FROM " + "(FROM " * 2000 + "t" + ")" * 2000, "nested too deeply"),
    ("SELECT " + "[" * 250 + "]" * 250 + " FROM t", "nested too deeply"),
)
NOT_ROW_WISE = (*NEEDS_ALL_ROWS, *ORDER_OF_BROADCAST_ROWS)
REFUSED = (*OUTSIDE, *CHANCE, *NO_SELECT)


@pytest.mark.parametrize(("query", "says"), NOT_ROW_WISE, ids=[query[:60] for query, _ in NOT_ROW_WISE])
def test_not_row_wise(query: str, says: str) -> None:
    """What of these is refused altogether stands in test_sql_whole.py."""
    found = needs_all_rows(query, INPUTS, PARAMETERS)
    assert any(says in message for message in found), found


@pytest.mark.parametrize(("query", "says"), REFUSED, ids=[query[:60] for query, _ in REFUSED])
def test_refused(query: str, says: str) -> None:
    found = refusals(query)
    assert any(says in message for message in found), found


def test_all_faults_of_a_query_come_at_once() -> None:
    found = refusals("SELECT now(), $x FROM t JOIN z USING (k) LIMIT 1")
    assert len(found) == 4


def test_an_input_that_is_never_read_is_named() -> None:
    found = check_query("SELECT * FROM t JOIN w USING (k)", INPUTS, ())
    assert [(problem.field, problem.message) for problem in found] == [("inputs[1]", "the query doesn't read u")]


@pytest.mark.parametrize(
    "expression",
    [
        "month BETWEEN 1 AND 12",
        "dep_delay IS NULL OR dep_delay < 2000",
        "a = $carrier OR $run_time > d",
        "a -- a comment",
        "a\n AND b",
        "regexp_matches(a, '^x') AND length(a) = 2 AND a IN ('x', 'y')",
        "list_contains(l, 1)",
        "CASE WHEN a THEN b ELSE c END",
        "('x)')::BOOLEAN",
        '"Cost Total $" > 0',
    ],
)
def test_good_expression(expression: str) -> None:
    assert check_expression(expression, PARAMETERS) == ()


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("-- nothing", "is empty"),
        ("a >", 'syntax error at or near ")" (at its end)'),
        ("a\nbetween 1", "(at its end)"),
        ("a > > b", 'syntax error at or near ">" (line 1, column 5)'),
        ("a) > (b", 'syntax error at or near ")" (line 1, column 2)'),
        ("1) , (2", 'near ")" (line 1, column 2)'),
        ("1) FROM t WHERE (a", 'near ")" (line 1, column 2)'),
        ("1) UNION SELECT (1", 'near ")" (line 1, column 2)'),
        ("1) LIMIT (1", 'near ")" (line 1, column 2)'),
        ("1); DROP TABLE t; SELECT (1", "is not one condition over a row"),
        ("a; SELECT 1", "doesn't parse"),
        ("a FROM t", "doesn't parse"),
        ("(SELECT 1) > 0", "a rule sees one row only"),
        ("EXISTS (FROM t)", "a rule sees one row only"),
        ("count(*) > 1", "is an aggregate"),
        ("row_number() OVER () > 1", "is a window function"),
        ("random() < 0.5", "gives another answer each time"),
        ("d < now()", "use $run_time"),
        ("d < current_date", "use $run_time"),
        ("COLUMNS(*) > 1", "stands for several columns"),
        ("unnest(l)", "makes several rows of one"),
        ("generate_subscripts(l, 1) > 0", "makes several rows of one"),
        ("regexp_split_to_table(a, ',') = 'x'", "makes several rows of one"),
        ("a = $nothing", "there is no parameter $nothing"),
        ("a = ?", "is a parameter by position"),
        ("rowid > 5", "depends on how the data is cut"),
        ("getenv('HOME') = 'x'", "getenv is not known"),
    ],
)
def test_bad_expression(expression: str, says: str) -> None:
    found = [problem.message for problem in check_expression(expression, PARAMETERS)]
    assert any(says in message for message in found), found


def test_a_check_costs_little() -> None:
    """The operator checks a thousand pipelines when it starts; equal queries are remembered."""
    check_query("SELECT lower(a) FROM t", INPUTS, ())
    queries = [
        f"SELECT v.*, a.name FROM t v LEFT JOIN u a USING (k) LEFT JOIN w USING (z) WHERE {n} > 0" for n in range(200)
    ]
    before = time.process_time()
    for query in queries:
        check_query(query, INPUTS, ())
    distinct = (time.process_time() - before) / len(queries)
    before = time.process_time()
    for query in queries:
        check_query(query, INPUTS, ())
    again = (time.process_time() - before) / len(queries)
    assert distinct < 0.01, "3 ms is the aim; a busy machine gets some room"
    assert again < 0.0005
