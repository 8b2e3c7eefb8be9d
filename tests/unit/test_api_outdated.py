"""Pages that were kept, and lead to one that isn't there any more."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.web_server import Asked as Request
from tests.support.web_server import Reply, WebServer, as_json
from tidemill_api.errors import SourceMissing, SourceUnreadable
from tidemill_api.v1alpha1.http_connection import HTTPConnection
from tidemill_api.v1alpha1.http_source import HTTPSource
from tidemill_worker.cache.cache import Compute, GoOn, StaleFor
from tidemill_worker.connections.http import HTTPPlace
from tidemill_worker.engine.api import API
from tidemill_worker.engine.api_fetch import Fetched, _fetch
from tidemill_worker.engine.model import Asked

SETTINGS = {"rows": "rows", "paging": {"cursor": {"next": "next"}}, "cache": {}}


@dataclass
class ForEver:
    """A cache in which all is fresh."""

    values: dict[str, bytes] = field(default_factory=dict)

    def computed(
        self,
        key: object,
        tags: Iterable[str],
        ttl: float | None,
        compute: Compute,
        stale: StaleFor = lambda _value: 0.0,
        go_on: GoOn = lambda: True,
    ) -> bytes:
        del tags, ttl, stale, go_on
        place = json.dumps(key)
        if place not in self.values:
            self.values[place] = compute(None)
        return self.values[place]


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    with WebServer().running() as listening:
        yield listening


@pytest.fixture
def api(server: WebServer, tmp_path: Path) -> Iterator[API]:
    server.forget()
    place = HTTPPlace("api", HTTPConnection(url=f"{server.url}/"), tmp_path)
    yield API("items", HTTPSource.model_validate(SETTINGS), place, cache=ForEver())
    place.close()


def serve(server: WebServer, cursor: str, gone: int = 404) -> None:
    """Two pages; each other cursor has ended."""

    def answer(asked: Request) -> Reply:
        match asked.query.get("cursor"):
            case None:
                return as_json({"rows": [{"cursor": cursor}], "next": cursor})
            case given if given == cursor:
                return as_json({"rows": [{"page": 2}], "next": None})
            case _:
                return Reply(status=gone)

    server.serve("/items", answer)


def fetched(api: API) -> list[object]:
    found: Fetched = _fetch(api, Asked("items"), threading.Event(), lambda: False)
    pages = list(found.pages(Asked("items")))
    found.close()
    assert [page.rows for page in pages] == [page.lines.count(b"\n") for page in pages]
    return [json.loads(line) for page in pages for line in page.lines.splitlines()]


@pytest.mark.parametrize("gone", [400, 404, 410])
def test_a_kept_page_with_an_ended_cursor_is_asked_for_anew(server: WebServer, api: API, gone: int) -> None:
    serve(server, "long-ago")
    first = [{"cursor": "long-ago"}, {"page": 2}]
    assert fetched(api) == first
    assert fetched(api) == first
    assert len(server.asked) == 2
    assert isinstance(api.cache, ForEver)
    del api.cache.values[next(key for key in api.cache.values if "long-ago" in key)]  # it wasn't kept as long
    serve(server, "now", gone)
    assert fetched(api) == [{"cursor": "now"}, {"page": 2}]
    assert server.targets[2:] == ["/items?cursor=long-ago", "/items", "/items?cursor=now"]


@pytest.mark.parametrize(("gone", "kind"), [(400, SourceUnreadable), (404, SourceMissing)])
def test_what_was_asked_for_now_is_not_asked_for_again(
    server: WebServer, api: API, gone: int, kind: type[Exception]
) -> None:
    server.serve("/items", Reply(status=gone))
    with pytest.raises(kind):
        fetched(api)
    assert len(server.asked) == 1
