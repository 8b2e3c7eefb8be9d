"""Pipelines that follow others: which runs are due, what they wait for, circles, and what the operator makes of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.operator_world import NOW, PIPELINE, SETTINGS, pipeline, pool, schedule, seen_run
from tidemill_api import conditions as said
from tidemill_api.contract import RunResult
from tidemill_api.v1alpha1 import DataPipelineStatus
from tidemill_check import following
from tidemill_cli.cluster.effects import effects
from tidemill_cli.lint.meaning import check_manifests
from tidemill_cli.manifests import load_manifests
from tidemill_operator.actions import Action, DeleteSchedule, StartRun
from tidemill_operator.apply import Appliance
from tidemill_operator.clients import Key, Object, PipelineInTemporal
from tidemill_operator.metrics import Metrics
from tidemill_operator.notice import concerned
from tidemill_operator.pipeline.desire import desire
from tidemill_operator.pipeline.following import Following, Predecessor
from tidemill_operator.pipeline.observe import Observed, There
from tidemill_operator.pipeline.plan import plan
from tidemill_operator.pipeline.report import report
from tidemill_operator.standing import condition
from tidemill_operator.store import MemoryStore
from tidemill_operator.sweep import Sweep, differing, fold
from tidemill_operator.views import RunSeen, TemporalTarget

T = [f"2026-05-01T{hour:02}:00:00Z" for hour in range(24)]
OK, BAD, OPEN = "Succeeded", "Failed", "Running"


@pytest.mark.parametrize(
    ("own", "before", "expected"),
    [
        ({}, [{T[1]: OK, T[2]: OK, T[3]: OPEN}], [T[1], T[2]]),
        ({T[1]: BAD}, [{T[1]: OK, T[2]: OK}], [T[2]]),
        ({T[1]: OPEN}, [{T[1]: OK}], []),
        ({}, [{T[1]: OK, T[2]: OK}, {T[2]: OK}], [T[2]]),
        ({}, [{T[1]: OK}, {}], []),
        ({}, [{T[0]: OK}], []),  # not after `since`
        ({}, [{T[1]: "Skipped", T[2]: "Cancelled"}], []),
        ({}, [], []),
    ],
)
def test_due(own: dict[str, str], before: list[dict[str, str]], expected: list[str]) -> None:
    assert list(following.due(own, before, T[0])) == expected


def test_what_is_waited_for() -> None:
    before = {"a": {T[0]: BAD, T[1]: OK, T[2]: OK, T[3]: OK}, "b": {T[1]: BAD, T[2]: OK, T[4]: OPEN}}
    assert following.waiting({T[3]: OK}, before, T[0]) == (
        (T[1], ("b (Failed)",)),
        (T[4], ("a (no run yet)", "b (Running)")),
    )


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": "b", "b": "c", "c": ""}, ""),
        ({"a": "a"}, "aa"),
        ({"a": "bc", "b": "", "c": "a"}, "aca"),
        ({"a": "b", "b": "c", "c": "a"}, "abca"),
        ({"a": "b", "b": "c", "c": "b"}, ""),  # a circle of others
    ],
)
def test_circles(graph: dict[str, str], expected: str) -> None:
    assert following.circle("a", lambda name: list(graph.get(name, ""))) == tuple(expected)


def test_a_long_chain_is_no_circle() -> None:
    chain = {str(each): [str(each + 1)] for each in range(5000)}
    assert following.circle("0", lambda name: chain.get(name, [])) == ()
    assert following.beginnings(["1"], lambda name: chain.get(name, [])) == ("5000",)


def test_the_widest_interval() -> None:
    hourly, daily = {"crons": ["0 * * * *"]}, {"crons": ["0 0 * * *"]}
    assert following.widest("2026-05-01T00:00:00Z", [hourly, daily]) == daily
    assert following.widest("2026-05-01T00:00:00Z", []) is None


# The operator's decisions

AFTER = {"schedule": {"after": [{"pipelineRef": {"name": "landing"}}], "overlapPolicy": "BufferAll"}}
SINCE = {"after": {"since": T[0]}}
TIMES = {"schedule": {"crons": ["0 * * * *"]}}


def seen(*times: tuple[str, str], own: Sequence[tuple[str, str]] = (), **changes: Any) -> Following:
    made = Following(tuple(own), (Predecessor("landing", times),), ({"crons": ["0 * * * *"]},))
    return replace(made, **changes)


def observed(of: Following, status: Object | None = None, **changes: Any) -> Observed:
    schedules = changes.pop("found", None)
    manifest = pipeline(spec={**AFTER, **changes.pop("spec", {})}, status=status or {}, **changes)
    return Observed(manifest, pool(), There(None, schedule=schedules), following=of)


def planned(of: Observed) -> tuple[Action, ...]:
    return plan(desire(of, SETTINGS), of, NOW)


def told(of: Observed) -> Object:
    status = report(desire(of, SETTINGS), of, (), NOW)
    assert status is not None
    DataPipelineStatus.model_validate(status)
    return status


def test_what_is_due_is_started_under_the_id_of_its_time() -> None:
    starts = planned(observed(seen((T[1], OK), (T[2], OK), (T[3], OPEN), own=[(T[1], OK)]), SINCE))
    [start] = starts
    assert isinstance(start, StartRun)
    assert (start.workflow_id, start.task_queue, start.asked_by) == (
        PIPELINE.scheduled_run(T[2]), "inst/travel/etl", None,
    )  # fmt: skip
    order = start.input
    assert (order["runKey"], order["trigger"], order["overlapPolicy"]) == (T[2], "Schedule", "BufferAll")
    assert order["schedule"] == {"crons": ["0 * * * *"]}
    assert "schedule" not in order["spec"]


@pytest.mark.parametrize(
    ("of", "kinds"),
    [
        (observed(seen((T[1], OK))), []),  # it begins to heed them with this pass
        (observed(seen((T[1], OK)), SINCE, spec={"suspend": True}), []),
        (observed(seen((T[1], OK)), SINCE, annotations={"tidemill.dev/paused": "holiday"}), []),
        (observed(seen((T[1], OK), circle=("flights", "landing", "flights")), SINCE), []),
        (observed(seen(predecessors=(Predecessor("x", missing="isn't there"),)), SINCE), []),
        (observed(seen((T[1], OK)), SINCE, found=schedule()), ["DeleteSchedule"]),  # it had times of its own before
        (observed(seen(*((each, OK) for each in T[1:])), SINCE), ["StartRun"] * 20),
    ],
    ids=["new", "suspended", "paused", "circle", "missing", "had a Schedule", "many"],
)
def test_what_is_not_started(of: Observed, kinds: list[str]) -> None:
    assert [type(action).__name__ for action in planned(of)] == kinds
    assert all(isinstance(action, StartRun | DeleteSchedule) for action in planned(of))


@pytest.mark.parametrize(
    ("of", "ready", "says"),
    [
        (observed(seen()), ("True", said.SCHEDULED), "Runs after landing, on the WorkerPool etl."),
        (observed(seen(), spec={"suspend": True}), ("True", said.SUSPENDED), "spec.suspend is true"),
        (
            observed(seen(circle=("flights", "landing", "flights"))),
            ("False", said.INVALID_SCHEDULE),
            "spec.schedule.after: the pipelines follow each other in a circle (flights -> landing -> flights)",
        ),
        (
            observed(seen(predecessors=(Predecessor("x", missing="isn't in this namespace (yet)"),))),
            ("False", said.WAITING_FOR_PIPELINE),
            "spec.schedule.after[0].pipelineRef.name: the DataPipeline x isn't in this namespace (yet)",
        ),
    ],
    ids=["good", "suspended", "circle", "missing"],
)
def test_how_it_stands(of: Observed, ready: tuple[str, str], says: str) -> None:
    found = condition(told(of), said.READY)
    assert found is not None
    assert (found["status"], found["reason"]) == ready
    assert says in found["message"]


def test_what_status_shows() -> None:
    fresh = told(observed(seen((T[1], OK))))
    assert (fresh["after"], fresh["scheduleSummary"]) == ({"since": "2026-05-01T12:00:00Z"}, "after landing")
    later = told(observed(seen((T[1], OPEN), (T[2], BAD), own=[(T[3], OK)]), SINCE))
    assert later["after"] == {
        "since": T[0],
        "waiting": [
            {"key": T[1], "waitsFor": ["landing (Running)"]},
            {"key": T[2], "waitsFor": ["landing (Failed)"]},
        ],
    }
    held = told(observed(seen((T[1], OK)), SINCE, spec={"suspend": True}))
    assert "after" not in held
    paused = told(observed(seen(), SINCE, annotations={"tidemill.dev/paused": "holiday"}))
    assert paused["paused"] == {"by": "Annotation", "note": "holiday"}


UNREAD = {"after": {"since": T[0], "waiting": [{"key": T[1], "waitsFor": ["landing (Failed)"]}]}}
TYPO: dict[str, Any] = {"sinks": []}


@pytest.mark.parametrize(
    ("of", "after"),
    [
        (observed(seen(), UNREAD, spec=TYPO), {"since": T[0]}),
        (replace(observed(seen(), UNREAD), pool=None, here=None, following=None), {"since": T[0]}),
        (observed(seen(), UNREAD, spec=TYPO | {"suspend": True}), None),
        (observed(seen(), UNREAD, spec=TYPO, annotations={"tidemill.dev/paused": "holiday"}), None),
        (observed(seen(), spec=TYPO), None),
        (replace(observed(seen(), UNREAD, spec=TYPO | {"schedule": TIMES["schedule"]}), following=None), None),
        (replace(observed(seen(), UNREAD, deletionTimestamp="2026-05-01T11:00:00Z")), None),
    ],
    ids=["typo", "no pool", "suspended", "paused", "new", "follows nobody", "going"],
)
def test_a_typo_doesn_t_make_it_forget_since_when_it_follows(of: Observed, after: Object | None) -> None:
    assert told(of).get("after") == after


# What sweeps keep, and who is told


def ended(key: str, result: str, *, by_hand: bool = False) -> Any:
    run = seen_run("again" if by_hand else f"scheduled-{key}", result=result)
    assert run.result is not None
    return replace(run, result=RunResult.model_validate(run.result.model_dump() | {"run_key": key}))


def times_of(*looks: list[Any]) -> dict[str, str]:
    known: Any = {}
    for runs in looks:
        known = fold(known, (), runs, lambda _: True)
    return dict(known[str(PIPELINE)].times) if known else {}


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([[seen_run(f"scheduled-{T[1]}")]], {T[1]: OPEN}),
        ([[seen_run(f"scheduled-{T[1]}")], []], {}),
        ([[seen_run(f"scheduled-{T[1]}")], [ended(T[1], OK)]], {T[1]: OK}),
        ([[ended(T[1], OK)], []], {T[1]: OK}),
        ([[ended(T[1], OK)], [ended(T[1], BAD, by_hand=True)]], {T[1]: OK}),
        ([[ended(T[1], BAD)], [ended(T[1], OK, by_hand=True)]], {T[1]: OK}),
        ([[ended(T[1], BAD)], [ended(T[1], "Skipped", by_hand=True)]], {T[1]: BAD}),
        ([[ended("again", OK, by_hand=True)]], {}),
    ],
)
def test_times_that_a_sweep_keeps(looks: list[list[Any]], expected: dict[str, str]) -> None:
    assert times_of(*looks) == expected


@pytest.mark.parametrize(
    ("listed", "found", "expected"),
    [
        ([], [ended(T[1], OK), ended(T[2], BAD)], {T[1]: OK, T[2]: BAD}),
        ([ended(T[1], OK, by_hand=True)], [ended(T[1], BAD)], {T[1]: OK}),
        ([], [seen_run(f"scheduled-{T[1]}", state="Failed", closed=NOW)], {T[1]: BAD}),  # ended by force
        ([], [seen_run("backfill-may", state="Succeeded", closed=NOW)], {}),
    ],
)
def test_runs_that_a_start_has_found_are_due_no_more(
    listed: list[Any], found: list[Any], expected: dict[str, str]
) -> None:
    known = fold({}, (), listed, lambda _: True, found)
    again = fold(known, (), (), lambda _: True)
    for seen_then in (known, again):
        assert dict(seen_then.get(str(PIPELINE), PipelineInTemporal()).times) == expected
    assert differing({}, known, {}) == ((str(PIPELINE),) if expected else ()), "the next pass starts what comes after"
    assert fold({}, (), (), lambda _: False, found) == {}


class Remembers:
    """A Temporal that has had a run under each id."""

    async def get(self, _connection: object) -> Remembers:
        return self

    async def start_run(self, workflow_id: str, *_rest: object) -> RunSeen:
        return seen_run(workflow_id.rpartition("/")[2], state="Failed", closed=NOW)


async def test_a_start_that_finds_an_ended_run_tells_the_sweep() -> None:
    store = MemoryStore()
    temporals: Any = Remembers()
    nothing: Any = None
    starts = planned(observed(seen((T[1], OK), (T[2], OK)), SINCE))

    outcomes = await Appliance(store, nothing, temporals, lambda *_: None).apply(starts)

    assert [outcome.result for outcome in outcomes] == ["Done", "Done"]
    found = store.temporal(None).found
    assert dict(fold({}, (), (), lambda _: True, found)[str(PIPELINE)].times) == {T[1]: BAD, T[2]: BAD}


def test_times_are_kept_only_where_they_matter() -> None:
    assert fold({}, (), [ended(T[1], OK)])[str(PIPELINE)].times == ()


def named(name: str, *after: str, version: str = "1") -> Object:
    spec = {"schedule": {"after": [{"pipelineRef": {"name": each}} for each in after]} if after else None}
    manifest = pipeline(spec=spec)
    manifest["metadata"] |= {"name": name, "uid": f"uid-{name}", "resourceVersion": version}
    return manifest


def test_who_follows() -> None:
    store = MemoryStore()
    for each in (named("a"), named("b", "a"), named("c", "b", "a")):
        store.put("DataPipeline", each)
    assert (store.followers("travel", "a"), store.followers("travel", "c")) == (("b", "c"), ())
    assert [store.keeps_times(f"inst/travel/{name}") for name in "abcd"] == [True, True, True, False]
    told = {key.name for key, _ in concerned("DataPipeline", None, named("a"), store) if key.kind == "DataPipeline"}
    assert told == {"a", "b", "c"}
    store.put("DataPipeline", named("c", version="2"))
    store.remove("DataPipeline", "travel", "b")
    assert store.followers("travel", "a") == ()


class Empty:
    """A Temporal without runs that notes since when it was asked for some."""

    target = TemporalTarget("temporal:7233")

    def __init__(self) -> None:
        self.asked: list[datetime] = []

    async def get(self, _connection: object) -> Empty:
        return self

    def in_use(self) -> list[None]:
        return [None]

    async def list_schedules(self) -> AsyncIterator[Any]:
        for nothing in list[Any]():
            yield nothing

    async def list_runs(self, since: datetime) -> AsyncIterator[Any]:
        self.asked.append(since)
        for nothing in list[Any]():
            yield nothing


@pytest.mark.parametrize(("manifests", "days"), [([named("a")], 1), ([named("a"), named("b", "a")], 7)])
async def test_the_first_look_goes_back_so_far_that_followers_find_their_times(
    manifests: list[Object], days: int
) -> None:
    store, temporal = MemoryStore(), Empty()
    for each in manifests:
        store.put("DataPipeline", each)
    temporals: Any = temporal
    sweep = Sweep(store, temporals, lambda _: True, lambda _: None, Metrics(), 1.0)

    began = datetime.now(UTC)
    for _ in range(2):
        await sweep.sweep()

    back = [(began - since).total_seconds() / 86400 for since in temporal.asked]
    assert back == pytest.approx([days, 0], abs=0.01)


def test_a_circle_is_told_through_the_keys() -> None:
    store = MemoryStore()
    for each in (named("a", "c"), named("b", "a"), named("c", "b")):
        store.put("DataPipeline", each)
    keys = {key for key, _ in concerned("DataPipeline", None, named("a", "c"), store)}
    assert {Key("DataPipeline", "travel", name) for name in "abc"} <= keys


# What a change would do

NONE: dict[str, Any] = {"schedule": None}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, AFTER, ["it runs after landing"]),
        (NONE, AFTER, ["it runs after landing"]),
        (TIMES, AFTER, ["its Schedule (0 * * * *) is deleted", "it runs after landing"]),
        (AFTER, TIMES, ["a Schedule is made: 0 * * * *"]),
        (AFTER, NONE, ["it runs after landing no more, but by hand only"]),
        (TIMES, NONE, ["its Schedule (0 * * * *) is deleted: it runs by hand only"]),
        (NONE, TIMES, ["a Schedule is made: 0 * * * *"]),
        (AFTER, AFTER, []),
    ],
)
def test_what_a_change_would_do(before: Any, after: Any, expected: list[str]) -> None:
    old = pipeline(spec=before)["spec"] if before is not None else None
    told = effects("DataPipeline", "flights", old, pipeline(spec=after)["spec"])
    assert [each for each in told if each.startswith(("it ", "its ", "a Schedule "))] == expected


# Lint


def lint(tmp_path: Path, *manifests: Object) -> list[tuple[str, str, str]]:
    for each in (*manifests, pool()):
        bare = {**each, "metadata": {"name": each["metadata"]["name"], "namespace": "travel"}}
        (tmp_path / f"{each['kind']}-{each['metadata']['name']}.yaml").write_text(json.dumps(bare))
    found = check_manifests(load_manifests([tmp_path]))
    return [(one.severity, one.field, one.message) for one in found if "after" in one.field]


@pytest.mark.parametrize(
    ("manifests", "severity", "says"),
    [
        ([named("a", "b"), named("b", "a")], "error", "in a circle (a -> b -> a)"),
        ([named("a", "a")], "error", "in a circle (a -> a)"),
        ([named("a", "bb"), named("b")], "note", "no DataPipeline bb of the namespace travel is here; did you mean b?"),
        ([named("a", "b"), named("b")], "warning", "the DataPipeline b has no schedule"),
    ],
)
def test_lint(tmp_path: Path, manifests: list[Object], severity: str, says: str) -> None:
    assert any(found[0] == severity and says in found[2] for found in lint(tmp_path, *manifests))


def test_lint_of_a_good_chain(tmp_path: Path) -> None:
    first = named("a")
    first["spec"]["schedule"] = {"crons": ["0 * * * *"]}
    assert lint(tmp_path, first, named("b", "a"), named("c", "a", "b")) == []
