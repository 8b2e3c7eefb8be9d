"""What a chunk's threads share: the stage made ready, its encoders, sandboxes and whole inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache, partial

import pyarrow as pa

from tidemill_api.contract import StepCount
from tidemill_api.v1alpha1 import DataPipelineSpec, parse_bytes
from tidemill_check.parameters import bind_parameters
from tidemill_check.stages import stages
from tidemill_worker.engine import letters as dead
from tidemill_worker.engine.api import API
from tidemill_worker.engine.api_fetch import Fetched, fetched
from tidemill_worker.engine.blocks import BrokenRow, PageBlock, Piece
from tidemill_worker.engine.broadcast import Answers, Broadcasts, Node
from tidemill_worker.engine.dialect import BLOCK
from tidemill_worker.engine.feed import in_thread
from tidemill_worker.engine.found_columns import extended
from tidemill_worker.engine.httpsink.sending import Outlet
from tidemill_worker.engine.kept import kept_reader
from tidemill_worker.engine.letters import Origin
from tidemill_worker.engine.model import AskedToStop, Chunk, Connections, Parameters, Place, RunRef
from tidemill_worker.engine.places import places_of
from tidemill_worker.engine.postgres.encode import Encoded, Encoder
from tidemill_worker.engine.python.calls import Calls
from tidemill_worker.engine.python.sources import Function, Given
from tidemill_worker.engine.python.steps import Python
from tidemill_worker.engine.sandbox import Sandbox, Sandboxes
from tidemill_worker.engine.spent import here
from tidemill_worker.engine.stage import Reads, Stage, Worked, reader_of, rejected, steps_of
from tidemill_worker.engine.steps import Validate
from tidemill_worker.files import Files


@dataclass(frozen=True, slots=True)
class Finished:
    """A piece that has been worked on and encoded."""

    end: int
    bytes: int
    """Read for it."""
    lines: int
    worked: Worked
    encoded: Mapping[str, Encoded]
    """By sink."""
    refused: tuple[pa.Table, ...]
    """Letters of rows that sinks couldn't take."""
    counts: tuple[StepCount, ...]
    """Of the source, the validate steps and the sinks."""
    page_line: int | None = None
    """Of rows of an API: the number of the first one in its page."""
    written: Mapping[str, int] = field(default_factory=dict)
    """Rows for each sink of files, which takes them as they are, and for each server."""
    piece: Piece | None = None
    """As it was read, if a server may still refuse rows of it."""

    @property
    def loaded(self) -> dict[str, int]:
        """Rows for each sink."""
        return {**self.written, **{sink: encoded.rows for sink, encoded in self.encoded.items()}}

    def without_data(self) -> Finished:
        """Only what is still to be counted."""
        bare = {sink: replace(encoded, data=()) for sink, encoded in self.encoded.items()}
        return replace(self, worked=Worked(self.worked.rows, (), ()), encoded=bare, refused=(), piece=None)


@dataclass(slots=True)
class Workbench:
    """Made once a chunk; `work` is called by several threads at once."""

    chunk: Chunk
    stage: Stage
    inputs: Mapping[str, str]
    """Sink -> the source or step that it loads."""
    place: Place | None
    """Of the source; None for rows that were kept."""
    block: int
    sandboxes: Sandboxes
    calls: Calls
    schemas: Mapping[str, pa.Schema]
    reported_counts: tuple[StepCount, ...]
    """Of whole inputs that this chunk reports; and zeros of its own steps, for a file without rows."""
    reported_letters: tuple[pa.Table, ...]
    encoders: dict[str, Encoder] = field(default_factory=dict)
    outlets: dict[str, Outlet] = field(default_factory=dict)
    """By sink: the servers that rows are sent to."""

    @property
    def _origin(self) -> Origin:
        return Origin(self.chunk.source, self.chunk.index, self.chunk.file)

    def open(self, stack: ExitStack, offset: int) -> Iterator[Piece]:
        """The pieces from `offset` on. Blocks."""
        with self.stage.spent.on("read"):
            pieces = self.stage.reader.open(stack, self.place, self.chunk.part, offset, self.block)
        while True:
            with self.stage.spent.on("read"):
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    @property
    def state(self) -> str | None:
        """What the function of a source has left, as JSON."""
        return self.place.state if isinstance(self.place, Given) else None

    def unchanged(self) -> None:
        """Raises SourceChanged if the file isn't what was planned. Rows that were kept, or of a table, aren't one."""
        if isinstance(self.place, Files):
            self.place.unchanged(self.chunk.part.file)

    def work(self, piece: Piece) -> Finished:
        """A piece through the stage and the encoders. Raises BadRow, StepFailed."""
        with self.sandboxes.one() as sandbox:
            origin = dead.origin_of(self._origin, piece)
            worked = self.stage.work(piece, self.chunk.part.layout, origin, sandbox)
            encoded, refused, counts = {}, [], list(worked.counts)
            for sink, encoder in self.encoders.items():
                batch = worked.batches[self.inputs[sink]]
                with self.stage.spent.on("load"):
                    encoded[sink] = encoder.encode(batch, self.chunk.index, piece.offset)
                bad = encoded[sink].refused
                rows = encoded[sink].rows
                if bad or encoder.target.checks:
                    counts.append(StepCount(step=sink, rows_in=rows + len(bad), rows_out=rows, rejected=len(bad)))
                if bad and not isinstance(piece, BrokenRow):
                    places = pa.array([place for place, _ in bad], pa.int64())
                    rows_of = self.stage.reader.rows(piece)
                    refused.append(rejected(sink, batch, places, rows_of, origin, sandbox, [why for _, why in bad]))
        lines = piece.lines if worked.lines is None else worked.lines
        line = piece.line if isinstance(piece, PageBlock) else None
        written = {
            sink: worked.batches[node].table.num_rows for sink, node in self.inputs.items() if sink not in self.encoders
        }
        held = piece if self.outlets else None
        return Finished(
            piece.end, piece.bytes, lines, worked, encoded, tuple(refused), tuple(counts), line, written, held
        )

    def send(self, done: Finished, sink: str) -> Finished:
        """Send a piece's rows to a sink's server, and add what it refuses. Blocks; raises what `Outlet.send` raises."""
        piece, batch = done.piece, done.worked.batches[self.inputs[sink]]
        assert piece is not None
        bad = self.outlets[sink].send(batch.table, self.chunk.index, piece.offset)
        rows = batch.table.num_rows
        refused, taken = list(done.refused), rows - len(bad)
        if bad and not isinstance(piece, BrokenRow):
            places, rows_of = pa.array(list(bad), pa.int64()), self.stage.reader.rows(piece)
            with self.sandboxes.one() as sandbox:
                origin = dead.origin_of(self._origin, piece)
                refused.append(rejected(sink, batch, places, rows_of, origin, sandbox, list(bad.values())))
        count = StepCount(step=sink, rows_in=rows, rows_out=taken, rejected=len(bad))
        counts, written = (*done.counts, count), {**done.written, sink: taken}
        return replace(done, refused=tuple(refused), counts=counts, written=written)

    def with_lines(self, piece: Finished, line: int) -> list[pa.Table]:
        """The piece's letters with true lines; `line` is that of its first row."""
        first = line if piece.page_line is None else piece.page_line
        return [dead.shifted(table, first) for table in (*piece.worked.letters, *piece.refused)]

    def close(self) -> None:
        """Leave the sandboxes to other chunks, and drop what was fetched."""
        self.sandboxes.close()
        if isinstance(self.place, Fetched):
            self.place.close()


