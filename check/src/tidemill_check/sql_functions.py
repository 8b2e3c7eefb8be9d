"""Which of DuckDB's functions a query may call: those whose result depends on nothing but their arguments."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from tidemill_check.duckdb_parser import ParseError, nodes, parser

_CLOCK: Final = {
    *("now", "today", "ago", "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"),
    *(
        "current_localtime",
        "current_localtimestamp",
        "get_current_time",
        "get_current_timestamp",
        "transaction_timestamp",
    ),
}
CLOCK: Final = "reads the clock, so a retry would give another answer: use $run_time"
CLOCK_COLUMNS: Final = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
"""Names that DuckDB takes for a function when no column has them."""
OUTSIDE_COLUMNS: Final = {"current_catalog", "current_schema"}

# What the catalogue calls consistent, though it reads the engine's own state or isn't meant for queries.
_NOT_FOR_QUERIES: Final = {
    *(
        "version",
        "index_key",
        "json_serialize_plan",
        "json_serialize_sql",
        "json_deserialize_sql",
        "parse_duckdb_log_message",
    ),
    *("to_aggregate_state", "combine", "finalize", "current_database", "current_query", "current_schemas"),
}
_BY_NAME: Final = {"list_aggr", "list_aggregate", "array_aggr", "array_aggregate", "aggregate"}
"""Scalar functions that apply the aggregate named by their second argument to a list."""
_SAMPLING: Final = {"reservoir_quantile"}
"""Aggregates that draw lots."""

ORDERLESS_AGGREGATES: Final = frozenset(
    {
        *(
            "count",
            "count_star",
            "count_if",
            "countif",
            "sum",
            "sum_no_overflow",
            "avg",
            "mean",
            "min",
            "max",
            "product",
        ),
        *(
            "bool_and",
            "bool_or",
            "bit_and",
            "bit_or",
            "bit_xor",
            "median",
            "quantile",
            "quantile_cont",
            "quantile_disc",
        ),
        *(
            "stddev",
            "stddev_pop",
            "stddev_samp",
            "variance",
            "var_pop",
            "var_samp",
            "kahan_sum",
            "fsum",
            "sumkahan",
            "favg",
        ),
    }
)
"""Aggregates whose answer doesn't depend on the order in which rows arrive (but for the last bits of a float)."""


@lru_cache(maxsize=2048)
def is_aggregate(name: str) -> bool:
    """Whether the function makes one value of many rows."""
    function = parser().functions.get(name.lower())
    return function is not None and (
        "aggregate" in function.types or any(is_aggregate(inner) for inner in _inner(name.lower()))
    )


def is_macro(name: str) -> bool:
    """Whether the name stands for an expression, which the parse tree doesn't show."""
    function = parser().functions.get(name.lower())
    return function is not None and bool(function.definitions)


@lru_cache(maxsize=2048)
def multiplies(name: str) -> bool:
    """Whether the function makes several rows of one."""
    name = name.lower()
    known = name in parser().functions
    return name == "unnest" or (known and any(multiplies(inner) for inner in _inner(name)))


@lru_cache(maxsize=2048)
def refusal(name: str, arguments: int) -> str | None:
    """Why a scalar function can't be called, or None when it can. Aggregates are the caller's business."""
    name = name.lower()
    function = parser().functions.get(name)
    if name == "unnest":
        return None
    if name in _CLOCK or (name == "age" and arguments < 2):
        return CLOCK
    if function is None:
        near = difflib.get_close_matches(name, filter(_plain, parser().functions), n=1, cutoff=0.75)
        return "is not known" + (f"; did you mean {near[0]}?" if near else "")
    if name.startswith("__internal") or name in _NOT_FOR_QUERIES:
        return "reads the engine's own state, not the rows"
    if not function.consistent:
        return "gives another answer each time, so a retry or another cut into chunks would change the result"
    if function.definitions:
        return _macro_refusal(name)
    if "scalar" not in function.types:
        kind = " and ".join(sorted(function.types)).replace("_", " ")
        return f"is a {kind} function: only functions of one row can be used"
    return None


def _plain(name: str) -> bool:
    """Whether a name is worth a suggestion: a plain function that can be called."""
    function = parser().functions[name]
    return "scalar" in function.types and function.consistent and name.isidentifier() and not name.startswith("__")


def by_name_refusal(name: str, arguments: list[Any]) -> str | None:
    """Why a call such as list_aggregate(l, 'sum') can't be made: its aggregate must be a constant and draw no lots."""
    if name.lower() not in _BY_NAME or len(arguments) < 2:
        return None
    chosen = arguments[1].get("expression", {}).get("literal", {})
    if chosen.get("kind") != "STRING":
        return "needs the name of its aggregate written out as text"
    return "draws lots, so each run would give another answer" if str(chosen.get("text")).lower() in _SAMPLING else None


def _macro_refusal(name: str) -> str | None:
    for inner, count in _calls_of(name):
        if inner != name and is_aggregate(inner):
            return None  # an aggregate in other clothes: the caller asks is_aggregate
        why = refusal(inner, count) if inner != name else None
        if why is not None:
            return why
    if _has_query(name):
        return "reads the engine's own tables"
    return None


def _inner(name: str) -> Iterator[str]:
    yield from (inner for inner, _ in _calls_of(name) if inner != name)


@lru_cache(maxsize=512)
def _calls_of(name: str) -> tuple[tuple[str, int], ...]:
    """The functions that a macro calls, with their number of arguments; columns that are clocks count as calls."""
    return tuple(call for tree in _trees(name) for call in _calls(tree))


@lru_cache(maxsize=512)
def _has_query(name: str) -> bool:
    return any("SUBQUERY" in str(tree) for tree in _trees(name))


def _trees(name: str) -> Iterator[Any]:
    for definition in parser().functions[name].definitions:
        try:
            yield parser().select(f"SELECT {definition}").get("select_list")
        except ParseError:
            yield {"class": "FUNCTION", "function_name": "__internal_unreadable"}


def _calls(tree: Any) -> Iterator[tuple[str, int]]:
    for node in nodes(tree):
        if node.get("class") == "FUNCTION":
            yield str(node["function_name"]).lower(), len(node.get("arguments", ()))
        if node.get("class") == "COLUMN_REF" and node["column_names"][-1].lower() in CLOCK_COLUMNS | OUTSIDE_COLUMNS:
            yield node["column_names"][-1].lower(), 0
