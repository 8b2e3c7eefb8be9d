"""Whatever people, Git, outages and crashes do in between: the decisions converge, and nobody's wish is lost."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.operator_world import (
    NOW,
    PIPELINE,
    SETTINGS,
    World,
    entry_of,
    generation_of,
    pipeline,
    pool,
    run,
    seen_run,
)
from tidemill_api import conditions as said
from tidemill_api.contract import ScheduleMemo
from tidemill_api.names import ANNOTATION_PAUSED
from tidemill_operator.actions import LookAgain
from tidemill_operator.clients import Object
from tidemill_operator.pipeline import desire as pipeline_desire
from tidemill_operator.pipeline import plan as pipeline_plan
from tidemill_operator.pipeline import report as pipeline_report
from tidemill_operator.pipeline.observe import Observed, There
from tidemill_operator.pool import desire as pool_desire
from tidemill_operator.pool import observe as pool_observe
from tidemill_operator.pool import plan as pool_plan
from tidemill_operator.pool import report as pool_report
from tidemill_operator.run import desire as run_desire
from tidemill_operator.run import observe as run_observe
from tidemill_operator.run import plan as run_plan
from tidemill_operator.run import report as run_report
from tidemill_operator.standing import condition, waits
from tidemill_operator.views import ConnectionKey

UNREACHABLE = waits(said.TEMPORAL_UNREACHABLE, "refused")
HERE: ConnectionKey = None
THERE: ConnectionKey = ("travel", "there")
SCHEDULES: list[Object | None] = [
    {"crons": ["15 * * * *"]},
    {"crons": ["15 * * * *"], "overlapPolicy": "AllowAll"},
    {"intervals": [{"every": "1h"}], "timeZone": "Europe/Berlin"},
    {"crons": ["99 * * * *"]},
    None,
]
WRONG = SCHEDULES[3]
NOTES = st.sampled_from(["", "holiday", "paused due to workflow failure", "tidemill? no"])


class PipelineLife(RuleBasedStateMachine):
    """A pipeline, its Schedule, and everybody who has a hand in it."""

    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.manifest = pipeline(finalizers=[])
        self.pool: Object | None = pool()
        self.connection = HERE
        self.down = False
        self.persons: str | None = None  # the note of a person's pause
        self.last_good: Object | None = None

    # Git

    @rule(schedule=st.sampled_from(SCHEDULES), suspend=st.booleans())
    def commit(self, schedule: Object | None, suspend: bool) -> None:
        spec = {name: value for name, value in self.manifest["spec"].items() if name not in ("schedule", "suspend")}
        if schedule is not None:
            spec["schedule"] = schedule
        self.manifest["spec"] = spec | {"suspend": suspend}
        self.manifest["metadata"]["generation"] = generation_of(self.manifest["spec"])

    @rule(reason=st.one_of(st.none(), st.sampled_from(["", "migration"])))
    def annotate(self, reason: str | None) -> None:
        self.manifest["metadata"]["annotations"] = {} if reason is None else {ANNOTATION_PAUSED: reason}

    @rule(there=st.booleans(), connection=st.sampled_from([HERE, THERE]))
    def change_pool(self, there: bool, connection: ConnectionKey) -> None:
        self.connection = connection
        named = {"temporal": {"connectionRef": {"name": connection[1]}}} if connection else {}
        self.pool = pool(spec=named) if there else None

    # People in Temporal

    @precondition(lambda self: self._place() is not None)
    @rule(note=NOTES)
    def pause(self, note: str) -> None:
        self._touch(paused=True, note=note)
        self.persons = note

    @precondition(lambda self: self._place() is not None)
    @rule(note=NOTES)
    def resume(self, note: str) -> None:
        self._touch(paused=False, note=note)
        self.persons = None

    @precondition(lambda self: self._place() is not None)
    @rule()
    def edit(self) -> None:
        self._touch(made="by hand")

    @precondition(lambda self: self._place() is not None)
    @rule()
    def delete(self) -> None:
        self.world.schedules.clear()
        self.persons = None

    @rule(down=st.booleans())
    def outage(self, down: bool) -> None:
        self.down = down

    # The operator

    @rule(crash_after=st.integers(0, 3), lose_status=st.booleans())
    def look(self, crash_after: int, lose_status: bool) -> None:
        """One pass, which may be cut short after any write."""
        self._pass(crash_after, lose_status=lose_status)

    @invariant()
    def converges(self) -> None:
        """From here, undisturbed: a few passes, then nothing is left to do, and everybody has what they asked for."""
        if not hasattr(self, "world"):
            return
        kept = copy.deepcopy((self.world, self.manifest, self.persons))
        was_there = self._place() is not None
        down, self.down = self.down, False
        for _ in range(3):
            self._pass()
        actions = self._plan()
        self._check(was_there)
        self.down = down
        self.world, self.manifest, self.persons = kept
        assert actions == ()

    def _check(self, was_there: bool) -> None:
        place = (self.connection, PIPELINE.schedule) if self.pool is not None else self._place()
        found = self.world.schedules.get(place) if place is not None else None
        wished = self.manifest["spec"].get("schedule")
        valid = wished != WRONG
        if valid and wished is None and self.pool is not None:
            assert self.world.schedules == {}
        elif valid and self.pool is not None:
            assert found is not None
            assert len(self.world.schedules) == 1
            assert found.made.startswith("made of ")
        elif not was_there:
            assert found is None
        if found is not None:
            self._check_pause(found.paused, found.note)

    def _check_pause(self, paused: bool, note: str) -> None:
        status = self.manifest["status"]
        annotation = self.manifest["metadata"].get("annotations", {}).get(ANNOTATION_PAUSED)
        ours = self.manifest["spec"].get("suspend") or annotation is not None
        if self.persons is not None:
            assert (paused, note) == (True, self.persons)
            assert status["paused"] == {"by": "Temporal", "note": note}
        else:
            assert paused == bool(ours)
            assert (condition(status, said.PAUSED) is not None) == (annotation is not None)

    def _observe(self) -> Observed:
        trouble = UNREACHABLE if self.down else None
        made_at = (self.manifest.get("status") or {}).get("schedule")
        made = (("travel", made_at["connection"]) if made_at.get("connection") else None,) if made_at else ()
        places = tuple(dict.fromkeys((*made, *(place[0] for place in self.world.schedules))))
        known = self.pool is not None or bool(places)
        here = self.connection if self.pool is not None else places[0] if places else None
        others = [each for each in places if each != here]

        def there(connection: ConnectionKey) -> There:
            found = self.world.schedules.get((connection, PIPELINE.schedule))
            return There(connection, schedule=None if trouble else found, trouble=trouble)

        found = there(here) if known else None
        return Observed(
            copy.deepcopy(self.manifest),
            self.pool,
            found,
            tuple(there(other) for other in others),
            entry_of(found.schedule) if found is not None and found.schedule is not None else None,
        )

    def _plan(self) -> tuple[Any, ...]:
        seen = self._observe()
        return pipeline_plan.plan(pipeline_desire.desire(seen, SETTINGS), seen, NOW)

    def _pass(self, crash_after: int | None = None, *, lose_status: bool = False) -> None:
        seen = self._observe()
        desired = pipeline_desire.desire(seen, SETTINGS)
        actions = pipeline_plan.plan(desired, seen, NOW)
        crashes = crash_after is not None and crash_after < len(actions)
        outcomes = self.world.carry_out(self.manifest, actions[:crash_after] if crashes else actions)
        if not self.world.schedules:
            self.persons = None
        if crashes or lose_status:
            return
        status = pipeline_report.report(desired, seen, outcomes, NOW)
        assert status is not None
        told = Observed(
            seen.manifest | {"status": status}, *[getattr(seen, n) for n in seen.__slots__ if n != "manifest"]
        )
        if not outcomes:
            assert pipeline_report.report(desired, told, (), NOW + timedelta(minutes=1)) == status
        self.manifest["status"] = status

    def _place(self) -> tuple[ConnectionKey, str] | None:
        return next(iter(self.world.schedules), None) if hasattr(self, "world") else None

    def _touch(self, **changes: Any) -> None:
        self.world.writes += 1
        for place, found in self.world.schedules.items():
            fingerprint = f"touched {self.world.writes}"
            self.world.schedules[place] = replace(found, token=fingerprint.encode(), fingerprint=fingerprint, **changes)


# Not shrunk: a failure shows at once instead of after minutes, and twenty steps can be read.
PipelineLife.TestCase.settings = settings(
    max_examples=60, stateful_step_count=20, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
TestPipelineLife = PipelineLife.TestCase


# A stranger's Schedule

memos = st.one_of(
    st.none(),
    st.builds(
        ScheduleMemo,
        installation=st.sampled_from(["inst", "other"]),
        namespace=st.sampled_from(["travel", "sales"]),
        name=st.sampled_from(["flights", "hotels"]),
        uid=st.sampled_from(["uid-p", "uid-former"]),
    ),
)


@given(memo=memos, going=st.booleans(), suspend=st.booleans(), adopt=st.booleans())
def test_a_strangers_schedule_is_never_touched(
    memo: ScheduleMemo | None, going: bool, suspend: bool, adopt: bool
) -> None:
    marks: Object = {"deletionTimestamp": "2026-05-01T11:59:00Z"} if going else {}
    annotations = {"tidemill.dev/adopt-uid": "uid-former"} if adopt else {}
    world = World()
    manifest = pipeline(spec={"suspend": suspend}, annotations=annotations, **marks)
    found = replace(_schedule_of(world), memo=memo)
    seen = Observed(manifest, pool(), There(None, schedule=found))
    desired = pipeline_desire.desire(seen, SETTINGS)

    actions = pipeline_plan.plan(desired, seen, NOW)

    ours = memo is not None and (memo.installation, memo.namespace, memo.name) == ("inst", "travel", "flights")
    ours = ours and memo is not None and memo.uid in (("uid-p", "uid-former") if adopt else ("uid-p",))
    touching = [action for action in actions if type(action).__name__.endswith(("Schedule", "Pause"))]
    assert bool(touching) == ours


def _schedule_of(world: World) -> Any:
    seen = Observed(pipeline(), pool(), There(None))
    actions = pipeline_plan.plan(pipeline_desire.desire(seen, SETTINGS), seen, NOW)
    world.carry_out(pipeline(), actions)
    return world.schedules[None, PIPELINE.schedule]


# Pools

words = st.sampled_from(["a", "b", "worker", "data"])
values = st.one_of(st.none(), st.booleans(), st.integers(0, 9), words)
named = st.lists(
    st.fixed_dictionaries({"name": words}, optional={"image": words, "value": words}), unique_by=lambda x: x["name"]
)
templates = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {}, optional={"labels": st.dictionaries(words, words), "annotations": st.dictionaries(words, words)}
        ),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "nodeSelector": st.dictionaries(words, words),
                "tolerations": st.lists(st.fixed_dictionaries({"key": words})),
                "containers": named,
                "volumes": named,
                "securityContext": st.dictionaries(st.sampled_from(["runAsUser", "fsGroup"]), values),
                "hostNetwork": values,
            },
        ),
    },
)


@given(
    template=templates,
    replicas=st.integers(0, 5),
    before=st.sampled_from(["nothing", "older", "defaults", "by hand"]),
)
def test_a_pool_converges_in_one_pass(template: Object, replicas: int, before: str) -> None:
    world, manifest = World(), pool(finalizers=[], spec={"template": template, "replicas": replicas})
    if before != "nothing":
        _pool_pass(world, pool(spec={"replicas": 7}) if before == "older" else manifest)
    for child in world.children.values():
        if before == "defaults":
            child["metadata"] |= {"generation": 1, "resourceVersion": "5"}
            child.setdefault("status", {})["replicas"] = 1
        elif before == "by hand":
            child["metadata"]["labels"] = {}

    _pool_pass(world, manifest)

    assert all(child["metadata"]["labels"] for child in world.children.values())
    assert _pool_plan(world, manifest) == ()
    _pool_pass(world, manifest)
    assert manifest["status"] == _pool_status(world, manifest)


def _pool_observed(world: World, manifest: Object) -> pool_observe.Observed:
    return pool_observe.Observed(manifest, None, None, False, None, copy.deepcopy(world.children), ())


def _pool_plan(world: World, manifest: Object) -> tuple[Any, ...]:
    seen = _pool_observed(world, manifest)
    return pool_plan.plan(pool_desire.desire(seen, SETTINGS), seen, NOW)


def _pool_status(world: World, manifest: Object) -> Object | None:
    seen = _pool_observed(world, manifest)
    return pool_report.report(pool_desire.desire(seen, SETTINGS), seen, (), NOW + timedelta(minutes=1))


def _pool_pass(world: World, manifest: Object) -> None:
    seen = _pool_observed(world, manifest)
    desired = pool_desire.desire(seen, SETTINGS)
    outcomes = world.carry_out(manifest, pool_plan.plan(desired, seen, NOW))
    manifest["status"] = pool_report.report(desired, seen, outcomes, NOW)


# Runs


@given(
    steps=st.lists(st.sampled_from(["pass", "crash", "end", "forget", "lose status"]), max_size=12),
    ending=st.sampled_from(["Succeeded", "Failed", "Skipped", "Cancelled"]),
)
def test_a_run_is_started_once_and_its_end_is_written_once(steps: list[str], ending: str) -> None:
    world, manifest = World(), run(finalizers=[])
    workflow_id = PIPELINE.workflow("again")
    started: set[str] = set()
    end: Object | None = None
    for step in [*steps, "pass", "end", "pass", "pass"]:
        match step:
            case "end" if workflow_id in world.runs and world.runs[workflow_id].state == "Running":
                world.runs[workflow_id] = seen_run("again", result=ending, run_id=world.runs[workflow_id].run_id)
            case "forget" if workflow_id in world.runs and world.runs[workflow_id].state != "Running" and end:
                del world.runs[workflow_id]  # retention is over; the end was written
            case "pass" | "crash" | "lose status":
                known = set(world.runs)
                _run_pass(world, manifest, crash=step == "crash", lose_status=step == "lose status")
                started |= set(world.runs) - known
                assert end is None or not set(world.runs) - known
            case _:
                pass
        status = manifest.get("status") or {}
        if end is not None:
            assert status == end
        elif status.get("phase") in run_observe.ENDED:
            end = copy.deepcopy(status)

    assert started == {workflow_id}
    assert end is not None
    assert end["phase"] == ending
    assert manifest["metadata"]["finalizers"] == []


def _run_pass(world: World, manifest: Object, *, crash: bool, lose_status: bool) -> None:
    while True:
        plain = run_observe.Observed(copy.deepcopy(manifest), pipeline(), pool())
        found = None if plain.ended else world.runs.get(PIPELINE.workflow("again"))
        lost = not plain.ended and found is None and (manifest.get("status") or {}).get("run") is not None
        seen = replace(plain, run=found, lost=lost)
        desired = run_desire.desire(seen, SETTINGS)
        actions = run_plan.plan(desired, seen, NOW)
        outcomes = world.carry_out(manifest, actions[:1] if crash else actions)
        if crash or lose_status:
            return
        status = run_report.report(desired, seen, outcomes, NOW)
        if status is not None:
            manifest["status"] = status
        if LookAgain(timedelta(0)) not in actions:
            return
