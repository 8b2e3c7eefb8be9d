"""The operator's whole life under the chart's RBAC rules on a real API server: none is missing, and none is unused."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from tests.support.chart import CHART, RELEASE, helm, operator_container, released_operator
from tests.support.fixtures import unique
from tests.support.kubernetes import ApiServer
from tests.support.operator_world import World, pipeline, pool, run
from tests.support.scaled_pools import QUICK, polling, ready_pod
from tests.support.waiting import until
from tidemill_api.conditions import TEMPORAL_UNREACHABLE, WAITING_FOR_RIGHTS
from tidemill_api.names import ANNOTATION_RELEASE, GROUP
from tidemill_cli.dev.components.temporal import TemporalServer
from tidemill_operator.rights import OWN, WATCHED

NEVER = (
    (("list", "watch", "create", "patch", "delete"), "secrets"),
    (("create", "update", "delete"), "datapipelines.tidemill.dev"),
    (("create", "update", "delete"), "workerpools.tidemill.dev"),
    (("create", "update"), "datapipelineruns.tidemill.dev"),
    (("delete", "deletecollection"), "deployments.apps"),
    (("create", "update", "delete", "watch"), "pods"),
    (("get",), "pods/log"),
    (("create",), "pods/exec"),
    (("create",), "serviceaccounts/token"),
    (("create", "patch", "bind", "escalate"), "roles.rbac.authorization.k8s.io"),
    (("create", "patch"), "rolebindings.rbac.authorization.k8s.io"),
    (("impersonate",), "serviceaccounts"),
)
"""What the operator may not even where it looks after pipelines. Secrets are read by name only."""
Call = tuple[str, str, str]
"""Verb, API group and resource with its subresource."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A release in a namespace of its own, and the operator that runs as its Deployment would."""

    world: World
    home: str
    user: str

    def calls(self) -> list[dict[str, Any]]:
        """The audit log of the operator's requests."""
        lines = self.world.api.audit.read_text(encoding="utf-8").splitlines()
        events: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [event for event in events if event["user"]["username"] == self.user]


@pytest.fixture(params=["cluster", "namespaces"])
def installed(
    request: pytest.FixtureRequest,
    crds: ApiServer,
    temporal_server: TemporalServer,
    installation_id: str,
    namespace: str,
    tmp_path: Path,
) -> Iterator[Installed]:
    """The operator for the whole cluster, or for one namespace that isn't its own."""
    home = unique("home-")
    crds.kubectl("create", "namespace", home)
    scope = [f"--set=watch.namespaces={{{namespace}}}"] if request.param == "namespaces" else []
    scope.append("--set=rbac.temporalConnectionSecrets={key}")
    with released_operator(crds, temporal_server, home, installation_id, tmp_path, *scope) as operator:
        world = World(crds, temporal_server.address, installation_id, operator, namespace)
        yield Installed(world, home, f"system:serviceaccount:{home}:{RELEASE}")


