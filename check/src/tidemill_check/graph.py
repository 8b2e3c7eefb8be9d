"""The graph of sources, steps and sinks: names that exist, no cycle, nothing that leads nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tidemill_api import conditions
from tidemill_api.v1alpha1.datapipeline import DataPipelineSpec
from tidemill_check.problem import Problem, suggestion


def check_graph(spec: DataPipelineSpec) -> tuple[Problem, ...]:
    """Every fault of the graph: unknown inputs, cycles, sources and steps that nothing reads.

    Double names are refused by the models.
    """
    return (*_unknown_inputs(spec), *_cycles(spec), *_unread(spec))


def inputs_of(spec: DataPipelineSpec) -> dict[str, tuple[str, ...]]:
    """The inputs of every source (none) and step, by name."""
    return {**{source.name: () for source in spec.sources}, **{step.name: step.inputs for step in spec.steps}}


def topological(inputs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Names with each after all of its inputs, otherwise in the given order; what is on or behind a cycle is left out.

    Inputs that aren't names of the graph count as met.
    """
    done: dict[str, None] = {}
    waiting = dict(inputs)
    while waiting:
        ready = [name for name, needs in waiting.items() if all(need in done or need not in inputs for need in needs)]
        if not ready:
            break
        first = ready[0]
        done[first] = None
        del waiting[first]
    return tuple(done)


def _readable(spec: DataPipelineSpec) -> list[tuple[str, str]]:
    """Path and name of every source and step, in the manifest's order."""
    sources = [(f"spec.sources[{index}]", source.name) for index, source in enumerate(spec.sources)]
    return sources + [(f"spec.steps[{index}]", step.name) for index, step in enumerate(spec.steps)]


def _problem(field: str, message: str) -> Problem:
    return Problem(field=field, reason=conditions.INVALID_GRAPH, message=message)


def _unknown_inputs(spec: DataPipelineSpec) -> Iterator[Problem]:
    known = inputs_of(spec)
    for index, step in enumerate(spec.steps):
        for place, name in enumerate(step.inputs):
            if name not in known:
                others = [other for other in known if other != step.name]
                yield _problem(
                    f"spec.steps[{index}].inputs[{place}]",
                    f"there is no source or step {name}{suggestion(name, others)}",
                )
    for index, sink in enumerate(spec.sinks):
        if sink.input not in known:
            yield _problem(
                f"spec.sinks[{index}].input", f"there is no source or step {sink.input}{suggestion(sink.input, known)}"
            )


def _cycles(spec: DataPipelineSpec) -> Iterator[Problem]:
    inputs = inputs_of(spec)
    stuck = {name: inputs[name] for name in inputs if name not in set(topological(inputs))}
    named: set[str] = set()
    for index, step in enumerate(spec.steps):
        if step.name in stuck and step.name not in named:
            cycle = _cycle_from(step.name, stuck)
            if cycle and not named.intersection(cycle):
                named.update(cycle)
                ring = " → ".join((*cycle, cycle[0]))
                yield _problem(
                    f"spec.steps[{index}].inputs",
                    f"the steps read each other in a cycle: {ring}; one of them must read something else",
                )


def _cycle_from(start: str, inputs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The cycle that `start` is on, in the order of the data's flow, or nothing when it only reads from one."""
    path: list[str] = []

    def leads_back(name: str, seen: set[str]) -> bool:
        path.append(name)
        for need in inputs[name]:
            if need == start:
                return True
            if need in inputs and need not in seen:
                seen.add(need)
                if leads_back(need, seen):
                    return True
        path.pop()
        return False

    return tuple(reversed(path)) if leads_back(start, {start}) else ()


def _unread(spec: DataPipelineSpec) -> Iterator[Problem]:
    read = {name for step in spec.steps for name in step.inputs} | {sink.input for sink in spec.sinks}
    for field, name in _readable(spec):
        if name not in read:
            yield _problem(field, f"nothing reads {name}; name it as an input of a step or sink, or take it out")
