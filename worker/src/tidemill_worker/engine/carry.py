"""Let a query say which row of its first input each row of its answer came from.

DuckDB may give the rows of a join in any order, and a query may leave out or multiply rows. "The last one wins" and
dead
letters need to know where a row came from, so the query is given one more column: the `rowid` of its first input,
handed up through the subqueries and WITH clauses that the rows flow through.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import duckdb

from tidemill_api.errors import SpecError

ROW = "__tidemill_row"
"""Name of the added column: the last one of the answer. No other column of that name is the author's."""

Tree = dict[str, Any]


@lru_cache(maxsize=256)
def carrying(query: str, field: str) -> str:
    """The query with the column ROW added. It must have been proved row-wise.

    Raises SpecError for `field` otherwise.
    """
    with duckdb.connect(":memory:", config={"threads": 1}) as parser:
        tree = json.loads(_one(parser, "SELECT json_serialize_sql($1)", query))
        if tree["error"] or len(tree["statements"]) != 1:
            raise SpecError(field, "not one SELECT")
        _carry(tree["statements"][0]["node"], {}, field)
        return _one(parser, "SELECT json_deserialize_sql($1)", json.dumps(tree))


def _one(parser: duckdb.DuckDBPyConnection, sql: str, argument: str) -> str:
    row = parser.execute(sql, [argument]).fetchone()
    assert row is not None
    return str(row[0])


def _carry(node: Tree, outer: dict[str, Tree], field: str) -> None:
    """Add ROW to a SELECT through which the first input's rows flow."""
    if node.get("type") != "SELECT_NODE":
        raise SpecError(field, "not row-wise in its first input")
    clauses = outer | {_folded(entry["key"]): entry["value"] for entry in node["cte_map"]["map"]}
    table = node["from_table"]
    while table["type"] == "JOIN":
        table = table["left"]
    match table["type"]:
        case "SUBQUERY":
            _carry(table["subquery"]["node"], clauses, field)
            table["alias"] = table["alias"] or "__tidemill_from"
            column = ROW
        case "BASE_TABLE" if _folded(table["table_name"]) in clauses:
            clause = clauses.pop(_folded(table["table_name"]))
            _carry(_body(clause), clauses, field)
            column = ROW
        case "BASE_TABLE":
            column = "rowid"
        case _:
            raise SpecError(field, "the first input must stand first in FROM")
    name = table["alias"] or table["table_name"]
    if column == ROW:
        clauses_of_rows = [node["select_list"], node["where_clause"], node["from_table"]]
        _name_columns(clauses_of_rows, name)
        _hide(node["select_list"], name)
    node["select_list"].append(
        {"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": ROW, "column_names": [name, column]}
    )


def _body(clause: Tree) -> Tree:
    """The SELECT of a WITH clause, however this version of DuckDB wraps it."""
    query = clause.get("query_node") or clause["query"]
    body: Tree = query.get("node", query)
    return body


def _folded(name: str) -> str:
    """Names are the same to DuckDB whatever their case."""
    return name.lower()


def _hide(value: Any, table: str) -> None:
    """Leave ROW out of the stars that would show it. The stars of a subquery mean its own FROM."""
    if isinstance(value, list):
        for item in value:
            _hide(item, table)
    elif isinstance(value, dict) and value.get("class") != "SUBQUERY":
        if value.get("class") == "STAR" and _folded(value.get("relation_name") or table) == _folded(table):
            value.setdefault("exclude_list", []).append(ROW)
        for item in value.values():
            _hide(item, table)


def _name_columns(value: Any, table: str) -> None:
    """Let the table's name alone mean its column of that name only.

    If there is none, DuckDB would take it for the whole row, which holds ROW: so it finds no such column, and says so.
    """
    if isinstance(value, list):
        for item in value:
            _name_columns(item, table)
    elif isinstance(value, dict) and value.get("class") not in ("SUBQUERY", "LAMBDA"):
        if value.get("class") == "COLUMN_REF" and [_folded(each) for each in value["column_names"]] == [_folded(table)]:
            value["column_names"].insert(0, table)
        for key, item in value.items():
            if key != "subquery":  # of FROM: what stands in it doesn't know this table
                _name_columns(item, table)
