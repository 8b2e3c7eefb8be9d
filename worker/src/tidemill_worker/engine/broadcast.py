"""Sources and steps that joins need whole: read once by a worker, kept while there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Final

import pyarrow as pa

from tidemill_api.contract import StepCount
from tidemill_api.names import content_hash
from tidemill_api.v1alpha1.datapipeline import DataPipelineSpec
from tidemill_worker.engine import kept
from tidemill_worker.engine import letters as dead
from tidemill_worker.engine.artifacts import Artifacts
from tidemill_worker.engine.blocks import Piece, Typed
from tidemill_worker.engine.counts import total
from tidemill_worker.engine.dialect import BLOCK
from tidemill_worker.engine.letters import Origin
from tidemill_worker.engine.model import Chunk, Given, Part, Place, RunRef
from tidemill_worker.engine.parse import schema_of
from tidemill_worker.engine.python.calls import Calls
from tidemill_worker.engine.python.steps import Python
from tidemill_worker.engine.sandbox import Sandbox, Values
from tidemill_worker.engine.stage import Reader, Reads, RefusedRow, Step, apply, first_input, reader_of, steps_of
from tidemill_worker.engine.steps import Batch, Query, Validate

KEPT_BYTES: Final = 256 << 20
"""Most bytes of whole inputs that a worker keeps beyond the chunks that use them."""


@dataclass(frozen=True, slots=True)
class Node:
    """A source or step as a whole. The letters bear the number of the chunk that read it first."""

    table: pa.Table
    count: StepCount | None
    letters: pa.Table | None


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of computations of a run."""

    store: Callable[[], Artifacts]
    run: RunRef
    given: tuple[Given, ...]

    @property
    def names(self) -> frozenset[str]:
        """The steps whose answers these are."""
        return frozenset(each.name for each in self.given)

    @property
    def key(self) -> list[object]:
        """What tells them from the answers of other runs."""
        run = self.run
        return [run.uid, run.run_key, run.execution, [asdict(each) for each in self.given]] if self.given else []

    def whole(self, name: str) -> pa.Table:
        """All rows of one. Blocks; raises ArtifactGone, ArtifactsUnavailable."""
        given = next(each for each in self.given if each.name == name)
        files = kept.whole_files(self.store(), self.run, name, given.first, given.count)
        return kept.read_whole(self.store(), files)


@dataclass(frozen=True, slots=True)
class _Piece:
    piece: Piece
    origin: Origin
    reader: Reads
    line: int
    batch: Batch


