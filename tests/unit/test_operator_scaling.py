"""What a pool's scaling is fed with, what comes of a decision, and what is told of it, as tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.unit.operator_world import NOW, SETTINGS, pipeline, pool, schedule, seen_run
from tests.unit.pool_world import made, observed, planned, told
from tidemill_api.errors import TemporalUnavailable
from tidemill_operator.actions import ApplyObject, LookAgain, Outcome, SetDeletionCost
from tidemill_operator.clients import Clients, Key, Object, PipelineInTemporal
from tidemill_operator.demand import MOST_BACKLOGS, Demand
from tidemill_operator.events import decided, transitions
from tidemill_operator.pool.children import ANNOTATION_REPLICAS
from tidemill_operator.pool.desire import desire
from tidemill_operator.pool.observe import Observed
from tidemill_operator.pool.removal import DELETION_COST, choose
from tidemill_operator.pool.scaled import Scaled, look
from tidemill_operator.pool.scaling import Backlog, Decision, Due, Signals, WorkerSeen
from tidemill_operator.pool.scaling_report import scaling_status
from tidemill_operator.pool.workload import due_of, signals_of
from tidemill_operator.queues import Queues, WorkerHeard, heard, opened, peaks
from tidemill_operator.store import MemoryStore
from tidemill_operator.views import QueueBacklog, RunSeen, ScheduleEntry, TemporalRefusedError, WorkerListed

QUEUE = "inst/travel/etl"
KEY = Key("WorkerPool", "travel", "etl")
BUILT_IN = {"scaler": "BuiltIn", "idleTimeout": "1s", "stabilization": "0s", "tolerance": 0}


def listed(pod: str = "a", used: int = 0, beat: int = 0, **more: Any) -> WorkerListed:
    """A worker; `beat` is its heartbeat's time in seconds from `NOW`."""
    fields: dict[str, Any] = {"key": f"key-{pod}", "task_queue": QUEUE, "started": NOW, "processed": 0, **more}
    return WorkerListed(identity=f"7@{pod}", beat=NOW + timedelta(seconds=beat), used=used, free=8 - used, **fields)


def test_a_worker_lives_as_long_as_its_heartbeat_changes() -> None:
    first = heard(None, [listed("a"), listed("b", task_queue="other")], NOW)
    assert {queue: [each.worker.pod for each in workers] for queue, workers in first.items()} == {
        QUEUE: ["a"],
        "other": ["b"],
    }
    later = heard(first, [listed("a"), listed("b", task_queue="other", beat=3)], NOW + timedelta(seconds=14))
    assert later[QUEUE][0].heard == NOW
    assert later["other"][0].heard == NOW + timedelta(seconds=14)

    gone = heard(later, [listed("a"), listed("b", task_queue="other", beat=6)], NOW + timedelta(seconds=16))

    assert list(gone) == ["other"]


def test_reports_are_work_and_no_runs() -> None:
    runs = [
        seen_run("one", task_queue=QUEUE),
        seen_run("two", task_queue=QUEUE),
        seen_run("done", task_queue="quiet", result="Succeeded"),
        seen_run("told", task_queue="reports", workflow_id="inst/travel/flights/a/1-ended"),
    ]
    ids = frozenset(run.workflow_id for run in runs[:3])

    assert opened(runs, ids) == ({QUEUE: 2}, frozenset({QUEUE, "reports"}))


def ended(key: str, chunks: int, minutes: int) -> RunSeen:
    run = seen_run(key, result="Succeeded", closed=NOW + timedelta(minutes=minutes))
    assert run.result is not None
    return replace(run, result=run.result.model_copy(update={"chunks": chunks}))


def test_the_last_runs_tell_what_the_next_may_need() -> None:
    runs = [ended(f"r{number}", chunks, number) for number, chunks in enumerate((50, 3, 4, 9, 2, 1))]

    known = peaks(peaks({}, runs[:4]), [*reversed(runs[2:]), seen_run("open")])

    assert list(known) == ["inst/travel/flights"]
    assert list(known["inst/travel/flights"].values()) == [3, 4, 9, 2, 1]


