"""One pass over a key: what is written, what is tried again and when; and the posting of Events. Servers are tables."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from tests.support.waiting import until_async
from tidemill_api.names import FINALIZER
from tidemill_operator.actions import (
    Action,
    AddFinalizer,
    ApplyObject,
    LookAgain,
    ObjectRef,
    Outcome,
    RemoveFinalizer,
)
from tidemill_operator.clients import (
    Clients,
    ConflictError,
    Key,
    KubernetesError,
    KubernetesUnavailable,
    Object,
    RefusedError,
    Settings,
    Temporals,
)
from tidemill_operator.events import Events, Note
from tidemill_operator.metrics import Metrics
from tidemill_operator.queue import Queue
from tidemill_operator.reconcile import REFUSED_AGAIN, Reconcile, Reconciler
from tidemill_operator.store import MemoryStore

KEY = Key("DataPipeline", "travel", "flights")


@dataclass
class Table:
    """An API server of a few objects: each write makes the next version, a precondition that fails is a conflict."""

    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    trouble: Exception | None = None
    version: int = 10

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:  # noqa: ARG002 - as the protocol
        return self.objects.get((kind, name))

    async def select(self, kind: str, namespace: str, **selectors: Any) -> tuple[Object, ...]:
        raise AssertionError(f"nothing here asks for {kind} in {namespace} by {selectors}")

    async def apply(self, kind: str, manifest: Object) -> Object:
        self._fail()
        known = self.objects.get((kind, manifest["metadata"]["name"]))
        wished = manifest["metadata"].get("uid")
        if wished and (known is None or known["metadata"]["uid"] != wished):
            raise ConflictError(409, "Conflict", "another uid")
        return self._write("apply", kind, {"metadata": {"uid": "child"}, **manifest}, {})

    async def merge(self, kind: str, namespace: str, name: str, patch: Object, *, status: bool = False) -> Object:  # noqa: ARG002
        self._fail()
        known = self.objects[(kind, name)]
        if patch["metadata"].pop("resourceVersion") != known["metadata"]["resourceVersion"]:
            raise ConflictError(409, "Conflict", "the object has been modified")
        return self._write("status" if status else "merge", kind, known, patch)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> bool:  # noqa: ARG002 - as the protocol
        self.writes.append(f"delete {kind} {name} {uid}")
        return self.objects.pop((kind, name), None) is not None

    async def create(self, kind: str, namespace: str, manifest: Object) -> Object:  # noqa: ARG002 - as the protocol
        self._fail()
        self.writes.append(f"create {kind} {manifest['reason']}")
        return manifest

    def _fail(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def _write(self, what: str, kind: str, known: Object, patch: Object) -> Object:
        self.version += 1
        metadata = {**known["metadata"], **patch.get("metadata", {}), "resourceVersion": str(self.version)}
        metadata.setdefault("namespace", "travel")
        written = {
            **known,
            **{name: value for name, value in patch.items() if name != "metadata"},
            "metadata": metadata,
        }
        self.objects[(kind, metadata["name"])] = written
        self.writes.append(f"{what} {kind} {metadata['name']}")
        return {**written, "metadata": dict(metadata)}


def pipeline(version: str = "5", **metadata: Any) -> Object:
    known = {"namespace": "travel", "name": "flights", "uid": "u", "generation": 1, "resourceVersion": version}
    kinds = {"apiVersion": "tidemill.dev/v1alpha1", "kind": "DataPipeline"}
    return {**kinds, "metadata": {**known, **metadata}, "spec": {"workerPoolRef": {"name": "etl"}}}


REF = ObjectRef("tidemill.dev/v1alpha1", "DataPipeline", "travel", "flights", "u", "5")
READY = {"conditions": [{"type": "Ready", "status": "True", "reason": "Scheduled", "message": ""}]}
CHILD: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "travel", "name": "etl-worker"}}


@dataclass
class Bench:
    """A loop of one kind whose decisions a test gives."""

    table: Table
    store: MemoryStore
    queue: Queue[Key]
    metrics: Metrics
    events: Events
    reconcile: Reconcile
    outcomes: list[Outcome]


def bench(
    actions: Sequence[Action] = (),
    status: Object | None = None,
    observe: Callable[[], None] = lambda: None,
    remains: Sequence[Action] = (),
) -> Bench:
    outcomes: list[Outcome] = []

    async def observing(key: Key, manifest: Object, clients: Clients) -> Object:  # noqa: ARG001 - as all kinds
        observe()
        return manifest

    async def remaining(key: Key, clients: Clients) -> Sequence[Action]:  # noqa: ARG001 - as all kinds
        return remains

    def report(desired: object, observed: Object, done: Sequence[Outcome], now: datetime) -> Object | None:  # noqa: ARG001
        outcomes.extend(done)
        return status

    kinds: Mapping[str, Reconciler[Any, Any]] = {
        "DataPipeline": Reconciler(
            "DataPipeline", observing, lambda *_: None, lambda *_: tuple(actions), report, remaining
        ),
        "WorkerPool": Reconciler("WorkerPool", observing, lambda *_: None, lambda *_: (), report),
    }
    table, store, queue, metrics = Table(), MemoryStore(), Queue[Key](), Metrics()
    temporals = cast("Temporals", None)  # no action here goes to Temporal
    clients = Clients(store, table, temporals, Settings("i", None, "image"))
    events = Events(table, "me")
    reconcile = Reconcile(kinds, clients, store, queue, events, metrics)
    table.objects[("DataPipeline", "flights")] = pipeline()
    store.put("DataPipeline", pipeline())
    return Bench(table, store, queue, metrics, events, reconcile, outcomes)


async def test_a_pass_writes_finalizer_and_status_once() -> None:
    made = bench((AddFinalizer(REF),), READY)
    assert await made.reconcile.handle(KEY)
    assert made.table.writes == ["merge DataPipeline flights", "status DataPipeline flights"]
    found = made.store.get(*_place())
    assert found is not None
    assert found["metadata"]["finalizers"] == [FINALIZER]
    assert found["status"] == READY
    assert made.queue.work.take(1e9) in (None, Key("WorkerPool", "travel", "etl")), "its own writes don't stir it"
    settled = bench((), READY)
    settled.table.objects[("DataPipeline", "flights")] = {**pipeline("9"), "status": READY}
    settled.store.put("DataPipeline", {**pipeline("9"), "status": READY})
    assert await settled.reconcile.handle(KEY)
    assert settled.table.writes == []


async def test_a_write_in_between_is_a_conflict_and_read_anew() -> None:
    made = bench((), READY)
    made.table.objects[("DataPipeline", "flights")] = pipeline("7", labels={"new": "1"})
    assert not await made.reconcile.handle(KEY)
    found = made.store.get(*_place())
    assert found is not None
    assert found["metadata"]["labels"] == {"new": "1"}
    assert await made.reconcile.handle(KEY)


async def test_a_write_in_between_finalizer_and_status_is_a_conflict_too() -> None:
    made = bench((AddFinalizer(REF),), READY)
    real = made.table.merge

    async def meddle(*arguments: Any, **options: Any) -> Object:
        written = await real(*arguments, **options)
        if not options.get("status"):
            made.table.objects[("DataPipeline", "flights")]["metadata"]["resourceVersion"] = "99"
        return written

    made.table.merge = meddle  # type: ignore[method-assign]  # somebody else writes right after us
    assert not await made.reconcile.handle(KEY)


@pytest.mark.parametrize(
    ("trouble", "result", "good", "again"),
    [
        (KubernetesUnavailable("no answer"), "Unreachable", False, None),
        (ConflictError(409, "Conflict", "changed"), "Conflict", False, None),
        (KubernetesError(404, "NotFound", "gone"), "Conflict", False, None),
        (RefusedError(403, "Forbidden", "quota"), "Refused", True, REFUSED_AGAIN),
    ],
)
async def test_what_becomes_of_a_write_that_fails(
    trouble: Exception, result: str, good: bool, again: float | None
) -> None:
    made = bench((ApplyObject(CHILD, "u"), LookAgain(timedelta(0))))
    made.table.trouble = trouble
    assert await made.reconcile.handle(KEY) is good
    assert [outcome.result for outcome in made.outcomes] == [result], "what is behind a failure isn't tried"
    due = made.queue.work.next_due()
    assert (due is not None) == (again is not None)


async def test_a_strangers_child_is_refused_and_ours_is_pinned_by_uid() -> None:
    made = bench((ApplyObject(CHILD, "u"),))
    made.table.objects[("ConfigMap", "etl-worker")] = {**CHILD, "metadata": {**CHILD["metadata"], "uid": "x"}}
    await made.reconcile.handle(KEY)
    assert made.outcomes[0].result == "Refused"
    assert made.table.writes == []
    ours = {**CHILD["metadata"], "uid": "x", "resourceVersion": "3", "ownerReferences": [{"uid": "u"}]}
    made.store.put("ConfigMap", {**CHILD, "metadata": ours})
    made.table.objects[("ConfigMap", "etl-worker")]["metadata"]["uid"] = "its successor"
    assert not await made.reconcile.handle(KEY)
    assert made.outcomes[-1].result == "Conflict"
    assert made.store.get("ConfigMap", "travel", "etl-worker") is None, "what was known is not trusted any more"


async def test_letting_go_forgets_the_object_and_tells_its_pool() -> None:
    made = bench((RemoveFinalizer(REF),), READY)
    leaving = pipeline("6", deletionTimestamp="2026-01-01T00:00:00Z", finalizers=[FINALIZER])
    made.table.objects[("DataPipeline", "flights")] = leaving
    made.store.put("DataPipeline", leaving)
    ref = ObjectRef(REF.api_version, REF.kind, REF.namespace, REF.name, REF.uid, "6")
    made = _with_actions(made, (RemoveFinalizer(ref),))
    assert await made.reconcile.handle(KEY)
    assert made.table.writes == ["merge DataPipeline flights"], "no status is written to what is gone"
    assert made.store.get(*_place()) is None
    assert made.queue.work.take(1e9) == Key("WorkerPool", "travel", "etl")


async def test_what_is_known_to_be_gone_is_cleaned_up_after() -> None:
    made = bench(remains=(ApplyObject(CHILD, "u"),))
    made.store.remove(*_place())
    assert await made.reconcile.handle(KEY)
    assert made.table.writes == [], "the server still has it, so it isn't gone"
    made.store.remove(*_place())
    del made.table.objects[("DataPipeline", "flights")]
    assert await made.reconcile.handle(KEY)
    assert made.table.writes == ["apply ConfigMap etl-worker"]


async def test_the_unexpected_is_counted_shown_once_and_tried_again() -> None:
    def explode() -> None:
        raise ZeroDivisionError("secret")

    made = bench(observe=explode)
    assert not await made.reconcile.handle(KEY)
    assert not await made.reconcile.handle(KEY)
    text = made.metrics.text().decode()
    assert 'tidemill_operator_reconcile_errors_total{kind="DataPipeline",reason="ZeroDivisionError"} 2.0' in text
    posting = asyncio.create_task(made.events.post())
    await until_async(_as_async(lambda: bool(made.table.writes)), "the Event is posted")
    posting.cancel()
    assert made.table.writes == ["create Event ReconcileFailed"]


async def test_events_that_cannot_be_posted_are_dropped_and_counted() -> None:
    table = Table(trouble=KubernetesUnavailable("down"))
    events = Events(table, "me", most=2)
    note = Note("Normal", "R", "m", "A")
    events.add(pipeline(), (note, note, note))
    assert events.dropped == 1
    posting = asyncio.create_task(events.post())
    await until_async(_as_async(lambda: events.dropped == 3), "all are dropped")
    posting.cancel()


def _as_async(look: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def looking() -> bool:
        return look()

    return looking


def _place() -> tuple[str, str, str]:
    return KEY.kind, KEY.namespace, KEY.name


def _with_actions(made: Bench, actions: Sequence[Action]) -> Bench:
    fresh = bench(actions, READY)
    fresh.table.objects.update(made.table.objects)
    fresh.store.put("DataPipeline", made.table.objects[("DataPipeline", "flights")])
    return fresh
