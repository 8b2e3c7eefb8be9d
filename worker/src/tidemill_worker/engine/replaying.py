"""Rejected rows run again: which can be, where they go, and what is read instead of the source. Pure decisions.

A row's text is read again as its source's, by the current spec; only the sinks behind the step that rejected it are
loaded, since the others have had the row already. What can't be right is refused with a reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.datapipeline import CSV, FileSource, Format, JSONLines, Source, Step
from tidemill_api.v1alpha1.execution import Chunking, ErrorTolerance
from tidemill_check.graph import inputs_of, topological
from tidemill_check.sql_single import may_multiply
from tidemill_check.stages import stages, whole_steps
from tidemill_worker.engine.dialect import format_of
from tidemill_worker.engine.json_text import loads
from tidemill_worker.engine.model import NOT_THERE, Layout, Part, PlannedColumn
from tidemill_worker.engine.text_layout import TextLayout
from tidemill_worker.engine.wanted import adds, declared
from tidemill_worker.files import FileRef

CONNECTION: Final = "tidemill-replay"
"""Stands for the folder with the rows to run again; no connection of a pool can be meant, whatever its name."""
FILE: Final = "rows.csv"
MOST_BYTES: Final = 16 << 20
MOST_ROWS: Final = 100_000
"""Of a chunk: it is one transaction in each sink."""
CUT: Final = " … (cut)"
"""How a text ends that was too long to be kept whole."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A letter that may be replayed."""

    id: int
    key: str
    """Hash of its primary key."""
    step: str
    source: str
    reason: str
    stored: str
    redacted: tuple[str, ...]
    text: str | None
    """As it was mended, or as it was read."""
    mended: bool
    layout: TextLayout | None
    run: str
    """Key of the run that rejected it."""
    result: str
    """What became of that run."""
    spec: DataPipelineSpec | None
    """What that run worked by; None if it can't be read any more."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a row goes through: rows of one target and layout can share a chunk."""

    source: str
    sinks: tuple[str, ...]


def target_of(spec: DataPipelineSpec, row: Rejected) -> Target | str:
    """Where a rejected row goes by the current spec, or why it can't be replayed."""
    return _no_row(row) or _unreadable(spec, row) or _target(spec, row)


def targets_of(spec: DataPipelineSpec, rows: Sequence[Rejected]) -> Iterator[tuple[Rejected, Target | str]]:
    """`target_of` each row; what hangs on the specs alone is decided once, however many rows there are."""
    known: dict[tuple[str, str, int], Target | str] = {}
    for row in rows:
        kind = row.step, row.source, id(row.spec)  # the rows of a run share its spec, and hold it meanwhile
        why = _no_row(row) or _unreadable(spec, row)
        if not why and kind not in known:
            known[kind] = _target(spec, row)
        yield row, why or known[kind]


def _no_row(row: Rejected) -> str:
    if row.reason == "RunFailed":
        return "it is of a run that failed, not of a row"
    if row.result != "Succeeded":
        return f"its run {row.run} has not succeeded: process that key again (spec.runKey), which reads its rows anew"
    if row.stored != "Full" or row.text is None:
        return "its row wasn't kept (spec.deadLetter.store, or a redacted row that can't be cut into columns)"
    if row.mended:
        return ""
    if row.redacted:
        return f"its column {', '.join(row.redacted)} is redacted: mend the row first (tidemill rejects edit)"
    if "\ufffd" in row.text or row.text.endswith(CUT):
        return "its bytes are no text, or too many to be kept: mend the row first (tidemill rejects edit)"
    return ""


