"""The beginning and the end of a run that writes files: whether it may, and what it leaves. Light: no library."""

from __future__ import annotations

import asyncio

from tidemill_api.errors import SinkRefused
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker.engine.bookkeeping import books_of
from tidemill_worker.engine.filesink import books
from tidemill_worker.engine.filesink.books import DataSet, Undecided
from tidemill_worker.engine.filesink.folders import MANIFEST, staging_folder
from tidemill_worker.engine.model import Connections, RunRef
from tidemill_worker.engine.postgres.errors import typed


async def claim_files(spec: DataPipelineSpec, run: RunRef, connections: Connections) -> None:
    """Look whether the folders are the sinks' own, and drop what older executions of the key have staged.

    The fence has been moved: they can't commit any more. Raises SinkRefused, and what `Writable` raises.
    """
    for sink in spec.sinks:
        if sink.files is None:
            continue
        its_books, data = await books_of(sink, connections), DataSet.of(run, sink)
        with typed(sink.name, its_books.connection):
            new = await books.is_new(its_books.pool, data)
        if new:
            store = connections.writable(sink.connection)
            for ending in (".parquet", MANIFEST):
                found = await asyncio.to_thread(store.any_of, data.folder, ending)
                if found is not None:
                    raise SinkRefused(
                        f"sink {sink.name}: {data.folder} holds files that it hasn't written, such as {found}: a data "
                        "set has one writer, since nobody could tell whose rows are whose. Choose an empty path, or "
                        "move these files away"
                    )
    await _give_up(spec, run, connections, run.execution - 1)


async def clean_files(spec: DataPipelineSpec, run: RunRef, connections: Connections) -> None:
    """See `engine.clean`: what this and older executions have staged and never decided on."""
    await _give_up(spec, run, connections, run.execution)


async def _give_up(spec: DataPipelineSpec, run: RunRef, connections: Connections, newest: int) -> None:
    if newest < 1:
        return
    name, pool = connections.books_in, await connections.books()
    with typed(next(sink.name for sink in spec.sinks if sink.files is not None), name):
        left = await books.undecided(pool, run, newest)
    for each in left:
        await give_up(each, connections)


async def give_up(each: Undecided, connections: Connections) -> None:
    """Remove what an execution has staged that never came to a decision. Raises what `Writable` raises."""
    hidden = staging_folder(each.data.folder, each.data.sink, each.data.uid, each.run_key, each.execution)
    await asyncio.to_thread(connections.writable(each.data.connection).drop, hidden)
    pool = await connections.books()
    with typed(each.data.sink, connections.books_in):
        async with pool.acquire() as connection, connection.transaction():
            await books.forget(connection, each)
