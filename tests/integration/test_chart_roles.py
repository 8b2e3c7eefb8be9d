"""What each role of the chart may and may not do: `kubectl auth can-i` on a real API server, a row a question."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.chart import CHART, helm
from tests.support.fixtures import unique
from tests.support.kubernetes import ApiServer
from tests.support.waiting import until

RELEASE = "roles"
ROLES = ("viewer", "author", "pool-owner")
BUILT_IN = {"view": "viewer", "edit": "author", "admin": "pool-owner"}
"""Kubernetes' own roles, and which of ours goes into each."""

READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete", "deletecollection")
QUESTIONS: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...] = (
    (READ, "datapipelines.tidemill.dev", ROLES),
    (READ, "datapipelineruns.tidemill.dev", ROLES),
    (READ, "workerpools.tidemill.dev", ROLES),
    (READ, "temporalconnections.tidemill.dev", ROLES),
    (("get",), "workerpools.tidemill.dev/scale", ROLES),
    (("get",), "datapipelines.tidemill.dev/status", ROLES),
    (WRITE, "datapipelines.tidemill.dev", ("author", "pool-owner")),
    (WRITE, "datapipelineruns.tidemill.dev", ("author", "pool-owner")),
    (WRITE, "workerpools.tidemill.dev", ("pool-owner",)),
    (WRITE, "temporalconnections.tidemill.dev", ("pool-owner",)),
    (("update", "patch"), "workerpools.tidemill.dev/scale", ("pool-owner",)),
    # The operator's alone: who could write a status could make up what happened.
    (("update", "patch"), "datapipelines.tidemill.dev/status", ()),
    (("update", "patch"), "datapipelineruns.tidemill.dev/status", ()),
    (("update", "patch"), "workerpools.tidemill.dev/status", ()),
    (("update", "patch"), "temporalconnections.tidemill.dev/status", ()),
)
OTHERS = (
    (READ, "secrets"),
    (("create",), "pods"),
    (("create", "patch"), "deployments.apps"),
    (("create",), "rolebindings.rbac.authorization.k8s.io"),
    (("create",), "customresourcedefinitions.apiextensions.k8s.io"),
)
"""Nothing of these comes with our roles."""


@dataclass(frozen=True, slots=True)
class Users:
    """Bound in a namespace, by RoleBindings to a role of ours or of Kubernetes'."""

    api: ApiServer
    namespace: str

    def may(self, role: str, verb: str, resource: str, namespace: str = "") -> bool:
        name, _, sub = resource.partition("/")
        asked = ["auth", "can-i", verb, name, f"--as={role}", "-n", namespace or self.namespace]
        done = self.api.kubectl(*asked, *([f"--subresource={sub}"] if sub else []), check=False)
        answer = done.stdout.strip()
        assert answer in ("yes", "no"), done.stderr
        return answer == "yes"


@pytest.fixture(scope="module")
def users(crds: ApiServer) -> Iterator[Users]:
    """A user named after each role, who has it in one namespace."""
    namespace = unique("roles-")
    crds.kubectl("create", "namespace", namespace)
    four = helm("helm", crds)
    given = (
        "--set=crds.enabled=false",
        "--set=operator.replicas=0",
        "--set=admissionPolicy.enabled=false",
        f"--set=watch.namespaces={{{namespace}}}",
    )
    four.run("install", RELEASE, str(CHART), f"--namespace={namespace}", *given)
    for role in ROLES:
        bound = f"--clusterrole={namespace}:{RELEASE}-tidemill:{role}"
        crds.kubectl("-n", namespace, "create", "rolebinding", role, bound, f"--user={role}")
    found = Users(crds, namespace)
    until(lambda: found.may("pool-owner", "create", "workerpools.tidemill.dev"), "the roles are in force")
    yield found
    four.run("uninstall", RELEASE, f"--namespace={namespace}")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("verbs", "resource", "may"), QUESTIONS)
def test_may(role: str, verbs: tuple[str, ...], resource: str, may: tuple[str, ...], *, users: Users) -> None:
    for verb in verbs:
        assert users.may(role, verb, resource) is (role in may), f"{role}: {verb} {resource}"


@pytest.mark.parametrize("role", ROLES)
def test_nothing_else_comes_with_it(role: str, users: Users) -> None:
    granted = [f"{verb} {what}" for verbs, what in OTHERS for verb in verbs if users.may(role, verb, what)]
    assert granted == []
    assert not users.may(role, "get", "datapipelines.tidemill.dev", namespace="default")


@pytest.mark.parametrize("built_in", BUILT_IN)
def test_goes_into_the_cluster_s_own_roles(built_in: str, users: Users) -> None:
    """By labels (no controller adds them up here): `view` gets viewers' rules, `edit` authors', `admin` owners'."""
    label = f"rbac.authorization.k8s.io/aggregate-to-{built_in}=true,app.kubernetes.io/instance={RELEASE}"
    roles = json.loads(users.api.kubectl("get", "clusterroles", "-l", label, "-o", "json").stdout)["items"]
    (only,) = roles
    assert only["metadata"]["name"].endswith(f":{BUILT_IN[built_in]}")
    writes = {
        resource
        for rule in only["rules"]
        if set(rule["verbs"]) & set(WRITE)
        for resource in rule["resources"]
        if "/" not in resource
    }
    pools = {"workerpools", "temporalconnections"}
    assert bool(writes & pools) is (built_in == "admin")
    assert bool(writes) is (built_in != "view")
