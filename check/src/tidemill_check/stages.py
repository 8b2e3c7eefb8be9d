"""How the graph is cut into stages: what one pass over the rows of one source does."""

from __future__ import annotations

from dataclasses import dataclass

from tidemill_api.errors import SpecError
from tidemill_api.v1alpha1.datapipeline import DataPipelineSpec
from tidemill_check.graph import check_graph, inputs_of, topological


@dataclass(frozen=True, slots=True)
class Stage:
    """One driving source and all that its rows pass through, chunk by chunk.

    `steps` (each after its first input) and `sinks` (in the manifest's order) are reached from `source` through
    first inputs. `broadcast` names the sources and steps (each after its inputs) that these steps need whole.
    A name may be in `steps` of one stage and in `broadcast` of another, or of the same.
    """

    source: str
    steps: tuple[str, ...]
    sinks: tuple[str, ...]
    broadcast: tuple[str, ...]


def stages(spec: DataPipelineSpec) -> tuple[Stage, ...]:
    """The stages of a pipeline, in the order of their sources. Only a source whose rows reach a sink drives one.

    Raises `SpecError` when the graph is at fault (see `check_graph`).
    """
    for problem in check_graph(spec):
        raise SpecError(problem.field, problem.message)
    inputs = inputs_of(spec)
    order = topological(inputs)
    lines = {sink.name: _line(sink.input, inputs) for sink in spec.sinks}
    found = []
    for source in spec.sources:
        sinks = tuple(name for name, line in lines.items() if line[0] == source.name)
        if sinks:
            driven = {name for sink in sinks for name in lines[sink]}
            steps = tuple(name for name in order if name in driven and name != source.name)
            whole = _closure({name for step in steps for name in inputs[step][1:]}, inputs)
            found.append(Stage(source.name, steps, sinks, tuple(name for name in order if name in whole)))
    return tuple(found)


def _line(name: str, inputs: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The way of the rows from the driving source to `name`, both included."""
    line = [name]
    while inputs[line[-1]]:
        line.append(inputs[line[-1]][0])
    return tuple(reversed(line))


def _closure(names: set[str], inputs: dict[str, tuple[str, ...]]) -> set[str]:
    """The names and everything that they are made from."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(inputs[name])
    return found