def _unreadable(spec: DataPipelineSpec, row: Rejected) -> str:
    source = _source(spec, row.source)
    if source is None and any(step.name == row.source for step in spec.steps):
        return f"it was made by the step {row.source} from rows of many: run the pipeline again"
    if source is None:
        return f"the pipeline has no source {row.source} any more"
    if row.layout is None or row.layout.types is None:
        return "it is from a version that didn't keep how its row is cut into columns"
    if row.text is None or (row.layout.json and row.layout.cut(row.text) is None):
        return "it isn't a JSON object: mend it first (tidemill rejects edit)"
    if row.layout.cut(row.text) is None:
        return f"it isn't a row of {len(row.layout.columns)} fields: mend it first (tidemill rejects edit)"
    if adds(source) and row.layout.json and (more := set(loads(row.text)) - set(row.layout.keys)):
        return f"its column {min(more)} isn't declared, and of which type it was isn't known: run the pipeline again"
    needed = [column.name for column in declared(source) if not column.optional]
    missing = [name for name in needed if name not in row.layout.columns]
    if missing:
        return (
            f"the source {row.source} reads the column {missing[0]} now, and which field of this row it is isn't known"
        )
    return ""


def _target(spec: DataPipelineSpec, row: Rejected) -> Target | str:
    inputs = inputs_of(spec)
    lines = {sink.name: (*_line(inputs, sink.input), sink.name) for sink in spec.sinks}
    if row.step not in inputs and row.step not in lines:
        return f"the pipeline has no step {row.step} any more"
    sinks = tuple(name for name, line in lines.items() if row.step in line and line[0] == row.source)
    if not sinks:
        return f"rows of {row.source} that pass {row.step} reach no sink by themselves: run the pipeline again"
    computed = _computed(spec, row.step, sinks)
    if computed:
        return f"the step {computed} needs all rows: run the pipeline again"
    replaced = [sink.name for sink in spec.sinks if sink.name in sinks and sink.write_disposition == "Replace"]
    if replaced:
        return f"the sink {replaced[0]} is Replace: a row can't be added to what runs replace; run the pipeline again"
    written = [sink.name for sink in spec.sinks if sink.name in sinks and sink.files is not None]
    if written:
        return (
            f"the sink {written[0]} writes files, which are a run's as a whole: process the key of the run again "
            "(spec.runKey), which writes its files anew"
        )
    sent = [sink.name for sink in spec.sinks if sink.name in sinks and sink.http is not None]
    if sent:
        return (
            f"the sink {sent[0]} sends rows to a server, which can't be asked whether it has one already: mend the "
            "rows where they come from, and load them by another run"
        )
    retiring = [
        sink.name for sink in spec.sinks if sink.name in sinks and sink.history and sink.history.absent_keys == "Retire"
    ]
    if retiring:
        return f"the sink {retiring[0]} retires keys that a run doesn't bring: run the pipeline again"
    if row.spec is None or _may_multiply(spec, row.step) or _may_multiply(row.spec, row.step):
        return (
            f"a query or function before {row.step} may have made several rows of it, of which others are loaded: run "
            "the pipeline again, or validate before it"
        )
    if row.source in stages(pruned(spec, row.source, sinks))[0].broadcast:
        return f"a step needs all rows of {row.source}: run the pipeline again"
    return Target(row.source, sinks)


def _computed(spec: DataPipelineSpec, name: str, sinks: Sequence[str]) -> str | None:
    """A step over all rows that a row behind `name` would change, or that a row for these sinks is joined with."""
    inputs = inputs_of(spec)
    reached = {name}
    for each in topological(inputs):
        if reached.intersection(inputs[each]):
            reached.add(each)
    joined = {step.name for step in pruned(spec, "", sinks).steps}
    return next((each for each in whole_steps(spec) if each in reached | joined), None)


def _may_multiply(spec: DataPipelineSpec, name: str) -> bool:
    """Whether a query or function before this source, step or sink can make several rows of one."""
    inputs = inputs_of(spec)
    sink = next((each for each in spec.sinks if each.name == name), None)
    line = _line(inputs, name)[:-1] if sink is None else _line(inputs, sink.input)
    return any(_multiplies(step) for step in spec.steps if step.name in line)


def _multiplies(step: Step) -> bool:
    if step.python is not None:
        return step.python.may_multiply
    return step.sql is not None and may_multiply(step.sql.query)


def _line(inputs: Mapping[str, tuple[str, ...]], name: str) -> tuple[str, ...]:
    """The way of the rows from the driving source to `name`."""
    line = [name]
    while inputs.get(line[-1]):
        line.append(inputs[line[-1]][0])
    return tuple(reversed(line))


