"""The operator with a key ring, as a process on a real API server and Temporal: what it writes, and who can read it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.workflowservice.v1 import DescribeScheduleRequest, DescribeScheduleResponse
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from tests.support.fixtures import unique
from tests.support.keys import MountedRing, new_key
from tests.support.kubernetes import ApiServer
from tests.support.operator_process import OperatorProcess, start_operator
from tests.support.operator_world import World, pipeline, pool, run
from tests.support.waiting import until, until_async
from tidemill_api.names import ANNOTATION_INSTALLATION, POD_VARIABLE
from tidemill_cli.dev.components.temporal import TemporalServer
from tidemill_codec.cipher import Cipher, key_of
from tidemill_codec.converter import encrypting
from tidemill_codec.folder import FixedKeys
from tidemill_codec.ring import ring_of

K1, K2 = new_key(), new_key()
SECRET = "hush-hush"
SECRET_NAME = "tidemill-encryption-keys"
PARAMETERS = [{"name": "customer", "type": "string", "default": SECRET}]

Start = Callable[..., World]


@workflow.defn(name="DataPipelineRun", sandboxed=False)
class ScriptedRun:
    """Stands for the worker's workflow: tells what it was given, or fails with it."""

    @workflow.run
    async def run(self, given: dict[str, Any]) -> dict[str, Any]:
        wanted = given["parameters"].get("customer")
        if wanted == "bad":
            raise ApplicationError("a sentence about hush-hush", type="StepFailed", non_retryable=True)
        result = {"pipeline": given["pipeline"], "runKey": given.get("runKey") or "k", "result": "Succeeded"}
        workflow.upsert_memo({"tidemill.result": {**result, "rowsRead": 7, "rowsLoaded": 7}})
        return result


@pytest.fixture
def ring(tmp_path: Path) -> MountedRing:
    return MountedRing(tmp_path / "keys", k1=K1, active="k1")


@pytest.fixture
def start(
    crds: ApiServer, temporal_server: TemporalServer, namespace: str, installation_id: str, tmp_path: Path
) -> Iterator[Start]:
    """Starts the operator, one after the other."""
    started: list[OperatorProcess] = []

    def begin(*arguments: str) -> World:
        for former in started:
            if former.process.poll() is None:
                former.stop()
        operator = start_operator(
            tmp_path / "operator",
            crds.kubeconfig,
            installation_id,
            f"--namespaces={namespace}",
            "--resync-interval=3",
            *arguments,
            temporal=temporal_server.address,
        )
        started.append(operator)
        return World(crds, temporal_server.address, installation_id, operator, namespace)

    yield begin
    for operator in started:
        if operator.process.poll() is None:
            operator.stop()


def with_ring(ring: MountedRing) -> tuple[str, str]:
    return f"--encryption-keys={ring.folder}", "--encryption-settle=0"


async def described(temporal: Client, schedule: str) -> DescribeScheduleResponse:
    request = DescribeScheduleRequest(namespace="default", schedule_id=schedule)
    return await temporal.workflow_service.describe_schedule(request)


def input_of(found: DescribeScheduleResponse) -> Payload:
    return found.schedule.action.start_workflow.input.payloads[0]


async def settled(world: World, temporal: Client, key: str | None, name: str = "flights") -> DescribeScheduleResponse:
    """The Schedule, when its input is encrypted with that key."""

    async def look() -> DescribeScheduleResponse | None:
        if world.condition("DataPipeline", name).get("reason") != "Scheduled":
            return None
        found = await described(temporal, world.schedule_id(name))
        return found if key_of(input_of(found)) == key else None

    found = await until_async(look, f"the Schedule is encrypted with {key}", timeout=60)
    assert found is not None
    return found


def opened(payload: Payload, **entries: str) -> Any:
    return json.loads(Cipher(FixedKeys(ring_of(entries, "test")), "default").decrypt(payload).data)


def handed_on(world: World) -> dict[str, str]:
    data = world.get("secret", SECRET_NAME).get("data", {})
    return {name: base64.b64decode(text).decode() for name, text in data.items()}


def owners(world: World) -> list[str]:
    found = world.get("secret", SECRET_NAME).get("metadata", {})
    return sorted(each["name"] for each in found.get("ownerReferences", ()))


