"""Incremental sources: which sinks their rows reach, and whether these can take a part of the rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

from tidemill_api import conditions
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.datapipeline import Sink
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
        if source.incremental is None:
            continue
        for message in _faults(spec, source.name):
            yield Problem(f"spec.sources[{index}].incremental", conditions.INVALID_SPEC, message)


def _faults(spec: DataPipelineSpec, source: str) -> Iterator[str]:
    found = cut(spec)
    if any(source in stage.broadcast for stage in found.stages):
        yield f"{source} is joined whole to other rows: with its new files alone most of it would be missing"
    if found.waves > 1:
        yield "a step of the pipeline needs all rows: over new files alone its answer would be that of a part"
    for sink in sinks_of(spec, source):
        if sink.write_disposition == "Replace":
            yield f"the sink {sink.name} replaces its rows: only the new files' would be left; use Append or Merge"
        elif not sink.at_end:
            yield (
                f"the sink {sink.name} appends chunk by chunk: a run that fails half-way would leave rows that the "
                "next one loads again; set its commit: AtEnd"
            )
        elif sink.history is not None and sink.history.absent_keys == "Retire":
            yield f"the sink {sink.name} retires keys that a run doesn't bring: with new files alone that is nearly all"
