"""A pipeline's rows without sinks, metastore and Temporal: what `tidemill preview` and `tidemill test` look at.

Reading, rules and queries are those of a run. Sources and steps that joins need whole are read first; the rows of the
others go through block by block, and only as far as it takes to have enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from tidemill_api.contract import StepCount
from tidemill_api.errors import TidemillError
from tidemill_api.v1alpha1.datapipeline import DataPipelineSpec, Sink, Source
from tidemill_check.graph import inputs_of, topological
from tidemill_check.parameters import bind_parameters
from tidemill_check.paths import rendered
from tidemill_check.stages import whole_steps
from tidemill_check.times import interval_start
from tidemill_worker.engine import letters as dead
from tidemill_worker.engine.blocks import BrokenRow
from tidemill_worker.engine.broadcast import KEPT_BYTES
from tidemill_worker.engine.counts import total
from tidemill_worker.engine.filesink.columns import columns_of
from tidemill_worker.engine.found_columns import extended
from tidemill_worker.engine.httpsink.bodies import check_columns
from tidemill_worker.engine.model import Pages, Parameters, Place
from tidemill_worker.engine.parse import schema_of
from tidemill_worker.engine.passing import Answer, Passing, Reading
from tidemill_worker.engine.planning import parts_of
from tidemill_worker.engine.postgres.encode import Encoder
from tidemill_worker.engine.postgres.tables import created
from tidemill_worker.engine.python.calls import Calls
from tidemill_worker.engine.python.sources import Function
from tidemill_worker.engine.python.steps import Python
from tidemill_worker.engine.python.whole import whole_python
from tidemill_worker.engine.sandbox import Sandbox
from tidemill_worker.engine.stage import (
    Done,
    RefusedRow,
    Step,
    apply,
    first_input,
    reader_of,
    rejected,
    steps_of,
)
from tidemill_worker.engine.steps import Query, Validate
from tidemill_worker.engine.whole_query import answer, whole_step
from tidemill_worker.files import Files
from tidemill_worker.files.folder import Folder


@dataclass(frozen=True, slots=True)
class Bounds:
    """When there is enough. None: everything is read, and all rows are kept."""

    rows: int | None = None
    """Rows to show of each source and step. Reading goes on until each behind a source has them."""
    bytes: int | None = None
    """Most bytes that are read of a source, though there are fewer rows."""


@dataclass(slots=True)
class Seen:
    """What was seen of a source or step."""

    name: str
    schema: pa.Schema
    rows: int = 0
    """All that came out of it, of what was read."""
    complete: bool = True
    """False: reading stopped before the end of its source."""
    tables: list[pa.Table] = field(default_factory=list)
    """As many of its rows as the bounds ask for."""
    letters: list[pa.Table] = field(default_factory=list)
    counts: list[StepCount] = field(default_factory=list)

    @property
    def table(self) -> pa.Table:
        """The rows that were kept."""
        return pa.concat_tables(self.tables) if self.tables else self.schema.empty_table()

    @property
    def rejected(self) -> pa.Table:
        """Dead letters (`letters.SCHEMA`), with the lines of their files."""
        return pa.concat_tables(self.letters) if self.letters else dead.SCHEMA.empty_table()

    @property
    def count(self) -> StepCount | None:
        """What a source, validate or Python step counted; None for a query: its rows may multiply."""
        return total(self.counts)[0] if self.counts else None


class NodeFailed(Exception):
    """A source or step came to nothing; `error` is what a run would have ended with."""

    def __init__(self, node: str, error: TidemillError) -> None:
        """`node` is its name."""
        super().__init__(str(error))
        self.node = node
        self.error = error


class Rehearsal:
    """One pass over a pipeline's sources. What was seen until an error stays."""

    def __init__(
        self,
        spec: DataPipelineSpec,
        parameters: Parameters,
        run_time: datetime,
        places: Mapping[str, Path | Files],
        bounds: Bounds | None = None,
    ) -> None:
        """`places` has the folder (or the like) in which each source's paths are, by the source's name.

        Raises SpecError for parameters that don't fit.
        """
        values = bind_parameters(spec, parameters, run_time, interval_start(spec.schedule, run_time))
        self._spec = rendered(spec, values)
        self._places: dict[str, Place] = {
            name: Folder(place) if isinstance(place, Path) else place for name, place in places.items()
        }
        self._places |= {
            source.name: Function(source.name, source.python, values) for source in spec.sources if source.python
        }
        self._bounds = bounds or Bounds()
        self._inputs = inputs_of(spec)
        self._order = topological(self._inputs)
        self._computed = frozenset(whole_steps(spec))
        row_wise = [name for name in self._order if name not in self._computed]
        self._calls = Calls(values)
        self._steps: dict[str, Step] = {step.name: step for step in steps_of(spec, row_wise, self._calls)}
        self._readings: dict[str, Reading | Answer] = {}
        self._held: dict[str, list[Passing]] = {}
        self._tables: dict[str, pa.Table] = {}
        self._encoders: dict[str, Encoder] = {}
        self._sandbox = Sandbox(values)
        self.seen: dict[str, Seen] = {}
        """Each source and step that was reached, by its name."""
        self.sinks: dict[str, Seen] = {}
        """Each sink that was reached: the rows that it would load, by the columns that its table would get."""

    def run(self) -> None:
        """Read and work. Blocks. Raises NodeFailed."""
        whole = self._whole()
        try:
            for source in self._spec.sources:
                self._begin(source)
            for name in self._order:
                if name in self._computed:
                    self._compute(name)
                elif name in self._steps:
                    self._check(name)
                if name in whole:
                    self._all_of(name)
            for sink in self._spec.sinks:
                with _of(sink.name):
                    self._begin_sink(sink)
            for name in self._order:
                if self._root(name) == name:
                    self._through(name, whole)
        finally:
            self._sandbox.close()
            for place in self._places.values():
                if isinstance(place, Files):
                    place.close()

    def _whole(self) -> frozenset[str]:
        """The sources and steps that others join whole or compute from, and all that these are made of."""
        found: set[str] = set()
        waiting = [name for step in self._steps for name in self._inputs[step][1:]]
        waiting += [name for step in self._computed for name in self._inputs[step]]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self._inputs[name])
        return frozenset(found)

    def _begin(self, source: Source) -> None:
        with _of(source.name):
            reader = reader_of(self._spec, source.name)
            ((_, parts),) = parts_of(self._spec, (source.name,), self._places)
            if isinstance(place := self._places[source.name], Pages):
                parts = tuple(extended(source, part, place) for part in parts)
        self._readings[source.name] = Reading(reader, parts, self._places[source.name])
        self.seen[source.name] = Seen(source.name, schema_of(parts[0].layout))

    def _begin_sink(self, sink: Sink) -> None:
        """Whether the columns can be loaded there."""
        schema = self.seen[sink.input].schema
        if sink.files is not None:
            columns_of(sink.name, sink.files, schema)
        elif sink.http is not None:
            check_columns(sink.name, schema)
        else:
            self._encoders[sink.name] = Encoder(created(sink, schema), staged=False)
        self.sinks[sink.name] = Seen(sink.name, schema)

    def _check(self, name: str) -> None:
        """The columns of a step, from those of its inputs."""
        step = self._steps[name]
        before = self.seen[first_input(step)].schema
        with _of(name):
            match step:
                case Validate():
                    step.check(self._sandbox, before)
                    schema = before
                case Query():
                    schema = step.check(self._sandbox, before, self._others(step))
                case Python():
                    schema = step.check(before)
        self.seen[name] = Seen(name, schema)

    def _compute(self, name: str) -> None:
        """A step that needs all rows; what follows goes through its answer as through a source's rows."""
        inputs = self._inputs[name]
        tables = {each: self._tables[each] for each in inputs}
        with _of(name):
            function = whole_python(self._spec, name)
            if function is not None:
                table = function.answer(tables, self._calls)
            else:
                table = answer(whole_step(self._spec, name), tables, self._sandbox)
        self._readings[name] = Answer(name, table, all(self.seen[each].complete for each in inputs))
        self.seen[name] = Seen(name, table.schema)

    def _all_of(self, name: str) -> None:
        """Take a source or step over all its rows, and hold them."""
        root = self._root(name)
        if name == root:
            reading = self._readings[root]
            reading.most = None if self._bounds.bytes is None else KEPT_BYTES
            self._held[root] = list(iter(lambda: self._next(root), None))
            self.seen[root].complete = reading.sound and not reading.more()
        else:
            self.seen[name].complete = self.seen[root].complete
            for passing in self._held[root]:
                self._one(name, passing)
        tables = [passing.batches[name].table for passing in self._held[root]]
        self._tables[name] = pa.concat_tables(tables or [self.seen[name].schema.empty_table()]).combine_chunks()

    def _others(self, step: Step) -> dict[str, pa.Table]:
        return {name: self._tables[name] for name in self._inputs[step.name][1:]}

    def _root(self, name: str) -> str:
        """The source, or the computation, that a step's own rows come from."""
        while self._inputs[name] and name not in self._computed:
            name = self._inputs[name][0]
        return name

    def _through(self, source: str, whole: frozenset[str]) -> None:
        """The pieces of a source through the steps that nobody needs whole, until there is enough of each."""
        mine = [
            name for name in self._order if name in self._steps and name not in whole and self._root(name) == source
        ]
        sinks = [sink.name for sink in self._spec.sinks if self._root(sink.input) == source]
        reading, held = self._readings[source], list(reversed(self._held.get(source, ())))
        if source not in whole:
            reading.most = self._bounds.bytes
        behind = [self.seen[name] for name in mine] + [self.sinks[name] for name in sinks]
        if source not in whole:
            behind.append(self.seen[source])
        while not self._enough(behind) and (passing := held.pop() if held else self._next(source)) is not None:
            for name in mine:
                self._one(name, passing)
            for name in sinks:
                self._load(name, passing)
        complete = reading.sound and not held and not reading.more()
        for seen in behind:
            seen.complete = complete

    def _enough(self, behind: Sequence[Seen]) -> bool:
        most = self._bounds.rows
        return most is not None and all(seen.rows >= most for seen in behind)

    def _next(self, source: str) -> Passing | None:
        """The next piece of a source, parsed; None when there is no more, or enough was read."""
        with _of(source):
            found = self._readings[source].next()
        if found is None:
            return None
        passing, done = found
        self._keep(self.seen[source], done, passing.line)
        return passing

    def _one(self, name: str, passing: Passing) -> None:
        """A step over a piece."""
        step, reader = self._steps[name], self._readings[passing.origin.source].reader
        batch = passing.batches[first_input(step)]
        with _of(name):
            try:
                done = apply(step, batch, passing.piece, passing.origin, reader, self._others(step), self._sandbox)
            except RefusedRow as refused:
                raise refused.at(passing.line) from None
        passing.batches[name] = done.batch
        self._keep(self.seen[name], done, passing.line)

    def _load(self, name: str, passing: Passing) -> None:
        """What a sink would take of a piece, and what it couldn't."""
        if name not in self._encoders:  # files, and rehearsed servers, take all rows that there are
            sink = next(sink for sink in self._spec.sinks if sink.name == name)
            self._keep(self.sinks[name], Done(passing.batches[sink.input]), passing.line)
            return
        encoder, piece = self._encoders[name], passing.piece
        batch = passing.batches[encoder.target.sink.input]
        total_rows = batch.table.num_rows
        with _of(name):
            bad = encoder.encode(batch, 0, piece.offset).refused
        letters, good = None, batch
        if bad and not isinstance(piece, BrokenRow):
            places = pa.array([place for place, _ in bad], pa.int64())
            rows = self._readings[passing.origin.source].reader.rows(piece)
            why = [reason for _, reason in bad]
            letters = rejected(name, batch, places, rows, passing.origin, self._sandbox, why)
            refused = {place for place, _ in bad}
            good = batch.filtered(pa.array([place not in refused for place in range(total_rows)], pa.bool_()))
        count = StepCount(step=name, rows_in=total_rows, rows_out=total_rows - len(bad), rejected=len(bad))
        self._keep(self.sinks[name], Done(good, count, letters), passing.line)

    def _keep(self, seen: Seen, done: Done, line: int) -> None:
        most = self._bounds.rows
        if done.count is not None:
            seen.counts.append(done.count)
        if done.letters is not None:
            seen.letters.append(dead.shifted(done.letters, line))
        rows = done.batch.table
        if rows.num_rows and (most is None or seen.rows < most):
            seen.tables.append(rows if most is None else rows.slice(0, most - seen.rows))
        seen.rows += rows.num_rows


@contextmanager
def _of(name: str) -> Iterator[None]:
    try:
        yield
    except TidemillError as error:
        raise NodeFailed(name, error) from error
