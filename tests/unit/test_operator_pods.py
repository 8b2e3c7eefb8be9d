"""What pods say of their trouble, as kubelets, the scheduler and controllers put it, and what a pool makes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.operator_world import NOW, SETTINGS, pipeline, pool
from tests.unit.pool_world import deployed, made, planned
from tests.unit.pool_world import told as told_of_pool
from tidemill_api import conditions as said
from tidemill_operator.actions import LookAgain
from tidemill_operator.clients import Object
from tidemill_operator.events import transitions
from tidemill_operator.notice import concerned
from tidemill_operator.pipeline.desire import desire
from tidemill_operator.pipeline.observe import Observed, There
from tidemill_operator.pipeline.report import report
from tidemill_operator.pool.observe import all_ready
from tidemill_operator.pool.pods import TROUBLES, refusal, trouble_of, unexplained
from tidemill_operator.standing import condition, rfc3339
from tidemill_operator.store import MemoryStore

IMAGE = "registry.example/worker:2"
PULL = 'failed to resolve reference "registry.example/worker:2": not found'
STALE = {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}


def pod(name: str = "etl-worker-abc-x1", *, phase: str = "Pending", **status: Any) -> Object:
    metadata = {"name": name, "uid": f"uid-{name}", "creationTimestamp": status.pop("created", "2026-05-01T12:00:00Z")}
    if status.pop("going", False):
        metadata["deletionTimestamp"] = "2026-05-01T12:00:00Z"
    return {"metadata": metadata, "status": {"phase": phase, **status}}


def container(state: Object, **more: Any) -> Object:
    fields = {"name": "worker", "image": IMAGE, "ready": False, "restartCount": 0, "state": state, **more}
    return pod(containerStatuses=[fields])


def waiting(reason: str, message: str = "", **more: Any) -> Object:
    return container({"waiting": {"reason": reason, "message": message}}, **more)


def ended(code: int = 1, message: str = "", reason: str = "Error") -> Object:
    return {"terminated": {"exitCode": code, "message": message, "reason": reason}}


def event(note: str, reason: str = "FailedMount", when: str = "2026-05-01T12:00:00Z", of: str = "") -> Object:
    uid = of or "uid-etl-worker-abc-x1"
    return {"metadata": {}, "reason": reason, "note": note, "deprecatedLastTimestamp": when, "regarding": {"uid": uid}}


UNSCHEDULED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient cpu.",
}
NO_SECRET = 'MountVolume.SetUp failed for volume "tidemill" : secret "warehouse" not found'
NO_KEY = 'MountVolume.SetUp failed for volume "tidemill" : references non-existent secret key: dsn'
NO_VOLUME = 'MountVolume.SetUp failed for volume "data" : configmap "data" not found'
CREATING = waiting("ContainerCreating")
BAD_DSN = "connection warehouse: the server refuses the user or password of its Secret (28P01)"
TABLE: dict[str, tuple[list[Object], list[Object], str | None, str]] = {
    "none": ([], [], None, ""),
    "just made": ([pod()], [], None, ""),
    "being made": ([CREATING], [], None, ""),
    "runs, not ready yet": ([container({"running": {}})], [], None, ""),
    "pull fails": ([waiting("ErrImagePull", PULL)], [], said.IMAGE_UNAVAILABLE, f"ImagePullBackOff: {PULL}"),
    "pull is waited for": (
        [waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}": ErrImagePull: {PULL}')],
        [],
        said.IMAGE_UNAVAILABLE,
        f"ImagePullBackOff: {PULL}",
    ),
    "bad name": ([waiting("InvalidImageName", "couldn't parse")], [], said.IMAGE_UNAVAILABLE, "InvalidImageName"),
    "never pulled": ([waiting("ErrImageNeverPull", "not present")], [], said.IMAGE_UNAVAILABLE, IMAGE),
    "no Secret for env": (
        [waiting("CreateContainerConfigError", 'secret "env" not found')],
        [],
        said.WAITING_FOR_SECRET,
        'CreateContainerConfigError: secret "env" not found',
    ),
    "no key for env": (
        [waiting("CreateContainerConfigError", "couldn't find key a in Secret travel/env")],
        [],
        said.WAITING_FOR_SECRET,
        "couldn't find key a",
    ),
    "root image": (
        [waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")],
        [],
        said.WORKERS_FAILING,
        "runAsNonRoot",
    ),
    "no such program": ([waiting("RunContainerError", "exec: python")], [], said.WORKERS_FAILING, "exec: python"),
    "crashes": (
        [waiting("CrashLoopBackOff", "back-off 20s", restartCount=2, lastState=ended(1, BAD_DSN))],
        [],
        said.WORKERS_FAILING,
        f"CrashLoopBackOff: a worker's container worker ended (exit code 1): {BAD_DSN}",
    ),
    "out of memory": (
        [waiting("CrashLoopBackOff", restartCount=1, lastState=ended(137, reason="OOMKilled"))],
        [],
        said.WORKERS_FAILING,
        "(OOMKilled, exit code 137); its log says more",
    ),
    "just crashed": ([container(ended(1, "no\n dsn"))], [], said.WORKERS_FAILING, "(exit code 1): no dsn"),
    "crashed once, runs again": ([container({"running": {}}, restartCount=1, lastState=ended())], [], None, ""),
    "crashes, runs just now": (
        [container({"running": {}}, restartCount=2, lastState=ended(1, "x"))],
        [],
        said.WORKERS_FAILING,
        "CrashLoopBackOff",
    ),
    "ended well": ([container(ended(0))], [], None, ""),
    "no node": ([pod(conditions=[UNSCHEDULED])], [], said.UNSCHEDULABLE, "1 Insufficient cpu"),
    "no Secret": ([CREATING], [event(NO_SECRET)], said.WAITING_FOR_SECRET, f"FailedMount: {NO_SECRET}"),
    "no key": ([CREATING], [event(NO_KEY)], said.WAITING_FOR_SECRET, "secret key: dsn"),
    "no volume": ([CREATING], [event(NO_VOLUME)], said.WORKERS_FAILING, 'configmap "data" not found'),
    "the newest event": (
        [CREATING],
        [event(NO_SECRET, when="2026-05-01T11:00:00Z"), event(NO_VOLUME), event(NO_KEY, when="2026-05-01T10:00:00Z")],
        said.WORKERS_FAILING,
        "data",
    ),
    "another pod's event": ([CREATING], [event(NO_SECRET, of="other")], None, ""),
    "a pod on its way out": ([{**CREATING, **pod(going=True)}, pod()], [], None, ""),
    "an evicted one beside a new one": (
        [pod(phase="Failed", reason="Evicted", message="disk"), pod("b")],
        [],
        None,
        "",
    ),
    "evicted": ([pod(phase="Failed", reason="Evicted", message="disk")], [], said.WORKERS_FAILING, "Evicted: disk"),
    "init container": (
        [pod(initContainerStatuses=[{"name": "fetch", "state": {"waiting": {"reason": "CreateContainerError"}}}])],
        [],
        said.WORKERS_FAILING,
        "container fetch can't start: CreateContainerError",
    ),
    "the worst of several": (
        [pod("a", conditions=[UNSCHEDULED]), waiting("ImagePullBackOff", PULL)],
        [],
        said.IMAGE_UNAVAILABLE,
        PULL,
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_pods_trouble(name: str) -> None:
    pods, events, reason, words = TABLE[name]

    found = trouble_of(pods, events)

    assert (found.reason if found else None) == reason
    assert found is None or (words in found.message and found.reason in TROUBLES)


@pytest.mark.parametrize(("reason", "state"), [("InvalidImageName", "stalled"), ("ErrImagePull", "waits")])
def test_a_name_that_is_none_needs_an_edit(reason: str, state: str) -> None:
    found = trouble_of([waiting(reason)], [])

    assert found is not None
    assert found.state == state


def test_one_trouble_is_told_in_the_same_words_all_along() -> None:
    """Else each attempt of the kubelet would be a new status, and news for each pipeline of the pool."""
    for names in (
        ("pull fails", "pull is waited for"),
        ("crashes", "crashes"),
    ):
        first, second = (trouble_of(TABLE[name][0], []) for name in names)
        assert first == second
    one = waiting("CrashLoopBackOff", "back-off 10s pod=a", restartCount=1, lastState=ended(1, "x"))
    two = waiting("CrashLoopBackOff", "back-off 5m0s pod=b", restartCount=9, lastState=ended(1, "x"))
    assert trouble_of([one], []) == trouble_of([two], [])


@pytest.mark.parametrize(("policy", "quoted"), [(None, True), ("File", True), ("FallbackToLogsOnError", False)])
def test_the_end_of_a_log_is_not_quoted(policy: str | None, *, quoted: bool) -> None:
    """What a sidecar says on stderr may hold anything; it can be told by its pod's spec that this is it."""
    crashed = waiting("CrashLoopBackOff", lastState=ended(message="row 4929"), restartCount=3)
    crashed["spec"] = {"containers": [{"name": "worker", **({"terminationMessagePolicy": policy} if policy else {})}]}

    found = trouble_of([crashed], [])

    assert found is not None
    assert found.message.endswith(": row 4929" if quoted else "(exit code 1); its log says more")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            'pods "etl-worker-5d4f-x7k2p" is forbidden: exceeded quota: small, requested: pods=1',
            'pods "etl-worker-5d4f-" is forbidden: exceeded quota: small, requested: pods=1',
        ),
        ('admission webhook "a.b" denied the request: no', 'admission webhook "a.b" denied the request: no'),
    ],
)
def test_a_refusal_of_pods(message: str, told: str) -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}

    found = refusal({"status": {"conditions": [failure]}})

    assert found is not None
    assert (found.reason, found.message) == (said.PODS_REFUSED, f"the API server refuses the workers' pods: {told}")
    assert refusal({"status": {"conditions": [{**failure, "status": "False"}]}}) is None
    assert refusal({}) is None


