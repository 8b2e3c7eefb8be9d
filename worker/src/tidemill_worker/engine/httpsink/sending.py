"""Rows to a server: batch after batch, no more often than is allowed, again as long as that can help.

What the server says of a batch means one of three things: it has taken it; it may take it later; or its rows are at
fault. Then halves of it are sent, until the rows are found that the server doesn't take.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Final, Literal

import pyarrow as pa

from tidemill_api.errors import HTTPUnavailable, SinkRefused
from tidemill_api.v1alpha1 import parse_duration
from tidemill_api.v1alpha1.http_sink import SentRows
from tidemill_api.v1alpha1.http_source import RateLimit
from tidemill_api.v1alpha1.sink import Sink
from tidemill_worker.connections.http import HTTPPlace, passes, retry_after
from tidemill_worker.connections.http_patience import Wait, patiently
from tidemill_worker.engine.httpsink.bodies import batches, body_of, check_columns, content_type, key_of, objects
from tidemill_worker.engine.letters import Reason
from tidemill_worker.engine.model import AskedToStop, RunRef, Stopped

MOST_REFUSALS: Final = 1000
"""So many requests in a row that are refused for their rows: then it isn't the rows."""
_LOOK: Final = 0.25
"""Seconds between two looks whether to stop, while waiting for a server's pace."""
_CONFLICT: Final = 409
"""By the draft of the header Idempotency-Key: a request with this key is being worked on."""
_OF_ROWS: Final = frozenset({400, 413, 422})

Meaning = Literal["taken", "later", "rows", "denied", "refused"]
Why = tuple[Reason, str, list[str]]


def meaning(status: int) -> Meaning:
    """What an answer's status says of the rows that were sent."""
    if 200 <= status < 300:
        return "taken"
    if status == _CONFLICT or passes(status):
        return "later"
    if status in _OF_ROWS:
        return "rows"
    return "denied" if status in {401, 403} else "refused"


@dataclass(slots=True)
class Outlet:
    """One sink's server, while a chunk is loaded. Used by one thread at a time."""

    sink: str
    settings: SentRows
    http: HTTPPlace
    names: tuple[object, ...]
    """What tells these rows from those of other runs, sinks and chunks: part of each key."""
    wait: Wait
    pace: Pace
    ended: threading.Event = field(default_factory=threading.Event)
    """Set when nobody waits for what is sent any more."""
    _refusals: int = 0

    def send(self, rows: pa.Table, chunk: int, offset: int) -> dict[int, Why]:
        """Send rows that begin at `offset` of their chunk's file; the places of those that the server refuses, and why.

        Blocks. Raises Stopped, SinkRefused, HTTPUnavailable, HTTPDenied, SecretMissing, ConfigError.
        """
        found, refused = objects(rows), dict[int, Why]()
        for first, end in batches(found, self.settings):
            self._batch(found, first, end, (*self.names, chunk, offset), refused)
        return refused

    def _batch(
        self, found: list[bytes], first: int, end: int, names: tuple[object, ...], refused: dict[int, Why]
    ) -> None:
        body = body_of(found[first:end], self.settings)
        status = patiently(lambda: self._sent(body, key_of(names, first, body)), self.wait)
        if status is None:
            self._refusals = 0
            return
        self._refusals += 1
        if self._refusals >= MOST_REFUSALS:
            raise SinkRefused(f"sink {self.sink}: the server has refused {MOST_REFUSALS} requests in a row ({status})")
        if end - first == 1:
            refused[first] = ("BadValue", f"the server of the sink refuses the row ({status})", [])
            return
        middle = (first + end) // 2
        self._batch(found, first, middle, names, refused)
        self._batch(found, middle, end, names, refused)

    def _sent(self, body: bytes, key: str) -> int | None:
        """None if it has been taken, else the status that says that its rows are at fault."""
        self.pace.keep(self.wait)
        self.wait(0.0)
        headers = {"Content-Type": content_type(self.settings), self.settings.idempotency_header: key}
        head = self.http.send(self.settings.method, self.settings.path, body, headers)
        what = f"{self.settings.method} {self.settings.path or '/'} of sink {self.sink}"
        match meaning(head.status):
            case "taken":
                return None
            case "rows":
                return head.status
            case "later":
                asks = retry_after(head.headers, datetime.now(UTC))
                raise HTTPUnavailable(f"connection {self.http.name}: {what} is answered by {head.status}", asks)
            case "denied":
                raise self.http.denied(head.status, what)
            case "refused":
                raise SinkRefused(f"sink {self.sink}: {what} is answered by {head.status}: is the path right?")


@dataclass(slots=True)
class Pace:
    """No request before its time: the manifest's rate, spread evenly, for all threads of the worker."""

    seconds: float
    """Between two requests."""
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, wait: Wait) -> None:
        """Wait for the next request's turn."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self.seconds
        if turn > now:
            wait(turn - now)


@cache
def _paces() -> dict[tuple[str, str, float], Pace]:
    """Of the worker: one for each path of a connection and rate."""
    return {}


def outlet_of(
    sink: Sink,
    settings: SentRows,
    schema: pa.Schema,
    run: RunRef,
    content: str,
    http: HTTPPlace,
    asked_to_stop: AskedToStop,
) -> Outlet:
    """A sink's server for one chunk, whose content has that hash. Raises TableMismatch."""
    check_columns(sink.name, schema)
    seconds = _seconds(settings.rate_limit)
    pace = _paces().setdefault((http.name, settings.path, seconds), Pace(seconds))
    ended = threading.Event()
    names = (run.uid, run.run_key, sink.name, content)
    return Outlet(sink.name, settings, http, names, _waiting(ended, asked_to_stop), pace, ended)


def _seconds(limit: RateLimit | None) -> float:
    return 0.0 if limit is None else parse_duration(limit.per).total_seconds() / limit.requests


def _waiting(ended: threading.Event, asked_to_stop: AskedToStop) -> Callable[[float], None]:
    """A wait that ends early with Stopped."""

    def wait(seconds: float) -> None:
        left = seconds
        while True:
            if ended.wait(max(0.0, min(left, _LOOK))) or asked_to_stop():
                raise Stopped
            left -= _LOOK
            if left <= 0:
                return

    return wait
