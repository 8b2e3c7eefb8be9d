"""Where the rows of sources are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from tidemill_api.v1alpha1.datapipeline import Source
from tidemill_worker.engine.api import API
from tidemill_worker.engine.model import Connections, Place
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
            places[source.name] = PostgresRows(source.name, source.connection, pool, asyncio.get_running_loop())
    return places
