"""Requests to one bucket: signed, tried again where that can help, their errors typed. Blocks; for threads."""

from __future__ import annotations

import hashlib
import http.client
import io
import logging
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from types import MappingProxyType
from typing import IO, Final, TypeVar
from urllib.parse import urlsplit

from tidemill_api.errors import BucketMissing, ConfigError, StoreDenied, StoreThrottled, StoreUnavailable, TidemillError
from tidemill_worker.connections.s3.credentials import KeysNow
from tidemill_worker.connections.s3.signing import amazon, path_of, query_of, signed
from tidemill_worker.connections.s3.xml import code_of

SECONDS: Final = 30.0
"""Without a byte, or without a connection, so long: an outage."""
TRIES: Final = 4
"""Of a request that an outage or a throttle met; whoever runs the work tries again much later."""
_WAITS: Final = (0.2, 0.5, 1.5)
"""Seconds between tries, about."""
_IDLE: Final = 16
"""Connections that are kept open."""
_MOST: Final = 16 << 20
"""Bytes of an answer that isn't an object's."""
_THROTTLED: Final = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"}
)
_OF_KEYS: Final = frozenset({
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired"),
    *("InvalidClientTokenId", "MissingSecurityHeader", "CredentialsNotSupported"),
})  # fmt: skip
_OTHER_REGION: Final = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)

Body = Callable[[], IO[bytes]]
"""Opens what is sent, anew for each try."""
_NOTHING: Final[Body] = io.BytesIO
_NONE: Final[Mapping[str, str]] = MappingProxyType({})

_Got = TypeVar("_Got")

_log = logging.getLogger(__name__)


class Missing(Exception):
    """There is no such object."""


class Other(Exception):
    """What was demanded of an object doesn't hold: it is another one by now, or there is one already."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a connection points."""

    connection: str
    name: str
    prefix: str
    """Of all keys; empty, or with a slash at its end."""
    region: str
    endpoint: str | None
    """None: Amazon's."""

    @property
    def origin(self) -> tuple[bool, str, str]:
        """Whether by TLS, the host with its port, and what stands before keys in the path."""
        if self.endpoint is not None:
            parts = urlsplit(self.endpoint)
            return parts.scheme == "https", parts.netloc, self.name
        top = amazon(self.region)
        if "." in self.name:  # no certificate covers it
            return True, f"s3.{self.region}.{top}", self.name
        return True, f"{self.name}.s3.{self.region}.{top}", ""

    def at(self, field: str) -> str:
        """A field of the connection, for messages."""
        return f"connections.{self.connection}.files{field}"


@dataclass(frozen=True, slots=True)
class Said:
    """An answer with its body."""

    headers: Mapping[str, str]
    """By lower-case names."""
    body: bytes


@dataclass(slots=True)
class Answer:
    """An answer whose body is still to be read. `close` it."""

    status: int
    headers: Mapping[str, str]
    """By lower-case names."""
    body: http.client.HTTPResponse
    _done: Callable[[bool], None]

    def whole(self) -> bytes:
        """All of a body that isn't an object's. Raises StoreUnavailable's causes: OSError, HTTPException."""
        length = self.body.length
        data = self.body.read(_MOST + 1)
        self.close()
        if len(data) > _MOST or (length is not None and len(data) < length):
            raise http.client.HTTPException("an answer without its end")
        return data

    def close(self) -> None:
        """Leave the connection to others if nothing is left to read, else close it."""
        whole = self.body.isclosed()
        self.body.close()
        self._done(whole)


