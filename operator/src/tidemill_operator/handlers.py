"""Events in, objects out: kopf watches, and nothing else of kopf is used.

kopf cancels foreign tasks of its event loop when it ends, so it has a loop and a thread of its own. Handlers only hand
over what they got; the operator's loop is woken once for many events. No annotation, finalizer or peering of kopf's.
"""

from __future__ import annotations

import asyncio
import collections
import datetime
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final

import kopf

from tidemill_api.names import LABEL_POOL
from tidemill_operator.adapters.kubernetes import RESOURCES, Credentials
from tidemill_operator.clients import Object
from tidemill_operator.notice import OUR_KINDS

log: Final = logging.getLogger(__name__)

WATCHED: Final = (*OUR_KINDS, "Deployment")
Event = tuple[str, str | None, Object]
"""Kind, type (ADDED, MODIFIED, DELETED; None for what was there at the start) and the object."""

_TOKEN_LIFE: Final = datetime.timedelta(minutes=5)
_BEAT: Final = 1.0


class Watch:
    """Watches in a thread of its own and hands events to the operator's loop, in order."""

    def __init__(
        self,
        credentials: Callable[[], Awaitable[Credentials]],
        namespaces: tuple[str, ...],
        receive: Callable[[Event], None],
        beat: Callable[[], None],
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
        failed: Callable[[str], None] = lambda _kind: None,
    ) -> None:
        """`receive` is called in the loop that called `run`; `beat` in the watching thread, about every second.

        `failed` is told the kind of an event that `receive` raised at: it is lost, a resync finds what it was about.
        """
        self._credentials = credentials
        self._namespaces = namespaces
        self._receive = receive
        self._beat = beat
        self._loop_factory = loop_factory
        self._failed = failed
        self._stop = threading.Event()
        self._events: collections.deque[Event] = collections.deque()

    async def run(self) -> None:
        """Watch until cancelled. Raises RuntimeError if the watching ends by itself: only a restart helps then."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        failure: list[BaseException] = []

        def watch() -> None:
            try:
                with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                    runner.run(self._watch(loop))
            except BaseException as error:  # noqa: BLE001 - handed over to the other thread
                failure.append(error)
            finally:
                loop.call_soon_threadsafe(ended.set)

        thread = threading.Thread(target=watch, name="watch", daemon=True)
        thread.start()
        try:
            await ended.wait()
            raise RuntimeError("the watch of the API server has ended") from (failure[0] if failure else None)
        finally:
            self._stop.set()
            await asyncio.to_thread(thread.join, 10)

    async def _watch(self, operator: asyncio.AbstractEventLoop) -> None:
        beating = asyncio.create_task(self._keep_beating())
        try:
            await kopf.operator(
                registry=self._registry(operator),
                settings=_settings(),
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
            )
        finally:
            beating.cancel()

    async def _keep_beating(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(_BEAT)

    def _registry(self, operator: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            return _connection(await self._credentials())

        for kind in WATCHED:
            path, plural = RESOURCES[kind]
            group, version = path.split("/")[1:]
            take = self._taker(kind, operator)
            kopf.on.event(group, version, plural, registry=registry, id=plural, when=take)(_unused)
        return registry

    def _taker(self, kind: str, operator: asyncio.AbstractEventLoop) -> Callable[..., bool]:
        """A filter that takes each event and lets none through: calling a handler costs kopf more than all the rest."""

        def take(event: Any, **_: Any) -> bool:
            self._events.append((kind, event["type"], event["object"]))
            if len(self._events) == 1:
                operator.call_soon_threadsafe(self._hand_over)
            return False

        return take

    def _hand_over(self) -> None:
        # The deque must be empty at the end, whatever happens: we are called again only when it begins to fill.
        while self._events:
            event = self._events.popleft()
            try:
                self._receive(event)
            except Exception:
                log.exception("an event of a %s could not be taken in", event[0])
                self._failed(event[0])


async def _unused(**_: Any) -> None:
    """A handler, since kopf wants one; the filter before it took the event already."""


class _NoEssence(kopf.DiffBaseStorage):
    """kopf would copy each object to compare it with an annotation that we don't keep: half of what an event costs."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:  # noqa: ARG002 - kopf calls it so
        """Nothing of an object matters to kopf."""
        return {}

    def fetch(self, *, body: Any) -> Any:  # noqa: ARG002 - kopf calls it so
        """Nothing is kept."""
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Nothing is kept."""


class _NoProgress(kopf.ProgressStorage):
    """No handler of ours has a progress that kopf should keep: events are handed over and done."""

    def fetch(self, *, key: Any, body: Any) -> Any:  # noqa: ARG002 - kopf calls it so
        """Nothing is kept."""
        return None

    def store(self, *, key: Any, record: Any, body: Any, patch: Any) -> None:
        """Nothing is kept."""

    def purge(self, *, key: Any, body: Any, patch: Any) -> None:
        """Nothing is kept."""

    def touch(self, *, body: Any, patch: Any, value: Any) -> None:
        """Nothing is kept."""

    def clear(self, *, essence: Any) -> Any:
        """There is nothing of ours in it."""
        return essence


def _connection(credentials: Credentials) -> kopf.ConnectionInfo:
    scheme, _, token = (credentials.authorization or "").partition(" ")
    return kopf.ConnectionInfo(
        server=credentials.server,
        ca_path=credentials.ca_path,
        insecure=not credentials.verify,
        certificate_path=credentials.certificate_path,
        private_key_path=credentials.private_key_path,
        scheme=scheme.capitalize() or None,
        token=token.strip() or None,
        expiration=datetime.datetime.now(datetime.UTC) + _TOKEN_LIFE if token else None,
    )


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70
    settings.watching.chunk_size = 500
    settings.watching.label_selectors["apps", "v1", "deployments"] = LABEL_POOL
    settings.queueing.idle_timeout = 2.0  # an object's task and queue go soon: memory follows activity, not size
    settings.networking.connect_timeout = 10
    settings.execution.max_workers = 1
    settings.persistence.diffbase_storage = _NoEssence()
    settings.persistence.progress_storage = _NoProgress()
    return settings
