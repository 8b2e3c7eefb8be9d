"""Answers of an API in the pool's cache: what was asked, with which headers, and what was said."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidemill_api.v1alpha1 import parse_duration
from tidemill_api.v1alpha1.http_source import HTTPSource
from tidemill_worker.connections.http import Answer, HTTPPlace

if TYPE_CHECKING:
    from tidemill_worker.cache import Computed, Entry

KEPT_TO_ASK: Final = 86_400.0
"""Seconds beyond its time for which an answer with an ETag is kept, to ask whether it has changed."""
_NOT_MODIFIED: Final = 304
_KEPT: Final = ("etag", "last-modified", "link")
"""Headers that reading looks at."""

Ask = Callable[[Mapping[str, str]], Answer]
"""Asks with these headers, again and again if need be, and gives a good answer (or 304)."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The cache as one source sees it."""

    cache: Computed
    source: str
    """The source's name."""
    settings: HTTPSource
    http: HTTPPlace

    def get(self, target: str, ask: Ask) -> Answer:
        """The answer to a target: kept, found not to have changed, or asked for. Raises what `ask` raises."""
        settings = self.settings.cache
        assert settings is not None  # or it isn't used
        ttl = parse_duration(settings.ttl).total_seconds() if settings.ttl is not None else None
        key = ["http", self.http.base.origin, target, self.http.fingerprint(), self.settings.to_json()]
        tags = [f"connection/{self.http.name}", f"source/{self.source}", *(f"table/{each}" for each in settings.tables)]

        def compute(stale: Entry | None) -> bytes:
            if stale is None:
                return _packed(ask({}))
            answer = ask(_conditions(_unpacked(stale.value)))
            return stale.value if answer.status == _NOT_MODIFIED else _packed(answer)

        return _unpacked(self.cache.computed(key, tags, ttl, compute, _worth_asking))


def _conditions(answer: Answer) -> dict[str, str]:
    """What makes a request conditional on the answer that is there."""
    etag, time = answer.headers.get("etag"), answer.headers.get("last-modified")
    if etag:
        return {"If-None-Match": etag}
    return {"If-Modified-Since": time} if time else {}


def _worth_asking(value: bytes) -> float:
    return KEPT_TO_ASK if _conditions(_unpacked(value)) else 0.0


def _packed(answer: Answer) -> bytes:
    kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
    return json.dumps([answer.status, kept, answer.target]).encode() + b"\n" + answer.body


def _unpacked(value: bytes) -> Answer:
    head, _, body = value.partition(b"\n")
    status, headers, target = json.loads(head)
    return Answer(status, headers, body, target)
