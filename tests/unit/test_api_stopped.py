"""Fetching pages that nobody wants any more."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.support.web_server import WebServer, as_json
from tidemill_api.v1alpha1.http_connection import HTTPConnection
from tidemill_api.v1alpha1.http_source import HTTPSource
from tidemill_worker.connections.http import HTTPPlace
from tidemill_worker.engine.api import API
from tidemill_worker.engine.api_fetch import _fetch
from tidemill_worker.engine.model import Asked, Stopped


@pytest.mark.parametrize("asked_to_stop", [True, False])
def test_what_has_ended_asks_for_nothing(tmp_path: Path, asked_to_stop: bool) -> None:
    ended = threading.Event()
    if not asked_to_stop:
        ended.set()
    with WebServer().running() as server:
        server.serve("/items", as_json([{"id": 1}]))
        place = HTTPPlace("api", HTTPConnection(url=f"{server.url}/"), tmp_path)
        with pytest.raises(Stopped):
            _fetch(API("items", HTTPSource(), place), Asked("items"), ended, lambda: asked_to_stop)
        place.close()
        assert server.asked == []
