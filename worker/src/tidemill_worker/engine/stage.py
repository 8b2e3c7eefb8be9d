"""One block through a stage: parsed, validated, transformed; with counts and dead letters. Pure but for the sandbox."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from tidemill_api.contract import StepCount
from tidemill_api.errors import BadRow, StepFailed
from tidemill_api.v1alpha1.datapipeline import DataPipelineSpec, Source
from tidemill_worker.engine import letters as dead
from tidemill_worker.engine.blocks import Block, BrokenRow, Piece, Typed
from tidemill_worker.engine.forms import Form, form_of
from tidemill_worker.engine.letters import Letter, Origin, RowsOf
from tidemill_worker.engine.model import Layout, Part, Place
from tidemill_worker.engine.parse import schema_of
from tidemill_worker.engine.python.calls import Calls
from tidemill_worker.engine.python.steps import Python
from tidemill_worker.engine.quoting import quoted
from tidemill_worker.engine.sandbox import Sandbox
from tidemill_worker.engine.spent import Spent
from tidemill_worker.engine.steps import Batch, Query, Validate

Step = Validate | Query | Python
Whole = Mapping[str, pa.Table]


class RefusedRow(BadRow):
    """A row because of which the run fails. Which line it is on knows who has the lines of the pieces before: `at`."""

    def __init__(self, who: str, where: str, why: str, piece: Piece, line: int) -> None:
        """`line`: from 0, within the piece."""
        super().__init__(f"{who}: the row at {where} {why}")
        self._parts = (who, where, why)
        self._piece = piece
        self._line = line

    @property
    def type(self) -> str:
        """As Temporal, status and metrics show it."""
        return BadRow.__name__

    def at(self, line: int) -> BadRow:
        """The error with the row's line; `line` is the first one of the piece."""
        who, where, why = self._parts
        found = dead.first_line(self._piece, line) + self._line
        shown = where if isinstance(self._piece, Typed) else f"line {found} ({where})"  # `row 7` says it
        return BadRow(f"{who}: the row at {shown} {why}")


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a batch at one source or step."""

    batch: Batch
    count: StepCount | None = None
    """None for a query: its rows may multiply. Of a Python step it counts the rows that it was given."""
    letters: pa.Table | None = None
    """Lines are relative to the piece."""
    lines: int | None = None
    """Of the piece, if reading came to know them."""


@dataclass(frozen=True, slots=True)
class Worked:
    """What became of a piece."""

    rows: int
    counts: tuple[StepCount, ...]
    letters: tuple[pa.Table, ...]
    batches: Mapping[str, Batch] = field(default_factory=dict)
    """By name of the source or step."""
    lines: int | None = None
    """Of the piece, if reading came to know them."""


class Reads(Protocol):
    """How the rows are read that drive a stage."""

    @property
    def name(self) -> str:
        """Of the source, or of the step whose rows were kept."""
        ...

    def schema(self, layout: Layout) -> pa.Schema:
        """The columns that it gives."""
        ...

    def open(self, stack: ExitStack, place: Place | None, part: Part, offset: int, size: int) -> Iterator[Piece]:
        """The pieces of a part, of about `size` bytes each, from `offset` on; open until `stack` is left. Blocks."""
        ...

    def rows(self, piece: Block | Typed) -> RowsOf:
        """Where the rows of a piece stand."""
        ...

    def read(self, piece: Piece, layout: Layout, origin: Origin) -> Done:
        """A piece as columns. Raises RefusedRow if the contract says Fail."""
        ...


@dataclass(frozen=True, slots=True)
class Reader:
    """How one source is read."""

    source: Source
    form: Form

    @property
    def name(self) -> str:
        """See `Reads`."""
        return self.source.name

    def schema(self, layout: Layout) -> pa.Schema:
        """See `Reads`."""
        return schema_of(layout)

    def open(self, stack: ExitStack, place: Place | None, part: Part, offset: int, size: int) -> Iterator[Piece]:
        """The pieces of a part, of about `size` bytes each, from `offset` on; open until `stack` is left. Blocks.

        Raises SourceChanged, SourceUnreadable.
        """
        assert place is not None  # of a source
        return self.form.pieces(stack, place, self.source, part, offset, size)

    def rows(self, piece: Block | Typed) -> RowsOf:
        """Where the rows of a piece stand."""
        return self.form.rows(piece)

    def read(self, piece: Piece, layout: Layout, origin: Origin) -> Done:
        """Parse a piece. Raises RefusedRow if the contract says Fail."""
        name = self.source.name
        if isinstance(piece, BrokenRow):
            self._refuse(origin, f"byte {piece.offset}", piece.error, piece, 0)
            letter = dead.of_broken_row(origin, piece, self.form.encoding)
            return Done(Batch(schema_of(layout).empty_table()), StepCount(step=name, rows_in=1, rejected=1), letter)
        parsed = self.form.parse(piece, layout)
        found = None
        if parsed.faults:
            rows = self.rows(piece)
            faults = [
                Letter(row, fault.reason, fault.error, cause=fault.cause)
                for row, fault in sorted(parsed.faults.items())
            ]
            first, why = faults[0].row, faults[0].cause or faults[0].error
            self._refuse(origin, rows.where(first), why, piece, rows.lines([first])[0])
            found = dead.of_rows(name, origin, rows, faults)
        count = StepCount(
            step=name,
            rows_in=parsed.rows,
            rows_out=parsed.table.num_rows,
            rejected=len(parsed.faults),
            nulled=parsed.nulled,
        )
        return Done(Batch(parsed.table, parsed.origin), count, found, parsed.lines)

    def _refuse(self, origin: Origin, where: str, why: str, piece: Piece, line: int) -> None:
        if self.source.contract.bad_values == "Fail":
            what = f"of {origin.file} is bad: {why}; badValues is Fail"
            raise RefusedRow(f"source {self.source.name}", where, what, piece, line)


def reader_of(spec: DataPipelineSpec, name: str) -> Reader:
    """The reader of a source. Raises SpecError for a dialect that can't be read."""
    place, source = next((i, s) for i, s in enumerate(spec.sources) if s.name == name)
    return Reader(source, form_of(source, f"spec.sources[{place}].files.format"))