def test_events_are_asked_for_only_where_the_pod_is_silent() -> None:
    assert unexplained([waiting("ErrImagePull"), CREATING]) == CREATING["metadata"]["uid"]
    assert unexplained([waiting("ErrImagePull"), pod()]) is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, False),
        ({"observedGeneration": 1, "readyReplicas": 2, "updatedReplicas": 2, "replicas": 2}, False),
        ({"observedGeneration": 2, "readyReplicas": 2, "updatedReplicas": 2, "replicas": 2}, True),
        ({"observedGeneration": 2, "readyReplicas": 1, "updatedReplicas": 2, "replicas": 2}, False),
        ({"observedGeneration": 2, "readyReplicas": 2, "updatedReplicas": 1, "replicas": 3}, False),
        ({"observedGeneration": 2, "readyReplicas": 2, "updatedReplicas": 2, "replicas": 3}, False),
    ],
)
def test_pods_are_looked_at_only_while_some_are_not_ready(status: Object, expected: bool) -> None:
    assert all_ready({"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status}) == expected


@pytest.mark.parametrize(("age", "after"), [(0, 2), (9, 2), (50, 10), (3600, 30)])
def test_what_lasts_is_looked_at_more_rarely(age: int, after: int) -> None:
    since = rfc3339(NOW - timedelta(seconds=age))
    ready = {"type": "Ready", "status": "False", "reason": "x", "lastTransitionTime": since}
    seen = made(pool(status={"conditions": [ready]}), pods=())

    assert planned(seen) == (LookAgain(timedelta(seconds=after)),)


# On the pool, and on its pipelines


def failing(ready: int = 0) -> Object:
    """A pool whose image can't be pulled, with its status."""
    seen = deployed(made(), observedGeneration=2, readyReplicas=ready, replicas=1)
    fields = {name: getattr(seen, name) for name in seen.__slots__}
    broken = type(seen)(**{**fields, "pods": (waiting("ErrImagePull", PULL),)})
    return broken.manifest | {"status": told_of_pool(broken)}


def ready_of(on: Object) -> tuple[Object, Object]:
    manifest = pipeline(status={})
    seen = Observed(manifest, on, There(None))
    status = report(desire(seen, SETTINGS), seen, (), NOW)
    assert status is not None
    found = condition(status, said.READY)
    assert found is not None
    return dict(found), status


def test_a_pools_pipelines_say_why_nobody_works() -> None:
    found, _ = ready_of(failing())

    assert (found["status"], found["reason"]) == ("False", said.IMAGE_UNAVAILABLE)
    assert found["message"].startswith("the WorkerPool etl has no workers: the image")
    assert PULL in found["message"]


def test_workers_of_before_a_bad_edit_are_workers() -> None:
    found, _ = ready_of(failing(ready=1))

    assert found["status"] == "True"


def test_a_pools_trouble_wakes_its_pipelines_and_is_a_warning() -> None:
    store = MemoryStore()
    store.put("DataPipeline", pipeline(resourceVersion="7"))
    before, after = pool(), failing()

    keys = [key.kind for key, _ in concerned("WorkerPool", before, after, store)]

    assert keys == ["WorkerPool", "DataPipeline"]
    [note] = [each for each in transitions({}, after["status"]) if each.reason == said.IMAGE_UNAVAILABLE]
    assert note.type == "Warning"
