"""One chunk, from its file to its sinks: parts are committed one after another, each with its ledger entries."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import asyncpg
import pyarrow as pa

from tidemill_api.contract import RunProgress, SinkCount, StepCount
from tidemill_api.errors import ReprocessRefused, SourceChanged, ToleranceExceeded
from tidemill_api.v1alpha1 import DataPipelineSpec, parse_bytes
from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_check.contracts import allowed
from tidemill_check.stages import stages
from tidemill_worker.engine import kept
from tidemill_worker.engine.artifacts import Artifacts
from tidemill_worker.engine.bookkeeping import Books, books_of
from tidemill_worker.engine.counts import total
from tidemill_worker.engine.feed import Feed, in_thread
from tidemill_worker.engine.filesink import writer as filesink
from tidemill_worker.engine.filesink.writer import FileTarget, FileWriter
from tidemill_worker.engine.httpsink.sending import outlet_of
from tidemill_worker.engine.httpsink.writer import HTTPWriter
from tidemill_worker.engine.kept import Keeper
from tidemill_worker.engine.model import (
    AlsoCommitted,
    AskedToStop,
    Chunk,
    ChunkOutcome,
    Connections,
    CursorRange,
    DeadLetters,
    Parameters,
    Report,
    RunRef,
    Stopped,
)
from tidemill_worker.engine.postgres import altering, ledger, publish, tables
from tidemill_worker.engine.postgres.encode import Encoder
from tidemill_worker.engine.postgres.errors import typed
from tidemill_worker.engine.postgres.reprocess import content_of
from tidemill_worker.engine.postgres.seats import seats
from tidemill_worker.engine.postgres.writer import Writer
from tidemill_worker.engine.stage import RefusedRow
from tidemill_worker.engine.whole import publishes_itself
from tidemill_worker.engine.workbench import Finished, Workbench, workbench
from tidemill_worker.tolerance import verdict

LETTERS_HELD: Final = 10_000
"""Dead letters that are gathered before they are written."""
REPORT_SECONDS: Final = 0.25

Committed = dict[str, dict[int, ledger.Entry]]
"""What each sink has of a chunk: its parts by their number."""
AnyWriter = Writer | FileWriter | HTTPWriter | Keeper


async def load_chunk(  # noqa: PLR0913, PLR0917 - see there
    spec: DataPipelineSpec,
    parameters: Parameters,
    run: RunRef,
    chunk: Chunk,
    chunks_in_run: int,
    connections: Connections,
    dead_letters: DeadLetters,
    progress: Report,
    asked_to_stop: AskedToStop,
    also: AlsoCommitted | None = None,
) -> ChunkOutcome:
    """See `engine.load_chunk`."""
    stage = stages(spec)[chunk.stage]
    names = stage.sinks
    sinks = tuple(sink for sink in spec.sinks if sink.name in names)
    books = {sink.name: await books_of(sink, connections) for sink in sinks}
    content = content_of(spec, parameters, chunk)
    committed = await _committed(run, chunk, sinks, books, content)
    store = connections.artifacts() if stage.kept else None
    for node in stage.kept:
        assert store is not None
        committed[_key(node)] = await in_thread(partial(kept.entries, store, run, node, chunk.index))
    if all(any(entry.last for entry in parts.values()) for parts in committed.values()):
        return _outcome(sinks, committed)
    bench = await workbench(spec, parameters, run, chunk, connections, asked_to_stop)
    direct = publishes_itself(spec, chunk, chunks_in_run)
    try:
        files: dict[str, FileTarget] = {}
        for sink in sinks:
            schema, its_books = bench.schemas[sink.input], books[sink.name]
            if sink.files is not None:
                place = connections.writable(sink.connection)
                files[sink.name] = await filesink.prepare(sink, schema, run, its_books, place)
                continue
            if sink.http is not None:
                server = connections.http(sink.connection)
                bench.outlets[sink.name] = outlet_of(sink, sink.http, schema, run, content, server, asked_to_stop)
                continue
            target = await _target(spec, sink, schema, its_books.pool, run, direct=direct)
            staged = not target.straight
            bench.encoders[sink.name] = Encoder(target, staged)
        keepers = {_key(node): (node, store) for node in stage.kept if store is not None}
        loading = _Loading(
            *(spec, run, chunk, bench, books, files, keepers),
            *(committed, content, dead_letters, progress, asked_to_stop),
            direct=direct,
            also=also,
        )
        async with seats([(sink.connection, books[sink.name].pool) for sink in sinks if sink.postgres is not None]):
            await loading.all_parts()
        if chunk.part.live and loading.all_ours:
            await dead_letters.settle(run, chunk.index)
    except _NotToBePublishedError as refusal:
        return refusal.outcome
    finally:
        bench.close()
    return _outcome(sinks, committed)


async def _committed(
    run: RunRef, chunk: Chunk, sinks: tuple[Sink, ...], books: Mapping[str, Books], content: str
) -> Committed:
    """What the sinks have of the chunk already. An Append to a table keeps what earlier executions have appended."""
    committed: Committed = {}
    for sink in sinks:
        pool, appends = books[sink.name].pool, sink.write_disposition == "Append" and sink.files is None
        with typed(sink.name, books[sink.name].connection):
            found = await ledger.entries(pool, run, sink.name, chunk.index)
        if sink.at_end and appends:
            with typed(sink.name, sink.connection):
                whole = await publish.published_by(pool, run, sink.name)
            found = {part: entry for part, entry in found.items() if entry.execution == (whole or run.execution)}
        if appends:
            if any(entry.content != content for entry in found.values()):
                raise ReprocessRefused(
                    f"sink {sink.name}: an earlier execution of run {run.run_key} has appended other rows for "
                    f"chunk {chunk.index}"
                )
        else:
            found = {part: entry for part, entry in found.items() if entry.execution == run.execution}
        committed[sink.name] = found
    return committed


async def _target(
    spec: DataPipelineSpec, sink: Sink, schema: pa.Schema, pool: asyncpg.Pool, run: RunRef, *, direct: bool
) -> tables.Target:
    with typed(sink.name, sink.connection):
        async with pool.acquire() as connection:
            target = await altering.prepared(connection, run, sink, schema, allowed(spec, sink))
            if sink.at_end and not direct:
                target = replace(target, waits=True)
                await publish.make_staging(connection, run, target)
    return target


def _outcome(sinks: tuple[Sink, ...], committed: Committed) -> ChunkOutcome:
    sunk = {sink.name for sink in sinks}
    resumes = [entry.resume for _, entry in sorted(next(iter(committed.values())).items())]
    return ChunkOutcome(
        steps=total(count for resume in resumes for count in resume.counts),
        sinks=tuple(_sink_count(sink.name, committed[sink.name]) for sink in sinks),
        rows_read=sum(resume.rows_read for resume in resumes),
        bytes_read=sum(resume.bytes_read for resume in resumes),
        rows_kept=sum(e.rows for name, parts in committed.items() if name not in sunk for e in parts.values()),
    )


def _sink_count(sink: str, parts: Mapping[int, ledger.Entry]) -> SinkCount:
    inserted = [entry.inserted for entry in parts.values() if entry.inserted is not None]
    updated = [entry.updated for entry in parts.values() if entry.updated is not None]
    return SinkCount(
        sink=sink,
        rows=sum(entry.rows for entry in parts.values()),
        inserted=sum(inserted) if inserted else None,
        updated=sum(updated) if updated else None,
    )


def _key(node: str) -> str:
    """Of what is kept of a source or step, among the sinks: no sink is called so."""
    return f"/{node}"


def _left_out(chunk: Chunk) -> tuple[StepCount, ...]:
    """Rows that the plan has left out: those without a value for the source's cursor."""
    keys = chunk.part.keys
    without = keys.without if isinstance(keys, CursorRange) else 0
    return (StepCount(step=chunk.source, rows_in=without, skipped=without),) if without else ()