def steps_before(spec: DataPipelineSpec, sink: str) -> tuple[str, ...]:
    """All that a sink's rows pass: source, steps and the sink itself."""
    inputs = inputs_of(spec)
    return next((*_line(inputs, each.input), sink) for each in spec.sinks if each.name == sink)


def pruned(spec: DataPipelineSpec, source: str, sinks: Sequence[str]) -> DataPipelineSpec:
    """Only these sinks and what they need; one stage, which `source` drives."""
    inputs = inputs_of(spec)
    needed: set[str] = set()
    waiting = [sink.input for sink in spec.sinks if sink.name in sinks]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting.extend(inputs[name])
    return spec.model_copy(
        update={
            "checks": (),
            "sources": tuple(each for each in spec.sources if each.name in needed or each.name == source),
            "steps": tuple(step for step in spec.steps if step.name in needed),
            "sinks": tuple(sink for sink in spec.sinks if sink.name in sinks),
        }
    )


def spec_for(spec: DataPipelineSpec, source: str, sinks: Sequence[str], layout: TextLayout) -> DataPipelineSpec:
    """What a chunk of a replay works by: its source is the file of rows; any number of them may be bad again."""
    small = pruned(spec, source, sinks)
    execution = small.execution.model_copy(
        update={"chunk": Chunking(max_bytes="64Mi"), "error_tolerance": ErrorTolerance(max_percent=100.0)}
    )
    sources = tuple(_reading_rows(each, layout) if each.name == source else each for each in small.sources)
    return small.model_copy(update={"sources": sources, "execution": execution})


def _reading_rows(source: Source, layout: TextLayout) -> Source:
    """The source as it reads the file of rows: in the dialect that they are written in."""
    if layout.json:
        return _reading_objects(source, layout)
    dialect = {"delimiter": layout.delimiter, "quote": layout.quote, "quoted_newlines": True, "encoding": "utf-8"}
    return _reading(source, Format(csv=(format_of(source).csv or CSV()).model_copy(update=dialect)))


def _reading_objects(source: Source, layout: TextLayout) -> Source:
    keys = dict(zip(layout.columns, layout.keys, strict=True))
    columns = tuple(column.model_copy(update={"from_": keys.get(column.name)}) for column in source.columns)
    return _reading(source.model_copy(update={"columns": columns}), Format(json_lines=JSONLines()))


def _reading(source: Source, form: Format) -> Source:
    files = FileSource(path=FILE, compression="None", format=form)
    nulls = source.contract.bad_values == "SetNull"
    bad_values = "SetNull" if nulls else "DeadLetter"
    contract = source.contract.model_copy(update={"bad_values": bad_values, "new_columns": "Ignore"})
    elsewhere = {"connection": CONNECTION, "files": files, "postgres": None, "http": None, "python": None}
    return source.model_copy(update={**elsewhere, "contract": contract})


def part_of(spec: DataPipelineSpec, source: str, layout: TextLayout, size: int) -> Part:
    """The file of rows as a part of the source: columns as they are declared now, or as they were read."""
    reads = _source(spec, source)
    assert reads is not None
    places = {name: index for index, name in enumerate(layout.columns) if name is not None}
    columns = [PlannedColumn(c.name, c.type, c.required, places.get(c.name, NOT_THERE)) for c in reads.columns]
    if not columns or adds(reads):
        types, known = layout.types or (), {column.name for column in columns}
        others = ((name, at) for name, at in places.items() if name not in known)
        columns += [PlannedColumn(name, types[at] or "string", False, at) for name, at in others]
    return Part(FileRef(FILE, size, 0), Layout(len(layout.columns), tuple(columns)), 0, size, 1)


def rows_of(texts: Sequence[str], layout: TextLayout) -> tuple[bytes, tuple[int, ...]]:
    """The file of rows, and where each begins. Quoted anew, so that no row can reach into the next."""
    data, begins = bytearray(), []
    for text in texts:
        begins.append(len(data))
        data += f"{layout.joined(layout.cut(text) or ())}\n".encode()
    return bytes(data), tuple(begins)


def _source(spec: DataPipelineSpec, name: str) -> Source | None:
    return next((each for each in spec.sources if each.name == name), None)