def live(world: World) -> None:
    """What the operator does for people: make, repair, pause, run by hand, refuse."""
    dsn = {"metadata": {"name": "warehouse"}, "stringData": {"dsn": "postgresql://nowhere/none"}}
    key = {"metadata": {"name": "key"}, "stringData": {"key": "abc"}}
    ref = {"secretKeyRef": {"name": "key", "key": "key"}}
    connection = {"metadata": {"name": "cloud"}, "spec": {"address": world.temporal, "apiKey": ref}}
    world.apply(
        {"apiVersion": "v1", "kind": "Secret", **dsn},
        {"apiVersion": "v1", "kind": "Secret", **key},
        {"apiVersion": "tidemill.dev/v1alpha1", "kind": "TemporalConnection", **connection},
        pool(),
        pipeline("flights"),
        pipeline("wrong", workerPoolRef={"name": "missing"}),
        pool("lost", temporal={"connectionRef": {"name": "missing"}}),
        pool("dark", temporal={"connectionRef": {"name": "cloud"}}),
    )
    slow_to_start(world)
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    world.wait("DataPipeline", "wrong", "False", "WaitingForPool")
    world.until(lambda: world.get("TemporalConnection", "cloud").get("status", {}), "the connection was tried")

    world.kubectl("patch", "deployment", "etl-worker", "--type=merge", "-p", '{"spec": {"replicas": 7}}')
    world.until(repaired(world, "Deployment", "etl-worker", lambda found: found["spec"]["replicas"] == 1), "repaired")
    world.kubectl("delete", "configmap,serviceaccount", "etl-worker")
    for kind in ("ConfigMap", "ServiceAccount"):
        world.until(repaired(world, kind, "etl-worker", bool), f"the {kind} is there again")

    world.kubectl("patch", "datapipeline", "flights", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    world.wait("DataPipeline", "flights", "True", "Suspended")
    world.apply(run("now", of="flights"))
    world.wait("DataPipelineRun", "now", "False", "Running")
    world.until(lambda: json.loads(world.kubectl("get", "events", "-o", "json"))["items"][:1] and {"": ""}, "events")


def slow_to_start(world: World) -> None:
    """A worker that is being made, as a kubelet tells it: why it takes so long is looked up among its events."""
    labels = {"app.kubernetes.io/component": "worker", "tidemill.dev/pool": "etl"}
    spec = {"containers": [{"name": "worker", "image": "worker"}]}
    world.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "slow", "labels": labels}, "spec": spec})
    container = {"name": "worker", "image": "worker", "imageID": "", "ready": False, "restartCount": 0}
    waiting = {**container, "state": {"waiting": {"reason": "ContainerCreating"}}}
    patch = json.dumps({"status": {"phase": "Pending", "containerStatuses": [waiting]}})
    world.kubectl("patch", "pod", "slow", "--subresource=status", "--type=merge", "-p", patch)


async def go_down(world: World) -> None:
    """A pool has a worker more than it needs: one that idles goes, and its pod is told so before."""
    world.apply(pool("scaled", replicas=2))
    world.until(repaired(world, "Deployment", "scaled-worker", bool), "the Deployment")
    for name in ("scaled-worker-a", "scaled-worker-b"):
        ready_pod(world, name, "scaled")
    async with polling(world, "scaled-worker-a", "scaled-worker-b", name="scaled"):
        world.apply(pool("scaled", replicas=2, scaling={**QUICK, "minReplicas": 1}))
        look = repaired(world, "Deployment", "scaled-worker", lambda found: found["spec"]["replicas"] == 1)
        await asyncio.to_thread(world.until, look, "one worker is left")


def end(world: World) -> None:
    """All is deleted, as far as it needs the operator."""
    world.kubectl("delete", "datapipelinerun,datapipeline", "--all", "--wait=false")
    for name in ("flights", "wrong"):
        world.gone("DataPipeline", name)
    world.kubectl("patch", "workerpool", "etl", "--type=merge", "-p", '{"spec": {"deletionPolicy": "Cancel"}}')
    world.kubectl("annotate", "workerpool", "lost", "dark", f"{ANNOTATION_RELEASE}=true")
    world.kubectl("delete", "workerpool,temporalconnection", "--all", "--wait=false")
    for name in ("etl", "lost", "dark", "scaled"):
        world.gone("WorkerPool", name)
    world.gone("TemporalConnection", "cloud")


def repaired(world: World, kind: str, name: str, good: Callable[[Any], bool]) -> Callable[[], dict[str, Any]]:
    def look() -> dict[str, Any]:
        found = world.get(kind, name)
        return found if found and good(found) else {}

    return look


async def test_the_whole_life_under_the_chart_s_rules(installed: Installed, temporal: Client) -> None:
    live(installed.world)
    await go_down(installed.world)
    # There is no worker here that would end it.
    await temporal.get_workflow_handle(f"{installed.world.schedule_id('flights')}/now").terminate()
    end(installed.world)
    calls = installed.calls()
    forbidden = [event["requestURI"] for event in calls if event["responseStatus"].get("code") == 403]
    assert forbidden == [], "a right is missing in tidemill_operator.rights"
    assert not re.search(r"[Ff]orbidden", installed.world.operator.log.read_text())

    used = {call for event in calls for call in calls_of(event)}
    ours = {right.resource for right in WATCHED if right.group == GROUP and "get" in right.verbs}
    if any(("get", GROUP, resource) in used for resource in ours):
        used |= {("get", GROUP, resource) for resource in ours}  # the same lines of code; which kind is chance
    requests = [right for right in (*WATCHED, *OWN) if right.asked_by == "request"]
    granted = {(verb, right.group, right.resource) for right in requests for verb in right.verbs}
    assert granted - used == set(), "rights that nothing uses"


