"""What was seen of a pipeline, as tables in a terminal and as JSON."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidemill_api.v1alpha1 import DataPipeline
from tidemill_api.v1alpha1.datapipeline import DataPipelineSpec, Sink
from tidemill_check.stages import cut as cut_up
from tidemill_cli.lint.finding import Finding
from tidemill_cli.rehearse.values import cut, printable, rows_as_json, shown, type_name
from tidemill_worker.engine.filesink.columns import columns_of
from tidemill_worker.engine.postgres.tables import created
from tidemill_worker.engine.rehearsal import Rehearsal, Seen

_WIDTH: Final = 40
"""Most characters of a value, unless all is shown."""
_GAP: Final = 2
_REJECT: Final = ("FILE", "LINE", "WHY", "ROW")
_UNBOUND: Final = 100_000


@dataclass(frozen=True, slots=True)
class Page:
    """One pipeline's preview. Without a rehearsal it failed before anything was read."""

    pipeline: DataPipeline
    run_time: datetime
    rows: int
    rehearsal: Rehearsal | None
    failure: Finding | None = None

    def as_json(self) -> dict[str, Any]:
        """All that `print` shows, with values whole."""
        metadata = self.pipeline.metadata
        return {
            "pipeline": metadata.name,
            "namespace": metadata.namespace,
            "runTime": self.run_time.isoformat(),
            "nodes": [{"kind": kind, **_as_json(seen, self.rows)} for kind, seen in self._nodes()],
            "sinks": [_sink_as_json(sink, seen, self.rows) for sink, seen in self._sinks()],
            "error": None if self.failure is None else self.failure.to_json(),
        }

    def print(self, *, wide: bool) -> None:
        """A table for each source and step, and the columns of each sink, to stdout."""
        width = _UNBOUND if wide else shutil.get_terminal_size((_UNBOUND, 24)).columns
        console = _Console(width=_UNBOUND, highlight=False, soft_wrap=True)
        metadata = self.pipeline.metadata
        moment = self.run_time.isoformat().replace("+00:00", "Z")
        console.print(Text.assemble((f"{metadata.namespace}/{metadata.name}", "bold"), f" at {moment}"))
        for line in _ways(self.pipeline.spec):
            console.print(Text(line, style="dim"))
        for kind, seen in self._nodes():
            console.print()
            console.print(_heading(kind, seen))
            _rows(console, seen.table, width, None if wide else _WIDTH)
            _rejects(console, seen, self.rows, width)
        for sink, seen in self._sinks():
            console.print()
            console.print(_sink_heading(sink, seen))
            console.print(Text(f"  {', '.join(_columns(sink, seen.schema))}"))
            _rejects(console, seen, self.rows, width)

    def _nodes(self) -> Iterator[tuple[str, Seen]]:
        if self.rehearsal is None:
            return
        spec, seen = self.pipeline.spec, self.rehearsal.seen
        for source in spec.sources:
            if source.name in seen:
                yield "source", seen[source.name]
        for step in spec.steps:
            if step.name in seen:
                yield next(name for name in step.to_json() if name not in ("name", "inputs")), seen[step.name]

    def _sinks(self) -> Iterator[tuple[Sink, Seen]]:
        for sink in self.pipeline.spec.sinks:
            if self.rehearsal is not None and sink.name in self.rehearsal.sinks:
                yield sink, self.rehearsal.sinks[sink.name]


def _ways(spec: DataPipelineSpec) -> Iterator[str]:
    """The stages: what is done row by row, and what needs all rows."""
    parts = cut_up(spec)
    for wave in range(parts.waves):
        for each in parts.computations:
            if each.wave == wave:
                yield f"over all rows: {each.step}, from {', '.join(each.inputs)}"
        for stage in parts.stages:
            if stage.wave == wave:
                joined = f", joining {', '.join(stage.broadcast)}" if stage.broadcast else ""
                sinks = (f"[{sink}]" for sink in stage.sinks)
                yield f"row by row: {' → '.join([stage.source, *stage.steps, *sinks])}{joined}"


def _heading(kind: str, seen: Seen) -> Text:
    return Text.assemble((seen.name, "bold"), f" ({kind})  {_counts(seen)}")


def _sink_heading(sink: Sink, seen: Seen) -> Text:
    where = f"{sink.connection} {sink.target}"
    key = f" by {', '.join(sink.primary_key)}" if sink.primary_key else ""
    words = f" (sink)  {sink.write_disposition}{key} into {where}, {_counts(seen)}; nothing is written"
    return Text.assemble((sink.name, "bold"), words)


