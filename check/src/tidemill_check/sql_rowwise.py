"""The proof that a query is row-wise in its first input: its SELECTs, FROMs and WITHs. See `sql` for what counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from tidemill_check.duckdb_parser import Tree, excerpt, nodes
from tidemill_check.problem import listed, suggestion
from tidemill_check.sql_expressions import Expressions, Place

_SELECT_FIELDS: Final = {
    *("type", "modifiers", "cte_map", "select_list", "from_table", "where_clause", "group_expressions", "group_sets"),
    *("aggregate_handling", "having", "sample", "qualify"),
}
_CLAUSES: Final = {
    "group_expressions": "GROUP BY",
    "group_sets": "GROUP BY",
    "having": "HAVING",
    "sample": "SAMPLE",
    "qualify": "QUALIFY",
}
_MODIFIERS: Final = {
    "DISTINCT_MODIFIER": "DISTINCT",
    "ORDER_MODIFIER": "ORDER BY",
    "LIMIT_MODIFIER": "LIMIT",
    "LIMIT_PERCENT_MODIFIER": "LIMIT",
}
_FROM_MARKS: Final = {"type", "alias", "column_name_alias", "query_location", "query_location_length", "qualified_name"}
_FROM_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "BASE_TABLE": frozenset({"table_name", "schema_name", "catalog_name", "sample", "at_clause"}),
    "JOIN": frozenset(
        {
            "left",
            "right",
            "condition",
            "join_type",
            "ref_type",
            "using_columns",
            "is_implicit",
            "nearest_count",
            "nearest_order_type",
        }
    ),
    "SUBQUERY": frozenset({"subquery", "sample"}),
    "TABLE_FUNCTION": frozenset({"function", "with_ordinality"}),
    "EXPRESSION_LIST": frozenset({"values", "expected_names", "expected_types"}),
    "EMPTY": frozenset(),
}
_DRIVING_JOINS: Final = {"INNER", "LEFT", "SEMI", "ANTI"}
_BROADCAST_JOINS: Final = _DRIVING_JOINS | {"RIGHT", "FULL"}
_JOIN_FORMS: Final = {"REGULAR", "NATURAL", "CROSS"}
ROW_WISE: Final = "a query must be row-wise in its first input"
_ORDERED: Final = "with ties its answer depends on the order of rows"


@dataclass(eq=False, slots=True)
class Table:
    """Something that FROM can name: an input or a WITH clause. `driving`: it holds the first input's rows."""

    name: str
    driving: bool
    uses: int = 0


Scope = Mapping[str, Table]


@dataclass(slots=True)
class Proof:
    """What was found: why the query is refused (empty: it is row-wise), and which inputs it never reads."""

    refused: list[str] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)


def prove(query: str, tree: Tree, inputs: tuple[str, ...], parameters: frozenset[str]) -> Proof:
    """Walks the parse tree of `query`."""
    proof = Proof()
    tables = [Table(name, driving=place == 0) for place, name in enumerate(inputs)]
    walk = Walk(query, parameters, proof.refused, inputs)
    walk.driving({table.name: table for table in tables}, tree)
    if tables[0].uses == 0 and not proof.refused:
        proof.refused.append(f"the query doesn't read its first input {inputs[0]}, whose rows it would be run for")
    proof.refused[:] = dict.fromkeys(proof.refused)
    proof.unread = [place for place, table in enumerate(tables) if place > 0 and table.uses == 0]
    return proof


