"""One part of a chunk into the staged files of one sink. Used like a table's `Writer`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from uuid import uuid4

import pyarrow as pa

from tidemill_api.errors import StoreUnavailable, TableMismatch
from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_worker.connections.zombies import not_blocked
from tidemill_worker.engine.bookkeeping import Books
from tidemill_worker.engine.feed import in_thread
from tidemill_worker.engine.filesink import books
from tidemill_worker.engine.filesink.books import DataSet, Staged
from tidemill_worker.engine.filesink.columns import FileColumns, columns_of, mismatch
from tidemill_worker.engine.filesink.folders import file_name, staged_name, staging_folder
from tidemill_worker.engine.filesink.spreading import Spreading, Written
from tidemill_worker.engine.model import RunRef
from tidemill_worker.engine.postgres import fence, ledger
from tidemill_worker.engine.postgres.errors import typed
from tidemill_worker.files.writable import Writable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileTarget:
    """A sink of files, ready for a run's rows."""

    sink: Sink
    columns: FileColumns
    books: Books
    store: Writable
    data: DataSet


async def prepare(sink: Sink, schema: pa.Schema, run: RunRef, its_books: Books, store: Writable) -> FileTarget:
    """Look whether rows with these columns fit the files that are there, and note that the run writes.

    Raises TableMismatch, StepFailed, Fenced, PostgresUnavailable.
    """
    assert sink.files is not None
    columns = columns_of(sink.name, sink.files, schema)
    target = FileTarget(sink, columns, its_books, store, DataSet.of(run, sink))
    whole = sink.write_disposition == "Replace" and not sink.partition_by
    with typed(sink.name, its_books.connection):
        before = None if whole else await books.last_columns(its_books.pool, target.data)
        why = mismatch(sink.name, before, columns.to_json()) if before is not None else None
        if why is not None:
            raise TableMismatch(why)
        async with its_books.pool.acquire() as connection, connection.transaction():
            await fence.hold(connection, run)
            await books.begin(connection, run, target.data, columns.to_json())
    return target


class FileWriter:
    """Rows go to files on the worker's disk; these are staged in the store, and noted with the ledger's entry."""

    def __init__(self, target: FileTarget, run: RunRef, chunk: int) -> None:
        self.target = target
        self._run = run
        self._chunk = chunk
        self._attempt = uuid4().hex[:12]
        self._spreading: Spreading | None = None
        self._staged: list[str] = []

    async def begin(self) -> None:
        """Nothing is held open before there are rows."""
        files, folder = self.target.sink.files, self.target.data.folder
        assert files is not None
        self._spreading = Spreading(
            self.target.sink.name, files, self.target.columns, lambda: self.target.store.writing(folder)
        )

    async def put(self, table: pa.Table) -> None:
        """Add rows. Raises SinkRefused, StoreUnavailable."""
        spreading = self._begun()
        await _on_disk(lambda: spreading.add(table))

    async def commit(self, part: int, content: str, resume: ledger.Resume, *, last: bool) -> ledger.Entry | None:
        """Stage the files and commit them with their entry; None if another attempt has committed this part.

        Raises Fenced, PostgresUnavailable, and what `Writable` raises.
        """
        spreading, target = self._begun(), self.target
        written = await _on_disk(spreading.end)
        staged = [await in_thread(partial(self._put, part, place, each)) for place, each in enumerate(written)]
        entry = ledger.Entry(part, self._run.execution, content, spreading.rows, last, resume)
        with typed(target.sink.name, target.books.connection):
            async with target.books.pool.acquire() as connection, connection.transaction():
                async with not_blocked(target.books.pool, connection):
                    await fence.hold(connection, self._run)
                    mine = await ledger.add(connection, self._run, target.sink.name, self._chunk, entry)
                if mine:
                    await books.stage(connection, self._run, target.data, self._chunk, part, staged)
        if not mine:
            await in_thread(lambda: target.store.remove(self._staged))
            return None
        return entry

    async def abort(self) -> None:
        """Remove what is on the worker's disk. What was staged without its entry goes with the run."""
        spreading, self._spreading = self._spreading, None
        if spreading is not None:
            await in_thread(spreading.close)

    def _put(self, part: int, place: int, written: Written) -> Staged:
        target = self.target
        run, sink, folder = self._run, target.sink.name, target.data.folder
        hidden = staging_folder(folder, sink, run.uid, run.run_key, run.execution)
        staged = f"{hidden}/{staged_name(self._attempt, self._chunk, part, place)}"
        shown = file_name(run, sink, self._chunk, part, written.number)
        name = "/".join(filter(None, (folder, written.folder, shown)))
        size = written.path.stat().st_size
        self._staged.append(staged)
        target.store.put(written.path, staged)
        return Staged(staged, name, written.values, written.rows, size)

    def _begun(self) -> Spreading:
        assert self._spreading is not None
        return self._spreading


async def _on_disk(work: Callable[[], T]) -> T:
    def done() -> T:
        with _said():
            return work()

    return await in_thread(done)


@contextmanager
def _said() -> Iterator[None]:
    """Raises StoreUnavailable for what the system says of the worker's disk, or of the folder."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"files can't be written: {error.strerror or type(error).__name__}") from error