def _counts(seen: Seen) -> str:
    count = seen.count
    read = f"{count.rows_in:,} in, {seen.rows:,} out" if count is not None else _many(seen.rows, "row")
    for number, word in ((count.rejected, "rejected"), (count.skipped, "skipped")) if count is not None else ():
        read += f", {number:,} {word}" if number else ""
    return read + ("" if seen.complete else ", and more that wasn't read")


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _rows(console: Console, rows: pa.Table, width: int, most: int | None) -> None:
    """The rows below the columns' names and types; columns that don't fit are named in a line of their own."""
    columns = [
        [
            printable(field.name),
            type_name(field.type),
            *(shown(value, most) for value in rows.column(place).to_pylist()),
        ]
        for place, field in enumerate(rows.schema)
    ]
    fitting = _fitting(columns, width)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=False)
    for place in range(fitting):
        number = pa.types.is_integer(rows.schema.types[place]) or pa.types.is_floating(rows.schema.types[place])
        table.add_column(justify="right" if number else "left", no_wrap=True)
    for line in range(len(columns[0]) if columns else 0):
        style = ("bold cyan", "dim")[line] if line < 2 else ""
        table.add_row(*(_cell(column[line], style) for column in columns[:fitting]))
    if not rows.num_rows:
        table.add_row(Text("(no rows)", style="dim"))
    console.print(table)
    if left := [column[0] for column in columns[fitting:]]:
        console.print(Text(f"{_many(len(left), 'more column')} (-o wide shows all): {', '.join(left)}", style="dim"))


def _cell(text: str, style: str) -> Text:
    return Text(text, style="dim italic" if text == "NULL" and not style else style)


def _fitting(columns: Sequence[Sequence[str]], width: int) -> int:
    """How many columns fit into the width, at least one."""
    used = 0
    for place, column in enumerate(columns):
        used += max(map(cell_len, column)) + _GAP
        if used - _GAP > width and place:
            return place
    return len(columns)


def _rejects(console: Console, seen: Seen, most_rows: int, width: int) -> None:
    """Rejected rows with rule and reason; of a row as much as fits."""
    letters = seen.rejected
    if not letters.num_rows:
        return
    console.print(Text(f"rejected by {seen.name}:", style="yellow"))
    lines = [_REJECT, *map(_reject, letters.slice(0, most_rows).to_pylist())]
    widths = [max(cell_len(line[place]) for line in lines) for place in range(len(_REJECT) - 1)]
    left = max(width - sum(each + _GAP for each in widths), _WIDTH)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=False)
    for title in _REJECT:
        table.add_column(justify="right" if title == "LINE" else "left", no_wrap=True)
    for line in lines:
        table.add_row(
            *(Text(cell, style="dim" if line is _REJECT else "") for cell in (*line[:-1], cut(line[-1], left)))
        )
    console.print(table)
    if (more := letters.num_rows - most_rows) > 0:
        console.print(Text(f"and {more:,} more", style="dim"))


def _reject(letter: Mapping[str, Any]) -> tuple[str, ...]:
    broken = letter["reason"] == "RuleBroken"
    why = ", ".join(letter["rules"]) if broken else f"{letter['reason']}: {letter['error']}"
    row = letter["row_columns"] or letter["row_text"] or ""
    return printable(letter["file"]), str(letter["line"]), cut(printable(why), 2 * _WIDTH), printable(row)


class _Console(Console):
    """Leaves a closed pipe to the program, as everything else here does."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _as_json(seen: Seen, most_rows: int) -> dict[str, Any]:
    count = seen.count
    return {
        "name": seen.name,
        "columns": [{"name": field.name, "type": type_name(field.type)} for field in seen.schema],
        "rows": rows_as_json(seen.table),
        "rowsIn": count.rows_in if count is not None else None,
        "rowsOut": seen.rows,
        "rowsRejected": count.rejected if count is not None else 0,
        "rowsSkipped": count.skipped if count is not None else 0,
        "complete": seen.complete,
        "rejects": [
            {
                "file": letter["file"],
                "line": letter["line"],
                "reason": letter["reason"],
                "rules": letter["rules"],
                "error": letter["error"],
                "row": letter["row_columns"] or letter["row_text"],
            }
            for letter in seen.rejected.slice(0, most_rows).to_pylist()
        ],
    }


def _sink_as_json(sink: Sink, seen: Seen, most_rows: int) -> dict[str, Any]:
    where = {"table": sink.table} if sink.postgres is not None else {"path": sink.target}
    return {
        **_as_json(seen, most_rows),
        "connection": sink.connection,
        **where,
        "writeDisposition": sink.write_disposition,
        "primaryKey": list(sink.primary_key),
        "columns": [{"name": name, "type": kind} for name, kind in _loaded_as(sink, seen.schema)],
    }


def _columns(sink: Sink, schema: pa.Schema) -> Iterator[str]:
    for name, kind in _loaded_as(sink, schema):
        yield f"{printable(name)} {kind}"


def _loaded_as(sink: Sink, schema: pa.Schema) -> Iterator[tuple[str, str]]:
    """Names of the columns where they are loaded, and their types there; `folder` is said of partitions."""
    if sink.http is not None:
        yield from ((field.name, type_name(field.type)) for field in schema)
        return
    if sink.files is None:
        yield from ((field.name, field.column) for field in created(sink, schema).fields)
        return
    written = columns_of(sink.name, sink.files, schema)
    yield from ((field.name, type_name(field.type)) for field in written.inside)
    yield from ((name, "folder") for name in written.partitions)
