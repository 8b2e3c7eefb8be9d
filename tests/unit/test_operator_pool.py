"""A pool's decisions and how it stands, as tables."""

from __future__ import annotations

import pytest

from tests.unit.operator_world import pool, seen_run
from tests.unit.pool_world import children_of, deployed, edited, made, observed, planned, told
from tidemill_api import conditions as said
from tidemill_operator.actions import ApplyObject, Outcome
from tidemill_operator.pool.observe import Observed
from tidemill_operator.standing import condition, waits

GOING = {"deletionTimestamp": "2026-05-01T11:59:00Z"}
UNREACHABLE = waits(said.TEMPORAL_UNREACHABLE, "Temporal at t:7233 can't be reached: refused")
NO_SECRET = waits(said.WAITING_FOR_SECRET, "spec.tls.secretRef: the Secret tls isn't in this namespace (yet)")
CONTAINER = ("spec", "template", "spec", "containers", 0)
APPLY = "ApplyObject"
PLANS: dict[str, tuple[Observed, list[str]]] = {
    "new": (observed(pool(finalizers=[])), ["AddFinalizer", APPLY, APPLY, APPLY, APPLY]),
    "in step": (made(), []),
    "children of before an edit": (
        observed(pool(spec={"replicas": 3}), children=children_of(observed())),
        [APPLY],
    ),
    "replicas by hand": (edited(made(), "Deployment", "spec", "replicas", value=9), [APPLY]),
    "image by hand": (edited(made(), "Deployment", *CONTAINER, "image", value="evil"), [APPLY]),
    "configuration by hand": (edited(made(), "ConfigMap", "data", "worker.json", value="{}"), [APPLY]),
    "network by hand": (edited(made(), "NetworkPolicy", "spec", "egress", value=[{}]), [APPLY]),
    "token by hand": (edited(made(), "ServiceAccount", "automountServiceAccountToken", value=True), [APPLY]),
    "label by hand": (edited(made(), "Deployment", "metadata", "labels", "tidemill.dev/pool", value="x"), [APPLY]),
    "others' label": (edited(made(), "Deployment", "metadata", "labels", "team", value="x"), []),
    "defaults of the server": (edited(made(), "Deployment", *CONTAINER, "imagePullPolicy", value="Always"), []),
    "quantity as the server writes it": (
        edited(made(), "Deployment", *CONTAINER, "resources", "requests", "cpu", value="0.25"),
        [],
    ),
    "a volume that others add": (
        edited(made(), "Deployment", "spec", "template", "spec", "volumes", slice(9, 9), value=[{"name": "x"}]),
        [],
    ),
    "pods aren't ready": (made(pods=()), ["LookAgain"]),
    "invalid": (observed(pool(spec={"metastore": {"connection": "landing"}})), []),
    "its Secret is missing": (observed(trouble=NO_SECRET), ["LookAgain"]),
    "its Secret is missing, children there": (made(trouble=NO_SECRET), ["LookAgain"]),
    "going": (made(pool(**GOING)), ["RemoveFinalizer"]),
    "going, used": (made(pool(**GOING), pipelines=("a", "b")), ["LookAgain"]),
    "going, open runs": (made(pool(**GOING), open_runs=(seen_run(),)), ["LookAgain"]),
    "going, used, Cancel": (
        made(pool(**GOING, spec={"deletionPolicy": "Cancel"}), pipelines=("a",), open_runs=(seen_run(),)),
        ["CancelRun", "LookAgain"],
    ),
    "going, Cancel, none open": (
        made(pool(**GOING, spec={"deletionPolicy": "Cancel"}), pipelines=("a",)),
        ["RemoveFinalizer"],
    ),
    "going, unreachable": (made(pool(**GOING), trouble=UNREACHABLE), ["LookAgain"]),
    "going, unreachable, released": (
        made(pool(**GOING, annotations={"tidemill.dev/release": "true"}), trouble=UNREACHABLE),
        ["RemoveFinalizer"],
    ),
    "going, left alone": (made(pool(**GOING, finalizers=[])), []),
}


@pytest.mark.parametrize("name", PLANS)
def test_the_plan(name: str) -> None:
    seen, expected = PLANS[name]

    assert [type(action).__name__ for action in planned(seen)] == expected


