"""What is to be done for a connection. Pure; empty means converged.

A connection that pools use stays until they are gone: without it their pipelines could clean up nothing in Temporal.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from tidemill_api.conditions import INVALID_SECRET
from tidemill_api.names import ANNOTATION_RELEASE, FINALIZER
from tidemill_operator.actions import Action, AddFinalizer, LookAgain, ObjectRef, RemoveFinalizer
from tidemill_operator.connection.desire import Desired
from tidemill_operator.connection.observe import Observed
from tidemill_operator.reading import annotation

AFTER_TROUBLE: Final = timedelta(seconds=10)
AFTER_AN_EDIT: Final = timedelta(seconds=60)
"""Secrets aren't watched: when a wrong one is read again, in case somebody has mended it."""


def plan(desired: Desired, observed: Observed, now: datetime) -> tuple[Action, ...]:  # noqa: ARG001 - as all kinds
    """The actions, in order."""
    return tuple(_actions(desired, observed))


def _actions(desired: Desired, observed: Observed) -> Iterator[Action]:
    metadata = observed.manifest["metadata"]
    ref = ObjectRef.of(observed.manifest)
    held = FINALIZER in (metadata.get("finalizers") or ())
    if observed.going:
        released = annotation(observed.manifest, ANNOTATION_RELEASE) == "true"
        if held and (released or not observed.pools):
            yield RemoveFinalizer(ref)
        return
    if not held:
        yield AddFinalizer(ref)
    if desired.standing.state == "waits":
        yield LookAgain(AFTER_TROUBLE)
    elif desired.standing.reason == INVALID_SECRET:
        yield LookAgain(AFTER_AN_EDIT)
