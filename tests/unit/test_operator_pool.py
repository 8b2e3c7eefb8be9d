"""A pool's decisions and its children, as tables."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.operator_world import NOW, OURS, SETTINGS, generation_of, metadata, pool, seen_run
from tidemill_api import conditions as said
from tidemill_api.contract import WorkerConfig
from tidemill_api.names import pool_child, task_queue
from tidemill_api.v1alpha1 import WorkerPoolStatus
from tidemill_operator.actions import Action, ApplyObject, Outcome
from tidemill_operator.clients import Object, Settings
from tidemill_operator.pool.children import ANNOTATION_CONFIG, ANNOTATION_WISHED
from tidemill_operator.pool.confinement import RESTRICTED
from tidemill_operator.pool.desire import desire
from tidemill_operator.pool.likeness import amount, holds
from tidemill_operator.pool.observe import Observed
from tidemill_operator.pool.overlay import overlay
from tidemill_operator.pool.plan import plan
from tidemill_operator.pool.report import report
from tidemill_operator.standing import condition, waits

GOING = {"deletionTimestamp": "2026-05-01T11:59:00Z"}
UNREACHABLE = waits(said.TEMPORAL_UNREACHABLE, "Temporal at t:7233 can't be reached: refused")
NO_SECRET = waits(said.WAITING_FOR_SECRET, "spec.tls.secretRef: the Secret tls isn't in this namespace (yet)")


def connection(**spec: Any) -> Object:
    spec = {"address": "elsewhere:7233", "namespace": "travel", **spec}
    return {**OURS, "kind": "TemporalConnection", "metadata": metadata("default", "uid-c"), "spec": spec}


def observed(manifest: Object | None = None, /, **more: Any) -> Observed:
    fields: dict[str, Any] = {
        "temporal_connection": None,
        "connection": None,
        "has_ca": False,
        "trouble": None,
        "children": {},
        "pipelines": (),
    }
    return Observed(manifest or pool(), **{**fields, **more})


def children_of(seen: Observed, settings: Settings = SETTINGS) -> dict[str, Object]:
    return {child["kind"]: copy.deepcopy(child) for child in desire(seen, settings).children}


def made(manifest: Object | None = None, /, **more: Any) -> Observed:
    """A pool whose children are as wished."""
    return observed(manifest, **{"children": children_of(observed(manifest)), **more})


def edited(seen: Observed, kind: str, *path: Any, value: Any) -> Observed:
    """The same, with a field of a child changed by hand."""
    child = copy.deepcopy(seen.children[kind])
    place: Any = child
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return observed(seen.manifest, children={**seen.children, kind: child})


def planned(seen: Observed) -> tuple[Action, ...]:
    return plan(desire(seen, SETTINGS), seen, NOW)


def told(seen: Observed, *outcomes: Outcome) -> Object:
    status = report(desire(seen, SETTINGS), seen, outcomes, NOW)
    assert status is not None
    WorkerPoolStatus.model_validate(status)
    return status


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


def deployed(seen: Observed, **status: Any) -> Observed:
    deployment = seen.children["Deployment"]
    meta = {**deployment["metadata"], "generation": 2}
    return observed(
        seen.manifest,
        children={**seen.children, "Deployment": {**deployment, "metadata": meta, "status": status}},
    )


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


# Children


def test_the_pod_is_restricted_and_has_no_token() -> None:
    pod = children_of(observed())["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]

    assert pod["automountServiceAccountToken"] is False
    assert children_of(observed())["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_children_are_owned_and_claim_no_label_of_gitops_tools() -> None:
    for child in children_of(observed()).values():
        assert [(owner["uid"], owner["controller"]) for owner in child["metadata"]["ownerReferences"]] == [
            ("uid-w", True)
        ]
        assert child["metadata"]["name"] == "etl-worker"
        assert "app.kubernetes.io/instance" not in child["metadata"]["labels"]


def test_the_configuration_holds_no_secret_and_names_the_files() -> None:
    text = children_of(observed())["ConfigMap"]["data"]["worker.json"]
    config = WorkerConfig.model_validate(json.loads(text))

    assert config.task_queue == "inst/travel/etl"
    assert config.temporal.address == "temporal:7233"
    assert [each.name for each in config.connections] == ["landing", "warehouse"]


def test_only_the_named_keys_of_secrets_are_mounted() -> None:
    named = connection(tls={"secretRef": {"name": "client"}})
    seen = observed(temporal_connection=named, connection=("travel", "default"), has_ca=True)
    volumes = children_of(seen)["Deployment"]["spec"]["template"]["spec"]["volumes"]
    sources = next(volume for volume in volumes if volume["name"] == "tidemill")["projected"]["sources"]

    assert {
        source["secret"]["name"]: [(item["key"], item["path"]) for item in source["secret"]["items"]]
        for source in sources
        if "secret" in source
    } == {
        "client": [(key, f"secrets/client/{key}") for key in ("ca.crt", "tls.crt", "tls.key")],
        "warehouse": [("dsn", "secrets/warehouse/dsn")],
    }


@pytest.mark.parametrize(
    ("spec", "has_ca", "expected"),
    [
        ({}, False, {"tls": False}),
        ({"tls": {}}, False, {"tls": True}),
        ({"tls": {"serverName": "t.example"}}, False, {"tls": True, "server_name": "t.example"}),
        (
            {"tls": {"secretRef": {"name": "c"}}},
            False,
            {"tls": True, "cert_file": "c/tls.crt", "key_file": "c/tls.key", "ca_file": None},
        ),
        ({"apiKey": {"secretKeyRef": {"name": "k", "key": "token"}}}, False, {"tls": True, "api_key_file": "k/token"}),
    ],
)
def test_workers_reach_temporal_as_the_connection_says(spec: Object, has_ca: bool, expected: Object) -> None:
    named = connection(**spec)
    named["metadata"]["uid"] = f"uid-{generation_of(spec)}"
    seen = observed(temporal_connection=named, connection=("travel", "default"), has_ca=has_ca)

    config = json.loads(children_of(seen)["ConfigMap"]["data"]["worker.json"])

    temporal = WorkerConfig.model_validate(config).temporal
    assert (temporal.address, temporal.namespace) == ("elsewhere:7233", "travel")
    assert {name: getattr(temporal, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("spec", "rolls"),
    [
        ({"replicas": 5}, False),
        ({"concurrency": {"activities": 2}}, True),
        ({"image": "registry.example/worker:2"}, True),
        ({"egress": {"cidrs": ["10.0.0.0/8"]}}, False),
        ({"allowedPipelines": {"matchLabels": {"a": "b"}}}, False),
        ({"deletionPolicy": "Cancel"}, False),
        ({"serviceAccount": {"annotations": {"a": "b"}}}, False),
        ({"template": {"spec": {"nodeSelector": {"a": "b"}}}}, True),
    ],
)
def test_pods_roll_for_what_they_read_only(spec: Object, rolls: bool) -> None:
    before, after = (children_of(observed(pool(spec=each)))["Deployment"]["spec"]["template"] for each in ({}, spec))

    assert (before != after) == rolls


def test_the_end_of_a_worker_s_log_is_not_its_last_words() -> None:
    made_of = children_of(observed(pool()))["Deployment"]["spec"]["template"]["spec"]

    assert made_of["containers"][0]["terminationMessagePolicy"] == "File"


@pytest.mark.parametrize(
    ("asked", "pod", "worker"), [(None, 60, "50"), (300, 300, "290"), (5, 5, "0"), ("ten", "ten", "50")]
)
def test_the_worker_knows_how_long_its_pod_has(asked: Any, pod: Any, worker: str) -> None:
    template = {"spec": {"terminationGracePeriodSeconds": asked}} if asked is not None else {}
    made_of = children_of(observed(pool(spec={"template": template})))["Deployment"]["spec"]["template"]["spec"]

    arguments = made_of["containers"][0]["args"]
    assert made_of["terminationGracePeriodSeconds"] == pod
    assert arguments[arguments.index("--grace") + 1] == worker


UNREACHABLE_NODE = "node.kubernetes.io/unreachable"


@pytest.mark.parametrize(
    ("theirs", "seconds"),
    [
        ([], [30, 30]),
        ([{"key": "gpu", "operator": "Exists"}], [None, 30, 30]),
        ([{"key": UNREACHABLE_NODE, "operator": "Exists", "tolerationSeconds": 600}], [600, 30]),
        ([{"operator": "Exists"}], [None]),
    ],
)
def test_pods_of_a_lost_node_are_soon_replaced(theirs: list[Object], seconds: list[int | None]) -> None:
    laid = {"spec": {"tolerations": theirs}}
    made_of = children_of(observed(pool(spec={"template": laid})))["Deployment"]["spec"]["template"]["spec"]

    assert [each.get("tolerationSeconds") for each in made_of["tolerations"]] == seconds


def test_a_template_that_is_no_pod_is_left_to_the_server() -> None:
    deployment = children_of(observed(pool(spec={"template": {"spec": ["x"]}})))["Deployment"]

    assert deployment["spec"]["template"]["spec"] == ["x"]


def test_the_template_lies_over_the_pod_but_not_over_what_finds_it() -> None:
    laid = {
        "metadata": {
            "labels": {"team": "a", "tidemill.dev/pool": "stolen"},
            "annotations": {"x": "y", ANNOTATION_CONFIG: "old"},
        },
        "spec": {
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {"runAsUser": None},
            "containers": [
                {
                    "name": "worker",
                    "env": [{"name": "A", "value": "1"}],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                },
                {"name": "proxy", "image": "proxy:1"},
            ],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }

    deployment = children_of(observed(pool(spec={"template": laid})))["Deployment"]

    template = deployment["spec"]["template"]
    labels, annotations = template["metadata"]["labels"], template["metadata"]["annotations"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert (labels["team"], annotations["x"]) == ("a", "y")
    assert annotations[ANNOTATION_CONFIG] != "old"
    pod = template["spec"]
    worker, proxy = pod["containers"]
    assert worker["image"] == "registry.example/worker:1"
    assert {mount["mountPath"] for mount in worker["volumeMounts"]} == {"/etc/tidemill", "/data", "/" + "tmp"}
    assert proxy == {"name": "proxy", "image": "proxy:1", "securityContext": RESTRICTED}
    assert {volume["name"] for volume in pod["volumes"]} == {"tidemill", "tmp", "data"}
    assert "runAsUser" not in pod["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True


WITHOUT_DROP = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
CONTEXTS: dict[str, tuple[Object, Any]] = {
    "nothing said": ({}, {**RESTRICTED}),
    "a user": ({"securityContext": {"runAsUser": 7}}, {**RESTRICTED, "runAsUser": 7}),
    "a writable root": (
        {"securityContext": {"readOnlyRootFilesystem": False}},
        {**RESTRICTED, "readOnlyRootFilesystem": False},
    ),
    "a capability": (
        {"securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}}},
        {**RESTRICTED, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
    ),
    "privileged, which escalates": (
        {"securityContext": {"privileged": True}},
        {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}, "privileged": True},
    ),
    "capabilities taken away": ({"securityContext": {"capabilities": None}}, WITHOUT_DROP),
    "taken away": ({"securityContext": None}, None),
    "no context": ({"securityContext": "x"}, "x"),
}


@pytest.mark.parametrize("field", ["containers", "initContainers"])
@pytest.mark.parametrize(("said", "expected"), CONTEXTS.values(), ids=CONTEXTS)
def test_containers_that_a_template_adds_are_as_restricted_as_ours(said: Object, expected: Any, field: str) -> None:
    """Unless it says otherwise."""
    laid = {"spec": {field: [{"name": "side", "image": "side:1", **said}, {"name": "other"}]}}
    pod = children_of(observed(pool(spec={"template": laid})))["Deployment"]["spec"]["template"]["spec"]
    containers: list[Object] = [*pod["containers"], *pod.get("initContainers", ())]
    worker, side, other = containers

    assert side.get("securityContext") == expected
    assert other == {"name": "other", "securityContext": RESTRICTED}
    assert worker["securityContext"] == RESTRICTED
    assert [each["name"] for each in pod[field]][-2:] == ["side", "other"]


@pytest.mark.parametrize("wrong", [[{"image": "side:1"}], ["side"], "side", {"name": "side"}])
def test_containers_without_names_are_left_to_the_server(wrong: Any) -> None:
    laid = {"spec": {"initContainers": wrong}}
    pod = children_of(observed(pool(spec={"template": laid})))["Deployment"]["spec"]["template"]["spec"]

    assert pod["initContainers"] == wrong


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"a": None}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"args": [1, 2]}, {"args": [3]}, {"args": [3]}),
        ({"env": [{"name": "A"}]}, {"env": [{"name": "B"}]}, {"env": [{"name": "A"}, {"name": "B"}]}),
        (
            {"ports": [{"containerPort": 1}]},
            {"ports": [{"containerPort": 2}]},
            {"ports": [{"containerPort": 1}, {"containerPort": 2}]},
        ),
        ({"env": [{"name": "A"}]}, {"env": ["broken"]}, {"env": ["broken"]}),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/a"}]},
            {"volumeMounts": [{"name": "v", "mountPath": "/b"}]},
            {"volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}]},
        ),
        ({}, {"containers": [{"name": "x"}]}, {"containers": [{"name": "x"}]}),
    ],
)
def test_overlay(ours: Object, theirs: Object, expected: Object) -> None:
    before = copy.deepcopy((ours, theirs))

    assert overlay(ours, theirs) == expected
    assert (ours, theirs) == before


@pytest.mark.parametrize(
    ("found", "wished", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({}, {"a": {}}, True),
        ({}, {"a": []}, True),
        ({}, {"a": ""}, True),
        ({}, {"hostNetwork": False, "initialDelaySeconds": 0}, True),
        ({}, {"hostNetwork": True}, False),
        ({}, {"automountServiceAccountToken": False}, False),
        ({}, {"runAsUser": 0}, False),
        ({"a": "x"}, {"a": ""}, False),
        ([{"name": "a", "x": 1}, {"name": "b"}], [{"name": "a"}], True),
        ([{"name": "b"}], [{"name": "a"}], False),
        ([1, 2], [1], False),
        ({"limits": {"memory": "2Gi"}}, {"limits": {"memory": "2048Mi"}}, True),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1000m"}}, True),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, False),
        ({"value": "1"}, {"value": "1000m"}, False),
    ],
)
def test_likeness(found: Any, wished: Any, expected: bool) -> None:
    assert holds(found, wished) is expected


@pytest.mark.parametrize(
    ("text", "same"), [("1", "1000m"), ("1Gi", "1024Mi"), ("1k", "1e3"), ("0.5", "500m"), ("1M", "1000k")]
)
def test_quantities(text: str, same: str) -> None:
    assert amount(text) == amount(same) is not None


def test_what_is_no_quantity_has_no_amount() -> None:
    assert [amount(text) for text in ("", "x", "1Zi", "1.2.3")] == [None] * 4


names_ = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,8}[a-z0-9])?", fullmatch=True)


@given(st.lists(st.tuples(names_, names_), min_size=2, max_size=2, unique=True))
def test_no_two_pools_share_a_task_queue_or_children(pools: list[tuple[str, str]]) -> None:
    """Nor do they across namespaces; children are told apart by their namespace, so by name within it."""
    (ns_a, a), (ns_b, b) = pools

    assert task_queue("inst", ns_a, a) != task_queue("inst", ns_b, b)
    if ns_a == ns_b:
        assert pool_child(a) != pool_child(b)


def test_each_child_is_marked_with_what_was_wished() -> None:
    marks = {child["metadata"]["annotations"][ANNOTATION_WISHED] for child in children_of(observed()).values()}

    assert len(marks) == 4
