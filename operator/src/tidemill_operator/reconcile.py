"""From a key to a settled object: observe, desire, plan, apply, report. One pass a key; the table says who decides.

A pass that meets an outage or a conflict is tried again with growing waits. A terminal verdict is a status like any
other: it is written once and looked at again when something changes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from tidemill_api.errors import TidemillError
from tidemill_api.names import ANNOTATION_INSTALLATION
from tidemill_operator.actions import (
    Action,
    ApplyKeyRing,
    ApplyObject,
    LookAgain,
    Outcome,
    RemoveFinalizer,
    UpdateSchedule,
)
from tidemill_operator.apply import Appliance
from tidemill_operator.belonging import other_installation
from tidemill_operator.clients import Clients, ConflictError, Key, Object, Settings, Store
from tidemill_operator.events import OTHER_INSTALLATION, RECONCILE_FAILED, RELEASED, Events, Note, decided, transitions
from tidemill_operator.metrics import Metrics
from tidemill_operator.notice import concerned
from tidemill_operator.queue import Queue
from tidemill_operator.store import MemoryStore

log: Final = logging.getLogger(__name__)

REFUSED_AGAIN: Final = 60.0
"""Seconds after which what was refused is tried again: quotas and admission rules change without an event for us."""


Observed = TypeVar("Observed")
Desired = TypeVar("Desired")


@dataclass(frozen=True, slots=True)
class Reconciler(Generic[Observed, Desired]):
    """The decisions of one kind."""

    kind: str
    observe: Callable[[Key, Object, Clients], Awaitable[Observed]]
    desire: Callable[[Observed, Settings], Desired]
    plan: Callable[[Desired, Observed, datetime], Sequence[Action]]
    report: Callable[[Desired, Observed, Sequence[Outcome], datetime], Object | None]
    remains: Callable[[Key, Clients], Awaitable[Sequence[Action]]] | None = None
    """What to clean up after an object that is known to be gone."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What came of one pass."""

    outcomes: tuple[Outcome, ...]
    wrote_status: bool

    @property
    def failed(self) -> Outcome | None:
        """The action that must be tried again, if any."""
        return next((outcome for outcome in self.outcomes if outcome.result in ("Conflict", "Unreachable")), None)

    @property
    def again(self) -> timedelta | None:
        """When to look again though nothing may change."""
        waits = [outcome.action.after for outcome in self.outcomes if isinstance(outcome.action, LookAgain)]
        if any(outcome.result == "Refused" for outcome in self.outcomes):
            waits.append(timedelta(seconds=REFUSED_AGAIN))
        return min(waits, default=None)