@dataclass(frozen=True)
class Client:
    """Requests to a bucket."""

    bucket: Bucket
    keys: KeysNow
    tries: int = TRIES
    _idle: list[http.client.HTTPConnection] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(
        self,
        method: str,
        key: str = "",
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] = _NONE,
        body: Body = _NOTHING,
    ) -> Said:
        """An answer with its whole body. `key` is one below the prefix; none is the bucket. Raises as `begin`."""

        def once() -> Said:
            answer = self._once(method, key, query, headers, body)
            return Said(answer.headers, answer.whole())

        return self._tried(once)

    def begin(self, key: str, headers: Mapping[str, str]) -> Answer:
        """An object whose bytes are still to be read.

        Raises Missing, Other, BucketMissing, StoreDenied, ConfigError, SecretMissing, StoreThrottled,
        StoreUnavailable.
        """
        return self._tried(lambda: self._once("GET", key, (), headers, _NOTHING))

    def close(self) -> None:
        """Close what is open and not in use."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def _tried(self, once: Callable[[], _Got]) -> _Got:
        for number in range(1, self.tries + 1):
            try:
                return once()
            except StoreUnavailable as error:
                if number == self.tries:
                    raise
                _log.info("tried again: %s", error)
            except (OSError, http.client.HTTPException) as error:
                if number == self.tries:
                    raise self.outage(error) from None
            wait(number)
        raise AssertionError

    def outage(self, error: BaseException) -> StoreUnavailable:
        """Of what the network says."""
        why = getattr(error, "strerror", None) or type(error).__name__
        return StoreUnavailable(f"{self.bucket.at('')}: the store can't be reached, or breaks off its answers ({why})")

    def _once(
        self, method: str, key: str, query: Sequence[tuple[str, str]], headers: Mapping[str, str], body: Body
    ) -> Answer:
        _, host, before = self.bucket.origin
        path, asked = path_of(before, f"{self.bucket.prefix}{key}" if key else ""), query_of(query)
        with body() as stream:
            payload, length = _hashed(stream)
            sent = {**headers, "content-length": str(length)} if method != "GET" else dict(headers)
            own = {name: value for name, value in headers.items() if name.startswith("x-amz-")}
            sent |= signed(method, host, path, asked, payload, self.keys(), self.bucket.region, datetime.now(UTC), own)
            answer = self._sent(method, f"{path}?{asked}" if asked else path, sent, stream)
        if answer.status < 300:
            return answer
        raise self._fault(answer, code_of(answer.whole()), method, key)

    def _sent(self, method: str, target: str, headers: Mapping[str, str], body: IO[bytes]) -> Answer:
        """By a connection that is open already if one still is."""
        while True:
            with self._lock:
                kept = self._idle.pop() if self._idle else None
            connection = kept or self._connection()
            try:
                connection.request(method, target, None if method == "GET" else body, dict(headers))
                response = connection.getresponse()
            except (OSError, http.client.HTTPException):
                connection.close()
                if kept is None:
                    raise
                body.seek(0)
                continue  # the other side had closed it while nobody used it
            known = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, known, response, partial(self._left, connection))

    def _connection(self) -> http.client.HTTPConnection:
        secure, host, _ = self.bucket.origin
        if secure:
            return http.client.HTTPSConnection(host, timeout=SECONDS, context=_tls())
        return http.client.HTTPConnection(host, timeout=SECONDS)

    def _left(self, connection: http.client.HTTPConnection, whole: bool) -> None:
        with self._lock:
            if whole and connection.sock is not None and len(self._idle) < _IDLE and connection not in self._idle:
                self._idle.append(connection)
                return
        if not whole:
            connection.close()

    def _fault(self, answer: Answer, code: str, method: str, key: str) -> TidemillError | Exception:
        """What an answer means. The store's own words aren't passed on: they may quote keys and signatures."""
        bucket, said = self.bucket, f"{answer.status} {code}".strip()
        what = f"the object {key}" if key else f"the bucket {bucket.name}"
        if code == "NoSuchBucket" or (answer.status == 404 and not key):
            return BucketMissing(f"{bucket.at('.url')}: the store has no bucket {bucket.name}")
        if code in _OTHER_REGION or answer.status in {301, 307}:
            region = answer.headers.get("x-amz-bucket-region")
            there = f"the bucket is in the region {region}" if region else "the bucket is in another region"
            return ConfigError(f"{bucket.at('.region')}: {there}, not in {bucket.region}")
        if code in _OF_KEYS:
            return StoreDenied(f"{bucket.at('.secretRef')}: the store refuses the keys ({said})")
        if code == "RequestTimeTooSkewed":
            return StoreDenied(f"{bucket.at('')}: the store's clock and the worker's differ too much ({said})")
        if code in _THROTTLED or answer.status == 429:
            return StoreThrottled(f"{bucket.at('')}: the store asks for fewer requests ({said})")
        if answer.status == 404:
            return Missing(key)
        if answer.status in {409, 412}:
            return Other(key)
        if answer.status in {401, 403}:
            return StoreDenied(f"{bucket.at('.secretRef')}: the keys don't allow {method} of {what} ({said})")
        if (answer.status >= 500 and answer.status != 501) or code in {"RequestTimeout", "IncompleteBody"}:
            return StoreUnavailable(f"{bucket.at('')}: the store fails ({said})")
        return ConfigError(f"{bucket.at('.url')}: the store refuses {method} of {what} ({said})")


def wait(number: int) -> None:
    """Between two tries; `number` counts from 1."""
    time.sleep(_WAITS[min(number, len(_WAITS)) - 1] * random.uniform(0.5, 1.5))


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _hashed(stream: IO[bytes]) -> tuple[str, int]:
    """Hash and length of a stream, which stands at its beginning again."""
    found, length = hashlib.sha256(), 0
    while piece := stream.read(1 << 20):
        found.update(piece)
        length += len(piece)
    stream.seek(0)
    return found.hexdigest(), length