@dataclass(frozen=True, slots=True)
class Walk:
    """Walks SELECTs, FROMs and WITHs: `driving` those through which the first input's rows flow."""

    query: str
    parameters: frozenset[str]
    refused: list[str]
    inputs: tuple[str, ...]

    def refuse(self, node: Tree, why: str) -> None:
        """Note why the query can't be used, with the text at fault."""
        text = excerpt(self.query, node)
        self.refused.append(f"{text}: {why}" if text else why)

    def expressions(self, scope: Scope) -> Expressions:
        """What walks expressions within this scope."""

        def subquery(node: Tree, place: Place) -> None:
            self.broadcast(scope, node, replace(place, broadcast=True, stars=True, unnest=True))

        return Expressions(self.query, self.parameters, self.refuse, subquery)

    # The first input's rows.

    def driving(self, scope: Scope, node: Tree) -> None:
        """A SELECT through which the first input's rows flow, each by itself."""
        if node.get("type") != "SELECT_NODE":
            self.refuse(node, f"{_kind(node)} needs all rows: {ROW_WISE}")
            return
        self._unknown_fields(node)
        scope = self._with(scope, node)
        for name, clause in _CLAUSES.items():
            if node.get(name):
                self.refuse({}, f"{clause} needs all rows: {ROW_WISE}")
        if node.get("aggregate_handling") != "STANDARD_HANDLING":
            self.refuse({}, f"GROUP BY ALL needs all rows: {ROW_WISE}")
        for modifier in node.get("modifiers", ()):
            self.refuse({}, f"{_MODIFIERS.get(modifier['type'], modifier['type'])} needs all rows: {ROW_WISE}")
        self._driving_from(scope, node.get("from_table", {}))
        walk = self.expressions(scope)
        # An aggregate in a subquery that means the rows around it is an error of DuckDB's in WHERE, not in SELECT.
        walk.all(node.get("select_list"), Place(aggregates=False))
        walk.check(node.get("where_clause"), Place(aggregates=True))

    def _driving_from(self, scope: Scope, node: Tree) -> None:
        if self._known(node):
            match node["type"]:
                case "BASE_TABLE":
                    self._driving_table(scope, node)
                case "SUBQUERY":
                    self.driving(scope, node["subquery"]["node"])
                case "JOIN":
                    self._join(node, _DRIVING_JOINS)
                    self._driving_from(scope, node["left"])
                    self._broadcast_from(scope, node["right"], Place(aggregates=True))
                    self.expressions(scope).check(node.get("condition"), Place(aggregates=True))
                case _:
                    self._not_leftmost(node)

    def _driving_table(self, scope: Scope, node: Tree) -> None:
        table = self._table(scope, node)
        if table is None:
            return
        table.uses += 1
        if not table.driving:
            self._not_leftmost(node)
        elif table.uses > 1:
            self.refuse(node, f"{table.name} is read a second time: {ROW_WISE}; its rows can't meet each other")

    def _not_leftmost(self, node: Tree) -> None:
        why = "its rows are what the query is run for, chunk by chunk"
        self.refuse(node, f"the first input, {self.inputs[0]}, must stand first in FROM ({why})")

    # Broadcast rows: whole for every chunk.

    def broadcast(self, scope: Scope, node: Tree, place: Place) -> None:
        """A query over broadcast inputs (and the one row around it, if it is correlated)."""
        match node.get("type"):
            case "SELECT_NODE":
                self._broadcast_select(scope, node, place)
            case "SET_OPERATION_NODE":
                scope = self._with(scope, node)
                children = node.get("children") or [node[side] for side in ("left", "right") if side in node]
                for child in children:
                    self.broadcast(scope, child, place)
                self._modifiers(scope, node, place)
            case _:
                self.refuse(node, f"{_kind(node)} can't be used")

    def _broadcast_select(self, scope: Scope, node: Tree, place: Place) -> None:
        self._unknown_fields(node)
        scope = self._with(scope, node, place)
        for name in ("sample", "qualify"):
            if node.get(name):
                self.refuse({}, f"{_CLAUSES[name]}: {_ORDERED}")
        self._modifiers(scope, node, place)
        self._broadcast_from(scope, node.get("from_table", {}), place)
        walk = self.expressions(scope)
        walk.all(node.get("select_list"), place)
        walk.check(node.get("where_clause"), place)
        walk.all(node.get("group_expressions"), place)
        walk.check(node.get("having"), place)

    def _modifiers(self, scope: Scope, node: Tree, place: Place) -> None:
        for modifier in node.get("modifiers", ()):
            kind = modifier["type"]
            if kind == "ORDER_MODIFIER":
                self.expressions(scope).all([order.get("expression") for order in modifier.get("orders", ())], place)
            elif kind != "DISTINCT_MODIFIER" or modifier.get("distinct_on_targets"):
                clause = _MODIFIERS.get(kind, kind) + (" ON" if kind == "DISTINCT_MODIFIER" else "")
                self.refuse({}, f"{clause}: {_ORDERED}; use an aggregate such as max")

    def _broadcast_from(self, scope: Scope, node: Tree, place: Place) -> None:
        if not self._known(node):
            return
        place = replace(place, broadcast=True)
        match node["type"]:
            case "BASE_TABLE":
                table = self._table(scope, node)
                if table is not None:
                    table.uses += 1
                    if table.driving:
                        why = "holds the first input's rows and can only stand first in FROM, once"
                        self.refuse(node, f"{table.name} {why}: {ROW_WISE}")
            case "SUBQUERY":
                self.broadcast(scope, node["subquery"]["node"], place)
            case "JOIN":
                self._join(node, _BROADCAST_JOINS)
                self._broadcast_from(scope, node["left"], place)
                self._broadcast_from(scope, node["right"], place)
                self.expressions(scope).check(node.get("condition"), place)
            case "TABLE_FUNCTION":
                self._table_function(scope, node, place)
            case "EXPRESSION_LIST":
                for row in node.get("values", ()):
                    self.expressions(scope).all(row, place)

    def _table_function(self, scope: Scope, node: Tree, place: Place) -> None:
        function = node["function"]
        if str(function.get("function_name")).lower() != "unnest":
            why = f"is a table function: a query reads its inputs only ({listed(self.inputs)})"
            self.refuse(node, f"{function.get('function_name')} {why}")
        elif node.get("with_ordinality", "WITHOUT_ORDINALITY") != "WITHOUT_ORDINALITY":
            self.refuse(node, "WITH ORDINALITY can't be used in a step's query")
        else:
            self.expressions(scope).check(function, place)

    # What both have.

    def _with(self, scope: Scope, node: Tree, place: Place | None = None) -> Scope:
        """The scope with the node's WITH clauses, each proved where it stands. `place` is None for driving ones."""
        found = dict(scope)
        for entry in node.get("cte_map", {}).get("map", ()):
            name, clause = str(entry["key"]), entry["value"]
            body = clause.get("query_node")
            if body is None or set(clause) - {"query_node", "materialized", "aliases"}:
                self.refuse({}, f"WITH {name} can't be used in a step's query")
                continue
            if place is None and _reads_driving(body, found):
                self.driving(found, body)
                found[name.lower()] = Table(name, driving=True)
            else:
                # Nothing around a WITH clause of the first input's SELECTs can be meant by an aggregate in it.
                self.broadcast(found, body, place or Place(aggregates=True, broadcast=True))
                found[name.lower()] = Table(name, driving=False)
        return found

    def _table(self, scope: Scope, node: Tree) -> Table | None:
        name = str(node["table_name"])
        if node.get("schema_name") or node.get("catalog_name"):
            self.refuse(node, f"a query reads its inputs only ({listed(self.inputs)}), by their names without a schema")
            return None
        if node.get("sample") or node.get("at_clause"):
            self.refuse(node, "SAMPLE and AT can't be used: the answer would depend on chance or on time")
        table = scope.get(name.lower())
        if table is None:
            near = suggestion(name, scope)
            self.refuse(node, f"{name} is not an input of this step{near}; a query reads its inputs only")
        return table

    def _join(self, node: Tree, allowed: set[str]) -> None:
        form, kind = node.get("ref_type", "REGULAR"), node.get("join_type", "INNER")
        if form in {"ASOF", "POSITIONAL"}:
            self.refuse(node, f"{form} pairs rows by their order: {_ORDERED}")
        elif form not in _JOIN_FORMS:
            self.refuse(node, f"a join of the kind {form} can't be used in a step's query")
        if kind not in allowed:
            self.refuse(node, f"a {kind} join needs all rows of both sides: {ROW_WISE}; use LEFT or INNER JOIN")

    def _known(self, node: Tree) -> bool:
        kind = str(node.get("type"))
        unknown = set(node) - _FROM_MARKS - _FROM_FIELDS.get(kind, frozenset(node))
        if kind not in _FROM_FIELDS or unknown:
            extra = f" with {listed(sorted(unknown))}" if unknown else ""
            self.refuse(node, f"{kind.replace('_', ' ')}{extra} in FROM can't be used in a step's query")
            return False
        if kind == "SUBQUERY" and node.get("sample"):
            self.refuse(node, "SAMPLE can't be used: the answer would depend on chance")
        return True

    def _unknown_fields(self, node: Tree) -> None:
        for name in sorted(set(node) - _SELECT_FIELDS):
            self.refuse({}, f"{name} can't be used in a step's query")


def _reads_driving(tree: Tree, scope: Scope) -> bool:
    """Whether any FROM below names a table that holds the first input's rows."""
    read = (str(node.get("table_name")).lower() for node in nodes(tree) if node.get("type") == "BASE_TABLE")
    return any(name in scope and scope[name].driving for name in read)


def _kind(node: Tree) -> str:
    return {
        "SET_OPERATION_NODE": f"{node.get('setop_type', 'a set operation')}",
        "RECURSIVE_CTE_NODE": "a recursive query",
    }.get(str(node.get("type")), str(node.get("type")).replace("_", " ").lower())
