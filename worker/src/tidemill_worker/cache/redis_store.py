"""Entries in Redis (or Valkey): each call waits a little, and after one that failed nobody asks for a while."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from tidemill_api.errors import TidemillError
from tidemill_worker.cache.cache import StoreError

if TYPE_CHECKING:
    import redis

WAIT: Final = 0.5
"""Seconds for one answer of the server, and for a connection."""
REST: Final = 5.0
"""Seconds for which a server that failed isn't asked."""
LARGEST: Final = 32 << 20
"""Bytes of an entry that is kept."""
_EPOCHS_KEPT: Final = 30 * 86_400
"""Seconds without anyone asking, after which a tag's epoch is forgotten: its entries are gone long before."""

_LEAVE: Final = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class RedisStore:
    """See `Store`. `prefix` keeps pools of one server apart."""

    def __init__(self, url: Callable[[], str], prefix: str, wait: float = WAIT, rest: float = REST) -> None:
        """`url` gives what the Secret holds now; what it raises is an error of the store."""
        self._url = url
        self._prefix = prefix
        self._wait = wait
        self._rest = rest
        self._client: redis.Redis | None = None
        self._made_for = ""
        self._not_before = 0.0
        self._lock = threading.Lock()

    def epochs(self, tags: Sequence[str]) -> tuple[str, list[str]]:
        """See `Store`."""
        names = [self._name("tag", tag) for tag in tags]
        with self._asked() as client:
            pipe = client.pipeline(transaction=False)
            pipe.info("server")
            for name in names:
                pipe.set(name, secrets.token_hex(8), nx=True, ex=_EPOCHS_KEPT)
                pipe.expire(name, _EPOCHS_KEPT)
            pipe.mget(names)
            answers = pipe.execute(raise_on_error=False)
            if isinstance(answers[-1], Exception):
                raise answers[-1]
            info = answers[0]
            run = str(info.get("run_id", "")) if isinstance(info, dict) else ""  # a user may not be allowed to ask
            found = [_text(epoch) for epoch in answers[-1]]
        if not all(found):  # evicted in this moment
            raise StoreError
        return run, found

    def get(self, key: str) -> bytes | None:
        """See `Store`."""
        with self._asked() as client:
            found = client.get(self._name("entry", key))
        return found if isinstance(found, bytes) else None

    def put(self, key: str, value: bytes, seconds: float) -> None:
        """See `Store`. What is very large isn't kept."""
        if len(value) <= LARGEST:
            with self._asked() as client:
                client.set(self._name("entry", key), value, px=max(1, int(seconds * 1000)))

    def drop(self, key: str) -> None:
        """See `Store`."""
        with self._asked() as client:
            client.delete(self._name("entry", key))

    def take(self, key: str, owner: str, seconds: float) -> bool:
        """See `Store`."""
        with self._asked() as client:
            return bool(client.set(self._name("lock", key), owner, nx=True, px=max(1, int(seconds * 1000))))

    def taken(self, key: str) -> bool:
        """See `Store`."""
        with self._asked() as client:
            return bool(client.exists(self._name("lock", key)))

    def leave(self, key: str, owner: str) -> None:
        """See `Store`."""
        with self._asked() as client:
            client.eval(_LEAVE, 1, self._name("lock", key), owner)

    def move(self, tags: Iterable[str], epoch: str) -> None:
        """See `Store`."""
        with self._asked() as client:
            pipe = client.pipeline(transaction=False)
            for tag in tags:
                pipe.set(self._name("tag", tag), epoch, ex=_EPOCHS_KEPT)
            pipe.execute()

    def close(self) -> None:
        """Close what is open."""
        if self._client is not None:
            self._client.close()

    def _name(self, kind: str, name: str) -> str:
        return f"{self._prefix}:{kind}:{name}"

    @contextmanager
    def _asked(self) -> Iterator[redis.Redis]:
        """The client. Raises StoreError for whatever it raises, and at once for a while after that."""
        import redis

        if time.monotonic() < self._not_before:
            raise StoreError
        try:
            yield self._connected()
        except StoreError:
            raise
        except (redis.RedisError, OSError, ValueError) as error:
            self._not_before = time.monotonic() + self._rest
            raise StoreError(type(error).__name__) from error

    def _connected(self) -> redis.Redis:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        try:
            url = self._url()
        except TidemillError as error:  # the Secret isn't there
            raise StoreError from error
        with self._lock:
            if self._client is None or url != self._made_for:
                self._client = redis.Redis.from_url(
                    url,
                    socket_timeout=self._wait,
                    socket_connect_timeout=self._wait,
                    retry=Retry(NoBackoff(), 1),  # a connection that broke while nobody used it
                    max_connections=64,
                )
                self._made_for = url
            return self._client


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
