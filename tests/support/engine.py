"""The engine by itself on a real Postgres: folders and a database as connections, dead letters in a list."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pyarrow as pa

from tidemill_api.contract import SinkCount, StepCount
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker import engine
from tidemill_worker.cache import Computed
from tidemill_worker.connections.http import HTTPPlace
from tidemill_worker.connections.kept_folder import FolderArtifacts
from tidemill_worker.connections.written_folder import WrittenFolder
from tidemill_worker.engine import Chunk, ChunkOutcome, RunRef, Work
from tidemill_worker.engine.work import work_from_json
from tidemill_worker.files import Files
from tidemill_worker.files.folder import Folder
from tidemill_worker.files.writable import Writable
from tidemill_worker.migrations.upgrade import ensure

RUN = RunRef("uid-1", "2026-01-01T00:00:00Z", 1, "travel", "flights", datetime(2026, 1, 1, tzinfo=UTC))


@dataclass
class Letters:
    """Dead letters in memory, by the key of the metastore."""

    rows: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)

    async def write(self, run: RunRef, letters: pa.Table) -> None:
        """Keep what isn't there yet."""
        for row in letters.to_pylist():
            key = (
                run.uid,
                run.run_key,
                run.execution,
                *(row[name] for name in ("step", "source", "chunk", "position", "part")),
            )
            self.rows.setdefault(key, row)

    async def settle(self, run: RunRef, chunk: int) -> None:
        """Nothing: what an attempt has written stays, for tests to look at."""

    def all(self) -> list[dict[str, Any]]:
        """In the order of chunk and position."""
        return sorted(self.rows.values(), key=lambda row: (row["step"], row["chunk"], row["position"], row["part"]))


