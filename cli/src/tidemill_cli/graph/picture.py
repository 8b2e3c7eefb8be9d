"""What is in the picture of a pipeline, whatever it is written in: nodes, arrows, and the waves of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tidemill_api.v1alpha1.check import Check
from tidemill_api.v1alpha1.datapipeline import DataPipeline, DataPipelineSpec, Sink, Source, Step
from tidemill_check.stages import Cut, cut


class Kind(StrEnum):
    """What a node stands for; each has a shape of its own."""

    source = "source"
    step = "step"
    whole = "whole"
    """A step over all rows."""
    sink = "sink"
    check = "check"


class Arrow(StrEnum):
    """What an arrow stands for."""

    rows = "rows"
    joined = "joined"
    """All rows of the input are there for each row of the first one."""
    checked = "checked"


@dataclass(frozen=True, slots=True)
class Node:
    """One thing of the pipeline. `id` is unique in the picture: of lower-case letters, digits, `-` and `_`."""

    id: str
    kind: Kind
    lines: tuple[str, ...]
    """Its name, and what it is in a few words. These may hold any characters but line breaks."""


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow between two nodes."""

    start: str
    end: str
    arrow: Arrow


@dataclass(frozen=True, slots=True)
class Picture:
    """The nodes of each wave, one tuple a wave, in the manifest's order; checks belong to none: they come last."""

    name: str
    waves: tuple[tuple[Node, ...], ...]
    checks: tuple[Node, ...]
    edges: tuple[Edge, ...]


def picture(pipeline: DataPipeline) -> Picture:
    """The picture of a pipeline; always the same one for the same spec.

    Raises `SpecError` when its graph is at fault (see `tidemill_check.graph`).
    """
    spec = pipeline.spec
    taken_apart = cut(spec)
    nodes = tuple(_nodes(spec, taken_apart))
    places = _waves(spec, taken_apart)
    return Picture(
        pipeline.metadata.name,
        tuple(tuple(each for each in nodes if places[each.id] == wave) for wave in range(taken_apart.waves)),
        tuple(Node(f"check_{check.name}", Kind.check, (check.name, _measured(check))) for check in spec.checks),
        tuple(_edges(spec, taken_apart)),
    )


def _nodes(spec: DataPipelineSpec, taken_apart: Cut) -> Iterator[Node]:
    for source in spec.sources:
        yield Node(f"source_{source.name}", Kind.source, (source.name, _read(source)))
    for step in spec.steps:
        whole = step.name in taken_apart.computed
        done = f"{_done(step)} over all rows" if whole else _done(step)
        yield Node(f"step_{step.name}", Kind.whole if whole else Kind.step, (step.name, done))
    for sink in spec.sinks:
        yield Node(f"sink_{sink.name}", Kind.sink, (sink.name, _loaded(sink)))


def _read(source: Source) -> str:
    if source.files is not None:
        return f"{source.files.path} of {source.connection}"
    if source.postgres is not None:
        return f"{source.postgres.table} of {source.connection}"
    if source.http is not None:
        return f"{source.http.path or '/'} of {source.connection}"
    assert source.python is not None  # the rule
    return source.python.entrypoint


def _done(step: Step) -> str:
    if step.validate_ is not None:
        rules = len(step.validate_.rules_)
        return f"{rules} rule{'s' * (rules != 1)}"
    return "SQL" if step.python is None else step.python.entrypoint


def _loaded(sink: Sink) -> str:
    strategy = f" ({sink.merge_strategy})" if sink.merge_strategy is not None else ""
    return f"{sink.write_disposition}{strategy} into {sink.target} of {sink.connection}"


def _measured(check: Check) -> str:
    return f"{check.metric}, warns" if check.severity == "Warn" else check.metric


def _waves(spec: DataPipelineSpec, taken_apart: Cut) -> Mapping[str, int]:
    """The wave of each node: the first one that works on it."""
    found: dict[str, int] = {f"step_{each.step}": each.wave for each in taken_apart.computations}
    kinds = {each.name: "source" for each in spec.sources} | {each.name: "step" for each in spec.steps}
    for stage in taken_apart.stages:
        for name in (stage.source, *stage.steps, *stage.broadcast):
            found.setdefault(f"{kinds[name]}_{name}", stage.wave)
        for name in stage.sinks:
            found.setdefault(f"sink_{name}", stage.wave)
    return found


def _edges(spec: DataPipelineSpec, taken_apart: Cut) -> Iterator[Edge]:
    ids = {each.name: f"source_{each.name}" for each in spec.sources}
    ids |= {each.name: f"step_{each.name}" for each in spec.steps}
    for step in spec.steps:
        for place, name in enumerate(step.inputs):
            joined = place > 0 and step.name not in taken_apart.computed
            yield Edge(ids[name], ids[step.name], Arrow.joined if joined else Arrow.rows)
    for sink in spec.sinks:
        yield Edge(ids[sink.input], f"sink_{sink.name}", Arrow.rows)
    for check in spec.checks:
        yield Edge(f"sink_{check.sink}", f"check_{check.name}", Arrow.checked)
