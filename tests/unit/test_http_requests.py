"""One request to a web server, and asking again: headers that come twice, and waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.web_server import Reply, WebServer
from tidemill_api.errors import HTTPUnavailable
from tidemill_api.v1alpha1.http_connection import HTTPConnection
from tidemill_worker.connections.http import HTTPPlace
from tidemill_worker.connections.http_patience import ATTEMPTS, FIRST_WAIT, LONGEST_WAIT, patiently
from tidemill_worker.engine.paging import next_link


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    with WebServer().running() as listening:
        yield listening


@pytest.fixture
def place(tmp_path: Path, server: WebServer) -> Iterator[HTTPPlace]:
    server.forget()
    made = HTTPPlace("api", HTTPConnection(url=f"{server.url}/"), tmp_path)
    yield made
    made.close()


def test_links_in_two_headers_are_both_seen(place: HTTPPlace, server: WebServer) -> None:
    links = {"Link": '</items?page=2>; rel="next"', "link": '</items?page=9>; rel="last"'}
    server.serve("/items", Reply(b"[]", headers=links))
    headers = place.get("/items").headers
    assert headers["link"] == ", ".join(links.values())
    assert next_link(headers["link"]) == "/items?page=2"


@pytest.mark.parametrize(
    ("asks", "least"),
    [(None, FIRST_WAIT / 2), (0.0, FIRST_WAIT / 2), (0.01, FIRST_WAIT / 2), (30.0, 30.0), (LONGEST_WAIT, LONGEST_WAIT)],
)
def test_no_wait_is_shorter_than_without_being_asked_to(asks: float | None, least: float) -> None:
    waits: list[float] = []

    def ask() -> None:
        raise HTTPUnavailable("it is busy", asks)

    with pytest.raises(HTTPUnavailable):
        patiently(ask, waits.append)
    assert len(waits) == ATTEMPTS - 1
    backoffs = [FIRST_WAIT / 2 * (1 << number) for number in range(len(waits))]
    assert all(wait >= max(least, backoff) for wait, backoff in zip(waits, backoffs, strict=True)), waits


def test_a_server_that_asks_for_longer_is_left_alone() -> None:
    waits: list[float] = []

    def ask() -> None:
        raise HTTPUnavailable("it is closed", LONGEST_WAIT + 1)

    with pytest.raises(HTTPUnavailable):
        patiently(ask, waits.append)
    assert waits == []
