"""A pool's children on a real API server: accepted strictly, safe by Pod Security, and not in drift by themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.kubernetes import ApiServer
from tidemill_api.contract import TemporalAddress
from tidemill_operator.clients import Object, Settings
from tidemill_operator.pool.desire import desire
from tidemill_operator.pool.observe import Observed
from tidemill_operator.pool.plan import as_wished

SETTINGS = Settings(
    installation="inst", temporal=TemporalAddress(address="temporal:7233"), image="registry.example/worker:1"
)
LAID: Object = {
    "metadata": {"labels": {"team": "a"}, "annotations": {"x": "y"}},
    "spec": {
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "tolerationSeconds": 30, "effect": "NoExecute"}],
        "priorityClassName": "",
        "hostNetwork": False,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"tidemill.dev/pool": "etl"}},
            }
        ],
        "containers": [
            {
                "name": "worker",
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}},
                ],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            },
            {"name": "side", "image": "side:1"},
        ],
        "initContainers": [{"name": "wait", "image": "wait:1", "command": ["true"]}],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "1024Mi"}},
        ],
    },
}
PRIVILEGED = {"name": "tune", "image": "tune:1", "securityContext": {"privileged": True}}
SPECS: dict[str, Object] = {
    "plain": {},
    "laid over": {"template": LAID},
    "quantities": {"resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": "1.5"}}},
    "privileged": {"template": {"spec": {"initContainers": [PRIVILEGED]}}},
    "wide egress": {"egress": {"cidrs": ["128.0.0.0/1", "::/0", "169.254.0.0/16"]}},
    "nothing": {"replicas": 0, "resources": {}, "serviceAccount": {"annotations": {"role": "arn:x"}}},
}


def children_of(namespace: str, spec: Object, uid: str) -> tuple[dict[str, Any], ...]:
    manifest: Object = {
        "metadata": {"name": "etl", "namespace": namespace, "uid": uid, "generation": 1},
        "spec": {
            "connections": [
                {"name": "landing", "files": {"url": "file:///data/"}},
                {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}},
            ],
            "metastore": {"connection": "warehouse"},
            **spec,
        },
    }
    seen = Observed(manifest, None, None, has_ca=False, trouble=None, children={}, pipelines=())
    desired = desire(seen, SETTINGS)
    assert desired.blocked is None
    return desired.children


@pytest.mark.parametrize("name", SPECS)
def test_children_are_accepted_and_are_what_was_wished(apiserver: ApiServer, namespace: str, name: str) -> None:
    for child in children_of(namespace, SPECS[name], f"00000000-0000-0000-0000-{len(name):012}"):
        applied = apiserver.kubectl(
            *("apply", "--server-side", "--field-manager=tidemill", "--validate=strict", "-o", "json", "-f", "-"),
            stdin=json.dumps(child),
        )

        assert "Warning" not in applied.stderr
        assert as_wished(child, json.loads(applied.stdout)), child["kind"]


@pytest.mark.parametrize("name", ["plain", "laid over"])
def test_the_pod_meets_the_restricted_profile(apiserver: ApiServer, namespace: str, name: str) -> None:
    """With a sidecar and an init container that say nothing of it, too."""
    apiserver.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    *others, deployment = children_of(namespace, SPECS[name], "00000000-0000-0000-0000-000000000000")
    assert deployment["kind"] == "Deployment"
    for child in others:
        apiserver.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(child))
    template = deployment["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": "pod", "namespace": namespace},
        "spec": template["spec"],
    }

    apiserver.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))

    worker = template["spec"]["containers"][0]
    loose = {**pod, "spec": {**pod["spec"], "containers": [{**worker, "securityContext": {}}]}}
    refused = apiserver.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(loose), check=False)
    assert "violates PodSecurity" in refused.stderr
