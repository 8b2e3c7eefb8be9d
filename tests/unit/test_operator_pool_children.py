"""What a pool's workers are made of: the children, what a template lays over them, and when one is as wished."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.operator_world import generation_of, pool
from tests.unit.pool_world import children_of, connection, observed
from tidemill_api.contract import WorkerConfig
from tidemill_api.names import pool_child, task_queue
from tidemill_operator.clients import Object
from tidemill_operator.pool.children import ANNOTATION_CONFIG, ANNOTATION_WISHED
from tidemill_operator.pool.confinement import RESTRICTED
from tidemill_operator.pool.likeness import amount, holds
from tidemill_operator.pool.overlay import overlay


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


def test_secrets_with_keys_that_nobody_knows_before_are_volumes_of_their_own() -> None:
    tracker = {"url": "https://tracker.example.com/", "headersFrom": {"secretRef": {"name": "tracker.v1"}}}
    spec = {
        **pool()["spec"],
        "connections": [*pool()["spec"]["connections"], {"name": "tracker", "http": tracker}],
        "cache": {"redis": {"url": {"secretKeyRef": {"name": "cache", "key": "url"}}}},
    }
    children = children_of(observed(pool(spec=spec)))
    pod = children["Deployment"]["spec"]["template"]["spec"]

    assert [volume for volume in pod["volumes"] if "secret" in volume] == [
        {"name": "secret-0", "secret": {"secretName": "tracker.v1", "defaultMode": 0o440}}
    ]
    assert pod["containers"][0]["volumeMounts"][-1] == {
        "name": "secret-0",
        "mountPath": "/etc/tidemill-secrets/tracker.v1",
        "readOnly": True,
    }
    assert {"secret": {"name": "cache", "items": [{"key": "url", "path": "secrets/cache/url"}]}} in pod["volumes"][0][
        "projected"
    ]["sources"]
    config = WorkerConfig.model_validate(json.loads(children["ConfigMap"]["data"]["worker.json"]))
    assert config.cache is not None
    assert config.cache.default_ttl == "1h"


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
