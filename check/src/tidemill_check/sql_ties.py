"""What an answer over all rows may depend on: the rows that there are, never the order in which they arrive.

Rows arrive in whatever order chunks, workers and retries give them. So wherever SQL leaves a choice among rows that are
equal to it (ties), the choice is made by their content; and sums of fractions, whose last bits depend on the order of
their terms, add these in the order of their values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidemill_check.duckdb_parser import Tree, nodes
from tidemill_check.sql_expressions import FIELDS, Expressions, Place
from tidemill_check.sql_functions import is_aggregate, is_macro

EXACT: Final = frozenset(
    {
        *("count", "count_star", "count_if", "countif", "min", "max", "bool_and", "bool_or", "sum_no_overflow"),
        *("bit_and", "bit_or", "bit_xor", "median", "quantile", "quantile_cont", "quantile_disc", "mad", "histogram"),
        "approx_count_distinct",
    }
)
"""Aggregates whose answer is the same in whatever order rows come."""
SUMS: Final = frozenset(
    {
        *("sum", "avg", "mean", "product", "kahan_sum", "fsum", "sumkahan", "favg", "stddev", "stddev_pop"),
        *("stddev_samp", "sem", "variance", "var_pop", "var_samp", "skewness", "kurtosis", "kurtosis_pop", "corr"),
        *("covar_pop", "covar_samp", "entropy", "regr_avgx", "regr_avgy", "regr_count", "regr_intercept", "regr_r2"),
        *("regr_slope", "regr_sxx", "regr_sxy", "regr_syy"),
    }
)
"""Aggregates whose last bits depend on the order of fractions: they get these in the order of their values."""
CHOOSING: Final = frozenset(
    {"arg_max", "arg_min", "argmax", "argmin", "max_by", "min_by", "arg_max_null", "arg_min_null", "mode"}
)
"""Aggregates that choose a row, and among equal ones by content."""
ORDERED: Final = frozenset(
    {
        *("list", "array_agg", "string_agg", "group_concat", "listagg", "first", "last", "any_value", "arbitrary"),
        *("first_value", "last_value"),
    }
)
"""Aggregates that mean nothing without an order."""

_RANKS: Final = {"WINDOW_RANK", "WINDOW_RANK_DENSE", "WINDOW_PERCENT_RANK", "WINDOW_CUME_DIST"}
_PLACES: Final = {"WINDOW_ROW_NUMBER", "WINDOW_NTILE", "WINDOW_LEAD", "WINDOW_LAG"}
_VALUES: Final = {"WINDOW_FIRST_VALUE", "WINDOW_LAST_VALUE", "WINDOW_NTH_VALUE"}
_WINDOW_FIELDS: Final = {
    *("function_name", "schema", "catalog", "partitions", "orders", "start", "end", "start_expr", "end_expr"),
    *("filter_expr", "distinct", "arg_orders", "arguments", "ignore_nulls", "has_ignore_nulls"),
}
_BY_ROWS: Final = "add ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW, which counts row by row"

Ties = Callable[[], list[Tree]]
"""What tells the rows of a SELECT apart, as expressions. Made when it is needed: it may be refused."""


def order(expression: Tree) -> dict[str, Any]:
    """An ascending entry of ORDER BY."""
    return {"type": "ORDER_DEFAULT", "null_order": "ORDER_DEFAULT", "expression": expression}


@dataclass(frozen=True, slots=True)
class WholeExpressions(Expressions):
    """Walks the expressions of a SELECT over all rows, and settles their ties."""

    ties: Ties
    """Of the SELECT's rows as its window functions and ORDER BY see them."""
    rows: Ties
    """Of the rows that its aggregates see: those of FROM."""
    later: list[Callable[[], None]]
    """Changes of the tree, made when the walk has ended: it must not walk over what it has added."""

    def check(self, node: Tree | None, place: Place) -> None:
        """As `Expressions.check`, with windows."""
        if node is not None and node.get("class") == "WINDOW":
            self._window(node, place)
        else:
            Expressions.check(self, node, place)

    def _aggregate(self, node: Tree, name: str, place: Place) -> None:
        del place  # all rows are there, so it may stand where DuckDB lets it stand
        name = name.lower()
        if node.get("schema"):
            self.refuse(node, f"write {name}({node['schema']})")
        elif is_macro(name):
            self.refuse(node, f"{name} stands for other aggregates: write these")
        elif name in SUMS:
            self._ordered(node, [argument["expression"] for argument in node.get("arguments", ())])
        elif name in CHOOSING or (name in ORDERED and _orders(node)):
            rows = self.rows()
            if not rows:
                self.refuse(node, "is computed over rows of another SELECT than the one it stands in")
            elif node.get("distinct"):  # then DuckDB takes no other order, and none is needed
                rows = [argument["expression"] for argument in node.get("arguments", ())]
            self._ordered(node, rows)
        elif name in ORDERED:
            self.refuse(
                node, f"depends on the order of rows: give it one, as in {name}(x ORDER BY y), or use min or max"
            )
        elif name not in EXACT:
            self.refuse(node, f"{name} is not known to give the same answer whatever the order of rows")

    def _ordered(self, node: Tree, by: list[Tree]) -> None:
        """Constants (a separator, a fraction) order nothing."""
        if any(_holds_subquery(each) for each in by):
            self.refuse(node, "holds a subquery: compute it in a WITH clause before")
            return
        orders = [*_orders(node), *(order(each) for each in by if each.get("class") != "CONSTANT")]
        self._change(node, order_bys={"type": "ORDER_MODIFIER", "orders": orders})

    def _window(self, node: Tree, place: Place) -> None:
        del place  # a window function stands where DuckDB lets it stand
        unknown = sorted(set(node) - _WINDOW_FIELDS - FIELDS)
        if unknown:
            self.refuse(
                node, f"a window with {', '.join(unknown)} is not known to be the same whatever the order of rows"
            )
            return
        parts = [*node.get("partitions", ()), *(argument["expression"] for argument in node.get("arguments", ()))]
        parts += [each["expression"] for field in ("orders", "arg_orders") for each in node.get(field, ())]
        inner = Place(aggregates=True, broadcast=True)
        self.all([*parts, node.get("start_expr"), node.get("end_expr"), node.get("filter_expr")], inner)
        why = self._settled(node, str(node["type"]), str(node["function_name"]).lower())
        if why:
            self.refuse(node, why)

    def _settled(self, node: Tree, kind: str, name: str) -> str:
        """Settle a window's ties; or why they can't be."""
        if kind == "WINDOW_AGGREGATE":
            return self._settled_aggregate(node, name)
        if kind not in _RANKS | _PLACES | _VALUES:
            return f"{name} is not known to be the same whatever the order of rows"
        if not node.get("orders"):
            return f"{name} without ORDER BY depends on the order of rows: write OVER (... ORDER BY ...)"
        if node.get("arg_orders"):
            return f"{name} with an ORDER BY of its own: write the order into OVER"
        first = kind == "WINDOW_FIRST_VALUE" and not node.get("ignore_nulls") and _begins_at_start(node)
        if kind in _VALUES and not (first or _by_rows(node) or _all_rows(node)):
            return f"{name} over rows with equal keys depends on their order: {_BY_ROWS}"
        if kind not in _RANKS:
            self._tied(node)
        return ""

    def _settled_aggregate(self, node: Tree, name: str) -> str:
        if not is_aggregate(name) or is_macro(name) or name not in EXACT | SUMS | CHOOSING | ORDERED:
            return f"{name} is not known to give the same answer whatever the order of rows"
        if node.get("arg_orders"):
            return f"{name} with an ORDER BY of its own: write the order into OVER"
        if _by_rows(node):
            if not node.get("orders"):
                return "a frame of ROWS without ORDER BY depends on the order of rows: write OVER (... ORDER BY ...)"
            self._tied(node)
            return ""
        if name in EXACT:
            return ""
        if node.get("distinct"):
            return f"{name}(DISTINCT ...) as a window: make the rows distinct in a subquery"
        if node.get("orders") and not _all_rows(node):
            return f"{name} over rows with equal keys depends on their order: {_BY_ROWS}"
        if name in ORDERED and not node.get("orders"):
            return f"{name} depends on the order of rows: write OVER (... ORDER BY ... ROWS ...)"
        self._tied(node)
        self._change(node, start="UNBOUNDED_PRECEDING", end="UNBOUNDED_FOLLOWING")
        return ""

    def _tied(self, node: Tree) -> None:
        self._change(node, orders=[*node.get("orders", ()), *map(order, self.ties())])

    def _change(self, node: Tree, **fields: Any) -> None:
        assert isinstance(node, dict)
        self.later.append(lambda: node.update(fields))


def _holds_subquery(tree: Tree) -> bool:
    return any(node.get("class") == "SUBQUERY" for node in nodes(tree))


def _orders(node: Mapping[str, Any]) -> list[Tree]:
    return list(node.get("order_bys", {}).get("orders", ()))


def _by_rows(node: Tree) -> bool:
    ends = (str(node.get("start")), str(node.get("end")))
    return any(end.endswith("_ROWS") for end in ends) and not any(end.endswith(("_RANGE", "_GROUPS")) for end in ends)


def _all_rows(node: Tree) -> bool:
    return node.get("start") == "UNBOUNDED_PRECEDING" and node.get("end") == "UNBOUNDED_FOLLOWING"


def _begins_at_start(node: Tree) -> bool:
    return node.get("start") == "UNBOUNDED_PRECEDING"
