"""Where the rows of sources are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from tidemill_api.v1alpha1.datapipeline import PostgresSource, Source
from tidemill_worker.engine.api import API
from tidemill_worker.engine.model import Connections, Place
from tidemill_worker.engine.postgres.lookups import KeptRows
from tidemill_worker.engine.postgres.reading import PostgresRows
from tidemill_worker.engine.python.sources import Function


async def places_of(
    sources: Iterable[Source], connections: Connections, values: Mapping[str, object]
) -> dict[str, Place]:
    """The files, database or the like of each source, by its name. Raises what `Connections` raises.

    `values` are the parameters of the run, its own times among them.
    """
    places: dict[str, Place] = {}
    for source in sources:
        if source.python is not None:
            places[source.name] = Function(source.name, source.python, values)
        elif source.http is not None:
            server = connections.http(source.connection)
            places[source.name] = API(source.name, source.http, server, cache=connections.cache)
        elif source.postgres is None:
            places[source.name] = connections.files(source.connection)
        else:
            pool = await connections.reading(source.connection)
            kept = _kept(source, source.postgres, connections)
            places[source.name] = PostgresRows(source.name, source.connection, pool, asyncio.get_running_loop(), kept)
    return places


def _kept(source: Source, read: PostgresSource, connections: Connections) -> KeptRows | None:
    """Where the rows of a table are kept, if they are to be and there is a place for that."""
    name, cache = source.connection, connections.cache
    if read.cache is None or cache is None:
        return None
    return KeptRows(cache, read.cache, source.name, name, connections.identity(name), read.table)
