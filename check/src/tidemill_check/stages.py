"""How the graph is cut into stages: what one pass over rows does, and what must be there before.

Row-wise steps are one pass with what drives them. A step that needs all rows is a computation of its own: the rows of
its inputs are kept while they are worked on, and its answer drives what follows. So stages come in waves, and a wave
begins when the one before has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from tidemill_api.errors import SpecError
from tidemill_api.v1alpha1.datapipeline import DataPipelineSpec, Step
from tidemill_check.graph import check_graph, inputs_of, topological
from tidemill_check.problem import listed
from tidemill_check.sql import check_query, needs_all_rows


@dataclass(frozen=True, slots=True)
class Stage:
    """What drives a pass and all that its rows go through, chunk by chunk.

    `steps` (each after its first input) and `sinks` (in the manifest's order) are reached from `source` through
    first inputs. `broadcast` names the sources and steps (each after its inputs) that these steps need whole.
    A name may be in `steps` of one stage and in `broadcast` of another, or of the same.
    """

    source: str
    """A source; in a later wave also a step, whose kept rows are read."""
    steps: tuple[str, ...]
    sinks: tuple[str, ...]
    broadcast: tuple[str, ...]
    kept: tuple[str, ...] = ()
    """Of `source` and `steps`: whose rows are kept, since a later wave reads them."""
    wave: int = 0


@dataclass(frozen=True, slots=True)
class Computation:
    """A step that needs all rows of all its inputs. They have been kept by earlier waves."""

    step: str
    inputs: tuple[str, ...]
    wave: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A pipeline, taken apart."""

    stages: tuple[Stage, ...]
    """In the order of their waves, within one in the order of sources and steps."""
    computations: tuple[Computation, ...]
    """In the order of their waves."""

    @property
    def waves(self) -> int:
        """How many there are: 1 if every step is row-wise."""
        return 1 + max([each.wave for each in self.stages] + [each.wave for each in self.computations], default=0)

    @property
    def computed(self) -> frozenset[str]:
        """Names of the steps that need all rows."""
        return frozenset(each.step for each in self.computations)


def stages(spec: DataPipelineSpec) -> tuple[Stage, ...]:
    """The passes over rows, in their order. Only a source whose rows reach a sink or a computation drives one.

    Raises `SpecError` when the graph is at fault (see `check_graph`).
    """
    return cut(spec).stages


def whole_steps(spec: DataPipelineSpec) -> Mapping[str, tuple[str, ...]]:
    """The steps that need all rows of all their inputs, and why, each reason a sentence about its query or function.

    Those whose query is refused anyhow are none of them.
    """
    parameters = [parameter.name for parameter in spec.parameters]
    found = {}
    for step in spec.steps:
        if step.sql is not None and not check_query(step.sql.query, step.inputs, parameters):
            why = needs_all_rows(step.sql.query, step.inputs, parameters)
            if why:
                found[step.name] = why
        elif step.python is not None and step.python.mode == "Whole":
            found[step.name] = ("its mode is Whole",)
    return found


def whole_field(step: Step) -> str:
    """The field of a step that says that it needs all rows."""
    return "python.mode" if step.python is not None else "sql.query"


def cut(spec: DataPipelineSpec) -> Cut:
    """The stages and computations of a pipeline. Raises as `stages`."""
    for problem in check_graph(spec):
        raise SpecError(problem.field, problem.message)
    return _cut(
        tuple(inputs_of(spec).items()),
        tuple((sink.name, sink.input) for sink in spec.sinks),
        frozenset(whole_steps(spec)),
    )


@lru_cache(maxsize=256)
def _cut(
    inputs: tuple[tuple[str, tuple[str, ...]], ...], sinks: tuple[tuple[str, str], ...], whole: frozenset[str]
) -> Cut:
    graph = _Graph(dict(inputs), whole)
    passes: dict[_Key, _Pass] = {}
    for sink, name in sinks:
        _drive(graph, passes, name).sinks.append(sink)
    for step in (name for name in graph.order if name in whole):
        for name in graph.inputs[step]:
            if name not in whole:
                _drive(graph, passes, name).kept.add(name)
    while missing := [name for name in _cut_off(graph, passes) if name not in _drive(graph, passes, name).kept]:
        for name in missing:
            _drive(graph, passes, name).kept.add(name)
    keys = sorted(passes, key=lambda key: (key[1], list(graph.inputs).index(key[0])))
    computations = [Computation(name, graph.inputs[name], graph.waves[name]) for name in graph.order if name in whole]
    return Cut(
        tuple(passes[key].stage(graph, key, [sink for sink, _ in sinks]) for key in keys),
        tuple(sorted(computations, key=lambda each: each.wave)),
    )


def shown(found: Cut) -> tuple[str, ...]:
    """A sentence for each wave: what is done at once."""
    sentences = []
    for wave in range(found.waves):
        parts = [
            f"{each.step} over all rows of {listed(each.inputs)}" for each in found.computations if each.wave == wave
        ]
        for stage in found.stages:
            if stage.wave == wave:
                ends = [*stage.sinks, *(f"kept {name}" for name in stage.kept)]
                joined = f" with {listed(stage.broadcast)} whole" if stage.broadcast else ""
                parts.append(f"{' → '.join((stage.source, *stage.steps))}{joined} → {', '.join(ends)}")
        sentences.append("; ".join(parts))
    return tuple(sentences)


_Key = tuple[str, int]
"""What drives a pass, and its wave."""


def _cut_off(graph: _Graph, passes: Mapping[_Key, _Pass]) -> list[str]:
    """What drives a pass over rows that an earlier pass keeps, since what these are joined with comes later."""
    return [name for name, wave in passes if name not in graph.whole and wave > graph.waves[name]]


class _Graph:
    """The steps, and the wave in which each has its rows."""

    def __init__(self, inputs: dict[str, tuple[str, ...]], whole: frozenset[str]) -> None:
        self.inputs = inputs
        self.whole = whole
        self.order = topological(inputs)
        self.waves: dict[str, int] = {}
        for name in self.order:
            self.waves[name] = self._wave(name)

    def _wave(self, name: str) -> int:
        inputs = self.inputs[name]
        if not inputs:
            return 0
        if name in self.whole:
            return 1 + max(self.waves[each] for each in inputs)
        joined = [each for each in self.closure(inputs[1:]) if each in self.whole]
        return max([self.after(inputs[0]), *map(self.after, joined)])

    def after(self, name: str) -> int:
        """The first wave that can work on the rows of `name`, chunk by chunk."""
        return self.waves[name] + (name in self.whole)

    def joins(self, name: str) -> bool:
        """Whether a row-wise step is done in the pass of its first input, not in one over that input's kept rows."""
        first = self.inputs[name][0]
        return first not in self.whole and self.waves[first] == self.waves[name]

    def closure(self, names: tuple[str, ...]) -> set[str]:
        """The names and all that they are made from, back to answers of computations."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(() if name in self.whole else self.inputs[name])
        return found


class _Pass:
    """A stage as it is found out."""

    def __init__(self) -> None:
        self.steps: set[str] = set()
        self.sinks: list[str] = []
        self.kept: set[str] = set()

    def stage(self, graph: _Graph, key: _Key, sinks: list[str]) -> Stage:
        steps = tuple(name for name in graph.order if name in self.steps)
        whole = graph.closure(tuple(name for step in steps for name in graph.inputs[step][1:]))
        return Stage(
            key[0],
            steps,
            tuple(sink for sink in sinks if sink in self.sinks),
            tuple(name for name in graph.order if name in whole),
            tuple(name for name in graph.order if name in self.kept),
            key[1],
        )


def _drive(graph: _Graph, passes: dict[_Key, _Pass], name: str) -> _Pass:
    """The pass through which rows come to `name`, with all steps on the way."""
    steps = [] if name in graph.whole else list(_line(graph, name))
    if name in graph.whole or not graph.inputs[name]:
        key = (name, graph.after(name))
    else:
        first = graph.inputs[steps[-1]][0] if steps else name
        key = (first, graph.waves[name])
    found = passes.setdefault(key, _Pass())
    found.steps.update(steps)
    return found


def _line(graph: _Graph, name: str) -> Iterator[str]:
    """The steps of one pass that lead to `name`, the last first."""
    while graph.inputs[name] and name not in graph.whole:
        yield name
        if not graph.joins(name):
            return
        name = graph.inputs[name][0]
