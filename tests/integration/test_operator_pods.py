"""Why workers don't come up: pods and Events on a real API server, as kubelets and controllers leave them.

No kubelet runs here; a test writes what one would.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.operator_world import Manifest, World, pipeline, pool
from tidemill_operator.pool.children import selector

NO_SECRET = 'MountVolume.SetUp failed for volume "tidemill" : secret "warehouse" not found'
PULL = 'failed to resolve reference "registry.example/worker:2": not found'
QUOTA = 'pods "etl-worker-5d4f-x7k2p" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0'


def make_pod(world: World, name: str, labels: dict[str, str]) -> str:
    """A pod that no kubelet knows; its uid."""
    container = {"name": "worker", "image": "registry.example/worker:2"}
    spec = {"containers": [container], "serviceAccountName": "etl-worker", "automountServiceAccountToken": False}
    world.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec})
    return str(world.get("pod", name)["metadata"]["uid"])


def says(world: World, pod: str, state: Manifest, **more: Any) -> None:
    """What a kubelet writes of its container."""
    fields = {"name": "worker", "image": "registry.example/worker:2", "imageID": "", "ready": False, "restartCount": 0}
    status = {"phase": "Pending", "containerStatuses": [{**fields, "state": state, **more}]}
    patch = json.dumps({"status": status})
    world.kubectl("patch", "pod", pod, "--subresource=status", "--type=merge", "-p", patch)


def warns(world: World, pod: str, uid: str, reason: str, note: str) -> None:
    """The Event that a kubelet posts."""
    world.apply(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{pod}.{reason.lower()}"},
            "type": "Warning",
            "reason": reason,
            "message": note,
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": pod,
                "uid": uid,
                "namespace": world.namespace,
            },
            "lastTimestamp": "2026-05-01T12:00:00Z",
        }
    )


def deployment_says(world: World, ready: int = 0, **more: Any) -> None:
    """What the Deployment's controller writes."""
    generation = world.get("deployment", "etl-worker")["metadata"]["generation"]
    counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": ready, "availableReplicas": ready}
    patch = json.dumps({"status": {"observedGeneration": generation, **counts, **more}})
    world.kubectl("patch", "deployment", "etl-worker", "--subresource=status", "--type=merge", "-p", patch)


@pytest.fixture
def deployed(world: World) -> World:
    """A pool and its pipeline; the Deployment has one pod, which isn't ready."""
    world.apply(pool(), pipeline("flights"))
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    deployment_says(world)
    return world


def both_say(world: World, reason: str, words: str) -> None:
    """Pool and pipeline show it."""
    assert words in world.wait("WorkerPool", "etl", "False", reason)["message"]
    shown = world.wait("DataPipeline", "flights", "False", reason)["message"]
    assert shown.startswith("the WorkerPool etl has no workers: ")
    assert words in shown


async def test_pods_troubles_show_on_the_pool_and_its_pipelines(deployed: World) -> None:
    uid = make_pod(deployed, "etl-worker-5d4f-aaaaa", selector("etl"))
    says(deployed, "etl-worker-5d4f-aaaaa", {"waiting": {"reason": "ContainerCreating"}})
    warns(deployed, "etl-worker-5d4f-aaaaa", uid, "FailedMount", NO_SECRET)
    both_say(deployed, "WaitingForSecret", NO_SECRET)

    says(deployed, "etl-worker-5d4f-aaaaa", {"waiting": {"reason": "ErrImagePull", "message": PULL}})
    both_say(deployed, "ImageUnavailable", PULL)

    says(
        deployed,
        "etl-worker-5d4f-aaaaa",
        {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}},
        restartCount=2,
        lastState={"terminated": {"exitCode": 1, "reason": "Error", "message": "connection warehouse: refused"}},
    )
    both_say(deployed, "WorkersFailing", "connection warehouse: refused")

    deployment_says(deployed, ready=1)
    deployed.wait("WorkerPool", "etl", "True", "WorkersReady")
    deployed.wait("DataPipeline", "flights", "True", "Scheduled")
    reasons = deployed.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}")
    assert "ImageUnavailable" in reasons


async def test_pods_of_others_say_nothing_about_the_pool(deployed: World) -> None:
    make_pod(deployed, "other", {**selector("etl"), "tidemill.dev/pool": "other"})
    says(deployed, "other", {"waiting": {"reason": "ErrImagePull", "message": PULL}})
    make_pod(deployed, "mine", selector("etl"))
    says(deployed, "mine", {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "env" not found'}})

    both_say(deployed, "WaitingForSecret", 'secret "env" not found')


async def test_a_quota_that_refuses_pods_shows(deployed: World) -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": QUOTA}
    deployment_says(deployed, conditions=[failure])

    both_say(deployed, "PodsRefused", "is forbidden: exceeded quota: small")
