"""Which database keeps the books of a sink: fence, ledger, and what has been published. Light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_worker.engine.model import Connections

if TYPE_CHECKING:
    import asyncpg


@dataclass(frozen=True, slots=True)
class Books:
    """The database that keeps them."""

    connection: str
    """Its connection's name, for messages."""
    pool: asyncpg.Pool


async def books_of(sink: Sink, connections: Connections) -> Books:
    """A table's own database; of files and servers, which have no transactions, the metastore.

    Raises what `Connections` raises.
    """
    if sink.postgres is None:
        return Books(connections.books_in, await connections.books())
    return Books(sink.connection, await connections.postgres(sink.connection))
