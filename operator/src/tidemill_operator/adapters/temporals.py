"""Which Temporals there are: the operator's own, and one for each TemporalConnection that could be resolved."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tidemill_api.conditions import WAITING_FOR_CONNECTION
from tidemill_codec.folder import Keys
from tidemill_operator.adapters.temporal import TemporalClient
from tidemill_operator.adapters.temporal_calls import Count
from tidemill_operator.views import ConnectionKey, ConnectionPendingError, TemporalTarget

Resolve = Callable[[tuple[str, str]], Awaitable[TemporalTarget]]
"""From (namespace, name) of a TemporalConnection to where it leads; raises ConnectionPendingError."""


class Temporals:
    """One client a connection; a connection that leads elsewhere (credentials, address) gets a new client."""

    def __init__(
        self,
        installation: str,
        default: TemporalTarget | None,
        resolve: Resolve,
        count: Count,
        keys: Keys | None = None,
    ) -> None:
        """`default` is the operator's own Temporal, known under the key None. With `keys` all of them encrypt."""
        self._installation = installation
        self._resolve = resolve
        self._count = count
        self._keys = keys
        self._clients: dict[ConnectionKey, TemporalClient] = {}
        if default is not None:
            self.set(None, default)

    async def get(self, connection: ConnectionKey) -> TemporalClient:
        """The client of a connection; it connects at its first call.

        Raises ConnectionPendingError while the TemporalConnection or its Secret is missing.
        """
        if client := self._clients.get(connection):
            return client
        if connection is None:
            raise ConnectionPendingError(
                WAITING_FOR_CONNECTION,
                "the operator has no Temporal of its own: name a TemporalConnection in the pool's spec.temporal",
            )
        return self.set(connection, await self._resolve(connection))

    def set(self, connection: ConnectionKey, target: TemporalTarget) -> TemporalClient:
        """Say where a connection leads now; the client for it, the old one if nothing changed."""
        client = self._clients.get(connection)
        if client is None or client.target != target:
            client = self._clients[connection] = TemporalClient(
                target, self._installation, self._count, keys=self._keys
            )
        return client

    def drop(self, connection: ConnectionKey) -> None:
        """The connection is gone, or leads nowhere any more."""
        self._clients.pop(connection, None)

    def in_use(self) -> tuple[ConnectionKey, ...]:
        """The connections that have clients: what the sweep looks at."""
        return tuple(self._clients)
