"""`/healthz` and `/readyz` beside a component: one way to ask, whatever it is."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus


@contextmanager
def serving(port: int, alive: Callable[[], bool], ready: Callable[[], bool]) -> Iterator[int]:
    """Answer on all addresses, from threads; gives the port, which 0 leaves open. Raises OSError if it is taken."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path:
                case "/healthz":
                    status = HTTPStatus.OK if alive() else HTTPStatus.SERVICE_UNAVAILABLE
                case "/readyz":
                    status = HTTPStatus.OK if ready() else HTTPStatus.SERVICE_UNAVAILABLE
                case _:
                    status = HTTPStatus.NOT_FOUND
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.end_headers()
            self.wfile.write(f"{status.phrase.lower()}\n".encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
            """Probes are no news."""

    server = http.server.ThreadingHTTPServer(("", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
