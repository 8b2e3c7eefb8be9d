"""SQL of steps and rules: that it is one SELECT, reads nothing but its inputs, and whether it is row-wise in the first.

A query is row-wise when its answer over all rows of the first input is the answers over any parts of them, put
together. Then a chunk can be worked on alone. The proof goes over the parse tree: what isn't known to be row-wise
needs all rows of all its inputs (`sql_whole`). What counts:

- the first input is read exactly once, left-most in FROM, directly or through subqueries and WITH clauses that
  are row-wise themselves; each of its rows is then filtered, computed, multiplied (`unnest`) or joined;
- other inputs are broadcast (whole for every chunk), joined by INNER, LEFT, SEMI, ANTI, NATURAL or CROSS JOIN, also
  through subqueries of their own, which may aggregate, group, deduplicate and combine sets;
- no LIMIT, OFFSET, SAMPLE, DISTINCT ON or window even there: with ties their answer depends on the order of rows,
  and so do ASOF and POSITIONAL joins and aggregates such as first or string_agg.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tidemill_api import conditions
from tidemill_check.duckdb_parser import ParseError, Tree, excerpt, parser
from tidemill_check.parameters import OF_THE_RUN
from tidemill_check.problem import Problem
from tidemill_check.sql_expressions import Expressions, Place
from tidemill_check.sql_rowwise import ROW_WISE, Proof, prove
from tidemill_check.sql_whole import WholeProof, prove_whole

QUERY_FIELD = "sql.query"


def check_query(query: str, inputs: Sequence[str], parameters: Collection[str]) -> tuple[Problem, ...]:
    """What is wrong with a step's query; fields are relative to the step (`sql.query`, `inputs[1]`).

    `inputs` are the step's, the first one drives; `parameters` the pipeline's names (the run's own are always there).
    """
    return _checked_query(query, tuple(inputs), _names(parameters))


def check_expression(expression: str, parameters: Collection[str]) -> tuple[Problem, ...]:
    """What is wrong with a rule's expression: one value computed from one row; the field is empty."""
    return _checked_expression(expression, _names(parameters))


def needs_all_rows(query: str, inputs: Sequence[str], parameters: Collection[str]) -> tuple[str, ...]:
    """Why a query that `check_query` accepts isn't row-wise: it needs all rows of all its inputs. Empty: it is."""
    found = _proved(query, tuple(inputs), _names(parameters))
    return tuple(why.replace(f": {ROW_WISE}", "") for why in found.why) if isinstance(found, _Proved) else ()


def whole_query(query: str, inputs: Sequence[str], parameters: Collection[str]) -> str:
    """A query that needs all rows as it is to be asked: its answer and the order of its rows are decided by the inputs.

    Raises ValueError for one that `check_query` refuses.
    """
    found = _proved(query, tuple(inputs), _names(parameters))
    if not isinstance(found, _Proved) or not isinstance(found.proof, WholeProof) or found.proof.refused:
        raise ValueError("not a query over all rows of its inputs")
    return found.proof.query


def _names(parameters: Collection[str]) -> frozenset[str]:
    """With those that every run has."""
    return frozenset(parameters) | OF_THE_RUN


@dataclass(frozen=True, slots=True)
class _Proved:
    """A query that parses: what was found over its first input's rows if it is row-wise, else over all rows."""

    proof: Proof
    why: tuple[str, ...] = ()


@lru_cache(maxsize=8192)
def _proved(query: str, inputs: tuple[str, ...], parameters: frozenset[str]) -> _Proved | Problem:
    try:
        tree = parser().select(query)
    except ParseError as error:
        where = f" (line {error.place[0]}, column {error.place[1]})" if error.place else ""
        return _problem(QUERY_FIELD, f"the query {error}{where}")
    try:
        proof = prove(query, tree, inputs, parameters)
        if not proof.refused:
            return _Proved(proof)
        return _Proved(prove_whole(query, tree, inputs, parameters), tuple(proof.refused))
    except RecursionError:
        return _problem(QUERY_FIELD, "the query is nested too deeply: take it apart into several steps")


def _checked_query(query: str, inputs: tuple[str, ...], parameters: frozenset[str]) -> tuple[Problem, ...]:
    found = _proved(query, inputs, parameters)
    if isinstance(found, Problem):
        return (found,)
    refused = [_problem(QUERY_FIELD, message) for message in found.proof.refused]
    if not refused:
        unread = [(place, inputs[place]) for place in found.proof.unread]
        refused += [_problem(f"inputs[{place}]", f"the query doesn't read {name}") for place, name in unread]
    return tuple(refused)


@lru_cache(maxsize=8192)
def _checked_expression(expression: str, parameters: frozenset[str]) -> tuple[Problem, ...]:
    try:
        text, node = parser().expression(expression)
    except ParseError as error:
        if error.place is None and "SELECT" in str(error):
            return (_problem("", "the expression is not one condition over a row"),)
        return (_problem("", f"the expression {error}{_place_in(expression, error.place)}"),)
    if node.get("select_list") and _is_nothing(node["select_list"][0]):
        return (_problem("", "the expression is empty: write a condition, such as month BETWEEN 1 AND 12"),)
    if not _is_one_value(node):
        return (_problem("", "the expression is not one condition over a row"),)
    refused: list[str] = []

    def refuse(at: Tree, why: str) -> None:
        refused.append(f"{excerpt(text, at)}: {why}" if excerpt(text, at) else why)

    walk = Expressions(text, parameters, refuse, lambda _node, _place: None)
    walk.all(node["select_list"], Place(subqueries=False, stars=False, unnest=False))
    return tuple(_problem("", message) for message in dict.fromkeys(refused))


def _place_in(expression: str, place: tuple[int, int] | None) -> str:
    """The place of a syntax error as the author sees it: the expression began on the second line of what was parsed."""
    if place is None:
        return ""
    line, column = place[0] - 1, place[1]
    return f" (line {line}, column {column})" if line <= expression.count("\n") + 1 else " (at its end)"


def _is_one_value(node: Tree) -> bool:
    plain = {"type", "cte_map", "select_list", "from_table", "aggregate_handling"}
    return (
        node.get("type") == "SELECT_NODE"
        and set(node) <= plain
        and not node.get("cte_map")
        and node.get("from_table", {}).get("type") == "EMPTY"
        and node.get("aggregate_handling") == "STANDARD_HANDLING"
        and len(node.get("select_list", ())) == 1
    )


def _is_nothing(value: Tree) -> bool:
    """`()`, which DuckDB takes for an empty row."""
    return value.get("function_name") == "row" and not value.get("arguments")


def _problem(field: str, message: str) -> Problem:
    return Problem(field=field, reason=conditions.INVALID_SQL, message=message)