WAITING = QueueBacklog(7, timedelta(seconds=4), 1.0, 0.5)
SEEN = WorkerHeard(listed("a", used=3), NOW)
LOOKS: dict[str, tuple[Queues | None, Signals]] = {
    "Temporal is silent": (None, Signals(2, None, None, None)),
    "nothing is open": (Queues(NOW, workers={}), Signals(2, Backlog(0), (), 0)),
    "work": (
        Queues(NOW, {QUEUE: 2}, frozenset({QUEUE}), {QUEUE: (SEEN,)}, "", {QUEUE: WAITING}),
        Signals(
            2,
            Backlog(7, timedelta(seconds=4), 1.0, 0.5),
            (WorkerSeen("a", 3, 5, NOW, 0, timedelta(seconds=9)),),
            2,
        ),
    ),
    "the backlog isn't told": (
        Queues(NOW, {QUEUE: 2}, frozenset({QUEUE}), {}, "", {}),
        Signals(2, None, (), 2),
    ),
    "workers aren't listed": (Queues(NOW, unlisted="no list"), Signals(2, Backlog(0), None, 0)),
    "a container that started anew": (
        Queues(
            NOW,
            workers={
                QUEUE: (
                    WorkerHeard(listed("a", used=1, key="new", started=NOW + timedelta(seconds=5)), NOW),
                    WorkerHeard(listed("a", used=8, key="old"), NOW),
                )
            },
        ),
        Signals(2, Backlog(0), (WorkerSeen("a", 1, 7, NOW, 0, timedelta(seconds=14)),), 0),
    ),
}


@pytest.mark.parametrize("name", LOOKS)
def test_the_signals(name: str) -> None:
    queues, expected = LOOKS[name]

    assert signals_of(queues, QUEUE, 2, (), {"a": NOW - timedelta(seconds=9)}) == expected


def entry(*minutes: float, paused: bool = False) -> PipelineInTemporal:
    seen = schedule()
    times = tuple(NOW + timedelta(minutes=each) for each in minutes)
    return PipelineInTemporal(ScheduleEntry(seen.id, seen.memo, paused, "", times, ""))


@pytest.mark.parametrize(
    ("seen", "peak", "parallelism", "expected"),
    [
        (entry(5, 140), {}, None, [(5, None)]),
        (entry(-1, 5), {"a": 3, "b": 6}, None, [(-1, 6), (5, 6)]),
        (entry(-3, 131), {"a": 3}, None, []),
        (entry(5), {"a": 40}, None, [(5, 8)]),
        (entry(5), {"a": 40}, 30, [(5, 30)]),
        (entry(5, paused=True), {"a": 3}, None, []),
        (PipelineInTemporal(), {"a": 3}, None, []),
    ],
)
def test_starts_that_are_near(
    seen: PipelineInTemporal, peak: dict[str, int], parallelism: int | None, expected: list[tuple[int, int | None]]
) -> None:
    store = MemoryStore()
    store.put("DataPipeline", pipeline(spec={"execution": {"parallelism": parallelism} if parallelism else None}))
    view = store.temporal(None)
    view.pipelines, view.peaks = {"inst/travel/flights": seen}, {"inst/travel/flights": peak} if peak else {}

    found = due_of(store, "inst", None, KEY, NOW)

    assert found == tuple(Due(NOW + timedelta(minutes=minutes), "flights", chunks) for minutes, chunks in expected)


def pod(name: str, *, ready: bool = True, cost: str | None = None, phase: str = "Running", **metadata: Any) -> Object:
    annotations = {"annotations": {DELETION_COST: cost}} if cost is not None else {}
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    meta = {"name": name, "namespace": "travel", "uid": f"uid-{name}", **annotations, **metadata}
    return {"metadata": meta, "status": status}


def down(to: int, *remove: str) -> Decision:
    return Decision(to, "Surplus", "2 slots are busy: fewer workers.", remove)


