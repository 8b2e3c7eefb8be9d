"""A web server that takes what is sent to it, and misbehaves on demand; it checks signatures by itself."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Status:
    """An answer with nothing in it but a status and headers."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Conduct: TypeAlias = Status | Literal["Cut", "Silent", "Endless"]
"""Cut: the connection breaks when the request has been read. Silent: there is no answer. Endless: 200, and what it
answers comes for as long as anybody reads."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    path: str
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)

    def signed_by(self, key: bytes) -> bool:
        """Whether one who has the key has sent it, as Standard Webhooks has it."""
        content = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        wanted = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
        return hmac.compare_digest(self.headers["webhook-signature"] or "", f"v1,{wanted}")


class Receiver:
    """Listens on a port of this machine. What a path is to do is said beforehand; it says 204 when nothing is."""

    def __init__(self) -> None:
        self._conduct: dict[str, deque[Conduct]] = {}
        self._received: list[Received] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver._answer(self, Received(self.path, self.headers, body))

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def will(self, path: str, *conduct: Conduct) -> None:
        """What it does to the next requests for a path (with its slash), one after the other."""
        with self._lock:
            self._conduct.setdefault(path, deque()).extend(conduct)

    def at(self, path: str) -> list[Received]:
        """The requests for a path, as they came."""
        with self._lock:
            return [each for each in self._received if each.path == path]

    @contextmanager
    def listening(self) -> Iterator[Receiver]:
        """Until the body has ended."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler, received: Received) -> None:
        with self._lock:
            self._received.append(received)
            asked = self._conduct.get(received.path)
            conduct: Conduct = asked.popleft() if asked else Status(204)
        match conduct:
            case Status(status, headers):
                handler.send_response(status)
                for name, value in headers.items():
                    handler.send_header(name, value)
                if status != 204:
                    handler.send_header("content-length", "0")
                handler.end_headers()
            case "Cut":
                handler.close_connection = True
                handler.connection.shutdown(socket.SHUT_RDWR)
            case "Endless":
                handler.close_connection = True
                handler.send_response(200)
                handler.send_header("content-length", str(1 << 40))
                handler.end_headers()
                with contextlib.suppress(OSError):
                    while not self._over.is_set():
                        handler.wfile.write(b"x" * (1 << 16))
            case "Silent":
                handler.close_connection = True
                self._over.wait()
