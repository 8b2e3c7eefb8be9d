"""Expressions of a query: each must be a function of one row, of broadcast inputs and of parameters.

The walk knows each kind of node and each of its fields; what it doesn't know is refused, so that a newer DuckDB can't
bring in something that was never thought about.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidemill_check.duckdb_parser import Tree
from tidemill_check.problem import suggestion
from tidemill_check.sql_functions import (
    CLOCK,
    CLOCK_COLUMNS,
    ORDERLESS_AGGREGATES,
    OUTSIDE_COLUMNS,
    by_name_refusal,
    is_aggregate,
    multiplies,
    refusal,
)


@dataclass(frozen=True, slots=True)
class Place:
    """What may stand where an expression stands."""

    aggregates: bool = False
    """Aggregates over broadcast rows, whatever the order of these."""
    broadcast: bool = False
    """The rows here are those of broadcast inputs, not of the first input."""
    subqueries: bool = True
    stars: bool = True
    unnest: bool = True


FIELDS: Final = {"class", "type", "alias", "query_location", "query_location_length", "qualified_name"}
"""Fields that every node has."""
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(fields)
    for name, fields in {
        "COLUMN_REF": {"column_names"},
        "CONSTANT": {"literal", "value"},
        "PARAMETER": {"identifier"},
        "FUNCTION": {
            "function_name",
            "schema",
            "catalog",
            "arguments",
            "order_bys",
            "distinct",
            "filter",
            "is_operator",
        },
        "COMPARISON": {"left", "right"},
        "BETWEEN": {"input", "lower", "upper"},
        "CASE": {"case_checks", "else_expr"},
        "CAST": {"child", "try_cast", "type_expr"},
        "TYPE": {"type_name", "children", "schema", "catalog"},
        "COLLATE": {"child", "collation"},
        "CONJUNCTION": {"children"},
        "OPERATOR": {"children"},
        "LAMBDA": {"lhs", "expr", "syntax_type"},
        "STAR": {
            "relation_name",
            "exclude_list",
            "qualified_exclude_list",
            "replace_list",
            "rename_list",
            "columns",
            "expr",
        },
        "SUBQUERY": {"subquery", "subquery_type", "child", "comparison_type"},
    }.items()
}
_OPERATORS: Final = {
    *("ARRAY_CONSTRUCTOR", "ARRAY_EXTRACT", "ARRAY_SLICE", "STRUCT_EXTRACT", "COMPARE_IN", "COMPARE_NOT_IN"),
    *(
        "OPERATOR_COALESCE",
        "OPERATOR_IS_NULL",
        "OPERATOR_IS_NOT_NULL",
        "OPERATOR_NOT",
        "OPERATOR_TRY",
        "OPERATOR_UNPACK",
    ),
}
_SCHEMAS: Final = {"main", "system", "memory", "temp", "pg_catalog", "information_schema"}
_MAY_MEAN_OUTER_ROWS: Final = (
    "is an aggregate in a subquery of the SELECT list, where DuckDB may take it for one over the first input: "
    "write it in a WITH clause before the query"
)
_WHY_REFUSED: Final[Mapping[str, str]] = {
    "WINDOW": "is a window function, which needs all rows: a query must be row-wise in its first input",
    "POSITIONAL_REFERENCE": "names a column by its position: write its name",
}


@dataclass(frozen=True, slots=True)
class Expressions:
    """Walks expressions; `refuse` takes the node at fault and why, `subquery` what stands in a subquery."""

    query: str
    parameters: Collection[str]
    refuse: Callable[[Tree, str], None]
    subquery: Callable[[Tree, Place], None]

    def check(self, node: Tree | None, place: Place) -> None:
        """Refuses whatever in `node` may not stand in `place`. None is fine: nothing is there."""
        if node is None:
            return
        kind = str(node.get("class"))
        unknown = set(node) - FIELDS - _FIELDS.get(kind, frozenset(node))
        if kind not in _FIELDS or unknown:
            self.refuse(
                node,
                _WHY_REFUSED.get(
                    kind,
                    f"can't be used in a step's query ({kind.lower()} {', '.join(sorted(unknown))})".replace(" )", ")"),
                ),
            )
            return
        match kind:
            case "COLUMN_REF":
                self._column(node)
            case "PARAMETER":
                self._parameter(node)
            case "FUNCTION":
                self._function(node, place)
            case "OPERATOR":
                self._operator(node, place)
            case "STAR":
                self._star(node, place)
            case "SUBQUERY":
                self._subquery(node, place)
            case "TYPE":
                self._type(node, place)
            case _:
                self._inside(node, place)

    def all(self, nodes: Any, place: Place) -> None:
        """`check` for each of a list."""
        for node in nodes or ():
            self.check(node, place)

    def _inside(self, node: Tree, place: Place) -> None:
        """The expressions below a node that itself only combines them."""
        for name in ("left", "right", "input", "lower", "upper", "child", "type_expr", "lhs", "expr", "else_expr"):
            self.check(node.get(name), place)
        self.all(node.get("children"), place)
        for branch in node.get("case_checks", ()):
            self.check(branch.get("when_expr"), place)
            self.check(branch.get("then_expr"), place)

    def _column(self, node: Tree) -> None:
        names = [str(name).lower() for name in node["column_names"]]
        if names[-1] == "rowid":
            self.refuse(node, "is a row's position in its chunk, which depends on how the data is cut")
        elif len(names) == 1 and names[0] in CLOCK_COLUMNS:
            self.refuse(node, f"{CLOCK} (or write the column with its table's name)")
        elif len(names) == 1 and names[0] in OUTSIDE_COLUMNS:
            self.refuse(node, "reads the engine's own state, not the rows")

    def _parameter(self, node: Tree) -> None:
        name = str(node["identifier"])
        if name.isdigit():
            self.refuse(node, "is a parameter by position: write it by name, as $run_time")
        elif name not in self.parameters:
            self.refuse(node, f"there is no parameter ${name}{suggestion(name, self.parameters)}")

    def _operator(self, node: Tree, place: Place) -> None:
        if node["type"] not in _OPERATORS:
            self.refuse(node, f"can't be used in a step's query ({str(node['type']).lower()})")
        else:
            self._inside(node, place)

    def _function(self, node: Tree, place: Place) -> None:
        name = str(node["function_name"])
        arguments = list(node.get("arguments", ()))
        before = [str(node[part]) for part in ("catalog", "schema") if node.get(part)]
        if before and before[0].lower() in _SCHEMAS:
            self.refuse(node, f"{name} is called by a schema: write its name alone")
            return
        if before:  # a.upper(), which DuckDB takes for upper(a)
            arguments.insert(0, {"expression": {**node, "class": "COLUMN_REF", "column_names": before}})
        if is_aggregate(name):
            self._aggregate(node, name, place)
        else:
            why = refusal(name, len(arguments)) or by_name_refusal(name, arguments)
            if not place.unnest and multiplies(name):
                why = "makes several rows of one, which can't be done here"
            if why is not None:
                self.refuse(node, f"{name} {why}")
            if node.get("order_bys", {}).get("orders") or node.get("filter") or node.get("distinct"):
                self.refuse(node, f"{name} is no aggregate: DISTINCT, ORDER BY and FILTER have no meaning here")
        for argument in arguments[: bool(before)]:
            self._column(argument["expression"])
        self.all([argument["expression"] for argument in arguments[bool(before) :]], place)
        self.check(node.get("filter"), place)
        self.all([order.get("expression") for order in node.get("order_bys", {}).get("orders", ())], place)

    def _aggregate(self, node: Tree, name: str, place: Place) -> None:
        if not place.broadcast:
            self.refuse(node, "is an aggregate, which needs all rows: a query must be row-wise in its first input")
        elif not place.aggregates:
            self.refuse(node, _MAY_MEAN_OUTER_ROWS)
        elif name.lower() not in ORDERLESS_AGGREGATES:
            these = ", ".join(sorted(ORDERLESS_AGGREGATES - {"count_star"}))
            self.refuse(node, f"depends on the order of rows, which broadcast inputs don't have; these don't: {these}")

    def _star(self, node: Tree, place: Place) -> None:
        if not place.stars:
            self.refuse(node, "stands for several columns: write each condition out")
        for one in node.get("replace_list", ()):
            self.check(one["value"], place)
        self.check(node.get("expr"), place)

    def _type(self, node: Tree, place: Place) -> None:
        if node.get("schema") or node.get("catalog"):
            self.refuse(node, "is a type of a schema: there are only DuckDB's own types")
        self.all(node.get("children"), place)

    def _subquery(self, node: Tree, place: Place) -> None:
        self.check(node.get("child"), place)
        if not place.subqueries:
            self.refuse(node, "is a subquery: a rule sees one row only; use a sql step")
        else:
            self.subquery(node["subquery"]["node"], place)
