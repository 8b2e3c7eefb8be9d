"""Which columns of the sources each column of a step is made of, as far as the parse tree says it without a doubt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_check.columns import Columns
from tidemill_check.duckdb_parser import ParseError, Tree, parser
from tidemill_check.graph import inputs_of, topological


@dataclass(frozen=True, slots=True)
class Origin:
    """A source's column."""

    source: str
    column: str
    as_it_is: bool
    """Whether its values are taken as they are."""


Origins: TypeAlias = Mapping[str, tuple[Origin, ...]]
"""Of each column those that it is made of."""

_PLAIN: Final = frozenset({"SELECT_NODE"})


class _Unclear(Exception):
    """The tree has something in it of which it isn't known what it does to columns."""


def origins(spec: DataPipelineSpec, columns: Mapping[str, Columns]) -> dict[str, Origins]:
    """Of sources and steps. `columns` are those that are known (`known_columns`); other steps are left out.

    Left out too are steps with anything but plain columns and expressions over tables that are joined: subqueries,
    WITH, set operations.
    """
    found: dict[str, Origins] = {
        source.name: {name: (Origin(source.name, name, as_it_is=True),) for name in columns[source.name]}
        for source in spec.sources
        if source.name in columns
    }
    steps = {step.name: step for step in spec.steps}
    for name in topological(inputs_of(spec)):
        step = steps.get(name)
        if step is None or not all(needed in found for needed in step.inputs):
            continue
        if step.validate_ is not None:
            found[name] = found[step.inputs[0]]
        elif step.sql is not None and name in columns:
            try:
                found[name] = _of_query(step.sql.query, {each: found[each] for each in step.inputs}, columns[name])
            except (_Unclear, ParseError, RecursionError):
                continue
    return found


def _of_query(query: str, inputs: Mapping[str, Origins], answer: Columns) -> Origins:
    tree = parser().select(query)
    if tree.get("type") not in _PLAIN or tree.get("cte_map"):
        raise _Unclear
    tables = dict(_tables(tree.get("from_table", {}), inputs))
    made: dict[str, tuple[Origin, ...]] = {}
    for item in tree.get("select_list", ()):
        for name, found in _items(item, tables):
            made.setdefault(name.lower(), found)
    if {name.lower() for name in answer} != set(made):
        raise _Unclear
    return {name: made[name.lower()] for name in answer}


def _tables(node: Tree, inputs: Mapping[str, Origins]) -> Iterator[tuple[str, Origins]]:
    """The tables of FROM, by the names that the query has for them, in lower case."""
    by_name = {name.lower(): origin for name, origin in inputs.items()}
    match node.get("type"):
        case "BASE_TABLE" if not node.get("column_name_alias"):
            table = str(node.get("table_name", "")).lower()
            if table not in by_name:
                raise _Unclear
            yield str(node.get("alias") or table).lower(), by_name[table]
        case "JOIN":
            yield from _tables(node["left"], inputs)
            yield from _tables(node["right"], inputs)
        case _:
            raise _Unclear


def _items(item: Tree, tables: Mapping[str, Origins]) -> Iterator[tuple[str, tuple[Origin, ...]]]:
    if item.get("class") == "STAR":
        if set(item) - {"class", "type", "query_location", "query_location_length", "relation_name"}:
            raise _Unclear
        relation = str(item.get("relation_name", "")).lower()
        for name, columns in tables.items():
            if relation in ("", name):
                yield from columns.items()
        return
    plain = item.get("class") == "COLUMN_REF"
    called = item.get("alias") or (item["column_names"][-1] if plain else None)
    if not called:
        raise _Unclear
    found: dict[tuple[str, str], Origin] = {}
    for reference in _references(item):
        for each in _resolved(reference, tables):
            found[each.source, each.column] = Origin(each.source, each.column, as_it_is=plain and each.as_it_is)
    yield str(called), tuple(found.values())


def _references(node: object) -> Iterator[Sequence[str]]:
    """The names of all columns in an expression."""
    match node:
        case {"class": "SUBQUERY" | "LAMBDA" | "STAR"}:
            raise _Unclear
        case {"class": "COLUMN_REF", "column_names": list(names)}:
            yield names
        case dict():
            for value in node.values():
                yield from _references(value)
        case list():
            for value in node:
                yield from _references(value)
        case _:
            pass


def _resolved(reference: Sequence[str], tables: Mapping[str, Origins]) -> tuple[Origin, ...]:
    name = reference[-1].lower()
    asked = [reference[0].lower()] if len(reference) == 2 else list(tables)
    if len(reference) > 2 or any(table not in tables for table in asked):
        raise _Unclear
    for table in asked:  # without a table's name it is in one of them only, or joined by USING, where the first counts
        for column, origin in tables[table].items():
            if column.lower() == name:
                return origin
    raise _Unclear
