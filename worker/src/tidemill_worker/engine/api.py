"""Rows of an HTTP API, page by page: asked for as often as it takes, no more often than is allowed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tidemill_api.errors import HTTPUnavailable, PagingBroken, SourceMissing, SourceUnreadable
from tidemill_api.v1alpha1 import parse_duration
from tidemill_api.v1alpha1.http_source import HTTPSource
from tidemill_worker.connections.http import Answer, HTTPPlace, passes, retry_after
from tidemill_worker.connections.http_patience import Wait, patiently, pause
from tidemill_worker.engine.api_cache import Answers
from tidemill_worker.engine.json_answers import document, found
from tidemill_worker.engine.model import Asked, Page, Pages
from tidemill_worker.engine.paging import Walk

if TYPE_CHECKING:
    from tidemill_worker.cache import Computed


def _nothing() -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class API(Pages):
    """One source's API."""

    source: str
    """The source's name."""
    settings: HTTPSource
    http: HTTPPlace
    wait: Wait = pause
    cache: Computed | None = None
    """The pool's."""
    kept: Callable[[], None] = _nothing
    """Called when a page is found there that wasn't asked for."""

    def pages(self, asked: Asked) -> Iterator[Page]:
        """All pages, in order, each when it is wanted.

        Raises HTTPUnavailable, HTTPDenied, HostRefused, PagingBroken, SourceMissing, SourceUnreadable, SecretMissing,
        ConfigError.
        """
        walk = Walk(self.source, self.settings, self.http.base, asked)
        pace = _Pace(self.settings, self.wait)
        while walk.target is not None:
            label, answer = walk.label, self._answer(walk.target, walk.label, pace)
            value, lines = self._rows(answer, label)
            yield Page(label, b"".join(lines), len(lines))
            walk.go_on(value, lines, answer.headers, answer.target)

    def _answer(self, target: str, label: str, pace: _Pace) -> Answer:
        """A good answer, from the cache or after as many attempts as it may take."""

        def ask(conditions: Mapping[str, str]) -> Answer:
            pace.keep()
            answer = self.http.get(target, conditions)
            if passes(answer.status):
                asks = retry_after(answer.headers, datetime.now(UTC))
                raise HTTPUnavailable(f"source {self.source}: {label} answers {answer.status}", asks)
            return answer

        asked = False

        def good(conditions: Mapping[str, str]) -> Answer:
            nonlocal asked
            asked = True
            answer = patiently(lambda: ask(conditions), self.wait)
            return answer if conditions and answer.status == 304 else self._good(answer, label)

        if self.settings.cache is None or self.cache is None:
            return good({})
        answer = Answers(self.cache, self.source, self.settings, self.http).get(target, good)
        if not asked:
            self.kept()
        return answer

    def _good(self, answer: Answer, label: str) -> Answer:
        match answer.status:
            case 401 | 403:
                raise self.http.denied(answer.status, f"{label} of source {self.source}")
            case 404 | 410:
                raise SourceMissing(f"source {self.source}: the API has no {label} ({answer.status})")
            case status if not 200 <= status < 300:
                raise SourceUnreadable(f"source {self.source}: {label} answers {status}")
        return answer

    def _rows(self, answer: Answer, label: str) -> tuple[Any, list[bytes]]:
        """An answer's JSON, and its rows as lines."""
        if answer.status == 204:
            return None, []
        what = f"source {self.source}: the answer to {label}"
        read = document(answer.body, what)
        rows = found(self.settings.rows, read.value, what)
        if isinstance(rows, dict):
            rows = [rows]
        if not isinstance(rows, list):
            kind = "nothing" if rows is None else "neither an array nor an object"
            raise PagingBroken(f"{what} has {kind} at http.rows ({self.settings.rows})")
        return read.value, read.lines(rows)


@dataclass(slots=True)
class _Pace:
    """No request before its time: the manifest's rate, spread evenly."""

    settings: HTTPSource
    wait: Wait
    _next: float = field(default=0.0)

    def keep(self) -> None:
        """Wait for the next request's turn."""
        limit = self.settings.rate_limit
        if limit is None:
            return
        now = time.monotonic()
        if now < self._next:
            self.wait(self._next - now)
        self._next = max(now, self._next) + parse_duration(limit.per).total_seconds() / limit.requests
