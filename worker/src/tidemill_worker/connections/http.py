"""Requests to one web server: its connections are kept and used again; the headers of its Secret are read each time.

The client (urllib3) blocks, for the engine reads in threads; `request` is for the event loop. Messages name the
connection and the kind of trouble: never a query, a header or what an answer holds.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidemill_api.errors import ConfigError, HostRefused, HTTPDenied, HTTPUnavailable, SecretMissing
from tidemill_api.names import content_hash
from tidemill_api.v1alpha1.http_connection import HTTPConnection
from tidemill_worker.connections.http_urls import Base, base_of

if TYPE_CHECKING:
    import urllib3

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
"""Longest silence of a server within an answer, and before it."""
ROTATION_SECONDS: Final = 600.0
"""So long headers that were taken before may be refused before that counts as wrong: a new token is on its way."""
MOST_BODY: Final = 64 << 20
"""Bytes of an answer that is taken at once, uncompressed."""
_REDIRECTS: Final = 5
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNKNOWN: Final = 401
"""The server doesn't know whoever asks. 403 says that it does, and that others may see this: new headers don't help."""
_AGENT: Final = "tidemill"
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "range", "if-range"})


@dataclass(frozen=True, slots=True)
class Head:
    """What an answer begins with."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes
    target: str
    """Path and query that answered: another than was asked for where the server led on."""