async def test_pools_and_schedules_are_encrypted_and_settle(start: Start, ring: MountedRing, temporal: Client) -> None:
    world = start(*with_ring(ring))
    world.apply(pool(), pool("second"), pipeline("flights", parameters=PARAMETERS))
    found = await settled(world, temporal, "k1")

    assert opened(input_of(found), k1=K1, active="k1")["spec"]["parameters"] == PARAMETERS
    assert SECRET.encode() not in found.SerializeToString()
    assert handed_on(world) == {"k1": K1, "active": "k1"}
    names = ("etl", "second")
    world.until(lambda: {"both": 1} if owners(world) == [*names] else {}, "the ring belongs to both pools")
    for name in names:
        pod = world.get("deployment", f"{name}-worker")["spec"]["template"]["spec"]
        assert SECRET_NAME in [volume.get("secret", {}).get("secretName") for volume in pod["volumes"]]

    def written() -> float:
        calls = ("update_schedule", "create_schedule")
        applied = world.operator.figure("tidemill_operator_kubernetes_requests_total", verb="PATCH", kind="Secret")
        return applied + sum(
            world.operator.figure("tidemill_operator_temporal_requests_total", call=call) for call in calls
        )

    before, resyncs = written(), world.operator.figure("tidemill_operator_resync_duration_seconds_count")
    until(
        lambda: world.operator.figure("tidemill_operator_resync_duration_seconds_count") >= resyncs + 3,
        "three resyncs",
        timeout=60,
    )
    assert written() == before > 0
    assert world.operator.figure("tidemill_operator_schedules_sealed", key="k1") == 1
    log = world.operator.log.read_text()
    seen = log + world.kubectl("get", "events,workerpools", "-o", "json")
    status = json.dumps(world.get("DataPipeline", "flights")["status"])
    assert [text for text in (K1, base64.b64encode(K1.encode()).decode()) if text in seen + status] == []
    assert SECRET not in log + status


async def test_schedules_follow_a_rotated_ring(start: Start, ring: MountedRing, temporal: Client) -> None:
    world = start(*with_ring(ring))
    world.apply(pool(), pipeline("flights"), pipeline("trains"))
    await settled(world, temporal, "k1")
    await settled(world, temporal, "k1", "trains")

    ring.renew({"k1": K1, "k2": K2, "active": "k2"})

    found = await settled(world, temporal, "k2")
    await settled(world, temporal, "k2", "trains")
    assert opened(input_of(found), k2=K2, active="k2")["pipeline"] == "flights"
    world.until(lambda: {"ring": 1} if handed_on(world) == ring.entries else {}, "the pools have the new ring")
    until(lambda: world.operator.figure("tidemill_operator_schedules_sealed", key="k2") == 2, "the figure says so", 60)
    assert world.operator.figure("tidemill_operator_schedules_sealed", key="k1") == 0
    status = world.get("DataPipeline", "flights")["status"]["schedule"]
    assert status["driftRepaired"] == 0
    until(lambda: "no Schedule is left on another key than k2" in world.operator.log.read_text(), "the log says so", 60)


async def test_encryption_is_turned_on_and_off_again(start: Start, ring: MountedRing, temporal: Client) -> None:
    world = start()
    world.apply(pool(), pipeline("flights"))
    found = await settled(world, temporal, None)
    assert json.loads(input_of(found).data)["pipeline"] == "flights"
    assert world.get("secret", SECRET_NAME) == {}
    container = world.get("deployment", "etl-worker")["spec"]["template"]["spec"]["containers"][0]
    assert [variable["name"] for variable in container["env"]] == [POD_VARIABLE]

    world = start(*with_ring(ring))
    await settled(world, temporal, "k1")
    assert handed_on(world) == ring.entries

    world = start()
    await settled(world, temporal, None)
    assert world.get("DataPipeline", "flights")["status"]["schedule"]["driftRepaired"] == 0


async def test_somebody_elses_secret_is_not_overwritten(start: Start, ring: MountedRing) -> None:
    world = start(*with_ring(ring))
    world.kubectl("create", "secret", "generic", SECRET_NAME, "--from-literal=mine=yes")
    world.apply(pool())

    told = world.until(
        lambda: (
            found if "isn't Tidemill's" in (found := world.condition("WorkerPool", "etl")).get("message", "") else {}
        ),
        "the pool says so",
    )

    assert "remove or rename it, or start the operator with another --encryption-secret" in told["message"]
    assert handed_on(world) == {"mine": "yes"}
    world.kubectl("delete", "secret", SECRET_NAME)
    world.kubectl("annotate", "workerpool", "etl", "look=again")
    world.until(lambda: {"ring": 1} if handed_on(world) == ring.entries else {}, "the ring is handed on")


async def test_two_installations_in_one_namespace_don_t_write_over_each_other_s_ring(
    start: Start, ring: MountedRing, crds: ApiServer, temporal_server: TemporalServer, tmp_path: Path
) -> None:
    """A pool of the second one says whose ring is there; with a Secret of its own name both go on."""
    world, installation = start(*with_ring(ring)), unique("other-")
    world.apply(pool())
    world.until(lambda: {"ring": 1} if handed_on(world) == ring.entries else {}, "the first one's ring is handed on")
    other = MountedRing(tmp_path / "other-keys", k2=K2, active="k2")
    mine = {**pool("second"), "metadata": {"name": "second", "annotations": {ANNOTATION_INSTALLATION: installation}}}
    world.apply(mine)

    options = (f"--namespaces={world.namespace}", "--resync-interval=3", *with_ring(other))
    address = temporal_server.address
    operator = start_operator(tmp_path / "second", crds.kubeconfig, installation, *options, temporal=address)
    try:
        told = world.wait("WorkerPool", "second", "False", "Refused")
        assert f"holds the key ring of another installation, {world.installation}," in told["message"]
        assert "--encryption-secret" in told["message"]
        ring.renew({"k1": K1, "k3": K2, "active": "k1"})
        world.until(lambda: {"ring": 1} if "k3" in handed_on(world) else {}, "the first one goes on")
        assert "k2" not in handed_on(world)
    finally:
        operator.stop()
    own = "--encryption-secret=another"
    operator = start_operator(tmp_path / "third", crds.kubeconfig, installation, *options, own, temporal=address)
    try:
        world.until(lambda: world.get("secret", "another"), "the second one has a Secret of its own")
        world.until(lambda: world.get("deployment", "second-worker"), "its pool has workers")
        assert "k3" in handed_on(world)
    finally:
        operator.stop()