FOUR = [pod("a"), pod("b"), pod("c"), pod("d")]
REMOVALS: dict[str, tuple[Decision, int, Sequence[Object], int, dict[str, int | None]]] = {
    "idle ones": (down(2, "c", "a"), 4, FOUR, 2, {"c": -2, "a": -1}),
    "none idle": (down(2), 4, FOUR, 4, {}),
    "one of two idle": (down(2, "b"), 4, FOUR, 3, {"b": -1}),
    "idle, but gone since": (down(3, "z"), 4, FOUR, 4, {}),
    "one that isn't ready goes by itself": (down(2, "b"), 4, [*FOUR[:3], pod("d", ready=False)], 2, {"b": -1}),
    "one that isn't ready is enough": (down(3, "b"), 4, [*FOUR[:3], pod("d", ready=False)], 3, {}),
    "one isn't there yet": (down(3), 4, FOUR[:3], 3, {}),
    "one ends already": (
        down(2, "b"),
        3,
        [*FOUR[:3], pod("d", deletionTimestamp="2026-05-01T11:59:00Z")],
        2,
        {"b": -1},
    ),
    "one has ended": (down(2, "b"), 3, [*FOUR[:3], pod("d", phase="Failed")], 2, {"b": -1}),
    "an older mark": (down(3, "b"), 4, [pod("a", cost="-1"), *FOUR[1:]], 3, {"a": None, "b": -1}),
    "the same mark": (down(3, "a"), 4, [pod("a", cost="-1"), *FOUR[1:]], 3, {}),
    "a mark of others": (down(3, "b"), 4, [pod("a", cost="100"), *FOUR[1:]], 3, {"b": -1}),
    "all": (down(0), 4, FOUR, 0, {}),
}


@pytest.mark.parametrize("name", REMOVALS)
def test_who_goes_first(name: str) -> None:
    decision, replicas, pods, left, costs = REMOVALS[name]

    removal = choose(decision, replicas, pods)

    assert (removal.replicas, {mark.pod: mark.cost for mark in removal.marks}) == (left, costs)


# What comes of it


def scaled(to: int = 3, was: int = 1, **more: Any) -> Scaled:
    signals = Signals(was, Backlog(7), (WorkerSeen("a", 8, 0, NOW),), 2)
    fields: dict[str, Any] = {
        "acts": True,
        "signals": signals,
        "decision": Decision(to, "Backlog", "7 tasks wait."),
        **more,
    }
    return Scaled(was=was, **fields)


def scaled_pool(found: Scaled, status: Object | None = None, **spec: Any) -> Observed:
    manifest = pool(spec={"scaling": dict(BUILT_IN), **spec}, **({"status": status} if status is not None else {}))
    before = replace(found, decision=replace(found.decision, replicas=found.was))
    return replace(made(manifest, scaled=before, children=children(manifest, before)), scaled=found)


def children(manifest: Object, found: Scaled) -> dict[str, Object]:
    return {child["kind"]: child for child in desire(observed(manifest, scaled=found), SETTINGS).children}


def names(seen: Observed) -> list[str]:
    return [type(action).__name__ for action in planned(seen)]


MARK = SetDeletionCost("travel", "a", "uid-a", -1)


def test_the_decision_is_what_the_deployment_gets() -> None:
    seen = scaled_pool(scaled(3, marks=(MARK,)), replicas=9)

    mark, apply, *_ = planned(seen)

    assert mark == MARK
    assert isinstance(apply, ApplyObject)
    assert apply.object["spec"]["replicas"] == 3
    assert apply.object["metadata"]["annotations"][ANNOTATION_REPLICAS] == "3"


def test_advice_changes_nothing() -> None:
    found = scaled(3, was=2, acts=False)
    manifest = pool(spec={"scaling": {**BUILT_IN, "mode": "Advise"}, "replicas": 2})
    seen = made(manifest, scaled=found, children=children(manifest, found))

    assert names(seen) == ["LookAgain"]
    assert seen.children["Deployment"]["spec"]["replicas"] == 2
    status = told(seen)
    assert (status["desiredReplicas"], status["scaling"]["desired"], status["scaling"]["mode"]) == (2, 3, "Advise")
    assert [each["to"] for each in status["scaling"]["lastDecisions"]] == [3]
    assert list(decided({}, status)) == []
    assert "ScalingAdvised" in [note.reason for note in transitions({"scaling": {}}, status)]


def test_replicas_by_hand_are_put_right() -> None:
    seen = scaled_pool(scaled(2, was=2))
    deployment = {**seen.children["Deployment"], "spec": {**seen.children["Deployment"]["spec"], "replicas": 7}}

    assert names(replace(seen, children={**seen.children, "Deployment": deployment})) == ["ApplyObject", "LookAgain"]