def passes(status: int) -> bool:
    """Whether a status says that asking again later can help."""
    return status in _PASSING


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that a server asks to wait (`Retry-After`: a number, or a date of HTTP); None if it doesn't say so."""
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        then = parsedate_to_datetime(said)
    except ValueError:
        return None
    return max(0.0, (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now.timestamp())


Told = Callable[[str, int, float], None]
"""Told of each request: the connection, the status (0: no answer came), and the seconds until then."""


def _nobody(_name: str, _code: int, _seconds: float) -> None:
    """Nobody counts."""


class HTTPPlace:
    """One connection. Used by several threads at once."""

    def __init__(self, name: str, settings: HTTPConnection, secrets: Path, told: Told = _nobody) -> None:
        """`secrets` has a folder for each Secret that is mounted as a whole; `told` hears of each request."""
        self._told = told
        self.name = name
        self.base: Base = base_of(name, settings.url)
        self._secret = settings.headers_from.secret_ref.name if settings.headers_from is not None else None
        self._folder = secrets
        self._manager: urllib3.PoolManager | None = None
        self._worked = False
        self._refused_since: float | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        seconds: float = READ_SECONDS,
    ) -> Head:
        """One request, not repeated, and no redirect followed. Raises HTTPUnavailable, SecretMissing, ConfigError.

        A status is an answer like any other. What comes behind the head isn't read: a server that doesn't end its
        answer would hold a thread for ever. `seconds` is the longest silence of the server.
        """
        target = self.base.target(path)
        return await asyncio.to_thread(self._tell, method, target, dict(headers or {}), body or None, seconds)

    def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Head:
        """As `request`, for threads: it blocks. Raises as that does."""
        head = self._tell(method, self.base.target(path), dict(headers), body, READ_SECONDS)
        self._notice(head.status)
        return head

    def get(self, target: str, headers: Mapping[str, str] | None = None, max_body: int = MOST_BODY) -> Answer:
        """What is at a target (of `base`), whatever its status; blocks. Raises as `request` does, and HostRefused."""
        for _ in range(_REDIRECTS + 1):
            answer = self._ask(target, dict(headers or {}), max_body)
            if answer.status not in _MOVED or "location" not in answer.headers:
                self._notice(answer.status)
                return answer
            target = self.base.linked(target, answer.headers["location"])
        raise self._led_on()

    def begin(self, target: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """An answer of which only the head is here, not uncompressed; whoever asks closes it. Raises as `get` does.

        Reading on must be inside of `talking`.
        """
        for _ in range(_REDIRECTS + 1):
            with self.talking():
                answer = self._send("GET", target, {"Accept-Encoding": "identity", **headers}, None, READ_SECONDS)
            location = answer.headers.get("location")
            if answer.status not in _MOVED or not location:
                self._notice(answer.status)
                return answer
            answer.close()
            target = self.base.linked(target, location)
        raise self._led_on()

    def denied(self, status: int, what: str) -> HTTPDenied | HTTPUnavailable:
        """The error for 401 or 403. Headers that worked before may be on their way to be renewed: then 401 passes."""
        renewed = status == _UNKNOWN and self._secret is not None and self._refused_since is not None
        if renewed and time.monotonic() - (self._refused_since or 0.0) < ROTATION_SECONDS:
            return HTTPUnavailable(
                f"connection {self.name}: {what} is refused ({status}) with headers that were taken before: "
                "waiting for new ones"
            )
        return HTTPDenied(f"connection {self.name}: the server refuses {what} ({status})")

    def close(self) -> None:
        """Close what is open and unused."""
        if self._manager is not None:
            self._manager.clear()

    def fingerprint(self) -> str:
        """The same for the same headers of the Secret: whoever may see other things asks with others."""
        return content_hash(self.secret_headers())

    def secret_headers(self) -> dict[str, str]:
        """What the Secret holds now. Raises SecretMissing, ConfigError, which name keys and no values."""
        if self._secret is None:
            return {}
        try:
            files = [file for file in sorted((self._folder / self._secret).iterdir()) if file.is_file()]
            found = {file.name: file.read_bytes().strip().decode("latin-1") for file in files}
        except OSError as error:
            raise SecretMissing(f"Secret {self._secret} isn't here yet ({error.strerror})") from error
        for name, value in found.items():
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower() in _OURS:
                raise ConfigError(
                    f"connection {self.name}: key {name} of Secret {self._secret} is no header that can be sent: "
                    "each key is a header's name, and holds one line"
                )
        return found

    def _tell(self, method: str, target: str, headers: dict[str, str], body: bytes | None, seconds: float) -> Head:
        with self.talking():
            answer = self._send(method, target, headers, body, seconds)
            answer.close()
            answer.release_conn()
        return Head(answer.status, _lower(answer))

    def _ask(self, target: str, headers: dict[str, str], max_body: int) -> Answer:
        with self.talking():
            answer = self._send("GET", target, {"Accept-Encoding": "gzip", **headers}, None, READ_SECONDS)
            try:
                data = answer.read(max_body + 1, decode_content=True)
                if len(data) > max_body:
                    answer.close()
                    raise ConfigError(
                        f"connection {self.name}: an answer is longer than {max_body >> 20} MiB: ask for smaller pages"
                    )
            finally:
                answer.release_conn()
        return Answer(answer.status, _lower(answer), data, target)

    def _send(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None, seconds: float
    ) -> urllib3.BaseHTTPResponse:
        import urllib3

        if self._manager is None:
            self._manager = urllib3.PoolManager(num_pools=1, maxsize=16)
        given = {"User-Agent": _AGENT, **headers, **self.secret_headers()}
        began, code = time.monotonic(), 0
        try:
            answer = self._manager.urlopen(
                method,
                f"{self.base.origin}{target}",
                headers=given,
                body=body,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds),
            )
            code = answer.status
            return answer
        finally:
            self._told(self.name, code, time.monotonic() - began)

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Raise HTTPUnavailable for what the client raises when a server doesn't answer, or stops within an answer."""
        import urllib3
        from urllib3 import exceptions as raised

        try:
            yield
        except raised.LocationValueError as error:
            raise ConfigError(f"connection {self.name}: its URL can't be asked ({type(error).__name__})") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise HTTPUnavailable(f"connection {self.name}: {_trouble(error)}") from error

    def _led_on(self) -> HostRefused:
        return HostRefused(f"connection {self.name}: the server redirects more than {_REDIRECTS} times")

    def _notice(self, status: int) -> None:
        """Remember whether the server takes our headers."""
        if status < 400:
            self._worked, self._refused_since = True, None
        elif status == _UNKNOWN and self._worked and self._refused_since is None:
            self._refused_since = time.monotonic()


def _lower(answer: urllib3.BaseHTTPResponse) -> dict[str, str]:
    """Its headers by names in lower case."""
    return {name.lower(): answer.headers[name] for name in answer.headers}


def _trouble(error: BaseException) -> str:
    """The kind of trouble in words."""
    from urllib3 import exceptions as raised

    match error:
        case raised.ConnectTimeoutError() | raised.NewConnectionError() | raised.NameResolutionError():
            return "the server can't be reached"
        case raised.ReadTimeoutError() | TimeoutError():
            return "the server doesn't answer in time"
        case raised.SSLError():
            return "its certificate isn't accepted, or it speaks no TLS"
        case raised.DecodeError():
            return "the server's answer isn't compressed as it says"
        case _:
            return f"the connection broke within an answer ({type(error).__name__})"