class _NotToBePublishedError(Exception):
    """The rows of a chunk that publishes itself are too bad. What they came to is told all the same."""

    def __init__(self, resume: ledger.Resume, refused: ToleranceExceeded) -> None:
        super().__init__(str(refused))
        self.outcome = ChunkOutcome(
            steps=resume.counts, sinks=(), rows_read=resume.rows_read, bytes_read=resume.bytes_read, refused=refused
        )


@dataclass(slots=True)
class _Part:
    """What a part has gathered so far."""

    number: int
    offset: int
    line: int
    pieces: list[Finished] = field(default_factory=list)
    letters: list[pa.Table] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Loading:
    """Carries a chunk through its parts."""

    spec: DataPipelineSpec
    run: RunRef
    chunk: Chunk
    bench: Workbench
    books: Mapping[str, Books]
    files: Mapping[str, FileTarget]
    """Sinks of files, by their names."""
    keepers: Mapping[str, tuple[str, Artifacts]]
    """What is kept for later waves, by its key in `committed`."""
    committed: Committed
    content: str
    dead_letters: DeadLetters
    progress: Report
    asked_to_stop: AskedToStop
    direct: bool
    also: AlsoCommitted | None = None
    all_ours: bool = True
    """No sink has rows of the chunk that another attempt has committed, and that it may have been given otherwise."""
    _reported: float = 0.0

    async def all_parts(self) -> None:
        """Go on after the last part that all sinks have."""
        part = _Part(0, self.chunk.part.start, self.chunk.part.first_line)
        while all(part.number in parts for parts in self.committed.values()):
            resume = self._entry(part.number).resume
            part = _Part(part.number + 1, resume.end, resume.line)
        feed = Feed(lambda stack: self.bench.open(stack, part.offset), self.bench.work, self.bench.calls.stop)
        try:
            while True:
                part, last = await self._one_part(feed, part)
                if last:
                    return
        finally:
            await feed.close()

    def _entry(self, part: int) -> ledger.Entry:
        return next(parts[part] for parts in self.committed.values() if part in parts)

    async def _one_part(self, feed: Feed[Finished], part: _Part) -> tuple[_Part, bool]:
        writers = [self._writer(name) for name, parts in self.committed.items() if part.number not in parts]
        try:
            for writer in writers:
                await writer.begin()
            if part.number == 0:
                part.letters.extend(self.bench.reported_letters)
            await self._filled(feed, part, writers)
            last = not await feed.more()
            for writer in writers:
                if isinstance(writer, Writer):
                    await writer.sent()
            await self._write_letters(part)
            await in_thread(self.bench.unchanged)
            await self._commit(part, writers, last=last)
        finally:
            for writer in writers:
                await writer.abort()
        return _Part(part.number + 1, part.offset, part.line), last

    def _writer(self, name: str) -> AnyWriter:
        if name in self.keepers:
            node, store = self.keepers[name]
            return Keeper(store, self.run, node, self.chunk.index, self.bench.schemas[node])
        if name in self.files:
            return FileWriter(self.files[name], self.run, self.chunk.index)
        if name in self.bench.outlets:
            return HTTPWriter(name, self.bench, self.run, self.chunk.index, self.books[name])
        target, pool = self.bench.encoders[name].target, self.books[name].pool
        return Writer(target, self.run, self.chunk.index, pool, direct=self.direct, also=self.also)

    async def _filled(self, feed: Feed[Finished], part: _Part, writers: list[AnyWriter]) -> None:
        """Feed the writers until the part is full or the file ends."""
        most_bytes = parse_bytes(self.spec.execution.chunk.max_bytes)
        most_rows = self.spec.execution.chunk.max_rows
        while True:
            if self.asked_to_stop():
                raise Stopped
            try:
                piece = await feed.take()
            except RefusedRow as refused:
                raise refused.at(part.line) from None
            if piece is None:
                return
            for writer in writers:
                if isinstance(writer, HTTPWriter):
                    piece = await writer.put(piece)
                elif isinstance(writer, Keeper):
                    await writer.put(piece.worked.batches[writer.node].table)
                elif isinstance(writer, FileWriter):
                    await writer.put(piece.worked.batches[writer.target.sink.input].table)
                else:
                    encoded = piece.encoded[writer.target.sink.name]
                    await writer.put(encoded.data, encoded.rows)
            part.letters.extend(self.bench.with_lines(piece, part.line))
            part.pieces.append(piece.without_data())
            part.rows += piece.worked.rows
            part.bytes += piece.bytes
            part.offset, part.line = piece.end, part.line + piece.lines
            self._report(part)
            if sum(table.num_rows for table in part.letters) > LETTERS_HELD:
                await self._write_letters(part)
            whole = self.direct or self.chunk.part.at_once
            if not whole and (part.bytes >= most_bytes or part.rows >= most_rows):
                return

    async def _write_letters(self, part: _Part) -> None:
        """Before the load commits, so that no rejected row is lost; the key makes a repetition harmless."""
        if part.letters:
            await self.dead_letters.write(self.run, pa.concat_tables(part.letters))
            part.letters.clear()

    async def _commit(self, part: _Part, writers: list[AnyWriter], *, last: bool) -> None:
        counts = [count for piece in part.pieces for count in piece.counts]
        if part.number == 0:
            counts = [*self.bench.reported_counts, *_left_out(self.chunk), *counts]
        resume = ledger.Resume(part.offset, part.line, part.rows, part.bytes, total(counts), self.bench.state)
        if self.direct:
            self._tolerable(part, resume)
        there = [parts[part.number].resume for parts in self.committed.values() if part.number in parts]
        if there and self.bench.outlets:  # a server may have refused rows, which isn't asked again
            resume = replace(resume, counts=there[0].counts)
        for parts in self.committed.values():
            before = parts[part.number].resume if part.number in parts else resume
            if (before.end, before.state) != (part.offset, resume.state):
                raise SourceChanged(f"{self.chunk.file}: part {part.number} ended elsewhere when it was read before")
        self.all_ours &= len(writers) == len(self.committed)
        for writer in writers:
            if isinstance(writer, Keeper):
                self.all_ours = False  # another attempt may have been first: it isn't told
                kept_part = await writer.commit(part.number, self.content, resume, last=last)
                self.committed[_key(writer.node)][part.number] = kept_part
                continue
            name = writer.name if isinstance(writer, HTTPWriter) else writer.target.sink.name
            entry = await writer.commit(part.number, self.content, resume, last=last)
            if entry is None:  # another attempt was first, with the same rows
                self.all_ours = False
                found = await ledger.entries(self.books[name].pool, self.run, name, self.chunk.index)
                entry = found[part.number]
            self.committed[name][part.number] = entry

    def _tolerable(self, part: _Part, resume: ledger.Resume) -> None:
        """What publishes itself is judged before it commits: a file of bad rows must not empty a table."""
        refused = verdict(
            self.spec.execution.error_tolerance,
            read=part.rows,
            rejected=sum(count.rejected for count in resume.counts),
            loaded=sum(rows for piece in part.pieces for rows in piece.loaded.values()),
        )
        if refused is not None:
            raise _NotToBePublishedError(resume, refused)

    def _report(self, part: _Part) -> None:
        now = time.monotonic()
        if now - self._reported < REPORT_SECONDS:
            return
        self._reported = now
        before = [entry.resume for entry in next(iter(self.committed.values())).values()]
        self.progress(
            RunProgress(
                rows_read=sum(resume.rows_read for resume in before) + part.rows,
                rows_loaded=sum(encoded for piece in part.pieces for encoded in piece.loaded.values()),
                rows_rejected=sum(count.rejected for piece in part.pieces for count in piece.counts),
                bytes_read=sum(resume.bytes_read for resume in before) + part.bytes,
                bytes_total=self.chunk.bytes,
            )
        )
