"""Queries over all rows of all their inputs: that their answer is decided by these rows alone. See `sql_ties`.

What can't be made so is refused: LIMIT and DISTINCT ON without ORDER BY, joins that pair rows by their order, samples,
recursion, aggregates and windows that need an order and have none. What is left to the order of rows is settled by
changing the parse tree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from tidemill_check.duckdb_parser import Tree, nodes, parser
from tidemill_check.sql_expressions import Expressions, Place
from tidemill_check.sql_functions import is_aggregate
from tidemill_check.sql_rowwise import Proof, Scope, Table, Walk
from tidemill_check.sql_ties import Ties, WholeExpressions, order

_INSIDE: Final = Place(aggregates=True, broadcast=True)
SAME_NAME: Final = "struct_insert"
"""Stands in DuckDB's error if a table of a query over all rows has a column of the same name."""
SAME_NAME_SAID: Final = (
    "a table and one of its columns have the same name: call the table otherwise (FROM t AS another_name)"
)
_LIMITS: Final = ("LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER")


@dataclass(slots=True)
class WholeProof(Proof):
    """What was found, and the query as it is to be asked."""

    query: str = ""
    """With its ties settled and the answer in an order that only its rows decide; empty if it is refused."""


def prove_whole(query: str, tree: Tree, inputs: tuple[str, ...], parameters: frozenset[str]) -> WholeProof:
    """Walks the parse tree of `query`, and settles its ties."""
    proof = WholeProof()
    tables = [Table(name, driving=False) for name in inputs]
    walk = _WholeWalk(query, parameters, proof.refused, inputs, top=tree)
    walk.broadcast({table.name: table for table in tables}, tree, _INSIDE)
    proof.refused[:] = dict.fromkeys(proof.refused)
    proof.unread = [place for place, table in enumerate(tables) if table.uses == 0]
    if not proof.refused:
        for change in walk.later:
            change()
        if not walk.ordered:
            _order_by_all(tree)
        proof.query = parser().text(tree)
    return proof


def _order_by_all(tree: Tree) -> None:
    """By the whole answer, as ORDER BY ALL says. Of a query's own ORDER BY that has no LIMIT nothing depends."""
    assert isinstance(tree, dict)
    others = [each for each in tree.get("modifiers", ()) if each["type"] != "ORDER_MODIFIER"]
    everything = {"class": "STAR", "type": "STAR", "columns": True}
    tree["modifiers"] = [*others, {"type": "ORDER_MODIFIER", "orders": [order(everything)]}]


