"""The graph of sources, steps and sinks, and the stages it is cut into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill_api.errors import SpecError
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_check.graph import check_graph, topological
from tidemill_check.stages import Stage, cut, shown, stages


def _query(name: str, inputs: Sequence[str]) -> str:
    if not name.startswith("whole-"):
        return f'SELECT * FROM "{inputs[0]}"'
    return "SELECT count(*) FROM " + ", ".join(f'"{each}"' for each in inputs)


def pipeline(sources: Sequence[str], steps: Mapping[str, Sequence[str]], sinks: Mapping[str, str]) -> DataPipelineSpec:
    """A spec with these names: steps by their inputs (those called `whole-...` need all rows), sinks by their input."""
    return DataPipelineSpec.model_validate(
        {
            "workerPoolRef": {"name": "etl"},
            "sources": [
                {"name": name, "connection": "landing", "files": {"path": f"{name}.csv", "format": {"csv": {}}}}
                for name in sources
            ],
            "steps": [
                {"name": name, "inputs": list(inputs), "sql": {"query": _query(name, inputs)}}
                for name, inputs in steps.items()
            ],
            "sinks": [
                {
                    "name": name,
                    "input": read,
                    "connection": "warehouse",
                    "postgres": {"table": f"public.t{place}"},
                    "writeDisposition": "Append",
                }
                for place, (name, read) in enumerate(sinks.items())
            ],
        }
    )


STAGES: tuple[tuple[str, list[str], dict[str, list[str]], dict[str, str], list[Stage]], ...] = (
    ("straight through", ["raw"], {}, {"out": "raw"}, [Stage("raw", (), ("out",), ())]),
    (
        "the example",
        ["raw", "airlines"],
        {"valid": ["raw"], "named": ["valid", "airlines"]},
        {"flights": "named"},
        [Stage("raw", ("valid", "named"), ("flights",), ("airlines",))],
    ),
    (
        "steps in any order in the manifest",
        ["airlines", "raw"],
        {"named": ["valid", "airlines"], "valid": ["raw"]},
        {"flights": "named"},
        [Stage("raw", ("valid", "named"), ("flights",), ("airlines",))],
    ),
    (
        "a prepared broadcast input",
        ["raw", "airlines", "codes"],
        {"clean": ["airlines", "codes"], "named": ["raw", "clean"]},
        {"out": "named"},
        [Stage("raw", ("named",), ("out",), ("airlines", "codes", "clean"))],
    ),
    (
        "broadcast and loaded: a stage of its own",
        ["raw", "airlines"],
        {"clean": ["airlines"], "named": ["raw", "clean"]},
        {"dimension": "clean", "out": "named"},
        [Stage("raw", ("named",), ("out",), ("airlines", "clean")), Stage("airlines", ("clean",), ("dimension",), ())],
    ),
    (
        "two sinks of one source share its pass",
        ["raw"],
        {"valid": ["raw"], "big": ["valid"]},
        {"everything": "raw", "good": "valid", "large": "big"},
        [Stage("raw", ("valid", "big"), ("everything", "good", "large"), ())],
    ),
    (
        "two pipelines in one",
        ["a", "b"],
        {"sa": ["a"], "sb": ["b"]},
        {"ta": "sa", "tb": "sb"},
        [Stage("a", ("sa",), ("ta",), ()), Stage("b", ("sb",), ("tb",), ())],
    ),
    (
        "a source that is joined with itself, whole",
        ["raw"],
        {"valid": ["raw"], "again": ["valid", "raw"]},
        {"out": "again"},
        [Stage("raw", ("valid", "again"), ("out",), ("raw",))],
    ),
    (
        "a step of the driving line that only others join isn't driven",
        ["raw", "more"],
        {"side": ["raw"], "joined": ["more", "side"]},
        {"plain": "raw", "out": "joined"},
        [Stage("raw", (), ("plain",), ()), Stage("more", ("joined",), ("out",), ("raw", "side"))],
    ),
)


@pytest.mark.parametrize(("name", "sources", "steps", "sinks", "expected"), STAGES, ids=[case[0] for case in STAGES])
def test_stages(
    name: str, sources: list[str], steps: dict[str, list[str]], sinks: dict[str, str], expected: list[Stage]
) -> None:
    spec = pipeline(sources, steps, sinks)
    assert check_graph(spec) == (), name
    assert list(stages(spec)) == expected


WAVES = (
    (
        "an aggregate beside the rows that it is made of",
        ["raw"],
        {"valid": ["raw"], "whole-day": ["valid"]},
        {"flights": "valid", "daily": "whole-day"},
        ["raw → valid → flights, kept valid", "whole-day over all rows of valid", "whole-day → daily"],
    ),
    (
        "an answer of an answer, over a source and a step",
        ["raw", "airlines"],
        {"whole-a": ["raw", "airlines"], "whole-b": ["whole-a"]},
        {"out": "whole-b"},
        [
            "raw → kept raw; airlines → kept airlines",
            "whole-a over all rows of raw and airlines",
            "whole-b over all rows of whole-a",
            "whole-b → out",
        ],
    ),
    (
        "steps after an answer, one joined with a source",
        ["raw", "airlines"],
        {"whole-a": ["raw"], "few": ["whole-a"], "named": ["few", "airlines"]},
        {"out": "named", "plain": "raw"},
        ["raw → plain, kept raw", "whole-a over all rows of raw", "whole-a → few → named with airlines whole → out"],
    ),
    (
        "rows joined with what was made of them",
        ["raw"],
        {"valid": ["raw"], "whole-a": ["valid"], "share": ["valid", "whole-a"], "next": ["share"]},
        {"out": "next"},
        ["raw → valid → kept valid", "whole-a over all rows of valid", "valid → share → next with whole-a whole → out"],
    ),
    (
        "rows joined with an answer, kept for another",
        ["raw", "more"],
        {"whole-a": ["more"], "joined": ["raw", "whole-a"], "whole-b": ["joined"]},
        {"out": "whole-b"},
        [
            "raw → kept raw; more → kept more",
            "whole-a over all rows of more",
            "raw → joined with whole-a whole → kept joined",
            "whole-b over all rows of joined",
            "whole-b → out",
        ],
    ),
    (
        "an answer that is only joined, through a step",
        ["raw", "more"],
        {"whole-a": ["more"], "few": ["whole-a"], "joined": ["raw", "few"]},
        {"out": "joined"},
        [
            "raw → kept raw; more → kept more",
            "whole-a over all rows of more",
            "raw → joined with whole-a and few whole → out",
        ],
    ),
)


@pytest.mark.parametrize(("name", "sources", "steps", "sinks", "expected"), WAVES, ids=[case[0] for case in WAVES])
def test_waves(
    name: str, sources: list[str], steps: dict[str, list[str]], sinks: dict[str, str], expected: list[str]
) -> None:
    spec = pipeline(sources, steps, sinks)
    assert check_graph(spec) == (), name
    assert list(shown(cut(spec))) == expected


CYCLES = (
    ({"a": ["a"]}, {"out": "a"}, ["a → a"]),
    ({"a": ["b"], "b": ["a"]}, {"out": "b"}, ["b → a → b"]),
    ({"a": ["c"], "b": ["a"], "c": ["b"]}, {"out": "c"}, ["a → b → c → a", "b → c → a → b", "c → a → b → c"]),
    ({"a": ["raw", "b"], "b": ["a"], "after": ["b"]}, {"out": "after"}, ["b → a → b", "a → b → a"]),
)


@pytest.mark.parametrize(("steps", "sinks", "rings"), CYCLES)
def test_a_cycle_is_named_once(steps: dict[str, list[str]], sinks: dict[str, str], rings: list[str]) -> None:
    problems = check_graph(pipeline(["raw"], {**steps, "use": ["raw"]}, {**sinks, "other": "use"}))
    assert len(problems) == 1
    assert problems[0].field == "spec.steps[0].inputs"
    assert any(f"in a cycle: {ring};" in problems[0].message for ring in rings), problems[0].message


def test_two_cycles_are_two_problems() -> None:
    steps = {"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"], "fine": ["raw"]}
    problems = check_graph(pipeline(["raw"], steps, {"o": "a", "p": "c", "q": "fine"}))
    assert [problem.field for problem in problems] == ["spec.steps[0].inputs", "spec.steps[2].inputs"]


def test_stages_refuse_a_broken_graph() -> None:
    with pytest.raises(SpecError, match="there is no source or step nowhere") as error:
        stages(pipeline(["raw"], {}, {"out": "nowhere"}))
    assert error.value.field == "spec.sinks[0].input"


@st.composite
def graphs(draw: st.DrawFn, whole: bool = False) -> DataPipelineSpec:
    """Sound graphs: each step reads earlier names, everything is read. `whole`: some steps need all rows."""
    sources = [f"s{number}" for number in range(draw(st.integers(1, 4)))]
    names = list(sources)
    steps: dict[str, list[str]] = {}
    for number in range(draw(st.integers(0, 6))):
        name = f"whole-{number}" if whole and draw(st.booleans()) else f"t{number}"
        steps[name] = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        names.append(name)
    unread = set(names) - {name for inputs in steps.values() for name in inputs}
    loaded = sorted(unread | set(draw(st.lists(st.sampled_from(names), max_size=3))))
    order = draw(st.permutations(list(steps)))
    return pipeline(
        sources, {name: steps[name] for name in order}, {f"k{place}": name for place, name in enumerate(loaded)}
    )


@given(graphs())
def test_stages_hold_every_sink_once_and_all_that_is_needed(spec: DataPipelineSpec) -> None:
    inputs = {step.name: step.inputs for step in spec.steps}
    found = stages(spec)
    assert sorted(sink for stage in found for sink in stage.sinks) == sorted(sink.name for sink in spec.sinks)
    for stage in found:
        ready = {stage.source}
        whole: set[str] = set()
        for name in stage.broadcast:
            assert set(inputs.get(name, ())) <= whole, "a broadcast step comes after its inputs"
            whole.add(name)
        for name in stage.steps:
            assert inputs[name][0] in ready, "a step comes after its first input"
            assert set(inputs[name][1:]) <= whole, "what it joins is broadcast"
            ready.add(name)
        assert {sink.input for sink in spec.sinks if sink.name in stage.sinks} <= ready


@given(graphs(whole=True))
def test_each_wave_has_what_earlier_ones_have_given(spec: DataPipelineSpec) -> None:
    inputs = {step.name: step.inputs for step in spec.steps}
    found = cut(spec)
    answered = {each.step: each.wave for each in found.computations}
    kept = {name: stage.wave for stage in found.stages for name in stage.kept}
    assert set(answered) == {name for name in inputs if name.startswith("whole-")}
    assert sorted(sink for stage in found.stages for sink in stage.sinks) == sorted(sink.name for sink in spec.sinks)
    for computation in found.computations:
        assert computation.inputs == inputs[computation.step]
        for name in computation.inputs:
            assert (answered if name in answered else kept)[name] < computation.wave
    for stage in found.stages:
        if stage.source in inputs:
            assert (answered if stage.source in answered else kept)[stage.source] < stage.wave
        else:
            assert stage.wave == 0 or kept[stage.source] < stage.wave
        ready = {stage.source}
        for name in stage.steps:
            assert name not in answered
            assert inputs[name][0] in ready
            assert set(inputs[name][1:]) <= set(stage.broadcast)
            ready.add(name)
        for name in stage.broadcast:
            assert name not in answered or answered[name] < stage.wave
        assert {sink.input for sink in spec.sinks if sink.name in stage.sinks} <= ready
        assert set(stage.kept) <= ready - set(answered)
    waves = {each.wave for each in found.stages} | {each.wave for each in found.computations}
    assert waves == set(range(found.waves)), "a wave has some work"


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefx"), max_size=3), max_size=6))
def test_topological_order(inputs: dict[str, list[str]]) -> None:
    order = topological(inputs)
    for place, name in enumerate(order):
        assert all(need in order[:place] for need in inputs[name] if need in inputs)
    left = set(inputs) - set(order)
    assert all(any(need in left for need in inputs[name]) for name in left), "only what waits for a cycle is left out"