def steps_of(spec: DataPipelineSpec, names: Sequence[str], calls: Calls) -> tuple[Step, ...]:
    """The named steps, in this order; names of sources are passed over. `calls` calls authors' functions."""
    by_name: dict[str, Step] = {}
    for place, step in enumerate(spec.steps):
        at = f"spec.steps[{place}]"
        if step.validate_ is not None:
            by_name[step.name] = Validate(step.name, step.inputs[0], at, step.validate_.rules_, step.validate_.on_error)
        elif step.sql is not None:
            by_name[step.name] = Query(step.name, step.inputs, at, step.sql.query)
        elif step.python is not None:
            by_name[step.name] = Python(step.name, step.inputs, at, step.python, calls)
    return tuple(by_name[name] for name in names if name in by_name)


def first_input(step: Step) -> str:
    """The input whose rows the step works on."""
    return step.input if isinstance(step, Validate) else step.inputs[0]


def apply(
    step: Step, batch: Batch, piece: Piece, origin: Origin, reader: Reads, whole: Whole, sandbox: Sandbox
) -> Done:
    """One step over one batch of a piece. Raises BadRow, StepFailed."""
    match step:
        case Validate():
            return _validated(step, batch, piece, origin, reader, sandbox)
        case Query():
            return _queried(step, batch, piece, origin, reader, whole, sandbox)
        case Python():
            return _called(step, batch, piece, origin, reader, whole, sandbox)


def _queried(
    step: Query, batch: Batch, piece: Piece, origin: Origin, reader: Reads, whole: Whole, sandbox: Sandbox
) -> Done:
    if isinstance(piece, BrokenRow):
        return Done(step.run(sandbox, batch, whole))
    try:
        return Done(step.run(sandbox, batch, whole))
    except duckdb.OutOfMemoryException as error:
        raise StepFailed(
            f"step {step.name}: the query needs more memory than a step may have ({type(error).__name__})"
        ) from error
    except duckdb.Error as error:
        kind = type(error).__name__.removesuffix("Exception")  # DuckDB's own words may quote values
        row = step.failing_row(sandbox, batch, whole)
        where = "" if row is None else f" on the row at {_where(batch, row, reader.rows(piece))} of {origin.file}"
        raise StepFailed(
            f"step {step.name}: the query fails ({kind} error){where}; use TRY_CAST or TRY, or reject such rows "
            f"in a validate step before it"
        ) from error


def _called(
    step: Python, batch: Batch, piece: Piece, origin: Origin, reader: Reads, whole: Whole, sandbox: Sandbox
) -> Done:
    made = step.answer(batch.table, whole)
    places = batch.rows_of_block(made.places).cast(pa.int32())
    total, bad = batch.table.num_rows, len(made.rejected)
    skipped = total - made.rows_out - bad
    count = StepCount(step=step.name, rows_in=total, rows_out=made.rows_out, rejected=bad, skipped=skipped)
    found = None
    if bad and not isinstance(piece, BrokenRow):
        why: list[tuple[dead.Reason, str, list[str]]] = [
            ("RuleBroken" if each.rules else "BadValue", each.error, list(each.rules))
            for each in made.rejected.values()
        ]
        rows = pa.array(list(made.rejected), pa.int64())
        found = rejected(step.name, batch, rows, reader.rows(piece), origin, sandbox, why)
    return Done(Batch(made.table, places, changed=True), count, found)


def _where(batch: Batch, place: int, rows: RowsOf) -> str:
    """Where in the file the row stands that the batch's row at `place` came from."""
    return rows.where(batch.rows_of_block(pa.array([place], pa.int64()))[0].as_py())