class Broadcasts:
    """A cache by content: files with their sizes and times, and the steps over them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, dict[str, Node]] = OrderedDict()
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def nodes(
        self,
        spec: DataPipelineSpec,
        names: tuple[str, ...],
        chunk: Chunk,
        places: Mapping[str, Place],
        sandbox: Callable[[], Sandbox],
        values: Values,
        answers: Answers,
        calls: Calls,
    ) -> dict[str, Node]:
        """The named sources and steps (each after its inputs), read from the files that the chunk names. Blocks.

        `places` has where each source is. Raises what reading, BadRow, StepFailed and SQLError say.
        """
        if not names:
            return {}
        key = _key(spec, names, chunk, values, answers)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:  # one reads, others wait for it
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            box = sandbox()
            try:
                nodes = _load(spec, names, chunk, places, box, answers, calls)
            finally:
                box.close()
            self._keep(key, nodes)
            return nodes

    def _keep(self, key: str, nodes: dict[str, Node]) -> None:
        with self._lock:
            self._kept[key] = nodes
            while len(self._kept) > 1 and sum(_bytes(kept) for kept in self._kept.values()) > KEPT_BYTES:
                dropped, _ = self._kept.popitem(last=False)
                self._locks.pop(dropped, None)


def _key(spec: DataPipelineSpec, names: tuple[str, ...], chunk: Chunk, values: Values, answers: Answers) -> str:
    steps = [step.to_json() for step in spec.steps if step.name in names]
    sources = [source.to_json() for source in spec.sources if source.name in names]
    files = [(name, [asdict(part) for part in parts]) for name, parts in chunk.broadcast]
    # Of tables and APIs a part says where they are, not what they hold: they are asked anew by each execution.
    live = any(part.asked or part.keys for _, parts in chunk.broadcast for part in parts)
    run = [answers.run.uid, answers.run.run_key, answers.run.execution] if live else []
    return content_hash([names, sources, steps, files, dict(values), answers.key, run])


def _bytes(nodes: Mapping[str, Node]) -> int:
    return sum(node.table.nbytes + (node.letters.nbytes if node.letters is not None else 0) for node in nodes.values())


def _load(
    spec: DataPipelineSpec,
    names: tuple[str, ...],
    chunk: Chunk,
    places: Mapping[str, Place],
    sandbox: Sandbox,
    answers: Answers,
    calls: Calls,
) -> dict[str, Node]:
    parts = dict(chunk.broadcast)
    steps = {step.name: step for step in steps_of(spec, names, calls)}
    pieces_of: dict[str, list[_Piece]] = {}
    nodes: dict[str, Node] = {}
    for name in names:
        whole = {other: node.table for other, node in nodes.items()}
        if name in answers.names:
            pieces_of[name], nodes[name] = _answer(name, answers, chunk.index)
        elif name in steps:
            step = steps[name]
            schema = _checked(step, nodes[first_input(step)].table.schema, whole, sandbox)
            pieces_of[name], nodes[name] = _step(step, schema, pieces_of[first_input(step)], whole, sandbox)
        else:
            pieces_of[name], nodes[name] = _source(reader_of(spec, name), parts[name], places[name], chunk.index)
    return nodes


def _checked(step: Step, before: pa.Schema, whole: Mapping[str, pa.Table], sandbox: Sandbox) -> pa.Schema:
    match step:
        case Validate():
            step.check(sandbox, before)
            return before
        case Query():
            return step.check(sandbox, before, whole)
        case Python():
            return step.check(before)


def _source(reader: Reader, parts: tuple[Part, ...], place: Place, chunk: int) -> tuple[list[_Piece], Node]:
    found: list[_Piece] = []
    counts, letters = [], []
    for ordinal, part in enumerate(parts):
        whole = Origin(reader.source.name, chunk, part.file.label, ordinal)
        line = part.first_line
        with ExitStack() as stack:
            for piece in reader.open(stack, place, part, part.start, BLOCK):
                origin, first = dead.origin_of(whole, piece), dead.first_line(piece, line)
                try:
                    done = reader.read(piece, part.layout, origin)
                except RefusedRow as refused:
                    raise refused.at(first) from None
                found.append(_Piece(piece, origin, reader, first, done.batch))
                counts.append(done.count)
                if done.letters is not None:
                    letters.append(dead.shifted(done.letters, first))
                line += piece.lines if done.lines is None else done.lines
    schema = schema_of(parts[0].layout)
    return found, _node(schema, [each.batch for each in found], [c for c in counts if c], letters, reader.source.name)


def _answer(name: str, answers: Answers, chunk: int) -> tuple[list[_Piece], Node]:
    table = answers.whole(name)
    reader = kept.KeptReader(name, "", answers.store(), table.schema)
    piece = Typed(0, table, 0)
    return [_Piece(piece, Origin(name, chunk, name), reader, 1, Batch(table))], Node(table, None, None)


def _step(
    step: Step, schema: pa.Schema, before: list[_Piece], whole: Mapping[str, pa.Table], sandbox: Sandbox
) -> tuple[list[_Piece], Node]:
    found, counts, letters = [], [], []
    for each in before:
        try:
            done = apply(step, each.batch, each.piece, each.origin, each.reader, whole, sandbox)
        except RefusedRow as refused:
            raise refused.at(each.line) from None
        found.append(replace(each, batch=done.batch))
        if done.count is not None:
            counts.append(done.count)
        if done.letters is not None:
            letters.append(dead.shifted(done.letters, each.line))
    name = step.name if isinstance(step, Validate | Python) else None
    return found, _node(schema, [each.batch for each in found], counts, letters, name)


def _node(
    schema: pa.Schema, batches: list[Batch], counts: list[StepCount], letters: list[pa.Table], counted: str | None
) -> Node:
    table = pa.concat_tables([batch.table for batch in batches] or [schema.empty_table()])
    count = None if counted is None else (total(counts) or (StepCount(step=counted),))[0]
    return Node(table.combine_chunks(), count, pa.concat_tables(letters) if letters else None)
