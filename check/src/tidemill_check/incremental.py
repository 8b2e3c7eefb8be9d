"""Incremental sources: which sinks their rows reach, and whether these can take a part of the rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

from tidemill_api import conditions
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.datapipeline import Sink, Source
from tidemill_check import cursors
from tidemill_check.graph import inputs_of
from tidemill_check.problem import Problem
from tidemill_check.stages import cut


def sinks_of(spec: DataPipelineSpec, source: str) -> tuple[Sink, ...]:
    """The sinks that the rows of a source reach, in the manifest's order."""
    inputs = inputs_of(spec)

    def reached(name: str) -> bool:
        return name == source or any(map(reached, inputs.get(name, ())))

    return tuple(sink for sink in spec.sinks if reached(sink.input))


def check_incremental(spec: DataPipelineSpec) -> Iterator[Problem]:
    """Incremental sources whose new rows alone would give a wrong answer. For pipelines whose graph is right."""
    for index, source in enumerate(spec.sources):
        if not source.only_new:
            continue
        field = f"spec.sources[{index}].{'incremental' if source.incremental is not None else 'python.keepState'}"
        for message in _faults(spec, source):
            yield Problem(field, conditions.INVALID_SPEC, message)
        for name, message in _values(source):
            yield Problem(f"{field}.{name}", conditions.INVALID_SPEC, message)


def _faults(spec: DataPipelineSpec, source: Source) -> Iterator[str]:
    incremental, found = source.incremental, cut(spec)
    new = "new files" if incremental is not None and incremental.by is not None else "new rows"
    if any(source.name in stage.broadcast for stage in found.stages):
        yield f"{source.name} is joined whole to other rows: with its {new} alone most of it would be missing"
    if found.waves > 1:
        yield f"a step of the pipeline needs all rows: over {new} alone its answer would be that of a part"
    for sink in sinks_of(spec, source.name):
        if sink.http is not None:
            yield (
                f"the sink {sink.name} sends rows as they are read: a run that fails half-way has sent some, which the "
                "next one would send again as others; read all of them, or load a table"
            )
        elif sink.write_disposition == "Replace":
            yield f"the sink {sink.name} replaces its rows: only {new} would be left; use Append or Merge"
        elif not sink.at_end:
            yield (
                f"the sink {sink.name} appends chunk by chunk: a run that fails half-way would leave rows that the "
                "next one loads again; set its commit: AtEnd"
            )
        elif sink.write_disposition == "Append" and incremental is not None and incremental.lag is not None:
            yield (
                f"the sink {sink.name} appends: rows within the lag would be there once more after each run; use "
                "Merge, or leave lag out"
            )
        elif sink.history is not None and sink.history.absent_keys == "Retire":
            yield f"the sink {sink.name} retires keys that a run doesn't bring: with {new} alone that is nearly all"


def _values(source: Source) -> Iterator[tuple[str, str]]:
    """Of a cursor: its settings that don't fit its type."""
    column = source.cursor_column
    kind = cursors.kind_of(column.type) if column is not None else None
    if kind is None:
        return
    assert source.incremental is not None
    for name, value, read in (
        ("initialValue", source.incremental.initial_value, cursors.parsed),
        ("lag", source.incremental.lag, cursors.lag),
    ):
        try:
            if value is not None:
                read(value, kind)
        except ValueError as error:
            yield name, str(error)