def calls_of(event: dict[str, Any]) -> Iterator[Call]:
    """What a request needs the right to; a server-side apply of what isn't there needs two."""
    place = event.get("objectRef") or {}
    resource = "/".join(filter(None, (place.get("resource"), place.get("subresource"))))
    group = place.get("apiGroup", "")
    yield event["verb"], group, resource
    if event["verb"] == "patch" and event["responseStatus"].get("code") == 201:
        yield "create", group, resource


def test_rights_end_where_the_release_ends(installed: Installed, namespace: str) -> None:
    """With a list of namespaces nothing is granted elsewhere, and no ClusterRole is made."""
    world = installed.world
    listed = any(
        argument.startswith("--namespaces") for argument in operator_container(world.api, installed.home)["args"]
    )

    def may(verb: str, what: str, where: str) -> bool:
        resource, _, sub = what.partition("/") if not what.startswith("leases/") else (what, "", "")
        asked = ["auth", "can-i", verb, resource, "-n", where, f"--as={installed.user}"]
        done = world.api.kubectl(*asked, *([f"--subresource={sub}"] if sub else []), check=False)
        assert done.stdout.strip() in ("yes", "no"), done.stderr
        return done.stdout.strip() == "yes"

    until(lambda: may("list", "datapipelines", namespace), "the rules are in force")
    assert may("list", "datapipelines", "default") is not listed
    assert may("create", "deployments", "default") is not listed
    assert not may("get", "secrets", namespace), "only those that the chart is told"
    granted = [f"{verb} {what}" for verbs, what in NEVER for verb in verbs if may(verb, what, namespace)]
    assert granted == []
    assert not may("patch", f"leases/{RELEASE}-other", installed.home)
    roles = world.api.kubectl("get", "clusterroles", "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "name").stdout
    assert bool(roles.strip()) is not listed


def test_a_secret_that_the_chart_wasn_t_told_of_says_so(
    crds: ApiServer, temporal_server: TemporalServer, installation_id: str, namespace: str, tmp_path: Path
) -> None:
    """On the connection and on what needs it, with the value that grants it; once it does, they go on by themselves."""
    home = unique("home-")
    crds.kubectl("create", "namespace", home)
    scope = f"--set=watch.namespaces={{{namespace}}}"
    with released_operator(crds, temporal_server, home, installation_id, tmp_path, scope) as operator:
        world = World(crds, temporal_server.address, installation_id, operator, namespace)
        ref = {"secretKeyRef": {"name": "key", "key": "key"}}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"key": "abc"}}
        connection = {"metadata": {"name": "cloud"}, "spec": {"address": world.temporal, "apiKey": ref}}
        world.apply(
            secret,
            {"apiVersion": "tidemill.dev/v1alpha1", "kind": "TemporalConnection", **connection},
            pool("dark", temporal={"connectionRef": {"name": "cloud"}}),
        )
        for kind, name in (("TemporalConnection", "cloud"), ("WorkerPool", "dark")):
            told = world.wait(kind, name, "False", WAITING_FOR_RIGHTS)
            assert "rbac.temporalConnectionSecrets" in told["message"]
            assert "spec.apiKey.secretKeyRef: the operator may not read the Secret key" in told["message"]
        four = helm("helm", crds)
        given = ("--reuse-values", "--set=rbac.temporalConnectionSecrets={key}")
        four.run("upgrade", RELEASE, str(CHART), f"--namespace={home}", *given)
        # Without TLS, which a key implies, the server here doesn't understand.
        world.wait("TemporalConnection", "cloud", "False", TEMPORAL_UNREACHABLE)
        world.kubectl("delete", "workerpool,temporalconnection", "--all", "--wait=false")
        world.kubectl("annotate", "workerpool", "dark", f"{ANNOTATION_RELEASE}=true")
        world.gone("WorkerPool", "dark")
        world.gone("TemporalConnection", "cloud")