def _validated(step: Validate, batch: Batch, piece: Piece, origin: Origin, reader: Reads, sandbox: Sandbox) -> Done:
    total = batch.table.num_rows
    try:
        broken = step.broken(sandbox, batch.table)
    except duckdb.Error as error:
        kind = type(error).__name__.removesuffix("Exception")  # DuckDB's own words may quote values
        raise StepFailed(f"step {step.name}: its rules can't be computed ({kind} error)") from error
    if broken is None or isinstance(piece, BrokenRow):
        return Done(batch, StepCount(step=step.name, rows_in=total, rows_out=total))
    fails = pc.greater(pc.list_value_length(broken), 0)
    places = pc.indices_nonzero(fails).cast(pa.int64())
    good = batch.filtered(pc.invert(fails))
    rows = reader.rows(piece)
    if step.on_error == "Fail":
        row = batch.rows_of_block(places.slice(0, 1))[0].as_py()
        rules = ", ".join(broken[places[0].as_py()].as_py())
        why = f"of {origin.file} breaks {rules}; onError is Fail"
        raise RefusedRow(f"step {step.name}", rows.where(row), why, piece, rows.lines([row])[0])
    if step.on_error == "Skip":
        return Done(good, StepCount(step=step.name, rows_in=total, rows_out=good.table.num_rows, skipped=len(places)))
    names = [list(rules) for rules in broken.take(places).to_pylist()]
    found = rejected(
        step.name, batch, places, rows, origin, sandbox, [("RuleBroken", f"breaks {', '.join(n)}", n) for n in names]
    )
    return Done(
        good, StepCount(step=step.name, rows_in=total, rows_out=good.table.num_rows, rejected=len(places)), found
    )


def rejected(
    step: str,
    batch: Batch,
    places: pa.Int64Array,
    rows: RowsOf,
    origin: Origin,
    sandbox: Sandbox,
    why: Sequence[tuple[dead.Reason, str, list[str]]],
) -> pa.Table:
    """Letters for the rows of a batch at these places (ascending), each with its reason, error and rules."""
    of_block = batch.rows_of_block(places).to_pylist()
    parts = [0] * len(of_block)
    columns: Sequence[str | None] = [None] * len(of_block)
    if batch.changed and batch.origin is not None:
        all_rows = batch.origin.to_pylist()
        parts = [place - bisect_left(all_rows, row) for place, row in zip(places.to_pylist(), of_block, strict=True)]
        columns = as_json(batch.table.take(places), sandbox)
    return dead.of_rows(
        step,
        origin,
        rows,
        [
            Letter(row, reason, error, rules, part, shown)
            for row, part, shown, (reason, error, rules) in zip(of_block, parts, columns, why, strict=True)
        ],
    )


def as_json(rows: pa.Table, sandbox: Sandbox) -> list[str]:
    """Each row as a JSON object."""
    name = "__tidemill_rows"
    answer = sandbox.over(name, rows, f"SELECT to_json({quoted(name)})::VARCHAR FROM {quoted(name)}")
    return [_finite(str(text)).replace("\\u0000", "\\ufffd") for text in answer.column(0).to_pylist()]


def _finite(text: str) -> str:
    """JSON has no NaN or Infinity, but DuckDB writes them: as texts, then."""
    if "NaN" not in text and "Infinity" not in text:
        return text
    return json.dumps(json.loads(text, parse_constant=str), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Stage:
    """The steps that the rows of what drives it go through, ready to work."""

    reader: Reads
    steps: tuple[Step, ...]
    whole: Whole
    spent: Spent = field(default_factory=Spent)

    def check(self, layout: Layout, sandbox: Sandbox) -> dict[str, pa.Schema]:
        """The columns after the source and each step, by name. Raises SQLError, SpecError."""
        schemas = {self.reader.name: self.reader.schema(layout)}
        for step in self.steps:
            before = schemas[first_input(step)]
            match step:
                case Validate():
                    step.check(sandbox, before)
                    schemas[step.name] = before
                case Query():
                    schemas[step.name] = step.check(sandbox, before, self.whole)
                case Python():
                    schemas[step.name] = step.check(before)
        return schemas

    def work(self, piece: Piece, layout: Layout, origin: Origin, sandbox: Sandbox) -> Worked:
        """A piece through all steps. Raises BadRow, StepFailed."""
        with self.spent.on("read"):
            read = self.reader.read(piece, layout, origin)
        done = {self.reader.name: read}
        for step in self.steps:
            batch = done[first_input(step)].batch
            with self.spent.on("check" if isinstance(step, Validate) else "transform"):
                done[step.name] = apply(step, batch, piece, origin, self.reader, self.whole, sandbox)
        return Worked(
            rows=read.count.rows_in if read.count else 0,
            counts=tuple(each.count for each in done.values() if each.count is not None),
            letters=tuple(each.letters for each in done.values() if each.letters is not None),
            batches={name: each.batch for name, each in done.items()},
            lines=read.lines,
        )