@dataclass
class World:
    """A folder, a database, and one pipeline's runs."""

    root: Path
    pool: asyncpg.Pool
    letters: Letters = field(default_factory=Letters)
    place: Files | None = None
    """Where files are, if not in the folder."""
    written: Writable | None = None
    """Where sinks write files, if not into the folder."""
    server: HTTPPlace | None = None
    cache: Computed | None = None

    def files(self, name: str) -> Files:
        """Every files connection is the same folder."""
        del name
        return self.place or Folder(self.root)

    def http(self, name: str) -> HTTPPlace:
        """Every http connection is the same server."""
        del name
        assert self.server is not None
        return self.server

    async def postgres(self, name: str) -> asyncpg.Pool:
        """Every postgres connection is the same database."""
        del name
        return self.pool

    def identity(self, name: str) -> str:
        """The same for all: they are the same database."""
        del name
        return "database"

    def artifacts(self) -> FolderArtifacts:
        """A folder that is hidden from the sources' patterns."""
        return FolderArtifacts(self.root / ".tidemill")

    def writable(self, name: str) -> Writable:
        """The folder, or what stands in its place."""
        return self.written or WrittenFolder(self.root, name)

    @property
    def books_in(self) -> str:
        """The one database."""
        return "warehouse"

    async def books(self) -> asyncpg.Pool:
        """The one database."""
        return self.pool

    def write(self, name: str, content: str | bytes) -> Path:
        """A file of the folder."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    async def reading(self, name: str) -> asyncpg.Pool:
        """The same database."""
        return await self.postgres(name)

    async def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        return [tuple(row) for row in await self.pool.fetch(sql)]

    async def plan(
        self, spec: DataPipelineSpec, run: RunRef = RUN, parameters: Mapping[str, Any] | None = None
    ) -> tuple[Chunk, ...]:
        """Claim and plan; the chunks go through JSON, as they do in the metastore."""
        await engine.claim(spec, run, self)
        chunks = await engine.plan(spec, parameters or {}, run, self)
        return tuple(Chunk.from_json(chunk.to_json()) for chunk in chunks)

    async def plan_wave(
        self,
        spec: DataPipelineSpec,
        wave: int,
        before: Sequence[Work],
        run: RunRef = RUN,
        parameters: Mapping[str, Any] | None = None,
    ) -> tuple[Work, ...]:
        """Plan a later wave; through JSON too."""
        work = await engine.plan_wave(spec, parameters or {}, run, wave, before, self)
        return tuple(work_from_json(json.loads(json.dumps(each.to_json()))) for each in work)

    async def load(
        self,
        spec: DataPipelineSpec,
        chunk: Work,
        chunks: Sequence[Work],
        run: RunRef = RUN,
        parameters: Mapping[str, Any] | None = None,
        asked_to_stop: Callable[[], bool] = lambda: False,
    ) -> ChunkOutcome:
        """Load one chunk, or compute."""
        if isinstance(chunk, engine.Computation):
            await engine.compute(spec, parameters or {}, run, chunk, self, lambda _progress: None, asked_to_stop)
            return ChunkOutcome((), ())
        return await engine.load_chunk(
            spec, parameters or {}, run, chunk, len(chunks), self, self.letters, lambda _progress: None, asked_to_stop
        )

    async def run(
        self, spec: DataPipelineSpec, run: RunRef = RUN, parameters: Mapping[str, Any] | None = None
    ) -> Result:
        """A whole run: chunks two at a time."""
        chunks: tuple[Work, ...] = await self.plan(spec, run, parameters)
        bound = asyncio.Semaphore(2)
        outcomes: list[ChunkOutcome] = []

        async def one(chunk: Work) -> ChunkOutcome:
            async with bound:
                return await self.load(spec, chunk, chunks, run, parameters)

        for wave in range(engine.waves(spec)):
            fresh = await self.plan_wave(spec, wave, chunks, run, parameters) if wave else chunks
            chunks = (*chunks, *fresh) if wave else chunks
            outcomes += await asyncio.gather(*(one(chunk) for chunk in fresh))
        ended = [await engine.publish(spec, run, sink, chunks, self) for sink in engine.to_publish(spec, chunks)]
        published = [each.count for each in ended]
        await engine.clean(spec, run, self)
        return result(outcomes, published)


@dataclass(frozen=True)
class Result:
    """Counts of a run by the names of steps and sinks."""

    steps: dict[str, tuple[int, int, int, int]]
    """in, out, rejected, skipped."""
    sinks: dict[str, SinkCount]
    chunks: int


def result(outcomes: Sequence[ChunkOutcome], published: Sequence[SinkCount] = ()) -> Result:
    """Add the chunks up, as the metastore does."""
    steps: dict[str, tuple[int, int, int, int]] = {}
    for count in (count for outcome in outcomes for count in outcome.steps):
        before = steps.get(count.step, (0, 0, 0, 0))
        now = (count.rows_in, count.rows_out, count.rejected, count.skipped)
        steps[count.step] = tuple(a + b for a, b in zip(before, now, strict=True))  # type: ignore[assignment]  # four of four
    sinks: dict[str, SinkCount] = {}
    for sink in (sink for outcome in outcomes for sink in outcome.sinks):
        rows = sink.rows + (sinks[sink.sink].rows if sink.sink in sinks else 0)
        sinks[sink.sink] = SinkCount(sink=sink.sink, rows=rows, inserted=sink.inserted, updated=sink.updated)
    sinks |= {sink.sink: sink for sink in published}
    for step, (rows_in, rows_out, rejected, skipped) in steps.items():
        assert rows_in == rows_out + rejected + skipped, step
    return Result(steps, sinks, len(outcomes))


def execution(number: int, run: RunRef = RUN) -> RunRef:
    """Another execution of the same key."""
    return replace(run, execution=number)


async def database_pool(dsn: str, max_size: int = 20) -> asyncpg.Pool:
    """A pool on a migrated database."""
    pool = await asyncpg.create_pool(
        dsn, min_size=0, max_size=max_size, server_settings={"timezone": "UTC", "search_path": "public"}
    )
    await ensure("warehouse", pool)
    return pool


def spec_of(**parts: Any) -> DataPipelineSpec:
    """A spec with one CSV source `raw` (`*.csv`) and one Append sink `out` into public.out, changed by `parts`."""
    source = {"name": "raw", "connection": "landing", "files": {"path": "*.csv", "format": {"csv": {}}}}
    sink = {
        "name": "out",
        "input": "raw",
        "connection": "warehouse",
        "postgres": {"table": "public.out"},
        "writeDisposition": "Append",
    }
    spec: dict[str, Any] = {
        "workerPoolRef": {"name": "etl"},
        "sources": [source | parts.pop("source", {})],
        "sinks": [sink | parts.pop("sink", {})],
    }
    return DataPipelineSpec.model_validate(spec | parts)


__all__ = ["RUN", "Letters", "Result", "StepCount", "World", "database_pool", "execution", "result", "spec_of"]
