"""Whether a query can make several rows of one: where it can't be seen at once that it doesn't, the answer is yes."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from tidemill_check.duckdb_parser import ParseError, nodes, parser

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
    names = (str(node.get("function_name", "")).lower() for node in nodes(tree))
    return any(part in name for name in names for part in _MULTIPLYING)
