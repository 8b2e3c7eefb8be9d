"""A check's condition as SQL that Postgres computes. Pure.

The text that an author wrote never reaches the database, where it would run with the rights of the pool's connection.
It is parsed, and from the tree a new text is made of nothing but what stands here: names of columns and constants (both
quoted), operators, and functions of Postgres' own, by their full names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from tidemill_check.duckdb_parser import ParseError, Tree, excerpt, parser

_COMPARISONS: Final = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}
_OPERATORS: Final = {
    "+": "+",
    "-": "-",
    "*": "*",
    "%": "%",
    "||": "||",
    "~~": "LIKE",
    "!~~": "NOT LIKE",
    "~~*": "ILIKE",
    "!~~*": "NOT ILIKE",
}
_FUNCTIONS: Final = {
    "abs": 1,
    "ceil": 1,
    "floor": 1,
    "length": 1,
    "lower": 1,
    "round": 1,
    "starts_with": 2,
    "upper": 1,
}
"""Functions that mean the same to both, with the number of their arguments."""
_TYPES: Final = {
    "BIGINT": "bigint",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "DOUBLE": "double precision",
    "INTEGER": "integer",
    "TIMESTAMP": "timestamp without time zone",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "VARCHAR": "text",
}


_KNOWN: Final = (
    "it knows comparisons, AND, OR, NOT, IN, BETWEEN, LIKE, CASE, casts, arithmetic, coalesce, nullif, "
    + ", ".join(_FUNCTIONS)
)


class _Unknown(Exception):
    """What can't be said to Postgres."""


def to_postgres(expression: str) -> tuple[str, tuple[str, ...]]:
    """The condition over a row `t` for Postgres, and the columns that it reads. Raises ValueError with the reason."""
    return _translated(expression)


@lru_cache(maxsize=1024)
def _translated(expression: str) -> tuple[str, tuple[str, ...]]:
    try:
        text, node = parser().expression(expression)
    except ParseError as error:
        raise ValueError(f"the expression {error}") from None
    chosen = node.get("select_list", ())
    if node.get("type") != "SELECT_NODE" or len(chosen) != 1 or node.get("from_table", {}).get("type") != "EMPTY":
        raise ValueError("the expression is not one condition over a row")
    translation = _Translation(text)
    try:
        return translation.of(chosen[0]), tuple(dict.fromkeys(translation.columns))
    except RecursionError:
        raise ValueError("the expression is nested too deeply") from None
    except _Unknown as error:
        raise ValueError(str(error)) from None


class _Translation:
    """Of one expression."""

    def __init__(self, text: str) -> None:
        self.columns: list[str] = []
        self._text = text

    def of(self, node: Tree) -> str:
        """One node, in parentheses where it needs them. Raises _Unknown."""
        kind = node.get("class")
        match kind:
            case "COLUMN_REF":
                return self._column(node)
            case "CONSTANT":
                return self._constant(node)
            case "COMPARISON" if node["type"] in _COMPARISONS:
                return f"({self.of(node['left'])} {_COMPARISONS[node['type']]} {self.of(node['right'])})"
            case "CONJUNCTION":
                word = " AND " if node["type"] == "CONJUNCTION_AND" else " OR "
                return f"({word.join(self._all(node['children']))})"
            case "BETWEEN":
                return f"({self.of(node['input'])} BETWEEN {self.of(node['lower'])} AND {self.of(node['upper'])})"
            case "OPERATOR":
                return self._operator(node)
            case "CASE":
                return self._case(node)
            case "CAST":
                return self._cast(node)
            case "FUNCTION":
                return self._function(node)
            case _:
                raise self._refused(node)

    def _all(self, nodes: Sequence[Tree]) -> list[str]:
        return [self.of(node) for node in nodes]

    def _column(self, node: Tree) -> str:
        names = node["column_names"]
        if len(names) != 1:
            raise self._refused(node, "columns go by their bare names")
        self.columns.append(names[0])
        return f't."{names[0].replace(chr(34), chr(34) * 2)}"'

    def _constant(self, node: Tree) -> str:
        literal: Mapping[str, str] = node.get("literal", {})
        text = literal.get("text", "")
        match literal.get("kind"):
            case "STRING" if "\0" not in text:
                # The form with E is read alike whatever standard_conforming_strings is.
                escaped = text.replace("\\", "\\\\").replace("'", "''")
                return f"E'{escaped}'"
            case "INTEGER" | "NUMERIC":
                return f"({_number(text)})"
            case "BOOLEAN":
                return "true" if text == "true" else "false"
            case "NULL_LITERAL":
                return "NULL"
            case _:
                raise self._refused(node)

    def _operator(self, node: Tree) -> str:
        first, *others = self._all(node["children"])
        match node["type"]:
            case "OPERATOR_IS_NULL":
                return f"({first} IS NULL)"
            case "OPERATOR_IS_NOT_NULL":
                return f"({first} IS NOT NULL)"
            case "OPERATOR_NOT":
                return f"(NOT {first})"
            case "COMPARE_IN" if others:
                return f"({first} IN ({', '.join(others)}))"
            case "OPERATOR_COALESCE":
                return f"coalesce({', '.join((first, *others))})"
            case _:
                raise self._refused(node)

    def _case(self, node: Tree) -> str:
        parts = [
            f"WHEN {self.of(check['when_expr'])} THEN {self.of(check['then_expr'])}" for check in node["case_checks"]
        ]
        return f"(CASE {' '.join(parts)} ELSE {self.of(node['else_expr'])} END)"

    def _cast(self, node: Tree) -> str:
        kind = node.get("type_expr", {})
        name = kind.get("type_name")
        if node["type"] != "OPERATOR_CAST" or node.get("try_cast") or name not in _TYPES or kind.get("children"):
            raise self._refused(node)
        return f"({self.of(node['child'])})::{_TYPES[name]}"

    def _function(self, node: Tree) -> str:
        name = node["function_name"]
        extras = ("schema", "catalog", "distinct", "filter", "export_state")
        if any(node.get(extra) for extra in extras) or node.get("order_bys", {}).get("orders"):
            raise self._refused(node)
        if any(argument.get("name") for argument in node.get("arguments", ())):
            raise self._refused(node)
        arguments = self._all([argument["expression"] for argument in node.get("arguments", ())])
        if node.get("is_operator"):
            return self._arithmetic(node, name, arguments)
        if name == "nullif" and len(arguments) == 2:
            return f"nullif({arguments[0]}, {arguments[1]})"
        if _FUNCTIONS.get(name) != len(arguments):
            raise self._refused(node)
        return f"pg_catalog.{name}({', '.join(arguments)})"

    def _arithmetic(self, node: Tree, name: str, arguments: list[str]) -> str:
        match arguments:
            case [one] if name in {"+", "-"}:
                return f"({name} {one})"
            case [left, right] if name == "/":  # which Postgres would do in whole numbers
                return f"(({left})::double precision / {right})"
            case [left, right] if name in _OPERATORS:
                return f"({left} {_OPERATORS[name]} {right})"
            case _:
                raise self._refused(node)

    def _refused(self, node: Tree, why: str = "") -> _Unknown:
        what = excerpt(self._text, node) or node.get("class", "a part of it")
        return _Unknown(f"a check can't compute {what}: {why or _KNOWN}")


def _number(text: str) -> str:
    """A number as DuckDB and Postgres both write it; 1_000 is 1000."""
    plain = text.replace("_", "")
    float(plain)
    if not plain.isascii() or not set(plain.lower()) <= set("0123456789.e+-"):
        raise _Unknown(f"{text} is no number that a check knows")
    return plain
