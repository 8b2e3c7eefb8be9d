"""What is asked of HTTP APIs: expressions of JMESPath that can be read, lengths of time that exist."""

from __future__ import annotations

from collections.abc import Iterator

from tidemill_api import conditions
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.http_source import HTTPSource
from tidemill_check.problem import Problem
from tidemill_check.schedule import LONGEST, length


def check_apis(spec: DataPipelineSpec) -> Iterator[Problem]:
    """Expressions that don't parse, and times that are too long."""
    for index, source in enumerate(spec.sources):
        if source.http is None:
            continue
        field = f"spec.sources[{index}].http"
        for name, expression in _expressions(source.http):
            if why := _unreadable(expression):
                yield Problem(f"{field}.{name}", conditions.INVALID_SPEC, why)
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
