"""Where a run by hand is looked for: pools come, go and move to other Temporals while it is open."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.unit.operator_world import NOW, SETTINGS, pipeline, pool, run, seen_run
from tidemill_api import conditions as said
from tidemill_api.errors import TemporalUnavailable
from tidemill_operator.clients import Clients, Key, Object
from tidemill_operator.run.desire import desire
from tidemill_operator.run.observe import Observed, observe
from tidemill_operator.run.plan import plan
from tidemill_operator.run.report import report
from tidemill_operator.standing import condition
from tidemill_operator.store import MemoryStore
from tidemill_operator.views import ConnectionKey, ConnectionPendingError, RunSeen

MOVED = pool(spec={"temporal": {"connectionRef": {"name": "b"}}})
THERE: ConnectionKey = ("travel", "b")
GOING = {"deletionTimestamp": "2026-05-01T11:59:00Z"}
CALLED_OFF = {"annotations": {"tidemill.dev/cancel": ""}}
DOWN = TemporalUnavailable("Temporal at t:7233 can't be reached: refused")
GONE = ConnectionPendingError(said.WAITING_FOR_CONNECTION, "the TemporalConnection b isn't in this namespace (yet)")


def started(connection: str | None = None) -> Object:
    where = {"connection": connection} if connection else {}
    summary = {"key": "again", "result": "Running", "workflowId": seen_run().workflow_id, **where}
    return {"status": {"phase": "Running", "run": summary}}


@dataclass
class Places:
    """The Temporals that there are: what each says of the run, or why it can't be asked."""

    told: dict[ConnectionKey, RunSeen | Exception | None]
    asked: list[ConnectionKey] = field(default_factory=list)

    async def get(self, connection: ConnectionKey) -> Place:
        return Place(self, connection)


@dataclass
class Place:
    """One of them."""

    all: Places
    connection: ConnectionKey

    async def describe_run(self, workflow_id: str, run_id: str | None = None) -> RunSeen | None:
        assert (workflow_id, run_id) == (seen_run().workflow_id, None)
        self.all.asked.append(self.connection)
        told = self.all.told[self.connection]
        if isinstance(told, Exception):
            raise told
        return told


class Staying:
    """A namespace that isn't being deleted."""

    async def get(self, _kind: str, _namespace: str, name: str) -> Object | None:
        return {"metadata": {"name": name}}


async def seen(manifest: Object, there: Object | None, places: Places, *, has_pipeline: bool = True) -> Observed:
    store = MemoryStore()
    for kind, each in (("DataPipeline", pipeline() if has_pipeline else None), ("WorkerPool", there)):
        if each is not None:
            store.put(kind, each)
    clients = Clients(store, Staying(), places, SETTINGS)  # type: ignore[arg-type]  # all that is asked
    return await observe(Key("DataPipelineRun", "travel", "again"), manifest, clients)


OPEN = seen_run()
CASES: dict[str, tuple[Object, Object | None, dict[ConnectionKey, RunSeen | Exception | None], list[str], str]] = {
    "where it was started": (run(**started()), pool(), {None: OPEN}, [], "Running"),
    "forgotten there": (run(**started()), pool(), {None: None}, ["LookAgain"], "Failed"),
    "the pool has moved": (run(**started()), MOVED, {None: OPEN, THERE: None}, [], "Running"),
    "moved, and the former one is away": (
        run(**started()),
        MOVED,
        {None: DOWN, THERE: None},
        ["LookAgain"],
        "Running",
    ),
    "moved back": (run(**started("b")), pool(), {THERE: OPEN, None: None}, [], "Running"),
    "moved, and the former connection is gone": (
        run(**started("b")),
        pool(),
        {THERE: GONE, None: None},
        ["LookAgain"],
        "Running",
    ),
    "moved, and forgotten in both": (
        run(**started("b")),
        pool(),
        {THERE: None, None: None},
        ["LookAgain"],
        "Failed",
    ),
    "the pool is gone": (run(**started("b")), None, {THERE: OPEN}, [], "Running"),
    "moved, called off": (
        run(**started(), **CALLED_OFF),
        MOVED,
        {None: OPEN, THERE: None},
        ["CancelRun", "LookAgain"],
        "Running",
    ),
    "moved, going": (
        run(**started(), **GOING),
        MOVED,
        {None: OPEN, THERE: None},
        ["CancelRun", "LookAgain"],
        "Running",
    ),
    "the pool is gone, going": (
        run(**started("b"), **GOING),
        None,
        {THERE: OPEN},
        ["CancelRun", "LookAgain"],
        "Running",
    ),
    "the pool is gone, going, ended": (
        run(**started("b"), **GOING),
        None,
        {THERE: seen_run(result="Succeeded")},
        ["RemoveFinalizer"],
        "Succeeded",
    ),
    "the pool is gone, going, maybe started": (run(**GOING), None, {}, ["LookAgain"], "Pending"),
    "the pool is gone, going, never prepared": (run(**GOING, finalizers=[]), None, {}, [], "Pending"),
    "the pool is gone, called off, maybe started": (run(**CALLED_OFF), None, {}, ["LookAgain"], "Pending"),
    "no pool yet": (run(finalizers=[]), None, {}, [], "Pending"),
}


@pytest.mark.parametrize("name", CASES)
async def test_what_is_done(name: str) -> None:
    manifest, there, told, expected, phase = CASES[name]
    found = await seen(manifest, there, Places(told))
    desired = desire(found, SETTINGS)

    status = report(desired, found, (), NOW)

    assert [type(action).__name__ for action in plan(desired, found, NOW)] == expected
    assert status is not None
    assert status["phase"] == phase


@pytest.mark.parametrize(
    ("manifest", "there", "told", "expected"),
    [
        (run(**started()), MOVED, {None: OPEN, THERE: None}, None),
        (run(**started("b")), pool(), {THERE: OPEN, None: None}, "b"),
        # A status of an older version doesn't name it.
        (run(**started()), MOVED, {None: None, THERE: OPEN}, "b"),
    ],
)
async def test_status_says_where_it_is(
    manifest: Object, there: Object, told: dict[ConnectionKey, RunSeen | Exception | None], expected: str | None
) -> None:
    found = await seen(manifest, there, Places(told))

    status = report(desire(found, SETTINGS), found, (), NOW)

    assert status is not None
    assert status["run"].get("connection") == expected


async def test_it_is_asked_for_first_where_it_was_started() -> None:
    places = Places({None: None, THERE: OPEN})

    await seen(run(**started("b")), pool(), places)

    assert places.asked == [THERE]


async def test_a_deletion_without_a_pool_ends() -> None:
    """As one whose credentials are gone: the pool doesn't come back by itself."""
    found = await seen(run(**GOING), None, Places({}), has_pipeline=False)

    status = report(desire(found, SETTINGS), found, (), NOW)

    assert status is not None
    releasing = condition(status, said.RELEASING)
    assert releasing is not None
    assert releasing["reason"] == said.WAITING_FOR_POOL
    later = NOW.replace(minute=NOW.minute + 5)
    again = await seen(found.manifest | {"status": status}, None, Places({}), has_pipeline=False)
    [gone] = plan(desire(again, SETTINGS), again, later)
    assert type(gone).__name__ == "RemoveFinalizer"
