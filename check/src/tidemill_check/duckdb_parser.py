"""DuckDB's own parser and function catalogue, so that what is proved is what will run.

One locked-down connection in memory serves the whole process; it never binds or runs an author's query, it only parses.
`duckdb` is imported at first use: whoever checks no SQL doesn't pay for it.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import duckdb

Tree = Mapping[str, Any]
"""A node of the parse tree, as `json_serialize_sql` writes it, with nulls, empty and default values left out."""

LOCKED_DOWN: Final[Mapping[str, str | bool | int]] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,
    "threads": 1,
    "memory_limit": "64MB",
}
"""Settings of the parser's connection; the worker's sandbox has these too, with its own memory and threads."""

_SERIALIZE: Final = (
    "SELECT json_serialize_sql($query::VARCHAR, skip_null := true, skip_empty := true, skip_default := true)"
)


_DEEPEST: Final = 200
"""Levels of expressions within each other; Python's own stack is the limit."""


class ParseError(ValueError):
    """The text isn't one SELECT statement; the message says why, in DuckDB's words where it is a syntax error.

    `place` is the line and column of a syntax error, from 1, where DuckDB tells it.
    """

    def __init__(self, message: str, place: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.place = place


@dataclass(frozen=True, slots=True)
class Function:
    """What the catalogue says of all functions of one name."""

    types: frozenset[str]
    """scalar, aggregate, table, macro, table_macro, pragma, window."""
    consistent: bool
    """All overloads give the same result for the same arguments, always."""
    definitions: tuple[str, ...]
    """Of a macro: what it stands for, once for each overload."""


class Parser:
    """The connection and what was read from it once. Safe for threads."""

    def __init__(self) -> None:
        import duckdb

        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(":memory:", config=dict(LOCKED_DOWN))
        self._connection.execute(f"SET max_expression_depth = {_DEEPEST}")
        self._connection.execute("SET lock_configuration = true")
        self._lock = threading.Lock()

    def select(self, query: str) -> Tree:
        """The parse tree (the `node`) of one SELECT. Raises ParseError for anything else."""
        with self._lock:
            row = self._connection.execute(_SERIALIZE, {"query": query}).fetchone()
        try:
            answer = json.loads(row[0]) if row else {}
        except RecursionError:
            raise ParseError("is nested too deeply: take it apart into several steps") from None
        if answer.get("error"):
            raise self._error(query, answer)
        statements = answer.get("statements", [])
        if len(statements) != 1:
            raise ParseError(f"holds {len(statements) or 'no'} statements: write exactly one SELECT")
        node: Tree = statements[0]["node"]
        return node

    def expression(self, expression: str) -> tuple[str, Tree]:
        """What was parsed for a lone expression, with the expression from its second line on; and the SELECT's tree.

        That it selects one value, and from nothing, is for the caller to see. Raises ParseError.
        """
        text = f"SELECT (\n{expression}\n)"  # on lines of its own: a comment at the end ends there
        node = self.select(text)
        if expression.count(")"):
            self.select(f"SELECT\n{expression}")  # its parentheses must match by themselves
        return text, node

    def text(self, node: Tree) -> str:
        """The SQL of a tree that `select` gave, changed or not."""
        told = json.dumps({"error": False, "statements": [{"node": node}]})
        with self._lock:
            row = self._connection.execute("SELECT json_deserialize_sql($tree::JSON)", {"tree": told}).fetchone()
        assert row is not None
        return str(row[0])

    @cached_property
    def functions(self) -> Mapping[str, Function]:
        """The catalogue by name, in lower case."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT lower(function_name), list(DISTINCT function_type),"
                " coalesce(bool_and(stability = 'CONSISTENT') FILTER (function_type = 'scalar'), true),"
                " list(DISTINCT macro_definition) FILTER (macro_definition IS NOT NULL)"
                " FROM duckdb_functions() GROUP BY 1"
            ).fetchall()
        return {
            name: Function(frozenset(types), consistent, tuple(texts or ())) for name, types, consistent, texts in rows
        }

    def _error(self, query: str, answer: Mapping[str, Any]) -> ParseError:
        message = str(answer.get("error_message", "")).splitlines()[0]
        if message.startswith("Max expression depth"):
            return ParseError(f"is nested too deeply: at most {_DEEPEST} levels")
        if message.startswith("Only SELECT statements"):
            return ParseError(f"is {self._kind(query)}: write exactly one SELECT")
        position = answer.get("position")
        place = _place(query, int(position)) if position is not None else None
        return ParseError(f"doesn't parse: {message}", place)

    def _kind(self, query: str) -> str:
        import duckdb

        try:
            kinds = [statement.type.name for statement in duckdb.extract_statements(query)]
        except duckdb.Error:
            kinds = []
        if len(kinds) > 1:
            return f"{len(kinds)} statements"
        return {"MULTI": "a PIVOT"}.get(kinds[0], f"of the kind {kinds[0]}") if kinds else "no SELECT"


def nodes(tree: Any, *, but_of: str = "") -> Iterator[Tree]:
    """All nodes of a tree or of a list of them, each before what it holds; nodes of the class `but_of` are left out."""
    left = [tree]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += reversed(part)
        elif isinstance(part, dict) and not (but_of and part.get("class") == but_of):
            yield part
            left += reversed(part.values())


def _place(query: str, offset: int) -> tuple[int, int]:
    before = query.encode()[:offset].decode(errors="ignore")
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def excerpt(query: str, node: Tree) -> str:
    """The text that a node was parsed from, on one line and not too long; empty where it isn't known."""
    start, length = node.get("query_location"), node.get("query_location_length")
    if start is None or not length:
        return ""
    text = re.sub(r"\s+", " ", query.encode()[start : start + length].decode(errors="ignore"))
    return text if len(text) <= 60 else f"{text[:57]}..."


@lru_cache(maxsize=1)
def parser() -> Parser:
    """The process's parser."""
    return Parser()
