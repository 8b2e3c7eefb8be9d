"""Where the rows of sources are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from tidemill_api.v1alpha1.datapipeline import Source
from tidemill_worker.engine.api import API
from tidemill_worker.engine.model import Connections, Place
from tidemill_worker.engine.postgres.reading import PostgresRows


async def places_of(sources: Iterable[Source], connections: Connections) -> dict[str, Place]:
    """The files or database of each source, by the source's name. Raises what `Connections` raises."""
    places: dict[str, Place] = {}
    for source in sources:
        if source.http is not None:
            server = connections.http(source.connection)
            places[source.name] = API(source.name, source.http, server, cache=connections.cache)
        elif source.postgres is None:
            places[source.name] = connections.files(source.connection)
        else:
            pool = await connections.reading(source.connection)
            places[source.name] = PostgresRows(source.name, source.connection, pool, asyncio.get_running_loop())
    return places
