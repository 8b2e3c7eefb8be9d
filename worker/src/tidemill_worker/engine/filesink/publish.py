"""From staged files to files that can be seen: decided in one transaction of the books, then carried out.

The decision (checks, what is added, what goes, watermarks) is a commit in the metastore, and is never taken back. What
follows is done to the store file by file, each step repeatable; whoever finds something left of it goes on: a retry of
the same run, the next run, or housekeeping. An older execution can neither decide any more (the fence) nor show files
afterwards: a staged file is gone once it was placed or given up, and nothing else can become a file that is seen.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from tidemill_api.contract import CheckResult, SinkCount
from tidemill_api.errors import ArtifactGone, OlderThanPublished, TidemillError
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.check import Check
from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_worker.connections.zombies import not_blocked
from tidemill_worker.engine.bookkeeping import Books, books_of
from tidemill_worker.engine.checking import judged, refusal
from tidemill_worker.engine.feed import in_thread
from tidemill_worker.engine.filesink import books
from tidemill_worker.engine.filesink.books import DataSet
from tidemill_worker.engine.filesink.folders import MANIFEST, staging_folder
from tidemill_worker.engine.model import AlsoCommitted, Connections, Former, Published, RunRef
from tidemill_worker.engine.postgres import fence, publish
from tidemill_worker.engine.postgres.errors import typed
from tidemill_worker.engine.postgres.fence import Connection
from tidemill_worker.engine.postgres.move import note
from tidemill_worker.engine.postgres.replacing import refuse_older
from tidemill_worker.engine.work import Work
from tidemill_worker.files.writable import Writable

_AT_ONCE = 4
"""Files that are placed at the same time."""
_REMOVED_AT_ONCE = 500


T = TypeVar("T")


class _RefusedError(Exception):
    """A check doesn't hold. Raised so that the transaction is rolled back."""

    def __init__(self, checks: tuple[CheckResult, ...], why: TidemillError) -> None:
        super().__init__(str(why))
        self.checks = checks
        self.why = why


async def publish_files(
    spec: DataPipelineSpec,
    run: RunRef,
    sink: Sink,
    chunks: Sequence[Work],
    connections: Connections,
    former: Former,
    also: AlsoCommitted | None,
) -> Published:
    """See `engine.publish`, of a sink of files. Raises also what `Writable` raises, and ArtifactGone."""
    its_books = await books_of(sink, connections)
    store = connections.writable(sink.connection)
    data = DataSet.of(run, sink)
    mine = tuple(check for check in spec.checks if check.sink == sink.name)
    stage_chunks = publish.chunks_of(spec, sink.name, chunks)
    with typed(sink.name, its_books.connection):
        try:
            async with its_books.pool.acquire() as connection, connection.transaction():
                async with not_blocked(its_books.pool, connection):
                    await fence.hold(connection, run)
                    await books.lock(connection, data)
                done = await publish.published(connection, run, sink)
                if done is None:
                    await publish.all_staged(connection, run, sink, stage_chunks)
                    done = await _decided(connection, run, sink, data, mine, former)
                    if also is not None:
                        await also.write(connection, sink.name)
        except _RefusedError as refused:
            return Published(SinkCount(sink=sink.name), refused.checks, refused.why)
    await finish(its_books, data, store)
    return done


async def finish(its_books: Books, data: DataSet, store: Writable) -> None:
    """Carry out whatever has been decided for a data set. Raises as `publish_files`."""
    with typed(data.sink, its_books.connection):
        async with its_books.pool.acquire() as connection, connection.transaction():
            async with not_blocked(its_books.pool, connection):
                await books.lock(connection, data)
            await carry_out(connection, data, store)


async def _decided(
    connection: Connection, run: RunRef, sink: Sink, data: DataSet, mine: tuple[Check, ...], former: Former
) -> Published:
    """What is to be seen from now on. Raises OlderThanPublished, _RefusedError."""
    await books.supersede(connection, run, data)
    if sink.write_disposition == "Replace":
        await _replace(connection, run, sink, data)
    rows = await books.decide(connection, run, data)
    values = {"rowsLoaded": float(rows), "rowCount": float(await books.rows_there(connection, data))}
    found = tuple(judged(check, values[check.metric], former.get(check.name, ())) for check in mine)
    why = refusal(found)
    if why is not None:
        raise _RefusedError(found, why)
    count = SinkCount(sink=sink.name, rows=rows, inserted=rows)
    await note(connection, run, count)
    if found:
        await publish.note_checks(connection, run, sink.name, found)
    return Published(count, found)


async def _replace(connection: Connection, run: RunRef, sink: Sink, data: DataSet) -> None:
    assert sink.files is not None
    if not sink.partition_by:
        await refuse_older(connection, run, sink, "Replace would bring back old rows")
        await books.replace_all(connection, data)
        return
    places = [place for place, name in enumerate(sink.files.partition_by) if name in sink.partition_by]
    newer = await books.newer_partitions(connection, run, data, places)
    if newer:
        raise OlderThanPublished(
            f"sink {sink.name}: partitions that run {run.run_key} has rows for are in {data.folder} from a newer run "
            f"({', '.join(newer)}): Replace would bring back old rows"
        )
    await books.replace_partitions(connection, run, data, places)


async def carry_out(connection: Connection, data: DataSet, store: Writable) -> None:
    """Within a transaction that holds the data set's lock: show what is to be seen, remove what isn't any more.

    New files come first, then the manifest, then old ones go: a reader of the manifest finds all files that it names.
    """
    left = await books.left(connection, data)
    if not (left.placing or left.removing or left.runs):
        return
    for some in _batched(left.placing, _AT_ONCE):
        await _working(connection, *(partial(_place, store, data, *each) for each in some))
    manifest = _manifest(data, await books.listing(connection, data))
    await _working(connection, partial(store.tell, manifest, f"{data.folder}/{MANIFEST}"))
    for names in _batched(left.removing, _REMOVED_AT_ONCE):
        await _working(connection, partial(store.remove, names))
    for run_key, execution in left.runs:
        hidden = staging_folder(data.folder, data.sink, data.uid, run_key, execution)
        await _working(connection, partial(store.drop, hidden))
    await books.done(connection, data)


def _place(store: Writable, data: DataSet, staged: str, name: str, run_key: str) -> None:
    if not store.place(staged, name):
        raise ArtifactGone(
            f"sink {data.sink}: a file that run {run_key} had staged in {data.folder} is gone, and so can't be "
            "shown: process that key again (spec.runKey), which writes its files anew"
        )


async def _working(connection: Connection, *work: Callable[[], None]) -> None:
    """Do it, all at once. Then tell the database that the transaction isn't one of a worker that is frozen."""
    ended = await asyncio.gather(*map(in_thread, work), return_exceptions=True)
    for error in ended:
        if error is not None:
            raise error
    await connection.execute("SELECT")


def _manifest(data: DataSet, files: Sequence[tuple[str, int, int]]) -> bytes:
    """All files of the data set, by their names in its folder."""
    listed = [{"path": name.removeprefix(f"{data.folder}/"), "rows": rows, "bytes": size} for name, rows, size in files]
    told = {"version": 1, "rows": sum(rows for _, rows, _ in files), "files": listed}
    return json.dumps(told, ensure_ascii=False, indent=1).encode() + b"\n"


def _batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, so many at a time."""
    for first in range(0, len(items), size):
        yield items[first : first + size]
