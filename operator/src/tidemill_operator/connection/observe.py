"""Tries a TemporalConnection: reads its Secret, and asks the server who it is."""

from __future__ import annotations

from dataclasses import dataclass

from tidemill_api.conditions import INVALID_SECRET, INVALID_SPEC, TEMPORAL_UNREACHABLE
from tidemill_api.errors import TemporalUnavailable
from tidemill_operator.clients import Clients, Key, Object
from tidemill_operator.connection.resolve import resolve_manifest
from tidemill_operator.reading import is_going
from tidemill_operator.standing import Standing, stalled, waits
from tidemill_operator.views import ConnectionPendingError, TemporalRefusedError


@dataclass(frozen=True, slots=True)
class Observed:
    """A connection and what came of trying it."""

    manifest: Object
    server_version: str | None
    """None: it doesn't answer, see `trouble`."""
    trouble: Standing | None
    pools: tuple[str, ...]
    """Names of the pools that use it."""

    @property
    def going(self) -> bool:
        """Whether the connection is being deleted."""
        return is_going(self.manifest)


async def observe(key: Key, manifest: Object, clients: Clients) -> Observed:
    """Raises nothing for a Temporal that can't be asked: `Observed.trouble` says so.

    From here on all pools and pipelines use what the Secret holds now. While it is missing they keep what it held.
    """
    version, trouble = None, None
    try:
        target = await resolve_manifest(manifest, clients.kubernetes)
        version = await clients.temporals.set((key.namespace, key.name), target).server_version()
    except ConnectionPendingError as error:
        terminal = error.reason in (INVALID_SPEC, INVALID_SECRET)
        trouble = (stalled if terminal else waits)(error.reason, str(error))
    except (TemporalUnavailable, TemporalRefusedError) as error:
        trouble = waits(TEMPORAL_UNREACHABLE, str(error))
    return Observed(manifest, version, trouble, clients.store.pools_of_connection(key.namespace, key.name))


async def remains(key: Key, clients: Clients) -> tuple[()]:
    """A connection that is gone leads nowhere any more; but while pools use it, what is known serves to clean up."""
    if not clients.store.pools_of_connection(key.namespace, key.name):
        clients.temporals.drop((key.namespace, key.name))
    return ()
