"""What is to be done for a pool. Pure; empty means converged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from tidemill_api.conditions import READY
from tidemill_api.names import ANNOTATION_RELEASE, FINALIZER
from tidemill_api.v1alpha1 import parse_timestamp
from tidemill_operator.actions import (
    Action,
    AddFinalizer,
    ApplyKeyRing,
    ApplyObject,
    CancelRun,
    LookAgain,
    ObjectRef,
    RemoveFinalizer,
)
from tidemill_operator.clients import Object
from tidemill_operator.pool.children import ANNOTATION_WISHED
from tidemill_operator.pool.desire import Desired
from tidemill_operator.pool.key_ring import mark_of
from tidemill_operator.pool.likeness import holds
from tidemill_operator.pool.observe import Observed
from tidemill_operator.pool.scaling_report import FIGURES_EVERY, figures_wait
from tidemill_operator.reading import annotation, status_of
from tidemill_operator.release import AFTER_TROUBLE, is_due, let_go, out_of_patience, terminated, wait
from tidemill_operator.standing import condition

WHILE_WAITING: Final = timedelta(seconds=5)
SOONEST_LOOK: Final = timedelta(seconds=2)
RAREST_LOOK: Final = timedelta(seconds=30)


def plan(desired: Desired, observed: Observed, now: datetime) -> tuple[Action, ...]:
    """The actions, in order."""
    if observed.going:
        leaving = tuple(_farewell(observed, now))
        stays = bool(leaving) and not any(isinstance(action, RemoveFinalizer) for action in leaving)
        if not stays:
            return leaving
        # Last: in a namespace that is being deleted no Secret can be made, and that must hold nothing up.
        return (*leaving, *_rescaled(desired, observed), *_key_ring(desired, observed))
    return (*_key_ring(desired, observed), *_upkeep(desired, observed, now))


def as_wished(wished: Mapping[str, Any], found: Object) -> bool:
    """Whether a child is still what was asked for."""
    mark = wished["metadata"]["annotations"][ANNOTATION_WISHED]
    return annotation(found, ANNOTATION_WISHED) == mark and holds(found, wished)


def _key_ring(desired: Desired, observed: Observed) -> Iterator[Action]:
    """The key ring comes before the pods that wait for it, and is kept up to the end of the last run."""
    ring = desired.key_ring
    if ring is not None and observed.handed_on != mark_of(ring):
        yield ApplyKeyRing(observed.manifest["metadata"]["namespace"], ring)


def _upkeep(desired: Desired, observed: Observed, now: datetime) -> Iterator[Action]:
    metadata = observed.manifest["metadata"]
    if FINALIZER not in (metadata.get("finalizers") or ()):
        yield AddFinalizer(ObjectRef.of(observed.manifest))
    for child in desired.children:
        found = observed.children.get(child["kind"])
        if found is None or not as_wished(child, found):
            if child["kind"] == "Deployment" and observed.scaled is not None:
                yield from observed.scaled.marks
            yield ApplyObject(child, metadata["uid"])
    yield from _next_look(observed)
    if observed.trouble is not None:
        yield LookAgain(AFTER_TROUBLE)
    if observed.pods is not None:
        yield LookAgain(_until_pods_are_seen_again(observed.manifest, now))


def _rescaled(desired: Desired, observed: Observed) -> Iterator[Action]:
    """While a pool that goes waits for its runs, they still need workers."""
    if observed.scaled is None or not observed.scaled.acts:
        return
    for child in desired.children:
        found = observed.children.get("Deployment")
        if child["kind"] == "Deployment" and found is not None and not as_wished(child, found):
            yield from observed.scaled.marks
            yield ApplyObject(child, observed.manifest["metadata"]["uid"])
    yield from _next_look(observed)


def _next_look(observed: Observed) -> Iterator[Action]:
    scaled = observed.scaled
    if scaled is None:
        return
    again = [scaled.again] if scaled.again is not None else []
    if figures_wait(scaled, status_of(observed.manifest).get("scaling") or {}):
        again.append(FIGURES_EVERY)
    if again:
        yield LookAgain(min(again))


def _until_pods_are_seen_again(manifest: Object, now: datetime) -> timedelta:
    """Pods that aren't ready change without a sign on their Deployment. The longer it lasts, the rarer we look."""
    ready = condition(status_of(manifest), READY)
    if ready is None or ready["status"] == "True":
        return SOONEST_LOOK
    age = now - parse_timestamp(ready["lastTransitionTime"])
    return min(max(age / 5, SOONEST_LOOK), RAREST_LOOK)


def _farewell(observed: Observed, now: datetime) -> Iterator[Action]:
    """The children stay until all that needs workers has ended; then they go with the pool."""
    manifest = observed.manifest
    if FINALIZER not in (manifest["metadata"].get("finalizers") or ()):
        return
    if observed.trouble is not None:
        # Its pipelines wait for the same; at their time they go, and then it does.
        if is_due(manifest, observed.patience, now) and (not observed.pipelines or _asked_for(manifest)):
            yield let_go(manifest, observed.trouble, "runs may still be open on its task queue, without workers")
        else:
            yield wait(manifest, observed.patience, now)
        return
    cancels = manifest["spec"].get("deletionPolicy") == "Cancel"
    if cancels:
        yield from (CancelRun(observed.connection, run.workflow_id, run.run_id) for run in observed.open_runs)
    if observed.open_runs and not observed.pipelines and out_of_patience(manifest, observed.patience, now):
        yield from terminated((observed.connection, run) for run in observed.open_runs)
    if observed.open_runs or (observed.pipelines and not cancels):
        yield LookAgain(WHILE_WAITING)
    else:
        yield RemoveFinalizer(ObjectRef.of(manifest))


def _asked_for(manifest: Object) -> bool:
    return annotation(manifest, ANNOTATION_RELEASE) == "true"