def test_a_pool_that_goes_gets_workers_for_its_last_runs() -> None:
    going = pool(deletionTimestamp="2026-05-01T11:59:00Z", spec={"scaling": dict(BUILT_IN)})
    found = scaled(1, was=0)
    old = children(going, replace(found, decision=replace(found.decision, replicas=0)))
    seen = observed(going, scaled=found, children=old, open_runs=(seen_run(),))

    assert names(seen) == ["LookAgain", "ApplyObject", "LookAgain"]


def status_after(found: Scaled, before: Object | None = None, now: datetime = NOW) -> Object:
    seen = scaled_pool(found)
    outcomes = [
        Outcome(action, "Done", object=action.object) for action in planned(seen) if isinstance(action, ApplyObject)
    ]
    return scaling_status(found, before or {}, outcomes, now)


def test_the_last_ten_changes_are_told_newest_first() -> None:
    status: Object = {}
    for number in range(12):
        status = status_after(scaled(number + 1, was=number), status)

    assert [each["to"] for each in status["lastDecisions"]] == list(range(12, 2, -1))
    assert status["lastDecisions"][0] == {
        "time": "2026-05-01T12:00:00Z",
        "from": 11,
        "to": 12,
        "reason": "Backlog",
        "message": "7 tasks wait.",
    }


def figures(count: int, **more: Any) -> Scaled:
    signals = Signals(2, Backlog(count), (WorkerSeen("a", 8, 0, NOW),), 2)
    return scaled(2, was=2, signals=signals, **more)


def test_figures_are_written_every_ten_seconds_at_most() -> None:
    first = status_after(figures(7))
    assert (first["backlog"], first["busySlots"], first["openRuns"]) == (7, 8, 2)

    assert status_after(figures(9), first, NOW + timedelta(seconds=9)) == first
    assert status_after(figures(9), first, NOW + timedelta(seconds=10))["backlog"] == 9
    assert status_after(figures(7), first, NOW + timedelta(hours=9)) == first
    other = replace(figures(9), decision=Decision(2, "Stuck", "They aren't taken."))
    assert status_after(other, first, NOW + timedelta(seconds=1))["backlog"] == 9


def test_a_look_comes_when_the_last_figures_arent_told_yet() -> None:
    rests = figures(9, again=None)
    first = status_after(figures(7))

    def looks(found: Scaled, status: Object) -> list[timedelta]:
        seen = scaled_pool(found, status={"scaling": status})
        return [action.after for action in planned(seen) if isinstance(action, LookAgain)]

    assert looks(rests, first) == [timedelta(seconds=10)]
    assert looks(figures(7, again=None), first) == []
    assert looks(figures(7, again=timedelta(seconds=3)), first) == [timedelta(seconds=3)]


def held(reason: str = "TemporalUnknown") -> Object:
    return {"held": reason in ("TemporalUnknown", "WorkersUnknown"), "reason": reason, "message": "workers stay."}


NOTES: dict[str, tuple[Object, Object, list[tuple[str, str]]]] = {
    "new": ({}, held("Idle"), []),
    "new, and nothing is known": ({}, held(), []),
    "held": (held("Working"), held(), [("Warning", "ScalingHeld")]),
    "held on": (held("WorkersUnknown"), held(), []),
    "goes on": (held(), held("Working"), [("Normal", "ScalingResumed")]),
    "figures": ({**held("Working"), "backlog": 1}, {**held("Working"), "backlog": 9}, []),
}


@pytest.mark.parametrize("name", NOTES)
def test_events(name: str) -> None:
    old, new, expected = NOTES[name]

    assert [(note.type, note.reason) for note in transitions({"scaling": old}, {"scaling": new})] == expected


# A look, on what the store holds and a Temporal and an API server of values


@dataclass
class Outside:
    """A Temporal's and an API server's answers."""

    workers: Sequence[WorkerListed] = ()
    runs: int = 0
    pods: Sequence[Object] = ()
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    async def get(self, _connection: object) -> Outside:
        return self

    async def list_workers(self, _queue: str | None = None) -> AsyncIterator[WorkerListed]:
        self.asked.append("list_workers")
        if self.error is not None:
            raise self.error
        for worker in self.workers:
            yield worker

    async def backlog(self, queue: str) -> QueueBacklog:
        self.asked.append(queue)
        return WAITING

    async def open_runs_of_queue(self, _queue: str) -> tuple[RunSeen, ...]:
        self.asked.append("open_runs_of_queue")
        return tuple(seen_run(f"r{number}") for number in range(self.runs))

    async def select(self, _kind: str, _namespace: str, **_more: object) -> tuple[Object, ...]:
        self.asked.append("pods")
        return tuple(self.pods)