async def test_runs_are_encrypted_and_what_they_came_to_is_read(
    start: Start, ring: MountedRing, temporal_server: TemporalServer, temporal: Client
) -> None:
    world = start(*with_ring(ring))
    world.apply(pool(), pipeline("flights", None, parameters=PARAMETERS))
    keys = FixedKeys(ring_of({"k1": K1, "active": "k1"}, "test"))
    converter = encrypting(pydantic_data_converter, keys, "default")
    client = await Client.connect(temporal_server.address, data_converter=converter)
    queue = f"{world.installation}/{world.namespace}/etl"
    async with Worker(client, task_queue=queue, workflows=[ScriptedRun]):
        good, bad = unique("good-"), unique("bad-")
        world.apply(run(good, "flights", customer=SECRET), run(bad, "flights", customer="bad"))

        await asyncio.to_thread(world.until, lambda: ended(world, good, "Succeeded"), "the good run is told")
        told = await asyncio.to_thread(world.until, lambda: ended(world, bad, "Failed"), "the bad run is told")

    assert world.get("DataPipelineRun", good)["status"]["run"]["rowsLoaded"] == 7
    assert told["run"]["error"] == f"StepFailed: a sentence about {SECRET}"
    for name in (good, bad):
        history = await temporal.get_workflow_handle(f"{world.schedule_id('flights')}/{name}").fetch_history()
        raw = b"".join(event.SerializeToString() for event in history.events)
        assert SECRET.encode() not in raw
        assert b"a sentence" not in raw
        assert key_of(history.events[0].workflow_execution_started_event_attributes.input.payloads[0]) == "k1"
    assert SECRET not in world.operator.log.read_text()


async def test_what_the_operator_has_no_key_for_is_told_so(
    start: Start, ring: MountedRing, temporal_server: TemporalServer
) -> None:
    """The worker writes with a key that the operator lacks: what the run came to can't be read, all else goes on."""
    world = start(*with_ring(ring))
    world.apply(pool(), pipeline("flights", None, parameters=PARAMETERS))
    keys = FixedKeys(ring_of({"k1": K1, "k2": K2, "active": "k2"}, "test"))
    converter = encrypting(pydantic_data_converter, keys, "default")
    client = await Client.connect(temporal_server.address, data_converter=converter)
    queue, name = f"{world.installation}/{world.namespace}/etl", unique("run-")
    async with Worker(client, task_queue=queue, workflows=[ScriptedRun]):
        world.apply(run(name, "flights", customer="bad"))
        told = await asyncio.to_thread(world.until, lambda: ended(world, name, "Failed"), "the run is told")

    assert told["run"]["error"].startswith("StepFailed: what it came to can't be read: a payload is encrypted with")
    assert "'k2', which isn't in the key ring" in told["run"]["error"]


def ended(world: World, name: str, phase: str) -> dict[str, Any]:
    status: dict[str, Any] = world.get("DataPipelineRun", name).get("status", {})
    return status if status.get("phase") == phase else {}


def test_a_ring_that_is_wrong_is_told_at_once(ring: MountedRing, crds: ApiServer, tmp_path: Path) -> None:
    ring.renew({"k1": K1, "active": "k9"})

    operator = start_operator(tmp_path, crds.kubeconfig, unique("i"), *with_ring(ring), ready=False)

    assert operator.process.wait(30) == 2
    assert "`active` names 'k9', but the keys here are k1" in operator.log.read_text()
    assert K1 not in operator.log.read_text()


def test_a_ring_in_the_cluster_is_made_and_rotated_by_pipes(crds: ApiServer, namespace: str) -> None:
    """As docs/how-to/encryption.md says it, with this test's namespace for tidemill-system."""
    environment = dict(crds.environment)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"

    def shell(line: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", line.replace("tidemill-system", namespace)]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    def found() -> dict[str, str]:
        data = json.loads(shell("kubectl get secret tidemill-encryption -n tidemill-system -o json"))["data"]
        return {name: base64.b64decode(text).decode() for name, text in data.items()}

    shell("tidemill keys new --secret tidemill-encryption --namespace tidemill-system | kubectl create -f -")
    before = ring_of(found(), "made")
    shell(
        "kubectl get secret tidemill-encryption -n tidemill-system -o yaml "
        "| tidemill keys rotate --from - | kubectl replace -f -"
    )
    after = ring_of(found(), "rotated")

    assert set(before.ids) < set(after.ids)
    assert after.active not in before.ids
