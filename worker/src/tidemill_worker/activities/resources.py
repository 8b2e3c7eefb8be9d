"""What the activities of a worker share."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from pydantic import ValidationError

from tidemill_api.contract import WorkerConfig
from tidemill_api.errors import SpecError
from tidemill_api.v1alpha1 import DataPipelineSpec, WorkerPoolSpec
from tidemill_worker import engine
from tidemill_worker.connections import PoolConnections
from tidemill_worker.engine.model import AlsoCommitted, Chunk, RunRef
from tidemill_worker.engine.work import Work
from tidemill_worker.measures import Measures
from tidemill_worker.metastore import Metastore, RunId, runs
from tidemill_worker.metastore.dead_letters import MetastoreLetters

_KEPT_SNAPSHOTS = 128


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run as the engine wants it: the spec that it began with, whatever the manifest says by now."""

    spec: DataPipelineSpec
    parameters: dict[str, Any]
    ref: RunRef
    replay: dict[str, Any] | None = None
    """Of a replay: `DataPipelineRun.spec.replay`."""
    backfill: str | None = None
    """Of a backfill's run: the backfill's name."""

    @property
    def incremental(self) -> bool:
        """Whether it reads only what isn't loaded yet of some source, and notes what it has loaded."""
        past = self.replay is not None or self.backfill is not None
        return not past and any(source.only_new for source in self.spec.sources)


@dataclass(frozen=True)
class Resources:
    """The worker's configuration and its ways to the outside."""

    config: WorkerConfig
    connections: PoolConnections
    store: Metastore
    measures: Measures
    _snapshots: OrderedDict[RunId, Snapshot] = field(default_factory=OrderedDict)

    async def moves(self, run: RunId, snapshot: Snapshot, planned: Sequence[Work]) -> AlsoCommitted | None:
        """What is noted with the rows that become visible: which files of incremental sources have been loaded."""
        if not snapshot.incremental:
            return None
        versions = await runs.watermarks(self.store, run)
        return engine.moves_watermarks(snapshot.spec, snapshot.ref, versions, planned)

    def letters(self, spec: DataPipelineSpec, chunk: Chunk) -> MetastoreLetters:
        """Where the rows go that the engine rejects of a chunk."""
        from tidemill_worker.engine.keeping import keeping_of

        return MetastoreLetters(
            self.store,
            keeping_of(spec, chunk),
            live=chunk.part.live,
            tell=lambda run, rejected: self.measures.rejected((run.namespace, run.pipeline), rejected),
        )

    async def wrote(self, spec: DataPipelineSpec, sinks: Iterable[str]) -> None:
        """Let nobody find any more in the cache what came from the tables of these sinks. Never fails."""
        cache = self.connections.cache
        written = set(sinks)
        if cache is not None and written:
            from tidemill_worker.cache.opening import table_tags

            tables = [(sink.connection, sink.table) for sink in spec.sinks if sink.name in written and sink.postgres]
            await asyncio.to_thread(cache.move, table_tags(tables))

    async def snapshot(self, run: RunId) -> Snapshot:
        """What the run works by; read once, since it never changes. Raises SpecError, PostgresUnavailable."""
        known = self._snapshots.get(run)
        if known is None:
            opened = await runs.opened(self.store, run)
            run_time, start = opened.run_time.astimezone(UTC), opened.interval_start
            ref = RunRef(*run.columns, opened.namespace, opened.pipeline, run_time, start and start.astimezone(UTC))
            known = Snapshot(parsed(opened.spec), opened.parameters, ref, opened.replay, opened.backfill)
        self.remember(run, known)
        return known

    def remember(self, run: RunId, snapshot: Snapshot) -> None:
        """Spare the reading of what the metastore has for the run."""
        self._snapshots[run] = snapshot
        self._snapshots.move_to_end(run)
        while len(self._snapshots) > _KEPT_SNAPSHOTS:
            self._snapshots.popitem(last=False)

    async def permitted(self, run: RunId) -> Snapshot:
        """As `snapshot`, if this worker's pool grants the run all that it names.

        The operator has checked that before, but this is where it counts; and other workers than the one that
        planned the run may have a newer configuration. Raises SpecError for the first thing that isn't granted.
        """
        from tidemill_check.verdict import check_against_pool

        snapshot = await self.snapshot(run)
        pool = WorkerPoolSpec(
            connections=self.config.connections,
            metastore=self.config.metastore,
            artifacts=self.config.artifacts,
            python=self.config.python,
        )
        for problem in check_against_pool(snapshot.spec, pool, {}):
            if not problem.field.startswith("spec.notifications"):  # who is told is no reason for a run to fail
                raise SpecError(problem.field, problem.message)
        return snapshot


def parsed(spec: dict[str, Any]) -> DataPipelineSpec:
    """The spec as a model. Raises SpecError for its first fault, with the field's path."""
    try:
        return DataPipelineSpec.model_validate(spec)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
        raise SpecError(f"spec{path}", fault["msg"]) from None