def deployment(replicas: int = 2) -> Object:
    status = {"observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas}
    annotations = {ANNOTATION_REPLICAS: str(replicas)}
    return {
        "metadata": {"name": "etl-worker", "generation": 1, "annotations": annotations},
        "spec": {"replicas": 9},
        "status": status,
    }


async def looked(
    outside: Outside, *, passes: int = 3, swept: Mapping[str, int] | None = None
) -> tuple[Scaled, MemoryStore]:
    """The last of several looks, so far apart that what idles does so for long enough; `swept`: used slots by pod."""
    store = MemoryStore()
    stands: Any = outside
    clients = Clients(store, stands, stands, SETTINGS)
    manifest = pool(spec={"scaling": {**BUILT_IN, "idleTimeout": "1s"}})
    used = swept if swept is not None else {"a": 8, "b": 0}
    workers = tuple(listed(name, slots) for name, slots in sorted(used.items()))
    found: Scaled | None = None
    for number in range(passes):
        now = NOW + timedelta(seconds=6 * number)
        queues = {QUEUE: tuple(WorkerHeard(worker, now) for worker in workers)}
        store.temporal(None).queues = Queues(
            now, {QUEUE: 1}, frozenset({QUEUE}), queues, "", {QUEUE: QueueBacklog(0, timedelta(), 0, 0)}
        )
        found = await look(KEY, manifest, deployment(len(used)), None, clients, now)
    assert found is not None
    return found, store


BUSY_A, BUSY_B = (listed("a", 8), listed("b", 0)), (listed("a", 0), listed("b", 8))
TWO = (pod("a"), pod("b"))
FRESH: dict[str, tuple[Outside, int, str, dict[str, int | None]]] = {
    "as it was": (Outside(BUSY_A, 1, TWO), 1, "Surplus", {"b": -1}),
    "the other one is busy now": (Outside(BUSY_B, 1, TWO), 2, "WorkersBusy", {}),
    "both are busy now": (Outside((listed("a", 8), listed("b", 1)), 1, TWO), 2, "WorkersBusy", {}),
    "the idle one's pod is gone": (Outside(BUSY_A, 1, (pod("a"), pod("z"))), 2, "WorkersBusy", {}),
    "nobody answers": (Outside(BUSY_A, 1, TWO, TemporalUnavailable("refused")), 2, "TemporalUnknown", {}),
}


@pytest.mark.parametrize("name", FRESH)
async def test_who_is_busy_is_looked_at_again_before_one_goes(name: str) -> None:
    outside, replicas, reason, costs = FRESH[name]

    found, _ = await looked(outside)

    assert (found.decision.replicas, found.decision.reason) == (replicas, reason)
    assert {mark.pod: mark.cost for mark in found.marks} == costs


async def test_of_those_that_were_idle_one_that_still_is_goes() -> None:
    workers = (listed("a", 8), listed("b", 1), listed("c", 0))
    outside = Outside(workers, 1, (pod("a"), pod("b", cost="-1"), pod("c")))

    found, _ = await looked(outside, swept={"a": 8, "b": 0, "c": 0})

    assert found.decision.replicas == 2
    assert {mark.pod: mark.cost for mark in found.marks} == {"b": None, "c": -1}


async def test_nobody_is_asked_while_nobody_goes() -> None:
    outside = Outside()

    found, _ = await looked(outside, swept={"a": 8, "b": 8})

    assert (found.decision.replicas, outside.asked) == (2, [])


async def test_after_a_start_nothing_goes_at_the_first_look() -> None:
    outside = Outside(BUSY_A, 1, TWO)

    found, _ = await looked(outside, passes=1)

    assert (found.was, found.decision.replicas) == (2, 2)


AGAIN: dict[str, tuple[Queues | None, PipelineInTemporal, timedelta | None]] = {
    "at rest": (Queues(NOW, workers={}), PipelineInTemporal(), None),
    "at rest until a start comes near": (Queues(NOW, workers={}), entry(5, 6), timedelta(minutes=5, seconds=-20)),
    "a start is near": (Queues(NOW, workers={}), entry(0.1), timedelta(seconds=3)),
    "a start beyond sight": (Queues(NOW, workers={}), entry(140), None),
    "a run is open": (Queues(NOW, {QUEUE: 1}, workers={}), PipelineInTemporal(), timedelta(seconds=3)),
    "a worker is busy yet": (Queues(NOW, workers={QUEUE: (SEEN,)}), PipelineInTemporal(), timedelta(seconds=3)),
    "nothing is known": (None, entry(5), timedelta(seconds=3)),
}


@pytest.mark.parametrize("name", AGAIN)
async def test_when_it_is_looked_at_again(name: str) -> None:
    queues, seen, expected = AGAIN[name]
    store = MemoryStore()
    store.put("DataPipeline", pipeline())
    store.temporal(None).queues = queues
    store.temporal(None).pipelines = {"inst/travel/flights": seen}
    stands: Any = Outside()

    found = await look(
        KEY, pool(spec={"scaling": {}}), deployment(0), None, Clients(store, stands, stands, SETTINGS), NOW
    )

    assert found is not None
    assert found.again == expected


# The sweep's part


def demand_of(store: MemoryStore) -> tuple[Demand, list[Key]]:
    added: list[Key] = []
    return Demand(store, "inst", lambda namespace: namespace == "travel", added.append), added


def runs_on(*pools: str) -> list[RunSeen]:
    return [seen_run(name, task_queue=f"inst/travel/{name}") for name in pools]


def store_of(*pools: str) -> MemoryStore:
    store = MemoryStore()
    for name in pools:
        store.put("WorkerPool", pool(name=name, spec={"scaling": dict(BUILT_IN)}))
    return store


async def test_only_pools_in_work_are_asked_for_their_backlog() -> None:
    temporal: Any = Outside()
    demand, added = demand_of(store := store_of("busy", "idle"))
    store.put("WorkerPool", pool(name="fixed"))

    await demand.look(None, temporal, runs_on("busy", "fixed"))

    assert temporal.asked == ["list_workers", "inst/travel/busy"]
    assert sorted(key.name for key in added) == ["busy", "idle"]
    added.clear()
    await demand.look(None, temporal, runs_on("busy", "fixed"))
    assert added == []
    await demand.look(None, temporal, [])
    assert [key.name for key in added] == ["busy"]


async def test_a_look_asks_for_so_many_backlogs_and_the_others_turn_comes() -> None:
    names = [f"p{number:02}" for number in range(MOST_BACKLOGS + 5)]
    temporal: Any = Outside()
    demand, _ = demand_of(store := store_of(*names))

    await demand.look(None, temporal, runs_on(*names))
    first = temporal.asked[1:]
    temporal.asked.clear()
    await demand.look(None, temporal, runs_on(*names))

    assert len(first) == MOST_BACKLOGS
    assert set(first) | set(temporal.asked[1:]) == {f"inst/travel/{name}" for name in names}
    queues = store.queues(None)
    assert queues is not None
    assert len(queues.backlogs) == len(names)


async def test_a_temporal_without_scaled_pools_isnt_asked() -> None:
    temporal: Any = Outside()
    store = MemoryStore()
    store.put("WorkerPool", pool(name="fixed", spec={"scaling": {"scaler": "None"}}))
    demand, added = demand_of(store)

    await demand.look(None, temporal, runs_on("fixed"))

    assert (temporal.asked, added, store.queues(None)) == ([], [], None)


async def test_no_list_of_workers_is_told_with_its_reason() -> None:
    temporal: Any = Outside(error=TemporalRefusedError("no list here"))
    demand, _ = demand_of(store := store_of("busy"))

    await demand.look(None, temporal, runs_on("busy"))

    queues = store.queues(None)
    assert queues is not None
    assert (queues.workers, queues.unlisted) == (None, "no list here")


async def test_silence_is_told_once_and_forgets_what_was_known() -> None:
    temporal: Any = Outside()
    demand, added = demand_of(store := store_of("busy"))
    await demand.look(None, temporal, runs_on("busy"))
    added.clear()

    demand.silent(None)
    demand.silent(None)

    assert ([key.name for key in added], store.queues(None), store.silent(None)) == (["busy"], None, True)
    await demand.look(None, temporal, runs_on("busy"))
    assert not store.silent(None)