class Reconcile:
    """Works on keys from the queue; see `serve` of the queue for its promise: it raises nothing."""

    def __init__(
        self,
        kinds: Mapping[str, Reconciler[Any, Any]],
        clients: Clients,
        store: MemoryStore,
        queue: Queue[Key],
        events: Events,
        metrics: Metrics,
    ) -> None:
        """`store` is the one in `clients`, to be written."""
        self._kinds = kinds
        self._clients = clients
        self._store = store
        self._queue = queue
        self._events = events
        self._metrics = metrics
        self._failing: set[Key] = set()
        self._others: set[Key] = set()

    @property
    def failing(self) -> tuple[Key, ...]:
        """Keys whose last pass failed, and is tried again. May be asked by another thread."""
        return tuple(self._failing)

    async def handle(self, key: Key) -> bool:
        """One pass over a key. False: try again later."""
        began = time.perf_counter()
        result = "failed"
        try:
            done = await self._pass(self._kinds[key.kind], key)
            result = self._conclude(key, done)
        except ConflictError as error:
            log.debug("%s changed meanwhile: %s", key, error)
            self._count_error(key, "Conflict")
            await self._refresh(key)
        except TidemillError as error:
            self._fail(key, error.type, str(error))
        except Exception as error:  # noqa: BLE001 - logged, counted, shown, retried: one bad object must not stop the rest
            self._unexpected(key, error)
        self._metrics.reconciles.labels(key.kind, result).inc()
        self._metrics.reconcile_seconds.labels(key.kind).observe(time.perf_counter() - began)
        return result != "failed"

    def learn(self, kind: str, old: Object | None, new: Object | None, but: Key | None = None) -> None:
        """An object changed: put whom it concerns on the queue (but not the one that is being worked on)."""
        for key, delay in concerned(kind, old, new, self._store):
            if key != but and key.kind in self._kinds:
                self._queue.add_after(key, delay)

    async def _pass(self, kind: Reconciler[Observed, Desired], key: Key) -> Pass:
        manifest = self._store.get(key.kind, key.namespace, key.name) or await self._fetch(key)
        appliance = self._appliance(key)
        if manifest is None:
            actions = await kind.remains(key, self._clients) if kind.remains is not None else ()
            return Pass(self._counted(await appliance.apply(actions)), wrote_status=False)
        other = other_installation(key.kind, manifest, self._clients.settings.installation, self._store)
        if other is not None:
            self._leave_to(other, key, manifest)
            return Pass((), wrote_status=False)
        observed = await kind.observe(key, manifest, self._clients)
        desired = kind.desire(observed, self._clients.settings)
        outcomes = self._counted(await appliance.apply(kind.plan(desired, observed, datetime.now(UTC))))
        self._tell_what_is_left(key, manifest, outcomes)
        status = None if _let_go(outcomes) else kind.report(desired, observed, outcomes, datetime.now(UTC))
        if status is None or status == (manifest.get("status") or {}):
            return Pass(outcomes, wrote_status=False)
        await appliance.write_status(key.kind, _current(self._store, key, manifest), status)
        self._events.add(manifest, transitions(manifest.get("status") or {}, status))
        for direction, reason in decided(manifest.get("status") or {}, status):
            self._metrics.pool_decided(key.namespace, key.name, direction, reason)
        return Pass(outcomes, wrote_status=True)

    def _leave_to(self, other: str, key: Key, manifest: Object) -> None:
        """Say once that the object is another installation's."""
        if key in self._others:
            return
        self._others.add(key)
        mine = self._clients.settings.installation
        told = f"the installation {other} looks after it; {mine} doesn't, unless it is annotated"
        log.warning("%s: %s %s: %s", key, told, ANNOTATION_INSTALLATION, mine)
        note = Note("Warning", OTHER_INSTALLATION, f"{told} {ANNOTATION_INSTALLATION}: {mine}", "Reconcile")
        self._events.add(manifest, (note,))

    def _tell_what_is_left(self, key: Key, manifest: Object, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome.action, RemoveFinalizer) and outcome.action.left and outcome.result == "Done":
                log.warning("%s: %s", key, outcome.action.left)
                self._events.add(manifest, (Note("Warning", RELEASED, outcome.action.left, "Delete"),))

    def _appliance(self, key: Key) -> Appliance:
        """What writes for one pass; the object that is being worked on isn't put on the queue by its own writes."""
        return Appliance(
            self._store,
            self._clients.kubernetes,
            self._clients.temporals,
            lambda kind, old, new: self.learn(kind, old, new, key),
        )

    async def _fetch(self, key: Key) -> Object | None:
        """Ask the server for an object that isn't known: that alone proves that it is gone."""
        manifest = await self._clients.kubernetes.get(key.kind, key.namespace, key.name)
        if manifest is not None and self._store.put(key.kind, manifest):
            # The watch will bring it too, but as no news: who waits for it must be told now.
            self.learn(key.kind, None, manifest, key)
        return manifest

    def _conclude(self, key: Key, done: Pass) -> str:
        if done.again is not None:
            self._queue.add_after(key, done.again.total_seconds())
        failed = done.failed
        if failed is None:
            self._failing.discard(key)
            return "changed" if done.outcomes or done.wrote_status else "unchanged"
        if failed.result == "Conflict":
            log.debug("%s: conflict at %s: %s", key, type(failed.action).__name__, failed.message)
            self._count_error(key, "Conflict")
        else:
            self._fail(key, failed.result, f"{type(failed.action).__name__}: {failed.message}")
        return "failed"

    async def _refresh(self, key: Key) -> None:
        """After a conflict over the object itself: read it anew, since its event may be long in coming."""
        try:
            found = await self._clients.kubernetes.get(key.kind, key.namespace, key.name)
        except TidemillError:
            return
        old = self._store.get(key.kind, key.namespace, key.name)
        if found is not None:
            self._store.put(key.kind, found)
        elif old is not None:
            self._store.remove(key.kind, key.namespace, key.name, old["metadata"]["uid"])
            self.learn(key.kind, old, None)

    def _fail(self, key: Key, reason: str, message: str) -> None:
        self._count_error(key, reason)
        if key not in self._failing:  # once, not at each attempt
            self._failing.add(key)
            log.warning("%s: %s (will be tried again)", key, message)

    def _unexpected(self, key: Key, error: Exception) -> None:
        self._count_error(key, type(error).__name__)
        if key in self._failing:
            return
        self._failing.add(key)
        log.error("%s: unexpected %s (will be tried again)", key, type(error).__name__, exc_info=error)
        manifest = self._store.get(key.kind, key.namespace, key.name)
        if manifest is not None:
            said = f"the operator met an unexpected {type(error).__name__}; its log says more, and it tries again"
            self._events.add(manifest, (Note("Warning", RECONCILE_FAILED, said, "Reconcile"),))

    def _count_error(self, key: Key, reason: str) -> None:
        self._metrics.errors.labels(key.kind, reason).inc()

    def _counted(self, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
        for outcome in outcomes:
            if isinstance(outcome.action, LookAgain):
                continue
            self._metrics.actions.labels(type(outcome.action).__name__, outcome.result).inc()
            match outcome:
                case Outcome(action=UpdateSchedule(repairs_drift=True), result="Done"):
                    self._metrics.drift.labels("Schedule").inc()
                case Outcome(action=ApplyObject(object=manifest), result="Done"):
                    log.info("applied %s %s", manifest["kind"], manifest["metadata"]["name"])
                case Outcome(action=ApplyKeyRing(namespace=namespace), result="Done"):
                    log.info("the pools of namespace %s have the key ring", namespace)
                case _:
                    pass
        return outcomes


def _let_go(outcomes: Sequence[Outcome]) -> bool:
    return any(isinstance(outcome.action, RemoveFinalizer) and outcome.result == "Done" for outcome in outcomes)


def _current(store: Store, key: Key, observed: Object) -> Object:
    """The object to write the status to: as observed, or as our own finalizer write of this pass left it.

    Anything else that came in between makes the write a conflict, as it must.
    """
    now = store.get(key.kind, key.namespace, key.name)
    if now is None or now["metadata"].get("finalizers") == observed["metadata"].get("finalizers"):
        return observed
    same = all(now.get(part) == observed.get(part) for part in ("spec", "status"))
    return now if same and now["metadata"]["generation"] == observed["metadata"]["generation"] else observed
