"""Calls of a Temporal: every one has a timeout, every error one of three meanings.

TemporalUnavailable        an outage, wrong credentials or a missing namespace: may pass, try again later
TemporalConflictError      somebody wrote in between, or it is there already: observe anew
TemporalRefusedError       Temporal says no to this request, and will again
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode, WorkflowService

from tidemill_api.errors import TemporalUnavailable
from tidemill_operator.adapters import temporal_messages as messages
from tidemill_operator.adapters.temporal_reaching import tls, why
from tidemill_operator.views import TemporalConflictError, TemporalRefusedError, TemporalTarget

_LONG: Final = 0.9
"""Seconds of waiting for an outage to show, after which the next calls don't wait for the same."""
_REST: Final = 5.0
"""Seconds for which they don't."""
IDENTITY: Final = "tidemill-operator"
_CONFLICTS: Final = (RPCStatusCode.ALREADY_EXISTS, RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.ABORTED)

Answer = TypeVar("Answer")
Send = Callable[[WorkflowService], Awaitable[Answer]]
Count = Callable[[str, str, float], None]
"""Told of each request: the call's name, "ok" or the name of the status it failed with, and the seconds it took."""


class Calls:
    """Sends requests. It connects at the first one, and again by itself after an outage."""

    def __init__(self, target: TemporalTarget, count: Count, timeout: timedelta) -> None:
        """Doesn't connect yet. `timeout`: of one request, without connecting."""
        self._target = target
        self._count = count
        self._timeout = timeout
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._rests_until = 0.0
        self._rests_because = ""

    async def write(self, rpc: str, send: Send[Answer]) -> Answer:
        """As `call`, for something that was there a moment ago: that it's gone now is a conflict."""
        answer = await self.call_or_none(rpc, send)
        if answer is None:
            raise TemporalConflictError("it was deleted in between")
        return answer

    async def call(self, rpc: str, send: Send[Answer]) -> Answer:
        """One request. Raises TemporalUnavailable, TemporalConflictError, TemporalRefusedError."""
        answer = await self.call_or_none(rpc, send)
        if answer is None:
            raise TemporalRefusedError(f"{rpc}: not found")
        return answer

    async def call_or_none(self, rpc: str, send: Send[Answer]) -> Answer | None:
        """As `call`; None if what it speaks of isn't there."""
        began = time.monotonic()
        if began < self._rests_until:
            # In the same words: a status that says now this, now that of one outage would be written again and again.
            raise TemporalUnavailable(self._rests_because)
        try:
            return await self._request(rpc, send)
        except TemporalUnavailable as error:
            # A server that keeps callers waiting would keep all of them, and what needs no Temporal with them.
            if time.monotonic() - began > _LONG:
                self._rests_until, self._rests_because = time.monotonic() + _REST, str(error)
            raise

    async def _request(self, rpc: str, send: Send[Answer]) -> Answer | None:
        began = time.monotonic()
        try:
            # The rpc's own timeout doesn't cover connecting.
            async with asyncio.timeout(self._timeout.total_seconds() + 1):
                answer = await send((await self._connected()).workflow_service)
        except RPCError as error:
            self._count(rpc, error.status.name, time.monotonic() - began)
            if error.status == RPCStatusCode.NOT_FOUND and not messages.speaks_of_namespace(error.grpc_status.details):
                return None
            raise self._meaning(error) from error
        except (TimeoutError, RuntimeError, OSError) as error:  # connecting fails with a bare RuntimeError
            self._count(rpc, "UNREACHABLE", time.monotonic() - began)
            raise TemporalUnavailable(f"Temporal at {self._target.address} can't be reached: {why(error)}") from error
        self._count(rpc, "ok", time.monotonic() - began)
        return answer

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                self._client = await Client.connect(
                    self._target.address,
                    namespace=self._target.namespace,
                    tls=tls(self._target),
                    api_key=self._target.api_key,
                    identity=IDENTITY,
                )
            return self._client

    def _meaning(self, error: RPCError) -> Exception:
        if error.status in _CONFLICTS:
            return TemporalConflictError(error.message)
        if error.status == RPCStatusCode.INVALID_ARGUMENT:
            return TemporalRefusedError(error.message)
        where = f"Temporal at {self._target.address}, namespace {self._target.namespace}"
        return TemporalUnavailable(f"{where}: {error.message} ({error.status.name})")
