"""The platform's limits on WorkerPools: what the chart's admission policy lets through, on a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.chart import CHART, helm
from tests.support.fixtures import unique
from tests.support.kubernetes import ApiServer
from tests.support.operator_world import pool
from tests.support.waiting import until

RELEASE = "limits"


@pytest.fixture(scope="module")
def limited(crds: ApiServer) -> Iterator[str]:
    """A namespace in which the limits hold: images of ours, ten workers."""
    namespace = unique("limits-")
    crds.kubectl("create", "namespace", namespace)
    four = helm("helm", crds)
    given = (
        "--set=crds.enabled=false",
        f"--set=watch.namespaces={{{namespace}}}",
        "--set=admissionPolicy.maxReplicas=10",
        "--set=admissionPolicy.allowedImagePrefixes={registry.example.com/team/,ghcr.io/tidemill/worker:}",
    )
    four.run("install", RELEASE, str(CHART), f"--namespace={namespace}", *given)
    until(lambda: refusal(crds, namespace, pool(replicas=11)), "the policy is in force")
    yield namespace
    four.run("uninstall", RELEASE, f"--namespace={namespace}")


def refusal(api: ApiServer, namespace: str, manifest: dict[str, Any]) -> str:
    """What the API server says against it, or nothing."""
    # Not `apply`, which leaves out what is null.
    arguments = ("-n", namespace, "create", "--dry-run=server", "-f", "-")
    done = api.kubectl(*arguments, stdin=json.dumps(manifest), check=False)
    return done.stderr if done.returncode else ""


def worker(**container: Any) -> dict[str, Any]:
    return {"template": {"spec": {"containers": [{"name": "worker", **container}]}}}


def pod(**spec: Any) -> dict[str, Any]:
    return {"template": {"spec": spec}}


def volume(**source: Any) -> dict[str, Any]:
    return pod(volumes=[{"name": "data", **source}])


GOOD: dict[str, dict[str, Any]] = {
    "plain": {},
    "ten workers": {"replicas": 10},
    "an image of ours": {"image": "registry.example.com/team/etl:1"},
    "the worker by its digest's neighbour": {"image": "ghcr.io/tidemill/worker:0.1.0"},
    "placed": pod(nodeSelector={"disk": "fast"}, tolerations=[{"operator": "Exists"}], priorityClassName="low"),
    "a claim": volume(persistentVolumeClaim={"claimName": "landing"}),
    "a projected config": volume(projected={"sources": [{"configMap": {"name": "a"}}]}),
    "no token, said once more": pod(automountServiceAccountToken=False, hostNetwork=False),
    "a user of its own": worker(securityContext={"runAsUser": 1000, "runAsNonRoot": True, "privileged": False}),
    "capabilities as ours": worker(securityContext={"capabilities": {"drop": ["ALL"]}}),
    "seccomp of the node's": pod(securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "a"}}),
    "environment": worker(env=[{"name": "TZ", "value": "UTC"}], ports=[{"containerPort": 9000}]),
    "a sidecar of ours": pod(containers=[{"name": "side", "image": "registry.example.com/team/side:2"}]),
}


@pytest.mark.parametrize("spec", GOOD.values(), ids=GOOD)
def test_lets_through(spec: dict[str, Any], *, crds: ApiServer, limited: str) -> None:
    assert refusal(crds, limited, pool(**spec)) == ""


IMAGES = "images that begin with registry.example.com/team/, ghcr.io/tidemill/worker:"
CONTEXT = "weaker than Pod Security's restricted profile"
VOLUMES = "spec.template.spec.volumes"
TOKEN = "spec.template.spec.automountServiceAccountToken"
HOST = "hostNetwork, hostPID and hostIPC"
CAPABILITIES = "securityContext.capabilities"
ACCOUNT = "spec.template.spec.serviceAccountName"
APPARMOR = "container.apparmor.security.beta.kubernetes.io/worker"
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "eleven workers": ({"replicas": 11}, "spec.replicas: this platform allows at most 10 workers"),
    "scaled to eleven workers": (
        {"scaling": {"maxReplicas": 11}},
        "spec.scaling.maxReplicas: this platform allows at most 10 workers",
    ),
    "an image of others": ({"image": "docker.io/library/python:3"}, IMAGES),
    "an image whose registry only looks alike": ({"image": "registry.example.com/team-evil/a"}, IMAGES),
    "an image by the template": (worker(image="docker.io/library/python:3"), IMAGES),
    "a sidecar of others": (pod(containers=[{"name": "side", "image": "busybox"}]), IMAGES),
    "an init container of others": (pod(initContainers=[{"name": "init", "image": "busybox"}]), IMAGES),
    "an image as a volume": (volume(image={"reference": "busybox"}), IMAGES),
    "host network": (pod(hostNetwork=True), HOST),
    "host processes": (pod(hostPID=True), HOST),
    "host memory": (pod(hostIPC=True), HOST),
    "another account": (pod(serviceAccountName="admin"), ACCOUNT),
    "another account by its old name": (pod(serviceAccount="admin"), ACCOUNT),
    "no account at all": (pod(serviceAccountName=None), ACCOUNT),
    "a token": (pod(automountServiceAccountToken=True), TOKEN),
    "ours against a token taken away": (pod(automountServiceAccountToken=None), TOKEN),
    "a token as a volume": (volume(projected={"sources": [{"serviceAccountToken": {"path": "t"}}]}), TOKEN),
    "a host path": (volume(hostPath={"path": "/"}), VOLUMES),
    "a network file system": (volume(nfs={"server": "nas", "path": "/"}), VOLUMES),
    "a host port": (worker(ports=[{"containerPort": 80, "hostPort": 80}]), "hostPort"),
    "privileged": (worker(securityContext={"privileged": True}), CONTEXT),
    "escalation": (worker(securityContext={"allowPrivilegeEscalation": True}), CONTEXT),
    "root": (pod(securityContext={"runAsUser": 0}), CONTEXT),
    "maybe root": (pod(securityContext={"runAsNonRoot": False}), CONTEXT),
    "a writable root": (worker(securityContext={"readOnlyRootFilesystem": False}), CONTEXT),
    "no seccomp": (pod(securityContext={"seccompProfile": {"type": "Unconfined"}}), CONTEXT),
    "seccomp taken away": (pod(securityContext={"seccompProfile": None}), CONTEXT),
    "AppArmor off": (worker(securityContext={"appArmorProfile": {"type": "Unconfined"}}), CONTEXT),
    "AppArmor off by annotation": (
        {"template": {"metadata": {"annotations": {APPARMOR: "unconfined"}}}},
        "spec.template.metadata.annotations",
    ),
    "proc unmasked": (worker(securityContext={"procMount": "Unmasked"}), CONTEXT),
    "sysctls": (pod(securityContext={"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}), CONTEXT),
    "ours taken away": (worker(securityContext=None), "securityContext"),
    "a sidecar's restrictions taken away": (
        pod(containers=[{"name": "side", "securityContext": None}]),
        "securityContext",
    ),
    "a sidecar's escalation left open": (
        pod(containers=[{"name": "side", "securityContext": {"allowPrivilegeEscalation": None}}]),
        CONTEXT,
    ),
    "a sidecar's writable root": (
        pod(containers=[{"name": "side", "securityContext": {"readOnlyRootFilesystem": False}}]),
        CONTEXT,
    ),
    "an init container's capabilities kept": (
        pod(initContainers=[{"name": "init", "securityContext": {"capabilities": {"drop": ["CHOWN"]}}}]),
        CAPABILITIES,
    ),
    "an init container privileged": (
        pod(initContainers=[{"name": "init", "securityContext": {"privileged": True}}]),
        CONTEXT,
    ),
    "a capability": (worker(securityContext={"capabilities": {"add": ["NET_ADMIN"]}}), CAPABILITIES),
    "capabilities kept": (worker(securityContext={"capabilities": {"drop": []}}), CAPABILITIES),
    "capabilities taken away": (worker(securityContext={"capabilities": None}), CAPABILITIES),
    "no pod": ({"template": {"spec": None}}, "pools.tidemill.dev"),
    "no containers": (pod(containers=None), "pools.tidemill.dev"),
}


@pytest.mark.parametrize(("spec", "said"), BAD.values(), ids=BAD)
def test_refuses(spec: dict[str, Any], said: str, *, crds: ApiServer, limited: str) -> None:
    answer = refusal(crds, limited, pool(**spec))
    assert said in answer
    assert "denied request" in answer


def test_scaling_is_limited_too(crds: ApiServer, limited: str) -> None:
    crds.kubectl("-n", limited, "apply", "-f", "-", stdin=json.dumps(pool("scaled")))
    done = crds.kubectl("-n", limited, "scale", "workerpool/scaled", "--replicas=11", check=False)
    assert "at most 10 workers" in done.stderr
    crds.kubectl("-n", limited, "scale", "workerpool/scaled", "--replicas=10")


def test_holds_only_where_the_release_looks(crds: ApiServer, limited: str, namespace: str) -> None:
    assert refusal(crds, limited, pool(replicas=11))
    assert refusal(crds, namespace, pool(replicas=11)) == ""


def test_what_was_there_before_the_limits_can_go(crds: ApiServer, limited: str) -> None:
    """Its finalizer comes off and its labels change; its spec only within the limits."""
    four = helm("helm", crds)

    def limit(workers: int) -> None:
        given = ("--reuse-values", f"--set=admissionPolicy.maxReplicas={workers}")
        four.run("upgrade", RELEASE, str(CHART), f"--namespace={limited}", *given)
        until(lambda: refusal(crds, limited, pool("probe", replicas=workers + 1)), f"the limit is {workers}")

    early = pool("early", replicas=8)
    early["metadata"]["finalizers"] = ["example.com/held"]
    crds.kubectl("-n", limited, "apply", "-f", "-", stdin=json.dumps(early))
    limit(5)
    try:
        scaled = crds.kubectl("-n", limited, "scale", "workerpool/early", "--replicas=7", check=False)
        assert "at most 5 workers" in scaled.stderr
        crds.kubectl("-n", limited, "label", "workerpool/early", "team=travel")
        crds.kubectl("-n", limited, "delete", "workerpool/early", "--wait=false")
        patch = '{"metadata": {"finalizers": null}}'
        crds.kubectl("-n", limited, "patch", "workerpool/early", "--type=merge", "-p", patch)
        assert not crds.kubectl("-n", limited, "get", "workerpool/early", "--ignore-not-found").stdout
    finally:
        limit(10)
