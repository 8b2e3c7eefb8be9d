"""A web server that does as it is told: pages of an API, files with and without ranges, and all kinds of trouble.

Real sockets, one thread a connection. What a path answers is a function of the request; trouble is a list of answers
that go first.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    method: str = "GET"
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """An answer. `cut`: the connection is closed after so many bytes of the body; if less than 0, before any answer."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


Answers = Callable[[Asked], Reply]


def as_json(value: Any, status: int = 200) -> Reply:
    """A reply in JSON."""
    return Reply(json.dumps(value).encode(), status, {"Content-Type": "application/json"})


class WebServer:
    """One server of 127.0.0.1."""

    def __init__(self) -> None:
        self.answers: dict[str, Answers] = {}
        """By path."""
        self.trouble: dict[str, deque[Reply]] = defaultdict(deque)
        """By path: what is answered before, one for each request."""
        self.asked: list[Asked] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    @property
    def url(self) -> str:
        """Of its root, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def targets(self) -> list[str]:
        """What was asked for so far: paths with their queries."""
        return [
            f"{a.path}?{'&'.join(f'{k}={v}' for k, v in a.query.items())}" if a.query else a.path for a in self.asked
        ]

    def serve(self, path: str, answers: Answers | Reply) -> None:
        """What a path answers from now on."""
        self.answers[path] = answers if callable(answers) else lambda _asked: answers

    def file(self, path: str, data: bytes, etag: str = "", modified: str = "", *, ranges: bool = True) -> None:
        """A file, as a good server gives it."""
        self.serve(path, lambda asked: _file(asked, data, etag, modified, ranges=ranges))

    def forget(self) -> None:
        """Begin anew."""
        self.answers.clear()
        self.trouble.clear()
        self.asked.clear()

    @contextlib.contextmanager
    def running(self) -> Iterator[WebServer]:
        """Answer until the end."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def reply(self, asked: Asked) -> Reply:
        """What is answered, and remembered to have been asked."""
        self.asked.append(asked)
        if self.trouble[asked.path]:
            return self.trouble[asked.path].popleft()
        found = self.answers.get(asked.path)
        return found(asked) if found is not None else Reply(status=404)


def _file(asked: Asked, data: bytes, etag: str, modified: str, *, ranges: bool) -> Reply:
    given = {"ETag": etag} if etag else {}
    if modified:
        given["Last-Modified"] = modified
    wanted = asked.headers.get("range", "")
    condition = asked.headers.get("if-range")
    if not ranges or not wanted or (condition is not None and condition != etag):
        return Reply(data, headers=given)
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    begin, end = int(first), min(int(last or len(data)), len(data) - 1)
    if begin >= len(data):
        return Reply(status=416, headers={**given, "Content-Range": f"bytes */{len(data)}"})
    told = {**given, "Content-Range": f"bytes {begin}-{end}/{len(data)}"}
    return Reply(data[begin : end + 1], 206, told)


def _handler(server: WebServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            self._send(server.reply(Asked(parts.path, query, headers, self.command, body)))

        do_POST = do_GET  # noqa: N815 - the library looks for it
        do_PUT = do_GET  # noqa: N815 - likewise

        def _send(self, reply: Reply) -> None:
            if reply.cut is not None and reply.cut < 0:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if "Transfer-Encoding" not in reply.headers and reply.status not in {204, 304}:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            with contextlib.suppress(OSError):  # whoever asked may have gone
                self.wfile.write(reply.body if reply.cut is None else reply.body[: reply.cut])
            if reply.cut is not None:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
            """Nothing: the test says what is wrong."""

    return Handler
