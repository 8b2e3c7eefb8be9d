"""WorkerPools, DataPipelineRuns and TemporalConnections on a real API server and Temporal, by an operator process.

No controller runs here: a Deployment's status is what a test writes, and nothing collects garbage.
"""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import Worker

from tests.support.operator_world import Manifest, World, pipeline, pool, run
from tests.support.waiting import until_async
from tidemill_api.contract import WorkerConfig

CHILDREN = ("deployment", "serviceaccount", "configmap", "networkpolicy")


@workflow.defn(name="DataPipelineRun", sandboxed=False)
class ScriptedRun:
    """Stands for the worker's workflow: waits for a signal, then ends as its parameters say."""

    def __init__(self) -> None:
        self._released = False

    @workflow.signal
    def release(self) -> None:
        """Let it end."""
        self._released = True

    @workflow.run
    async def run(self, given: dict[str, Any]) -> dict[str, Any]:
        await workflow.wait_condition(lambda: self._released)
        result = {
            "pipeline": given["pipeline"],
            "runKey": given["runKey"],
            "execution": 1,
            "result": "Succeeded",
            "rowsRead": 10,
            "rowsLoaded": 9,
            "rowsRejected": 1,
        }
        workflow.upsert_memo({"tidemill.result": result})
        return result


async def test_a_pool_becomes_workers(world: World) -> None:
    world.apply(pool(replicas=2))
    world.wait("WorkerPool", "etl", "True", "Progressing", of="Reconciling")
    deployment = world.get("deployment", "etl-worker")
    owner = world.get("WorkerPool", "etl")["metadata"]["uid"]
    for kind in CHILDREN:
        child = world.get(kind, "etl-worker")
        assert [each["uid"] for each in child["metadata"]["ownerReferences"]] == [owner]
    assert deployment["spec"]["replicas"] == 2
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert world.get("serviceaccount", "etl-worker")["automountServiceAccountToken"] is False
    config = WorkerConfig.model_validate_json(world.get("configmap", "etl-worker")["data"]["worker.json"])
    assert config.task_queue == f"{world.installation}/{world.namespace}/etl"
    assert config.temporal.address == world.temporal
    _report_ready(world, 2)
    world.wait("WorkerPool", "etl", "True", "WorkersReady")
    found = world.get("WorkerPool", "etl")["status"]
    assert (found["replicas"], found["readyReplicas"], found["taskQueue"]) == (2, 2, config.task_queue)


def _report_ready(world: World, replicas: int) -> None:
    generation = world.get("deployment", "etl-worker")["metadata"]["generation"]
    counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), replicas)
    patch = json.dumps({"status": {"observedGeneration": generation, **counts}})
    world.kubectl("patch", "deployment", "etl-worker", "--subresource=status", "--type=merge", "-p", patch)


@pytest.mark.parametrize(
    ("kind", "patch", "look"),
    [
        ("deployment", {"spec": {"replicas": 7}}, lambda child: child["spec"]["replicas"] == 1),
        ("configmap", {"data": {"worker.json": "{}"}}, lambda child: len(child["data"]["worker.json"]) > 10),
        (
            "serviceaccount",
            {"automountServiceAccountToken": True},
            lambda child: child["automountServiceAccountToken"] is False,
        ),
        ("networkpolicy", {"spec": {"egress": [{}]}}, lambda child: len(child["spec"]["egress"]) == 3),
    ],
    ids=CHILDREN,
)
async def test_drift_of_a_child_is_repaired(world: World, kind: str, patch: Manifest, look: Any) -> None:
    world.apply(pool())
    world.wait("WorkerPool", "etl", "False", "Progressing")
    version = world.get(kind, "etl-worker")["metadata"]["resourceVersion"]
    world.kubectl("patch", kind, "etl-worker", "--type=merge", "-p", json.dumps(patch))
    world.until(
        lambda: (
            child
            if look(child := world.get(kind, "etl-worker")) and child["metadata"]["resourceVersion"] != version
            else {}
        ),
        f"the {kind} is as wished again",
    )


