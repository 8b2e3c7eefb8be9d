"""Whether a query can make several rows of one: where it can't be seen at once that it doesn't, the answer is yes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from tidemill_check.duckdb_parser import ParseError, parser

_MULTIPLYING: Final = ("unnest", "unlist", "_to_table", "subscripts", "explode", "flatten_table")
"""Parts of names of functions that give several rows where they stand among the columns."""


@lru_cache(maxsize=1024)
def may_multiply(query: str) -> bool:
    """False only for a SELECT from one table, without a join, a CTE, or anything that unnests."""
    try:
        tree = parser().select(query)
    except ParseError:
        return True
    if tree.get("type") != "SELECT_NODE" or (tree.get("cte_map") or {}).get("map"):
        return True
    if (tree.get("from_table") or {}).get("type") != "BASE_TABLE":
        return True
    return any(part in name.lower() for name in _functions(tree) for part in _MULTIPLYING)


def _functions(node: Any) -> Iterator[str]:
    """Names of all functions below a node."""
    if isinstance(node, dict):
        if "function_name" in node:
            yield str(node["function_name"])
        for value in node.values():
            yield from _functions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _functions(value)
