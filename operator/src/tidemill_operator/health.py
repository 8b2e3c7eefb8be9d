"""/healthz, /readyz and /metrics, on a thread of their own, so that a stuck event loop can be told.

Loops renew a beat; `/healthz` fails when one is too old. A pod that is not healthy is restarted, so only what a
restart can mend is looked at: an outage of Temporal or of the API server is none of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tidemill_api.errors import ConfigError


class Beats:
    """When each loop was last seen alive. Written by the loops, read by another thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beats: dict[str, tuple[float, float]] = {}

    def beat(self, loop: str, longest: float) -> None:
        """`loop` is alive, and says so again within `longest` seconds."""
        self._beats[loop] = (self._clock(), longest)

    def forget(self, loop: str) -> None:
        """`loop` has ended in order."""
        self._beats.pop(loop, None)

    def stale(self) -> tuple[str, ...]:
        """A sentence for each loop that should have been heard of."""
        now = self._clock()
        return tuple(
            f"{loop}: not heard of for {now - seen:.0f} s, at most {longest:.0f} s are in order"
            for loop, (seen, longest) in sorted(self._beats.copy().items())
            if now - seen > longest
        )


class HealthServer:
    """Serves the three paths until `close`."""

    def __init__(
        self,
        address: tuple[str, int],
        beats: Beats,
        waiting_for: Callable[[], str],
        metrics: Callable[[str], tuple[bytes, str]],
    ) -> None:
        """Raises ConfigError if it can't listen. `waiting_for` says what the process isn't ready for, or nothing.

        `metrics` makes the figures as the header `Accept` wants them, and says their content type.
        """

        class Handler(BaseHTTPRequestHandler):
            server_version = "tidemill"
            sys_version = ""

            def do_GET(self) -> None:
                match self.path.partition("?")[0]:
                    case "/healthz":
                        self._answer("\n".join(beats.stale()))
                    case "/readyz":
                        self._answer(waiting_for())
                    case "/metrics":
                        self._send(HTTPStatus.OK, *metrics(self.headers.get("Accept", "")))
                    case _:
                        self._send(HTTPStatus.NOT_FOUND, b"try /healthz, /readyz or /metrics\n", "text/plain")

            def _answer(self, wrong: str) -> None:
                status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
                self._send(status, f"{wrong or 'ok'}\n".encode(), "text/plain; charset=utf-8")

            def _send(self, status: HTTPStatus, body: bytes, content: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                """Probes aren't worth a line."""

        try:
            self._server = ThreadingHTTPServer(address, Handler)
        except OSError as error:
            raise ConfigError(f"--health-address {address[0]}:{address[1]}: {error.strerror or error}") from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on (useful if 0 was asked for)."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
