"""When a deletion goes on without Temporal, as tables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

import pytest

from tests.unit.operator_world import NOW, SETTINGS, pipeline, pool, schedule, seen_run
from tests.unit.pool_world import observed as observed_pool
from tests.unit.pool_world import planned as planned_pool
from tidemill_api import conditions as said
from tidemill_api.errors import TidemillError
from tidemill_operator.actions import (
    Action,
    ApplyObject,
    CancelRun,
    DeleteSchedule,
    LookAgain,
    Outcome,
    RemoveFinalizer,
    TerminateRun,
)
from tidemill_operator.adapters.kubernetes import _error
from tidemill_operator.clients import Clients, KubernetesUnavailable, NamespaceEndsError, Object, RefusedError
from tidemill_operator.pipeline.desire import desire
from tidemill_operator.pipeline.observe import Observed, There
from tidemill_operator.pipeline.plan import plan
from tidemill_operator.pipeline.report import report
from tidemill_operator.release import WITHOUT_WORKERS, patience
from tidemill_operator.standing import Standing, condition, rfc3339, waits
from tidemill_operator.trouble import standing_of

GOING = {"deletionTimestamp": "2026-05-01T11:59:00Z"}
FIVE = timedelta(minutes=5)
NO_SECRET = waits(said.WAITING_FOR_SECRET, "the TemporalConnection own: spec.tls.secretRef: the Secret tls isn't here")
NO_CONNECTION = waits(said.WAITING_FOR_CONNECTION, "the TemporalConnection own isn't in this namespace (yet)")
OUTAGE = waits(said.TEMPORAL_UNREACHABLE, "Temporal at t:7233 can't be reached: refused")
ELSEWHERE = ("travel", "old")


@dataclass
class Namespaces:
    """An API server that knows one namespace."""

    answer: Object | Exception | None = field(default_factory=lambda: {"metadata": {"name": "travel"}})
    asked: int = 0

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        assert (kind, namespace, name) == ("Namespace", "", "travel")
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


ENDS: Object = {"metadata": {"name": "travel", "deletionTimestamp": "2026-05-01T11:58:00Z"}}


@pytest.mark.parametrize(
    ("troubles", "answer", "expected"),
    [
        ([], ENDS, None),
        ([NO_SECRET], {"metadata": {}}, FIVE),
        ([NO_CONNECTION, NO_SECRET], {"metadata": {}}, FIVE),
        ([OUTAGE], {"metadata": {}}, None),
        ([OUTAGE], ENDS, FIVE),
        ([OUTAGE, NO_SECRET], {"metadata": {}}, None),
        ([OUTAGE], None, None),
        ([OUTAGE], RefusedError(403, "Forbidden", "no"), None),
        ([OUTAGE], KubernetesUnavailable("no"), None),
    ],
)
async def test_what_is_waited_for_and_how_long(
    troubles: list[Standing], answer: Object | TidemillError | None, expected: timedelta | None
) -> None:
    clients = Clients(cast("Any", None), cast("Any", Namespaces(answer)), cast("Any", None), SETTINGS)

    assert await patience(pipeline(**GOING), troubles, clients, open_runs=False) == expected


@pytest.mark.parametrize(("answer", "expected"), [(ENDS, WITHOUT_WORKERS), ({"metadata": {}}, None)])
async def test_runs_without_workers_are_waited_for_only_where_those_can_come_back(
    answer: Object, expected: timedelta | None
) -> None:
    clients = Clients(cast("Any", None), cast("Any", Namespaces(answer)), cast("Any", None), SETTINGS)

    assert await patience(pipeline(**GOING), [], clients, open_runs=True) == expected


@pytest.mark.parametrize(
    ("patient", "seconds_ago", "expected"),
    [
        (None, None, [LookAgain]),
        (FIVE, None, [CancelRun, LookAgain]),
        (FIVE, 300, [CancelRun, TerminateRun, LookAgain]),
    ],
)
def test_open_runs_in_a_namespace_that_ends(
    patient: timedelta | None, seconds_ago: int | None, expected: list[type[Action]]
) -> None:
    seen = replace(going(None, patient, seconds_ago), here=There(None, open_runs=(seen_run(),)))

    assert [type(action) for action in planned(seen)] == expected
    status = report(desire(seen, SETTINGS), seen, (), NOW)
    assert status is not None
    told = condition(status, said.RELEASING)
    assert (told["reason"] if told is not None else None) == (said.WAITING_FOR_RUNS if patient else None)

    waiting = pool(**GOING, status=releasing(seconds_ago) if seconds_ago is not None else {})
    actions = planned_pool(observed_pool(waiting, patience=patient, open_runs=(seen_run(),)))
    assert [type(action) for action in actions] == ([TerminateRun] if seconds_ago == 300 else []) + [LookAgain]


def releasing(seconds_ago: int) -> Object:
    since = rfc3339(NOW - timedelta(seconds=seconds_ago))
    return {"conditions": [{"type": said.RELEASING, "status": "True", "reason": "x", "lastTransitionTime": since}]}


def going(trouble: Standing | None, patient: timedelta | None, seconds_ago: int | None, **more: Any) -> Observed:
    status = releasing(seconds_ago) if seconds_ago is not None else {}
    manifest = pipeline(**GOING, status=status)
    return Observed(manifest, pool(), There(None, trouble=trouble), patience=patient, **more)


def planned(seen: Observed) -> tuple[Action, ...]:
    return plan(desire(seen, SETTINGS), seen, NOW)


@pytest.mark.parametrize(
    ("patient", "seconds_ago", "expected"),
    [
        (None, None, LookAgain(timedelta(seconds=10))),
        (None, 10_000, LookAgain(timedelta(seconds=10))),
        (FIVE, None, LookAgain(timedelta(seconds=10))),
        (FIVE, 100, LookAgain(timedelta(seconds=10))),
        (FIVE, 297, LookAgain(timedelta(seconds=3))),
        (FIVE, 300, None),
        (FIVE, 10_000, None),
    ],
)
def test_a_pipeline_goes_at_its_time(
    patient: timedelta | None, seconds_ago: int | None, expected: LookAgain | None
) -> None:
    [action] = planned(going(NO_SECRET, patient, seconds_ago))

    if expected is not None:
        assert action == expected
    else:
        assert isinstance(action, RemoveFinalizer)
        assert "its Schedule inst/travel/flights may still be there" in action.left
        assert NO_SECRET.message in action.left


def test_what_can_be_reached_is_cleaned_up_before() -> None:
    seen = going(NO_SECRET, FIVE, 300, elsewhere=(There(ELSEWHERE, schedule=schedule()),))

    delete, remove = planned(seen)

    assert delete == DeleteSchedule(ELSEWHERE, "inst/travel/flights")
    assert isinstance(remove, RemoveFinalizer)


def test_status_names_the_time_which_stays_when_it_is_told_again() -> None:
    for seconds_ago, left in ((None, 300), (100, 200)):
        seen = going(NO_SECRET, FIVE, seconds_ago)
        status = report(desire(seen, SETTINGS), seen, (), NOW)
        assert status is not None
        found = condition(status, said.RELEASING)
        assert found is not None
        assert found["reason"] == said.WAITING_FOR_SECRET
        assert rfc3339(NOW + timedelta(seconds=left)) in found["message"]
    calm = going(OUTAGE, None, 100)
    status = report(desire(calm, SETTINGS), calm, (), NOW)
    assert status is not None
    assert condition(status, said.RELEASING) is None


@pytest.mark.parametrize(
    ("pipelines", "annotations", "expected"),
    [
        ((), {}, RemoveFinalizer),
        (("flights",), {}, LookAgain),
        (("flights",), {"tidemill.dev/release": "true"}, RemoveFinalizer),
    ],
)
def test_a_pool_goes_after_its_pipelines(
    pipelines: tuple[str, ...], annotations: dict[str, str], expected: type[Action]
) -> None:
    manifest = pool(**GOING, annotations=annotations, status=releasing(300))

    [action] = planned_pool(observed_pool(manifest, trouble=NO_SECRET, patience=FIVE, pipelines=pipelines))

    assert isinstance(action, expected)


def test_a_namespace_that_ends_is_no_fault() -> None:
    answer = (
        b'{"message": "configmaps is forbidden: unable to create new content in namespace travel because it is being '
        b'terminated", "reason": "Forbidden", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}'
    )
    assert isinstance(_error("PATCH", "/", 403, answer), NamespaceEndsError)
    plain = _error("PATCH", "/", 403, b'{"message": "no right", "reason": "Forbidden"}')
    assert isinstance(plain, RefusedError)
    assert not isinstance(plain, NamespaceEndsError)

    child = ApplyObject({"kind": "ConfigMap", "metadata": {"name": "etl-worker"}}, "uid")
    standing = standing_of([Outcome(child, "Refused", "forbidden", ending=True)])
    assert standing is not None
    assert (standing.state, standing.reason) == ("waits", said.PROGRESSING)