@dataclass(frozen=True, slots=True)
class _WholeWalk(Walk):
    top: Tree
    later: list[Callable[[], None]] = field(default_factory=list)
    _ordered: list[bool] = field(default_factory=list)

    @property
    def ordered(self) -> bool:
        """Whether the query's own ORDER BY gives the answer its order."""
        return bool(self._ordered)

    def expressions(self, scope: Scope) -> Expressions:
        """Of conditions of joins and of LIMIT, where there are no aggregates and no windows."""

        def subquery(node: Tree, place: Place) -> None:
            del place
            self.broadcast(scope, node, _INSIDE)

        return Expressions(self.query, self.parameters, self.refuse, subquery)

    def _of_select(self, scope: Scope, node: Tree) -> WholeExpressions:
        def subquery(inner: Tree, place: Place) -> None:
            del place
            self.broadcast(scope, inner, _INSIDE)

        rows = self._rows_of(node)
        return WholeExpressions(
            self.query, self.parameters, self.refuse, subquery, self._ties_of(node, rows), rows, self.later
        )

    def _broadcast_select(self, scope: Scope, node: Tree, place: Place) -> None:
        self._unknown_fields(node)
        scope = self._with(scope, node, place)
        if node.get("sample"):
            self.refuse({}, "SAMPLE can't be used: the answer would depend on chance")
        self._broadcast_from(scope, node.get("from_table", {}), place)
        walk = self._of_select(scope, node)
        walk.all(node.get("select_list"), place)
        walk.check(node.get("where_clause"), place)
        walk.all(node.get("group_expressions"), place)
        walk.check(node.get("having"), place)
        walk.check(node.get("qualify"), place)
        self._ends(scope, node, walk)

    def _ends(self, scope: Scope, node: Tree, walk: WholeExpressions) -> None:
        """DISTINCT, ORDER BY and LIMIT of a SELECT."""
        modifiers = {str(each["type"]): each for each in node.get("modifiers", ())}
        distinct, ordering = modifiers.get("DISTINCT_MODIFIER"), modifiers.get("ORDER_MODIFIER")
        on = list(distinct.get("distinct_on_targets", ())) if distinct else []
        orders = list(ordering.get("orders", ())) if ordering else []
        walk.all([*on, *(each.get("expression") for each in orders)], _INSIDE)
        limited = self._limited(scope, modifiers)
        if on and not orders:
            self.refuse({}, "DISTINCT ON without ORDER BY takes any row of those that are alike: say which one")
        elif limited and not orders:
            self.refuse({}, "LIMIT without ORDER BY takes any rows: say which ones come first")
        elif distinct and not on and limited:
            self.refuse({}, "DISTINCT with LIMIT: make the rows distinct in a subquery")
        elif orders and not (distinct and not on) and (limited or on or node is self.top):
            self._tied(node, orders, walk.ties)

    def _tied(self, node: Tree, orders: list[Tree], ties: Ties) -> None:
        if orders[0].get("expression", {}).get("class") != "STAR":  # ORDER BY ALL: by the whole answer
            orders = [*orders, *map(order, ties())]
        if node is self.top:
            self._ordered.append(True)
        modifier = next(each for each in node["modifiers"] if each["type"] == "ORDER_MODIFIER")
        self.later.append(lambda: modifier.update(orders=orders))

    def _limited(self, scope: Scope, modifiers: dict[str, Tree]) -> bool:
        for kind in modifiers:
            if kind not in (*_LIMITS, "DISTINCT_MODIFIER", "ORDER_MODIFIER"):
                self.refuse({}, f"{kind.replace('_', ' ').lower()} can't be used")
        limits = [modifiers[kind] for kind in _LIMITS if kind in modifiers]
        for limit in limits:
            self.expressions(scope).all([limit.get("limit"), limit.get("offset")], Place(subqueries=False, stars=False))
        return bool(limits)

    def _modifiers(self, scope: Scope, node: Tree, place: Place) -> None:
        """Of a set operation."""
        del place
        modifiers = {str(each["type"]): each for each in node.get("modifiers", ())}
        if self._limited(scope, modifiers):
            self.refuse({}, "LIMIT of a set operation: write SELECT * FROM (... UNION ...) ORDER BY ... LIMIT ...")
        for each in modifiers.get("ORDER_MODIFIER", {}).get("orders", ()):
            self.expressions(scope).check(each.get("expression"), _INSIDE)

    def _rows_of(self, node: Tree) -> Ties:
        """The rows of FROM, whole."""

        def rows() -> list[Tree]:
            found: list[Tree] = []
            for name, table in self._named(node.get("from_table", {})):
                found.append(_whole_row(name) if table else _column(name))
            return found

        return rows

    def _named(self, node: Tree) -> list[tuple[str, bool]]:
        """How what stands in FROM is called, and whether it is more than one column."""
        kind = node.get("type")
        if kind == "JOIN":
            left = self._named(node["left"])
            return left if node.get("join_type") in ("SEMI", "ANTI") else left + self._named(node["right"])
        if kind == "EMPTY" or not isinstance(node, dict):
            return []
        if kind == "TABLE_FUNCTION":
            return [(str(node.get("alias") or node["function"]["function_name"]), False)]
        if not node.get("alias") and kind != "BASE_TABLE":
            node["alias"] = f"__tidemill_from_{node.get('query_location', 0)}"
        return [(str(node.get("alias") or node["table_name"]), True)]

    def _ties_of(self, node: Tree, rows: Ties) -> Ties:
        """What tells the rows of a SELECT apart, once it has grouped them."""
        by_all = node.get("aggregate_handling") == "FORCE_AGGREGATES"
        if not (by_all or node.get("group_expressions") or node.get("group_sets")):
            parts = [node.get("select_list"), node.get("having"), node.get("qualify")]
            return list if any(map(_aggregates, parts)) else rows  # one row, if they aggregate

        def groups() -> list[Tree]:
            items = list(node.get("select_list", ()))
            stars = any(item.get("class") == "STAR" for item in items)
            keys = list(node.get("group_expressions", ()))
            if by_all:
                keys = [item for item in items if not _aggregates(item)]
            if len(node.get("group_sets", ())) > 1:
                self.refuse({}, "ROLLUP, CUBE and GROUPING SETS with a window or a LIMIT: group in a subquery")
            elif stars and (by_all or any(map(_position, keys))):
                self.refuse({}, "a star within GROUP BY ALL, with a window or a LIMIT: group in a subquery")
            else:
                return [items[_position(key) - 1] if _position(key) else key for key in keys]
            return []

        return groups


def _position(key: Tree) -> int:
    """The place that a key of GROUP BY names by its number, or 0."""
    literal = key.get("literal", {}) if key.get("class") == "CONSTANT" else {}
    text = str(literal.get("text", ""))
    return int(text) if literal.get("kind") == "INTEGER" and text.isdigit() else 0


def _aggregates(tree: Any) -> bool:
    """Whether expressions aggregate the rows of their own SELECT."""
    own = nodes(tree, but_of="SUBQUERY")
    return any(node.get("class") == "FUNCTION" and is_aggregate(str(node["function_name"])) for node in own)


def _column(name: str) -> Tree:
    return {"class": "COLUMN_REF", "type": "COLUMN_REF", "column_names": [name]}


@lru_cache(maxsize=512)
def _whole_row(name: str) -> Tree:
    """All columns of a table as one value. If a column is called as its table, DuckDB refuses: it is no struct."""
    quoted = '"' + name.replace('"', '""') + '"'
    node: Tree = parser().select(f"SELECT {SAME_NAME}({quoted}, __tidemill := 0)")["select_list"][0]
    return node
