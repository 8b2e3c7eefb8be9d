"""Watermarks: what each sink has of an incremental source. They live where the rows live, and move with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tidemill_api.errors import WatermarkMoved, WatermarksApart
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_check.incremental import sinks_of
from tidemill_worker.engine.bookkeeping import books_of
from tidemill_worker.engine.incremental import Called, Known, KnownFiles, LoadedFile, Watermarks
from tidemill_worker.engine.model import Connections, CursorRange, RunRef
from tidemill_worker.engine.postgres import cursor_marks
from tidemill_worker.engine.postgres.cursor_marks import Mark, mark_of
from tidemill_worker.engine.postgres.errors import typed
from tidemill_worker.engine.postgres.fence import Connection


async def read(spec: DataPipelineSpec, run: RunRef, connections: Connections) -> Watermarks:
    """Where the run begins. What this run key has loaded in an earlier execution counts as not loaded.

    Raises WatermarksApart, PostgresUnavailable.
    """
    known: dict[str, Known] = {}
    versions: dict[str, dict[str, int]] = {}
    for source in spec.sources:
        if not source.only_new:
            continue
        sinks = sinks_of(spec, source.name)
        there: dict[str, _There] = {}
        for sink in sinks:
            there[sink.name] = await _of_sink(run, source.name, sink, connections)
            versions.setdefault(sink.name, {})[source.name] = there[sink.name].version
        marks = {name: each.mark for name, each in there.items()}
        if source.incremental is None:
            known[source.name] = cursor_marks.level_state(source, sinks, marks)
        elif source.incremental.by is not None:
            known[source.name] = KnownFiles(source.incremental.by, _level(source.name, sinks, there))
        else:
            known[source.name] = cursor_marks.level(source, sinks, marks)
    return Watermarks(known, versions)


@dataclass(frozen=True, slots=True)
class _There:
    """What one sink has of a source."""

    version: int
    files: Mapping[str, tuple[int, int]]
    mark: Mark

    @property
    def last_run(self) -> str:
        """The key of the run that moved the watermark last."""
        return self.mark.last_run


async def _of_sink(run: RunRef, source: str, sink: Sink, connections: Connections) -> _There:
    books = await books_of(sink, connections)
    pool = books.pool
    with typed(sink.name, books.connection):
        mark = await pool.fetchrow(
            "SELECT w.version, w.run_key, w.cursor_of, w.cursor_type, w.cursor, r.cursor_of AS range_of, "
            "r.cursor_type AS range_type, r.after, r.until FROM tidemill.watermarks w "
            "LEFT JOIN tidemill.loaded_ranges r ON (r.uid, r.source, r.sink, r.run_key) = (w.uid, w.source, w.sink, $4)"
            " WHERE w.uid = $1 AND w.source = $2 AND w.sink = $3",
            *(run.uid, source, sink.name, run.run_key),
        )
        rows = await pool.fetch(
            "SELECT path, size, mtime_ns FROM tidemill.loaded_files "
            "WHERE uid = $1 AND source = $2 AND sink = $3 AND run_key <> $4",
            *(run.uid, source, sink.name, run.run_key),
        )
    files = {row["path"]: (row["size"], row["mtime_ns"]) for row in rows}
    return _There(0, files, Mark()) if mark is None else _There(mark["version"], files, mark_of(mark))


def _level(source: str, sinks: Sequence[Sink], there: Mapping[str, _There]) -> dict[str, tuple[int, int]]:
    """The files that all sinks have. What a sink has and another hasn't is read again: only a Merge can take that."""
    first = there[sinks[0].name].files
    common = {
        path: mark for path, mark in first.items() if all(there[sink.name].files.get(path) == mark for sink in sinks)
    }
    for sink in sinks:
        ahead = [path for path in there[sink.name].files if path not in common]
        if ahead and sink.write_disposition == "Append":
            behind = sorted(each.name for each in sinks if ahead[0] not in there[each.name].files)
            raise WatermarksApart(
                f"source {source}: the sink {sink.name} has files that {', '.join(behind) or 'another'} hasn't, such "
                f"as {ahead[0]}, and an Append would get their rows twice. If run {there[sink.name].last_run} failed "
                "between them, process its key again; else reset the watermark of one of them"
            )
    return common


@dataclass(frozen=True, slots=True)
class Move:
    """The engine's `AlsoCommitted` of a run with incremental sources: what its sinks have from now on."""

    run: RunRef
    versions: Mapping[str, Mapping[str, int]]
    """By sink, then by source, as the plan found them."""
    files: Mapping[str, Sequence[LoadedFile]]
    """By source of files: what the run has read."""
    ranges: Mapping[str, CursorRange] = field(default_factory=dict)
    """By source with a cursor: what the run has read."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """By source with a cursor: its table and column."""
    functions: Mapping[str, Called] = field(default_factory=dict)
    """By source that is a function."""

    async def write(self, connection: Connection, sink: str) -> None:
        """Within the transaction that makes the rows visible. Raises WatermarkMoved, which rolls it back."""
        for source, version in self.versions.get(sink, {}).items():
            files, keys, called = self.files.get(source, ()), self.ranges.get(source), self.functions.get(source)
            if files or keys is not None or called is not None:
                await self._move(connection, sink, source, version)
            if called is not None:
                place = (self.run.uid, source, sink)
                await cursor_marks.note_state(connection, place, self.run.run_key, called)
            if files:
                await self._note(connection, sink, source, files)
            if keys is not None:
                place = (self.run.uid, source, sink)
                await cursor_marks.note(connection, place, self.run.run_key, self.origins[source], keys)

    async def _move(self, connection: Connection, sink: str, source: str, version: int) -> None:
        moved = await connection.fetchval(
            "INSERT INTO tidemill.watermarks (uid, source, sink, version, run_key, namespace, pipeline) "
            "VALUES ($1, $2, $3, $4::bigint + 1, $5, $6, $7) "
            "ON CONFLICT (uid, source, sink) DO NOTHING RETURNING version"
            if version == 0
            else "UPDATE tidemill.watermarks SET version = version + 1, run_key = $5, moved_at = now(), "
            "namespace = $6, pipeline = $7 "
            "WHERE uid = $1 AND source = $2 AND sink = $3 AND version = $4 RETURNING version",
            *(self.run.uid, source, sink, version, self.run.run_key, self.run.namespace, self.run.pipeline),
        )
        if moved is None:
            raise WatermarkMoved(
                f"source {source}: another run has loaded from it into the sink {sink} since this one was planned, so "
                "nothing was published; the next run reads what is still new"
            )

    async def _note(self, connection: Connection, sink: str, source: str, files: Sequence[LoadedFile]) -> None:
        await connection.execute(
            "INSERT INTO tidemill.loaded_files AS f (uid, source, sink, path, size, mtime_ns, run_key) "
            "SELECT $1, $2, $3, path, size, mtime_ns, $4 "
            "FROM unnest($5::text[], $6::bigint[], $7::bigint[]) AS n (path, size, mtime_ns) "
            "ON CONFLICT (uid, source, sink, path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, "
            "run_key = excluded.run_key, loaded_at = now()",
            *(self.run.uid, source, sink, self.run.run_key),
            *([each[0] for each in files], [each[1] for each in files], [each[2] for each in files]),
        )
