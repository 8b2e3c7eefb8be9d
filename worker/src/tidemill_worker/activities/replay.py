"""A run that replays dead letters: its plan, and its chunks. What can be decided is decided by `engine.replaying`."""

from __future__ import annotations

import asyncio
import os
import tempfile
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from tidemill_api.errors import ReplayRefused
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.datapipeline import Source
from tidemill_api.v1alpha1.datapipelinerun import Replay
from tidemill_check.parameters import bind_parameters
from tidemill_check.paths import rendered
from tidemill_check.stages import stages
from tidemill_worker import engine
from tidemill_worker.activities.heartbeat import Heart
from tidemill_worker.activities.resources import Resources, Snapshot
from tidemill_worker.engine import replaying
from tidemill_worker.engine.artifacts import Artifacts
from tidemill_worker.engine.model import Chunk, ChunkOutcome, Connections, Place, RunRef
from tidemill_worker.engine.places import places_of
from tidemill_worker.engine.replaying import Rejected, Target
from tidemill_worker.engine.text_layout import TextLayout
from tidemill_worker.files import Files
from tidemill_worker.files.folder import Folder
from tidemill_worker.files.writable import Writable
from tidemill_worker.metastore import Metastore, RunId, chunks, replays
from tidemill_worker.metastore.chunks import PlanSize
from tidemill_worker.metastore.replays import ReplayChunk

if TYPE_CHECKING:
    import pyarrow as pa

    from tidemill_worker.cache import Computed
    from tidemill_worker.connections.http import HTTPPlace

_SHOWN = 5
"""Letters that a refusal names."""


def ledger_run(snapshot: Snapshot) -> RunRef:
    """The run as sinks note it: each execution replays other rows, so none may take another's chunks for its own."""
    return replace(snapshot.ref, run_key=f"{snapshot.ref.run_key}@{snapshot.ref.execution}")


async def plan_replay(resources: Resources, run: RunId, snapshot: Snapshot) -> PlanSize:
    """Choose the letters and cut them into chunks, once. Raises ReplayRefused, and what planning raises of files."""
    asked = Replay.model_validate(snapshot.replay).dead_letters
    try:
        rows = await replays.chosen(resources.store, run.uid, asked, snapshot.ref.run_time)
    except LookupError as error:
        raise ReplayRefused(f"spec.replay.deadLetters.ids: {error}") from None
    if len(rows) > replays.MOST:
        raise ReplayRefused(f"more than {replays.MOST} letters at once: say which by step, since or until")
    # In a thread, as there may be very many: the loop has heartbeats to send.
    targets = await asyncio.to_thread(_targets, snapshot.spec, rows)
    await engine.claim(snapshot.spec, ledger_run(snapshot), resources.connections)
    left = await _not_loaded_yet(resources, run, snapshot.spec, rows, targets)
    planned = list(_cut(rows, left))
    values = bind_parameters(snapshot.spec, snapshot.parameters, snapshot.ref.run_time, snapshot.ref.interval_start)
    located = rendered(snapshot.spec, values)
    where = await places_of(_joined(located, planned), resources.connections, values)
    found = await asyncio.to_thread(_chunks, located, planned, where)
    kept = dict(enumerate(planned))
    return await chunks.keep_plan(
        resources.store, run, found, (), lambda connection: replays.keep_rows(connection, run, kept)
    )


def _targets(spec: DataPipelineSpec, rows: Sequence[Rejected]) -> dict[int, Target]:
    """Where each row goes. Raises ReplayRefused with the reasons if any can't be replayed."""
    targets: dict[int, Target] = {}
    refused: dict[str, list[int]] = defaultdict(list)
    for row, found in replaying.targets_of(spec, rows):
        match found:
            case str(why):
                refused[why].append(row.id)
            case target:
                targets[row.id] = target
    if refused:
        reasons = "; ".join(f"{_named(ids)}: {why}" for why, ids in refused.items())
        count = sum(map(len, refused.values()))
        raise ReplayRefused(f"{count} of {len(rows)} letters can't be replayed. {reasons}")
    return targets


