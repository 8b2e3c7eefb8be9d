"""What is asked of HTTP APIs: expressions of JMESPath that can be read, rows to count pages by, times that exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tidemill_api import conditions
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.http_source import HTTPSource
from tidemill_check.problem import Problem
from tidemill_check.schedule import LONGEST, length

_PROJECTIONS: Final = frozenset({"projection", "value_projection", "filter_projection"})
_KEEP_COUNT: Final = frozenset({"map", "not_null", "reverse", "sort", "sort_by", "to_array", "values"})
"""Functions that give as many rows as they get."""


def check_apis(spec: DataPipelineSpec) -> Iterator[Problem]:
    """Expressions that don't parse, rows that aren't those of the API where pages are counted by them, long times."""
    for index, source in enumerate(spec.sources):
        if source.http is None:
            continue
        field = f"spec.sources[{index}].http"
        for name, expression in _expressions(source.http):
            if why := _unreadable(expression):
                yield Problem(f"{field}.{name}", conditions.INVALID_SPEC, why)
        if _counts_rows(source.http) and not _unreadable(source.http.rows) and _other_count(source.http.rows):
            message = "pages are counted by these rows: filter in a step, or page by cursor"
            yield Problem(f"{field}.rows", conditions.INVALID_SPEC, message)
        limit = source.http.rate_limit
        if limit is not None and length(limit.per) is None:
            message = f"{limit.per} is too long: at most {LONGEST.days}d"
            yield Problem(f"{field}.rateLimit.per", conditions.INVALID_SPEC, message)


def _expressions(http: HTTPSource) -> Iterator[tuple[str, str]]:
    """The field of each, and its text."""
    yield "rows", http.rows
    paging = http.paging
    if paging is None:
        return
    if paging.page is not None and paging.page.total is not None:
        yield "paging.page.total", paging.page.total
    if paging.offset is not None and paging.offset.total is not None:
        yield "paging.offset.total", paging.offset.total
    if paging.cursor is not None:
        yield "paging.cursor.next", paging.cursor.next
    if paging.next is not None:
        yield "paging.next.url", paging.next.url


def _unreadable(expression: str) -> str:
    """Why JMESPath can't read it; empty if it can."""
    import jmespath
    from jmespath import exceptions

    try:
        jmespath.compile(expression)
    except exceptions.JMESPathError as error:
        why = str(error).partition("\n")[0]
        return f"{expression!r} is no JMESPath: {why[:1].lower()}{why[1:]}"
    except (RecursionError, ValueError):
        return f"{expression!r} is no JMESPath"
    return ""


def _counts_rows(http: HTTPSource) -> bool:
    """Whether the number of rows says which page is next, or whether there is one."""
    paging = http.paging
    return paging is not None and (paging.offset is not None or (paging.page is not None and paging.page.total is None))


def _other_count(expression: str) -> bool:
    """Whether it may give more or fewer rows than the API has sent: it filters, cuts, or flattens."""
    import jmespath

    parsed: Any = jmespath.compile(expression).parsed
    nodes = list(_nodes(parsed))
    kinds = [node["type"] for node in nodes]
    called = {node["value"] for node in nodes if node["type"] == "function_expression"}
    changed = {"filter_projection", "slice"} & set(kinds) or called - _KEEP_COUNT
    return bool(changed) or sum(kind in _PROJECTIONS for kind in kinds) > 1


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A node of JMESPath's syntax tree, and all below it."""
    yield node
    for child in node["children"]:
        if isinstance(child, dict):  # the bounds of a slice are numbers
            yield from _nodes(child)