@cache
def _broadcasts() -> Broadcasts:
    """The worker's cache of whole inputs."""
    return Broadcasts()


async def workbench(
    spec: DataPipelineSpec,
    parameters: Parameters,
    run: RunRef,
    chunk: Chunk,
    connections: Connections,
    asked_to_stop: AskedToStop,
) -> Workbench:
    """Make it, reading whole inputs if the worker doesn't hold them, and all pages if the chunk is an API's.

    Raises what `engine.load_chunk` raises of reading and SQL.
    """
    values = bind_parameters(spec, parameters, run.run_time, run.interval_start)
    time_spent = here()
    cut, calls = stages(spec)[chunk.stage], Calls(values, connections.cache)
    places = await places_of(spec.sources, connections, values)
    api = places.get(chunk.source)
    if isinstance(api, API) and chunk.part.asked is not None:
        places[chunk.source] = await fetched(api, chunk.part.asked, asked_to_stop)
    elif isinstance(api, Function) and chunk.part.asked is not None:
        places[chunk.source] = await api.collected(chunk.part.asked)
    if isinstance(collected := places.get(chunk.source), Fetched):
        source = next(each for each in spec.sources if each.name == chunk.source)
        part = await in_thread(partial(extended, source, chunk.part, collected))
        chunk = replace(chunk, part=part)

    def make() -> Workbench:
        answers = Answers(connections.artifacts, run, chunk.answers)
        nodes = _broadcasts().nodes(spec, cut.broadcast, chunk, places, lambda: Sandbox(values), values, answers, calls)
        kept = cut.wave > 0
        reader: Reads = kept_reader(connections.artifacts(), run, chunk) if kept else reader_of(spec, chunk.source)
        whole = {name: node.table for name, node in nodes.items()}
        stage = Stage(reader, steps_of(spec, cut.steps, calls), whole, time_spent)
        sandboxes = Sandboxes(values)
        with sandboxes.one() as sandbox:
            schemas = stage.check(chunk.part.layout, sandbox)
        counts, letters = _reported(nodes, chunk)
        counted = [step.name for step in stage.steps if isinstance(step, Validate | Python)]
        return Workbench(
            chunk=chunk,
            stage=stage,
            inputs={sink.name: sink.input for sink in spec.sinks if sink.name in cut.sinks},
            place=None if kept else places[chunk.source],
            block=min(BLOCK, parse_bytes(spec.execution.chunk.max_bytes)),
            sandboxes=sandboxes,
            calls=calls,
            schemas=schemas,
            reported_counts=(*counts, *(StepCount(step=name) for name in ([] if kept else [chunk.source]) + counted)),
            reported_letters=letters,
        )

    return await in_thread(make, calls.stop)


def _reported(nodes: Mapping[str, Node], chunk: Chunk) -> tuple[tuple[StepCount, ...], tuple[pa.Table, ...]]:
    counts, letters = [], []
    place = dead.SCHEMA.get_field_index("chunk")
    for name in chunk.reports:
        node = nodes.get(name)
        if node is not None and node.count is not None:
            counts.append(node.count)
        if node is not None and node.letters is not None:
            index = pa.repeat(pa.scalar(chunk.index, pa.int32()), node.letters.num_rows)
            letters.append(node.letters.set_column(place, dead.SCHEMA.field(place), index))
    return tuple(counts), tuple(letters)
