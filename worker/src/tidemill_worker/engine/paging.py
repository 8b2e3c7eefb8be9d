"""Which page of an API comes after which. Pure: an answer goes in, the next thing to ask for comes out.

What never ends, goes in a circle or leads elsewhere is an error: rows that come twice without end are worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, assert_never

from tidemill_api.errors import PagingBroken
from tidemill_api.names import content_hash
from tidemill_api.v1alpha1.http_source import Cursor, HTTPSource, LinkHeader, NextURL, Offset, PageNumber, Paging
from tidemill_worker.connections.http_urls import Base
from tidemill_worker.engine.json_answers import found
from tidemill_worker.engine.model import Asked

_LINKS: Final = re.compile(r'<([^<>]*)>((?:\s*;\s*[-\w]+\*?\s*(?:=\s*(?:"[^"]*"|[^\s";,]*))?)*)')
_REL: Final = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s";,]*))', re.IGNORECASE)


class Walk:
    """The way through the pages of one source in one run."""

    def __init__(self, source: str, settings: HTTPSource, base: Base, asked: Asked) -> None:
        """`source` is its name. Raises HostRefused for a path that leaves the connection."""
        self._source = source
        self._settings = settings
        self._base = base
        self._asked = asked
        self._kind = _kind(settings.paging)
        self._number = 1
        self._rows = 0
        self._seen: set[str] = set()
        self._last = ""
        self.target: str | None = self._first()
        """Path and query to ask for; None: there is no further page."""

    @property
    def label(self) -> str:
        """How the page is called that comes next: its path, and its place; no secret and no value of a run."""
        path = self._asked.path or "/"
        match self._kind:
            case PageNumber(parameter=parameter, first=first):
                return f"{path}?{parameter}={first + self._number - 1}"
            case Offset(parameter=parameter):
                return f"{path}?{parameter}={self._rows}"
            case None:
                return path
            case _:
                return f"{path}#page={self._number}"

    def go_on(self, value: Any, rows: list[bytes], headers: Mapping[str, str], target: str) -> None:
        """Take the answer that `target` gave: its JSON, its rows, its headers by names in lower case.

        Raises PagingBroken, HostRefused.
        """
        step = self._next(value, rows, headers, target)
        if step is not None and step in self._seen:
            raise self._broken("leads to a page that was read before: its pages go in a circle")
        if step is not None and self._number >= self._settings.max_pages:
            raise self._broken(f"has more than maxPages ({self._settings.max_pages}) pages")
        if step is not None:
            self._seen.add(step)
        self._number += 1
        self._rows += len(rows)
        self.target = step

    def _first(self) -> str:
        match self._kind:
            case PageNumber(parameter=parameter, first=first):
                return self._with(parameter, str(first))
            case Offset(parameter=parameter):
                return self._with(parameter, "0")
            case _:
                target = self._base.target(self._asked.path, self._asked.query)
                self._seen.add(target)
                return target

    def _next(self, value: Any, rows: list[bytes], headers: Mapping[str, str], target: str) -> str | None:
        kind = self._kind
        match kind:
            case None:
                return None
            case PageNumber():
                return self._numbered(kind, value, rows)
            case Offset():
                return self._offset(kind, value, rows)
            case Cursor():
                return self._cursor(kind, value)
            case LinkHeader():
                link = next_link(headers.get("link", ""))
                return self._base.linked(target, link) if link else None
            case NextURL(url=expression):
                link = self._text(expression, value, "paging.next.url")
                return self._base.linked(target, link) if link else None
            case _:
                assert_never(kind)

    def _numbered(self, kind: PageNumber, value: Any, rows: list[bytes]) -> str | None:
        if self._ended(kind.total, value, self._number, rows, "paging.page.total"):
            return None
        self._not_the_same(rows, kind.parameter)
        return self._with(kind.parameter, str(kind.first + self._number))

    def _offset(self, kind: Offset, value: Any, rows: list[bytes]) -> str | None:
        before = self._rows + len(rows)
        if self._ended(kind.total, value, before, rows, "paging.offset.total"):
            return None
        self._not_the_same(rows, kind.parameter)
        return self._with(kind.parameter, str(before))

    def _cursor(self, kind: Cursor, value: Any) -> str | None:
        cursor = self._text(kind.next, value, "paging.cursor.next")
        return self._with(kind.parameter, cursor) if cursor else None

    def _ended(self, total: str | None, value: Any, read: int, rows: list[bytes], field: str) -> bool:
        if total is None:
            return not rows
        number = self._number_at(total, value, field)
        if not rows and read < number and field.startswith("paging.offset"):
            raise self._broken(f"has no rows, though {number:g} are said to be there and {read} were read")
        return read >= number

    def _number_at(self, expression: str, value: Any, field: str) -> float:
        number = found(expression, value, self._at(field))
        if isinstance(number, str) and number.isascii() and number.isdigit():
            return int(number)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise self._broken(f"says no number at {field}")
        return number

    def _not_the_same(self, rows: list[bytes], parameter: str) -> None:
        """An API that doesn't know the parameter gives its first page for ever."""
        page = content_hash([row.decode(errors="replace") for row in rows])
        if rows and page == self._last:
            raise self._broken(f"has the same rows as the page before: does the API know the parameter {parameter}?")
        self._last = page

    def _text(self, expression: str, value: Any, field: str) -> str:
        """A text or number; empty for what says that there is none."""
        text = found(expression, value, self._at(field))
        if text is None or text is False:
            return ""
        if isinstance(text, bool) or not isinstance(text, str | int):
            raise self._broken(f"has neither a text nor a number at {field}")
        return str(text)

    def _with(self, parameter: str, value: str) -> str:
        others = [(name, each) for name, each in self._asked.query if name != parameter]
        return self._base.target(self._asked.path, [*others, (parameter, value)])

    def _at(self, field: str) -> str:
        return f"source {self._source}: {field} of page {self._number}"

    def _broken(self, what: str) -> PagingBroken:
        return PagingBroken(f"source {self._source}: page {self._number} {what}")


def _kind(paging: Paging | None) -> PageNumber | Offset | Cursor | LinkHeader | NextURL | None:
    return None if paging is None else paging.page or paging.offset or paging.cursor or paging.link or paging.next


def next_link(header: str) -> str:
    """The URL with rel=next in a header `Link` (RFC 8288); empty if there is none."""
    for url, parameters in _LINKS.findall(header):
        rel = _REL.search(parameters)
        if rel is not None and "next" in (rel[1] or rel[2] or "").lower().split():
            return str(url)
    return ""
