"""What is to be done for a run by hand. Pure; empty means converged.

The run belongs to its pipeline (ownerReference): it goes with it. Deleting a run that is open cancels it, unless its
pipeline is being deleted with `deletionPolicy: Wait`: then it was taken along (foreground deletion) and may end.
The annotation `tidemill.dev/cancel` cancels it and keeps the record; one that hasn't begun never does.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from tidemill_operator.actions import Action, AddFinalizer, CancelRun, LookAgain, ObjectRef, RemoveFinalizer, StartRun
from tidemill_operator.reading import is_going
from tidemill_operator.release import AFTER_TROUBLE, is_due, let_go, out_of_patience, terminated, wait
from tidemill_operator.run.desire import Desired
from tidemill_operator.run.observe import Observed

WHILE_WAITING: Final = timedelta(seconds=5)
AT_ONCE: Final = timedelta(0)


def plan(desired: Desired, observed: Observed, now: datetime) -> tuple[Action, ...]:
    """The actions, in order."""
    return tuple(_farewell(desired, observed, now) if observed.going else _upkeep(desired, observed))


def _upkeep(desired: Desired, observed: Observed) -> Iterator[Action]:
    metadata = observed.manifest["metadata"]
    if observed.ended:
        # Its end is written down: it may be deleted at any time, with or without an operator.
        if observed.held:
            yield RemoveFinalizer(ObjectRef.of(observed.manifest))
        return
    if observed.trouble is not None:
        yield LookAgain(AFTER_TROUBLE)
    elif observed.cancelled and observed.run is not None and observed.run.state == "Running":
        yield CancelRun(observed.connection, observed.run.workflow_id, observed.run.run_id)
        yield LookAgain(WHILE_WAITING)
    elif desired.start is not None:
        if not observed.held or not _owned(observed):
            yield AddFinalizer(ObjectRef.of(observed.manifest), _owner(observed))
        start = desired.start
        yield StartRun(
            observed.connection,
            *(desired.workflow_id, start.task_queue, start.input, start.pipeline, metadata["uid"], start.workflow),
        )
    elif (observed.run is not None and observed.run.state != "Running") or observed.lost or _is_called_off(observed):
        yield LookAgain(AT_ONCE)  # once the end is written down
    elif observed.queries.missing:
        yield LookAgain(WHILE_WAITING)  # ConfigMaps aren't watched


def _farewell(desired: Desired, observed: Observed, now: datetime) -> Iterator[Action]:
    manifest = observed.manifest
    if not observed.held:
        return
    if observed.trouble is not None:
        if is_due(manifest, observed.patience, now):
            yield let_go(manifest, observed.trouble, f"its run {desired.workflow_id} may still be open")
        else:
            yield wait(manifest, observed.patience, now)
        return
    run = observed.run
    if observed.ended or run is None or run.state != "Running":
        yield RemoveFinalizer(ObjectRef.of(manifest))
        return
    if not waits_with_pipeline(observed) or observed.patience is not None:
        yield CancelRun(observed.connection, run.workflow_id, run.run_id)
    if out_of_patience(manifest, observed.patience, now):
        yield from terminated([(observed.connection, run)])
    yield LookAgain(WHILE_WAITING)


def _is_called_off(observed: Observed) -> bool:
    return observed.cancelled and observed.never_began


def waits_with_pipeline(observed: Observed) -> bool:
    """Whether the pipeline is being deleted too, and lets its runs end."""
    pipeline = observed.pipeline
    return pipeline is not None and is_going(pipeline) and pipeline["spec"].get("deletionPolicy") != "Cancel"


def _owner(observed: Observed) -> dict[str, Any] | None:
    if observed.pipeline is None:
        return None
    metadata = observed.pipeline["metadata"]
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "DataPipeline",
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def _owned(observed: Observed) -> bool:
    owner = _owner(observed)
    references = observed.manifest["metadata"].get("ownerReferences") or ()
    return owner is None or any(reference.get("uid") == owner["uid"] for reference in references)