def _named(ids: Sequence[int]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"{', '.join(map(str, ids[:_SHOWN]))}{more}"


async def _not_loaded_yet(
    resources: Resources, run: RunId, spec: DataPipelineSpec, rows: Sequence[Rejected], targets: Mapping[int, Target]
) -> dict[int, Target]:
    """The sinks that each row has still to reach. What earlier replays have loaded everywhere is marked as replayed."""
    keys = [row.key for row in rows]
    there: dict[str, Mapping[str, tuple[str, int]]] = {}
    for sink in spec.sinks:
        if any(sink.name in target.sinks for target in targets.values()):
            pool = await resources.connections.postgres(sink.connection)
            there[sink.name] = await engine.replayed(pool, sink, run.uid, keys)
    left: dict[int, Target] = {}
    done: dict[int, tuple[str, int]] = {}
    for row in rows:
        target = targets[row.id]
        sinks = tuple(sink for sink in target.sinks if row.key not in there[sink])
        if sinks:
            left[row.id] = Target(target.source, sinks)
        else:
            done[row.id] = there[target.sinks[-1]][row.key]
    await replays.loaded_before(resources.store, done)
    return left


def _cut(rows: Sequence[Rejected], targets: Mapping[int, Target]) -> Iterator[ReplayChunk]:
    """Rows of one target and layout together, in the order of their numbers."""
    groups: dict[tuple[Target, TextLayout], list[Rejected]] = defaultdict(list)
    for row in rows:
        if row.id in targets and row.layout is not None:
            groups[targets[row.id], row.layout].append(row)
    for (target, layout), group in groups.items():
        part: list[Rejected] = []
        size = 0
        for row in group:
            length = len(row.text or "")
            if part and (size + length > replaying.MOST_BYTES or len(part) >= replaying.MOST_ROWS):
                yield _chunk(target, layout, part)
                part, size = [], 0
            part.append(row)
            size += length
        yield _chunk(target, layout, part)


def _chunk(target: Target, layout: TextLayout, rows: Sequence[Rejected]) -> ReplayChunk:
    texts = tuple(row.text or "" for row in rows)
    return ReplayChunk(target, layout, tuple(row.id for row in rows), tuple(row.key for row in rows), texts)


def _joined(spec: DataPipelineSpec, planned: Sequence[ReplayChunk]) -> list[Source]:
    """The sources that the rows are joined with."""
    targets = {each.target for each in planned}
    small = [replaying.pruned(spec, target.source, target.sinks) for target in targets]
    names = {name for each in small for name in stages(each)[0].broadcast}
    return [source for source in spec.sources if source.name in names]


def _chunks(spec: DataPipelineSpec, planned: Sequence[ReplayChunk], where: Mapping[str, Place]) -> tuple[Chunk, ...]:
    """The plan as the engine knows it. Blocks: inputs that are read whole are looked at."""
    from tidemill_worker.engine.planning import parts_of

    broadcast: dict[Target, tuple[tuple[str, tuple[Any, ...]], ...]] = {}
    found = []
    for index, each in enumerate(planned):
        small = replaying.pruned(spec, each.target.source, each.target.sinks)
        if each.target not in broadcast:
            names = stages(small)[0].broadcast
            broadcast[each.target] = parts_of(small, names, where)
        data, _ = replaying.rows_of(each.texts, each.layout)
        part = replaying.part_of(small, each.target.source, each.layout, len(data))
        found.append(Chunk(index, 0, each.target.source, part, broadcast[each.target]))
    return tuple(found)


async def load_replayed(
    resources: Resources, snapshot: Snapshot, run: RunId, chunk: Chunk, heart: Heart
) -> ChunkOutcome:
    """Read a chunk's rows again, load them, and mark their letters."""
    rows = await replays.rows_of(resources.store, run, chunk)
    data, begins = replaying.rows_of(rows.texts, rows.layout)
    spec = replaying.spec_for(snapshot.spec, rows.target.source, rows.target.sinks, rows.layout)
    again = Again(resources.store, run, snapshot.spec, rows, begins)
    with tempfile.TemporaryDirectory(prefix="tidemill-replay-") as folder:
        await asyncio.to_thread(_written, Path(folder), data)
        outcome = await engine.load_chunk(
            spec,
            snapshot.parameters,
            ledger_run(snapshot),
            chunk,
            1,
            WithRows(resources.connections, Path(folder)),
            again,
            heart.report,
            heart.asked_to_stop,
            Once(run, spec, rows, again),
        )
    await replays.loaded(resources.store, run, rows.letters)
    return replace(outcome, refused=None)  # rows that are all bad again are no reason to keep others back


def _written(folder: Path, data: bytes) -> None:
    file = folder / replaying.FILE
    file.write_bytes(data)
    os.utime(file, ns=(0, 0))  # as the plan says


@dataclass(frozen=True, slots=True)
class WithRows:
    """The pool's connections, and the folder with the rows."""

    connections: Connections
    rows: Path

    def files(self, name: str) -> Files:
        """See `Connections`."""
        return Folder(self.rows) if name == replaying.CONNECTION else self.connections.files(name)

    @property
    def cache(self) -> Computed | None:
        """See `Connections`."""
        return self.connections.cache

    def http(self, name: str) -> HTTPPlace:
        """See `Connections`."""
        return self.connections.http(name)

    def identity(self, name: str) -> str:
        """See `Connections`."""
        return self.connections.identity(name)

    def artifacts(self) -> Artifacts:
        """See `Connections`."""
        return self.connections.artifacts()

    async def postgres(self, name: str) -> asyncpg.Pool:
        """See `Connections`."""
        return await self.connections.postgres(name)

    def writable(self, name: str) -> Writable:
        """See `Connections`."""
        return self.connections.writable(name)

    @property
    def books_in(self) -> str:
        """See `Connections`."""
        return self.connections.books_in

    async def books(self) -> asyncpg.Pool:
        """See `Connections`."""
        return await self.connections.books()

    async def reading(self, name: str) -> asyncpg.Pool:
        """See `Connections`."""
        return await self.connections.reading(name)


@dataclass
class Again:
    """The engine's `DeadLetters` of a replay: rows that are rejected again are told to their letters."""

    store: Metastore
    run: RunId
    spec: DataPipelineSpec
    rows: ReplayChunk
    begins: Sequence[int]
    rejected: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """By the step that rejected them: places of rows in the chunk."""

    async def write(self, run: RunRef, letters: pa.Table) -> None:
        """Tell them why; of a row that became several the first fault."""
        del run
        policy = self.spec.dead_letter
        quoted = policy.store == "Full" and not policy.redact_columns
        said: dict[int, tuple[str, str, str, list[str]]] = {}
        for letter in letters.to_pylist():
            place = bisect_right(self.begins, letter["byte_offset"]) - 1
            self.rejected[letter["step"]].add(place)
            error = letter["error"] if quoted else letter["cause"]
            said.setdefault(place, (letter["reason"], error, letter["cause"], letter["rules"]))
        numbers = [self.rows.letters[place] for place in said]
        await replays.rejected_again(self.store, self.run, numbers, list(said.values()))

    async def settle(self, run: RunRef, chunk: int) -> None:
        """Nothing: the rows of a replay are always the same."""


@dataclass(frozen=True, slots=True)
class Once:
    """The engine's `AlsoCommitted` of a replay: which rows a sink has now, so that it never gets them twice."""

    run: RunId
    spec: DataPipelineSpec
    rows: ReplayChunk
    again: Again

    async def write(self, connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy, sink: str) -> None:
        """Raises ReplayRefused if another replay has loaded one of them."""
        bad: set[int] = set()
        for step in replaying.steps_before(self.spec, sink):
            bad |= self.again.rejected.get(step, set())
        keys = [key for place, key in enumerate(self.rows.keys) if place not in bad]
        try:
            await connection.execute(
                "INSERT INTO tidemill.replayed (uid, sink, letter_key, run_key, execution) "
                "SELECT $1, $2, key, $3, $4 FROM unnest($5::text[]) AS key",
                *(self.run.uid, sink, self.run.run_key, self.run.execution, keys),
            )
        except asyncpg.UniqueViolationError:
            raise ReplayRefused(
                f"sink {sink}: another run has replayed some of these letters meanwhile; replay the others again"
            ) from None
