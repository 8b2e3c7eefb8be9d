"""When an object that is being deleted goes although Temporal can't be asked.

An outage is waited for: Schedules that are left behind would start runs. But credentials that are gone, or the pool
that says which Temporal it is, don't come back by themselves, and in a namespace that is being deleted nothing does:
not its workers, without which open runs never end, and maybe not even its Temporal. There the condition Releasing names
a time, at which the runs are terminated, or the object goes without. Sweeps that still reach Temporal clean up later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from tidemill_api.conditions import (
    RELEASING,
    WAITING_FOR_CONNECTION,
    WAITING_FOR_POOL,
    WAITING_FOR_RUNS,
    WAITING_FOR_SECRET,
)
from tidemill_api.errors import TidemillError
from tidemill_api.names import ANNOTATION_RELEASE
from tidemill_api.v1alpha1 import parse_timestamp
from tidemill_operator.actions import LookAgain, ObjectRef, RemoveFinalizer, TerminateRun
from tidemill_operator.clients import Clients, Object
from tidemill_operator.reading import annotation, status_of
from tidemill_operator.standing import Claim, Standing, condition, rfc3339, waits
from tidemill_operator.views import ConnectionKey, RunSeen

AFTER_TROUBLE: Final = timedelta(seconds=10)
WITHOUT_WORKERS: Final = timedelta(seconds=30)
"""As long as a pod has to stop: what a worker could still finish, it has finished then."""
_GONE: Final = (WAITING_FOR_SECRET, WAITING_FOR_CONNECTION, WAITING_FOR_POOL)


NO_WORKERS: Final = waits(WAITING_FOR_RUNS, "open runs have no workers any more, since the namespace is being deleted")


async def patience(
    manifest: Object, troubles: Sequence[Standing], clients: Clients, *, open_runs: bool
) -> timedelta | None:
    """How long Temporal is waited for before the object goes without, or open runs before they are terminated.

    None: to the end.
    """
    if not troubles and not open_runs:
        return None
    gone = bool(troubles) and all(trouble.reason in _GONE for trouble in troubles)
    if not gone and not await _namespace_ends(manifest["metadata"]["namespace"], clients):
        return None
    longest = timedelta(seconds=clients.settings.release_after)
    return longest if troubles else min(WITHOUT_WORKERS, longest)


async def _namespace_ends(namespace: str, clients: Clients) -> bool:
    try:
        found = await clients.kubernetes.get("Namespace", "", namespace)
    except TidemillError:  # without the right to look, it counts as staying
        return False
    return found is not None and bool(found["metadata"].get("deletionTimestamp"))


def deadline(manifest: Object, patience: timedelta, now: datetime) -> datetime:
    """When it goes without. It is counted from when the trouble was first told, whoever told it."""
    told = condition(status_of(manifest), RELEASING)
    return (parse_timestamp(told["lastTransitionTime"]) if told is not None else now) + patience


def is_due(manifest: Object, patience: timedelta | None, now: datetime) -> bool:
    """Whether it goes without now: its time has come, or a person says so."""
    if annotation(manifest, ANNOTATION_RELEASE) == "true":
        return True
    return out_of_patience(manifest, patience, now)


def out_of_patience(manifest: Object, patience: timedelta | None, now: datetime) -> bool:
    """Whether the time has come that `Releasing` names."""
    return patience is not None and deadline(manifest, patience, now) <= now


def wait(manifest: Object, patience: timedelta | None, now: datetime) -> LookAgain:
    """Until it is worth to look again."""
    if patience is None:
        return LookAgain(AFTER_TROUBLE)
    left = deadline(manifest, patience, now) - now
    return LookAgain(min(AFTER_TROUBLE, max(left, timedelta(seconds=1))))


def let_go(manifest: Object, trouble: Standing, left: str) -> RemoveFinalizer:
    """Let it go without. `left`: what may still be in Temporal."""
    return RemoveFinalizer(
        ObjectRef.of(manifest), f"let go without cleaning up in Temporal ({trouble.message}): {left}"
    )


def releasing(
    manifest: Object, trouble: Standing | None, patience: timedelta | None, now: datetime
) -> tuple[Claim, ...]:
    """The condition that names the time. Without a trouble it is open runs that are waited for."""
    if patience is None:
        return ()
    moment = rfc3339(deadline(manifest, patience, now))
    if trouble is None:
        message = f"at {moment} they are terminated: {NO_WORKERS.message}"
        return (Claim(RELEASING, "True", NO_WORKERS.reason, message),)
    message = f"at {moment} it goes without cleaning up in Temporal, if this lasts: {trouble.message}"
    return (Claim(RELEASING, "True", trouble.reason, message),)


def terminated(runs: Iterable[tuple[ConnectionKey, RunSeen]]) -> Iterator[TerminateRun]:
    """End runs whose time has come."""
    for connection, run in runs:
        yield TerminateRun(connection, run.workflow_id, run.run_id, NO_WORKERS.message)