async def test_where_workers_may_connect_to(world: World) -> None:
    """The API server takes the policy, and what it adds is no drift."""
    database = {"namespaces": {"matchLabels": {"team": "db"}}, "pods": {"matchLabels": {"app": "pg"}}, "ports": [5432]}
    world.apply(pool(egress={"cidrs": ["10.20.0.0/16"], "pods": [database]}))
    world.wait("WorkerPool", "etl", "False", "Progressing")
    policy = world.get("networkpolicy", "etl-worker")
    assert policy["spec"]["egress"][2:] == [
        {"to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}]},
        {
            "to": [
                {"podSelector": {"matchLabels": {"app": "pg"}}, "namespaceSelector": {"matchLabels": {"team": "db"}}}
            ],
            "ports": [{"protocol": "TCP", "port": 5432}],
        },
    ]
    resyncs = world.operator.figure("tidemill_operator_resync_duration_seconds_count")
    world.until(
        lambda: (
            {"now": True}
            if world.operator.figure("tidemill_operator_resync_duration_seconds_count") > resyncs + 1
            else {}
        ),
        "everything was listed again",
    )
    version = world.get("networkpolicy", "etl-worker")["metadata"]["resourceVersion"]
    assert version == policy["metadata"]["resourceVersion"]
    world.apply(pool(egress={"cidrs": ["10.20.0.1/16"]}))
    verdict = world.wait("WorkerPool", "etl", "True", "InvalidSpec", of="Stalled")
    assert verdict["message"].startswith(
        "spec.egress.cidrs[0]: 10.20.0.1/16 has bits behind its prefix: write 10.20.0.0/16"
    )


async def test_a_deleted_child_comes_back(world: World) -> None:
    world.apply(pool())
    world.wait("WorkerPool", "etl", "False", "Progressing")
    for kind in CHILDREN:
        world.kubectl("delete", kind, "etl-worker")
    for kind in CHILDREN:
        world.until(partial(world.get, kind, "etl-worker"), f"the {kind} is back")


async def test_a_strangers_object_is_never_overwritten(world: World) -> None:
    world.kubectl("create", "configmap", "etl-worker", "--from-literal=theirs=1")
    world.apply(pool())
    refused = world.wait("WorkerPool", "etl", "True", "Refused", of="Stalled")
    assert "ConfigMap etl-worker" in refused["message"]
    assert world.get("configmap", "etl-worker")["data"] == {"theirs": "1"}


@pytest.mark.parametrize(
    ("pod", "field"),
    [
        ({"containers": [{"name": "worker", "image": "i", "env": [{"name": "=", "value": "x"}]}]}, "env[1].name"),
        ({"contaners": []}, ".spec.template.spec.contaners: field not declared in schema"),
        ({"terminationGracePeriodSeconds": "ten"}, ".terminationGracePeriodSeconds: expected numeric"),
    ],
    ids=["bad value", "unknown field", "wrong type"],
)
async def test_a_refusal_is_told_in_the_servers_words(world: World, pod: Manifest, field: str) -> None:
    world.apply(pool(template={"spec": pod}))
    refused = world.wait("WorkerPool", "etl", "True", "Refused", of="Stalled")
    assert "Deployment" in refused["message"]
    assert field in refused["message"]


async def test_a_pool_in_use_stays_until_its_pipelines_are_gone(world: World) -> None:
    world.apply(pool(), pipeline("flights"))
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    world.kubectl("delete", "workerpool", "etl", "--wait=false")
    waiting = world.wait("WorkerPool", "etl", "False", "WaitingForPipelines")
    assert "flights" in waiting["message"]
    world.kubectl("delete", "datapipeline", "flights", "--timeout=30s")
    world.gone("WorkerPool", "etl")


async def test_a_run_by_hand_is_started_once_and_followed(world: World, temporal: Client) -> None:
    parameters = [{"name": "carrier", "type": "string"}]
    world.apply(run("again", "flights", carrier="UA"))
    world.wait("DataPipelineRun", "again", "False", "WaitingForPipeline")
    world.apply(pool(), pipeline("flights", cron=None, parameters=parameters))
    world.wait("DataPipelineRun", "again", "False", "Running")
    workflow_id = f"{world.schedule_id('flights')}/again"
    handle = temporal.get_workflow_handle(workflow_id)
    async with Worker(temporal, task_queue=f"{world.installation}/{world.namespace}/etl", workflows=[ScriptedRun]):
        world.until(
            lambda: seen if (seen := world.get("DataPipeline", "flights").get("status", {})).get("activeRuns") else {},
            "the pipeline shows the run",
        )
        await handle.signal(ScriptedRun.release)
        await handle.result()
    world.wait("DataPipelineRun", "again", "True", "Succeeded")
    status = world.get("DataPipelineRun", "again")["status"]
    assert status["phase"] == "Succeeded"
    assert (status["run"]["rowsRead"], status["run"]["rowsLoaded"], status["run"]["rowsRejected"]) == (10, 9, 1)
    history = await handle.fetch_history()
    given = json.loads(history.events[0].workflow_execution_started_event_attributes.input.payloads[0].data)
    assert given["parameters"] == {"carrier": "UA"}
    assert given["runKey"] == "again"
    world.wait("DataPipeline", "flights", "True", "Succeeded", of="Succeeding")
    world.until(
        lambda: {"there": True} if "RunSucceeded" in world.kubectl("get", "events") else {}, "an Event tells of it"
    )
    executions = [each async for each in temporal.list_workflows(f"WorkflowId = '{workflow_id}'")]
    assert len(executions) == 1


async def test_wrong_parameters_of_a_run_are_a_verdict(world: World) -> None:
    world.apply(pool(), pipeline("flights", cron=None, parameters=[{"name": "month", "type": "integer"}]))
    world.apply(run("wrong", "flights", month="June", moon="full"))
    verdict = world.wait("DataPipelineRun", "wrong", "True", "InvalidSpec", of="Stalled")
    assert "spec.parameters.month" in verdict["message"]
    assert "spec.parameters.moon" in verdict["message"]


async def test_a_deleted_run_is_cancelled(world: World, temporal: Client) -> None:
    world.apply(pool(), pipeline("flights", cron=None), run("again", "flights"))
    world.wait("DataPipelineRun", "again", "False", "Running")
    handle = temporal.get_workflow_handle(f"{world.schedule_id('flights')}/again")
    async with Worker(temporal, task_queue=f"{world.installation}/{world.namespace}/etl", workflows=[ScriptedRun]):
        world.kubectl("delete", "datapipelinerun", "again", "--wait=false")

        async def cancelled() -> bool:
            return (await handle.describe()).status == WorkflowExecutionStatus.CANCELED

        await until_async(cancelled, "the workflow is cancelled", timedelta(seconds=30).total_seconds())
    world.gone("DataPipelineRun", "again")


async def test_a_pipelines_deletion_waits_for_its_runs(world: World, temporal: Client) -> None:
    world.apply(pool(), pipeline("flights", cron=None), run("again", "flights"))
    world.wait("DataPipelineRun", "again", "False", "Running")
    world.kubectl("delete", "datapipeline", "flights", "--wait=false")
    waiting = world.wait("DataPipeline", "flights", "False", "WaitingForRuns")
    assert "again" in waiting["message"]
    await temporal.get_workflow_handle(f"{world.schedule_id('flights')}/again").terminate("the test ends it")
    world.gone("DataPipeline", "flights")


async def test_a_pool_with_a_connection_of_its_own(world: World) -> None:
    world.apply(pool(temporal={"connectionRef": {"name": "own"}}), pipeline("flights"))
    waiting = world.wait("DataPipeline", "flights", "False", "WaitingForConnection")
    assert "spec.temporal.connectionRef.name of the WorkerPool" in waiting["message"]
    connection = {"apiVersion": "tidemill.dev/v1alpha1", "kind": "TemporalConnection", "metadata": {"name": "own"}}
    world.apply(
        {**connection, "spec": {"address": world.temporal, "apiKey": {"secretKeyRef": {"name": "k", "key": "k"}}}}
    )
    world.wait("TemporalConnection", "own", "False", "WaitingForSecret")
    lacking = world.wait("DataPipeline", "flights", "False", "WaitingForSecret")
    assert (
        lacking["message"]
        == "the TemporalConnection own: spec.apiKey.secretKeyRef: the Secret k isn't in this namespace (yet)"
    )
    world.apply({**connection, "spec": {"address": world.temporal}})
    assert "answers" in world.wait("TemporalConnection", "own", "True", "Connected")["message"]
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    assert world.get("DataPipeline", "flights")["status"]["schedule"]["connection"] == "own"
