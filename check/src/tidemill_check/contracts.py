"""What the contracts of sources allow to be done to the tables of sinks behind them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tidemill_api import conditions
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.datapipeline import Sink, Source
from tidemill_check.graph import inputs_of
from tidemill_check.problem import Problem
from tidemill_check.stages import cut


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be altered of a table."""

    add: bool = False
    """Columns that the rows have and it hasn't are added."""
    widen: bool = False
    """Columns get the rows' types where these are wider."""

    def __bool__(self) -> bool:
        return self.add or self.widen


def allowed(spec: DataPipelineSpec, sink: Sink) -> Allowed:
    """What may be altered of a sink's table: what the contract of any source says that its rows are made of."""
    if sink.files is not None:  # no table
        return Allowed()
    contracts = [source.contract for source in _behind(spec, sink)]
    return Allowed(
        add=any(contract.new_columns == "Add" for contract in contracts),
        widen=any(contract.wider_types == "Widen" for contract in contracts),
    )


def check_contracts(spec: DataPipelineSpec) -> Iterator[Problem]:
    """New columns of what can't have any. For pipelines whose graph is right."""
    stages = cut(spec).stages
    for index, source in enumerate(spec.sources):
        asked = source.http is not None or source.python is not None
        if asked and source.contract.new_columns == "Add" and any(source.name in stage.broadcast for stage in stages):
            what = "an API" if source.http is not None else "a function"
            yield Problem(
                f"spec.sources[{index}].contract.newColumns",
                conditions.INVALID_SPEC,
                f"{source.name} is joined whole to other rows, and which columns {what} gives is known only when it is "
                "read: declare them, and say Ignore or Fail",
            )


def _behind(spec: DataPipelineSpec, sink: Sink) -> Iterator[Source]:
    """The sources that a sink's rows are made of, those that are joined to others too."""
    inputs, found, waiting = inputs_of(spec), {sink.input}, [sink.input]
    while waiting:
        for name in inputs.get(waiting.pop(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return (source for source in spec.sources if source.name in found)