QUOTA = {"type": "ReplicaFailure", "status": "True", "message": "pods is forbidden: exceeded quota: small"}
STUCK = {"type": "Progressing", "status": "False", "message": "ReplicaSet has timed out progressing."}
STANDINGS: dict[str, tuple[Observed, str, str, str]] = {
    "no status yet": (
        made(),
        "False",
        said.WAITING_FOR_WORKERS,
        "0 of 1 workers are ready; they need the Secrets",
    ),
    "an old status": (deployed(made(), observedGeneration=1, readyReplicas=1), "False", said.PROGRESSING, "rolled"),
    "ready": (
        deployed(made(), observedGeneration=2, readyReplicas=1, updatedReplicas=1, replicas=1),
        "True",
        said.WORKERS_READY,
        "1 of 1",
    ),
    "old pods only": (
        deployed(made(), observedGeneration=2, readyReplicas=1, updatedReplicas=0),
        "False",
        said.WAITING_FOR_WORKERS,
        "0 of 1",
    ),
    "a new pod that isn't ready": (
        deployed(made(), observedGeneration=2, readyReplicas=1, updatedReplicas=1, replicas=2),
        "False",
        said.WAITING_FOR_WORKERS,
        "1 of 2 workers are former ones",
    ),
    "zero": (deployed(made(pool(spec={"replicas": 0})), observedGeneration=2), "True", said.SCALED_TO_ZERO, "0"),
    "quota": (
        deployed(made(), observedGeneration=2, conditions=[QUOTA]),
        "False",
        said.PODS_REFUSED,
        "exceeded quota",
    ),
    "stuck": (
        deployed(made(), observedGeneration=2, conditions=[STUCK]),
        "False",
        said.WAITING_FOR_WORKERS,
        "timed out",
    ),
    "invalid": (PLANS["invalid"][0], "False", said.INVALID_SPEC, "spec.metastore"),
    "no Temporal": (observed(trouble=NO_SECRET), "False", said.WAITING_FOR_SECRET, "the Secret tls"),
    "name too long": (observed(pool(name="p" * 64, generation=64)), "False", said.INVALID_SPEC, "metadata.name"),
    "going, used": (PLANS["going, used"][0], "False", said.WAITING_FOR_PIPELINES, "a, b"),
    "going, open runs": (PLANS["going, open runs"][0], "False", said.WAITING_FOR_RUNS, "inst/travel/flights/again"),
    "going, unreachable": (
        PLANS["going, unreachable"][0],
        "False",
        said.TEMPORAL_UNREACHABLE,
        'tidemill.dev/release: "true"',
    ),
}


@pytest.mark.parametrize("name", STANDINGS)
def test_how_it_stands(name: str) -> None:
    seen, status, reason, words = STANDINGS[name]

    found = condition(told(seen), said.READY)

    assert found is not None
    assert (found["status"], found["reason"]) == (status, reason)
    assert words in found["message"]


def test_a_refused_child_shows_the_servers_sentence() -> None:
    seen = PLANS["new"][0]
    refused = Outcome(planned(seen)[1], "Refused", 'admission webhook "policy" denied the request')

    status = told(seen, refused)

    found = condition(status, said.STALLED)
    assert found is not None
    assert found["reason"] == said.REFUSED
    assert found["message"] == 'ConfigMap etl-worker: admission webhook "policy" denied the request'


def test_status_is_of_the_deployment_just_applied() -> None:
    seen = PLANS["new"][0]
    *_, apply = planned(seen)
    assert isinstance(apply, ApplyObject)
    answered = {**apply.object, "status": {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}}

    status = told(seen, Outcome(apply, "Done", object=answered))

    assert (status["replicas"], status["readyReplicas"]) == (1, 1)
    assert status["selector"] == "app.kubernetes.io/component=worker,tidemill.dev/pool=etl"
    assert status["taskQueue"] == "inst/travel/etl"
    claim = condition(status, said.READY)
    assert claim is not None
    assert claim["reason"] == said.WORKERS_READY


def test_telling_it_again_changes_nothing() -> None:
    for seen, *_ in STANDINGS.values():
        fields = {name: getattr(seen, name) for name in seen.__slots__ if name != "manifest"}
        again = Observed(seen.manifest | {"status": told(seen)}, **fields)
        assert told(again) == again.manifest["status"]
