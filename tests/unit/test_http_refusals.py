"""Headers that a server refuses: whether new ones may be on their way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.web_server import Reply, WebServer
from tidemill_api.errors import HTTPDenied, HTTPUnavailable
from tidemill_api.v1alpha1.http_connection import HTTPConnection
from tidemill_worker.connections.http import HTTPPlace


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    with WebServer().running() as listening:
        yield listening


@pytest.mark.parametrize(
    ("secret", "statuses", "kind"),
    [
        (True, [200, 401], HTTPUnavailable),
        (True, [200, 401, 401], HTTPUnavailable),
        (True, [401], HTTPDenied),  # they have never been taken
        (True, [200, 403], HTTPDenied),  # they are known, and may not see this
        (True, [200, 401, 403], HTTPDenied),
        (True, [200, 403, 401], HTTPUnavailable),
        (False, [200, 401], HTTPDenied),  # there are none to be renewed
    ],
)
def test_only_headers_that_were_taken_are_waited_for(
    server: WebServer, tmp_path: Path, secret: bool, statuses: list[int], kind: type[Exception]
) -> None:
    server.forget()
    (tmp_path / "token").mkdir()
    (tmp_path / "token" / "Authorization").write_text("Bearer x")
    settings = {"url": f"{server.url}/"} | ({"headersFrom": {"secretRef": {"name": "token"}}} if secret else {})
    place = HTTPPlace("api", HTTPConnection.model_validate(settings), tmp_path)
    server.trouble["/items"].extend(Reply(b"[]", status) for status in statuses)
    answers = [place.get("/items").status for _ in statuses]
    place.close()
    assert answers == statuses
    assert type(place.denied(statuses[-1], "items")) is kind
