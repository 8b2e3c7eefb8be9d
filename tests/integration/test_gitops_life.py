"""A GitOps tool's view of a full life: it applies, nobody changes a field of its manifests, and what it prunes ends."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, ScheduleUpdate, ScheduleUpdateInput

from tests.support.fixtures import Database
from tests.support.kubernetes import ApiServer
from tests.support.operator_world import Manifest, World, pipeline, pool, run
from tests.support.plugin import Terminal
from tests.support.pods import running_pod

TOOL = "gitops"
"""The field manager of the tool: as Flux's kustomize-controller or Argo CD's argocd-controller."""
OURS = {"f:status", "f:metadata.f:finalizers", "f:metadata.f:ownerReferences"}
"""What the operator may own in an object that a person or a tool has made."""
CHILDREN = ("configmap", "serviceaccount", "deployment", "networkpolicy")


class Tool:
    """Applies files as one manager, server-side, and prunes what is no longer in them: it deletes, and doesn't wait."""

    def __init__(self, api: ApiServer, namespace: str, folder: Path) -> None:
        self._api = api
        self._namespace = namespace
        self._inventory: set[tuple[str, str]] = set()
        self.file = folder / "manifests.json"

    def syncs(self, *manifests: Manifest) -> None:
        self.file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)}))
        self._kubectl("apply", "--server-side", f"--field-manager={TOOL}", "-f", str(self.file))
        wished = {(each["kind"], each["metadata"]["name"]) for each in manifests}
        for kind, name in self._inventory - wished:
            self._kubectl("delete", kind, name, "--wait=false")
        self._inventory = wished

    def sees_drift(self) -> str:
        """What `kubectl diff` prints; empty if the cluster is as the files are."""
        done = self._api.kubectl(
            *("-n", self._namespace, "diff", "--server-side", f"--field-manager={TOOL}", "-f", str(self.file)),
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    def _kubectl(self, *arguments: str) -> None:
        self._api.kubectl("-n", self._namespace, *arguments)


def owned(world: World, kind: str, name: str) -> dict[str, set[str]]:
    """Manager -> the fields that it owns, two levels deep (`f:metadata.f:finalizers`, `f:spec.f:schedule`)."""
    text = world.kubectl("get", kind, name, "-o", "json", "--show-managed-fields")
    found: dict[str, set[str]] = {}
    for entry in json.loads(text)["metadata"]["managedFields"]:
        found.setdefault(entry["manager"], set()).update(_fields(entry["fieldsV1"]))
    return found


def _fields(told: dict[str, Any]) -> Iterator[str]:
    for name, below in told.items():
        if name == "f:status" or not below:
            yield name
        else:
            yield from (f"{name}.{each}" for each in below)


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    (folder / "a.csv").write_text("carrier,flight\nUA,1545\n")
    return folder


def wished(landing: Path, cron: str = "15 6 1 1 *") -> list[Manifest]:
    connections = [
        {"name": "landing", "files": {"url": f"file://{landing}/"}},
        {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}},
    ]
    return [
        pool(connections=connections),
        pipeline("flights", cron),
        pipeline("weather", None),
        run("first", "flights"),
    ]


async def changed_in_temporal(temporal: Client, schedule: str) -> None:
    def change(old: ScheduleUpdateInput) -> ScheduleUpdate:
        new = old.description.schedule
        new.spec.jitter = None
        new.spec.calendars = []
        new.spec.cron_expressions = ["1 1 1 1 *"]
        return ScheduleUpdate(schedule=new)

    await temporal.get_schedule_handle(schedule).update(change)


async def test_no_field_of_an_applied_manifest_is_changed_and_pruning_ends(
    world: World, temporal: Client, database: Database, landing: Path, tmp_path: Path
) -> None:
    dsn = base64.b64encode(database.dsn.encode()).decode()
    world.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "warehouse"}, "data": {"dsn": dsn}})
    tool, terminal = Tool(world.api, world.namespace, tmp_path), Terminal.of(world.api, world.namespace, tmp_path)
    tool.syncs(*wished(landing))
    objects = [(each["kind"], each["metadata"]["name"]) for each in wished(landing)]
    first = {each: owned(world, *each)[TOOL] for each in objects}

    world.until(lambda: world.get("deployment", "etl-worker"), "the pool's Deployment")
    pods = tmp_path / "pods"
    pods.mkdir()
    with running_pod(world.api, world.namespace, "etl-worker", pods):
        world.wait("DataPipelineRun", "first", "True", "Succeeded")
        assert tool.sees_drift() == ""

        terminal.tidemill("pause", "flights", "--reason", "a look at the source")
        world.wait("DataPipeline", "flights", "True", "Annotation", of="Paused")
        terminal.tidemill("run", "weather", "--wait", "--timeout", "60")
        await changed_in_temporal(temporal, world.schedule_id("flights"))
        world.until(
            lambda: world.get("DataPipeline", "flights")["status"]["schedule"]["driftRepaired"] and {"repaired": True},
            "the change in Temporal is put right",
        )
        world.kubectl("scale", "deployment", "etl-worker", "--replicas=4")
        world.until(
            lambda: {"right": True} if world.get("deployment", "etl-worker")["spec"]["replicas"] == 1 else {},
            "the change of the Deployment is put right",
        )
        assert tool.sees_drift() == "", "neither a pause, nor a run, nor a repair is a change of what was applied"

        tool.syncs(*wished(landing, "20 6 1 1 *"))
        world.until(
            lambda: {"seen": True} if world.get("DataPipeline", "flights")["status"]["observedGeneration"] == 2 else {},
            "the edit is seen",
        )
        assert world.condition("DataPipeline", "flights", "Paused"), "a sync takes no pause back"
        terminal.tidemill("resume", "flights")
        assert tool.sees_drift() == ""

    for each in objects:
        managers = owned(world, *each)
        assert managers.pop(TOOL) == first[each], f"{each}: the tool owns what it owned at first"
        assert managers.pop("kubectl-tidemill", set()) <= {"f:metadata.f:annotations"}, each
        assert managers, f"{each}: the operator has written its status"
        assert set().union(*managers.values()) <= OURS, f"{each}: {managers}"
    for kind in CHILDREN:
        assert set(owned(world, kind, "etl-worker")) <= {"tidemill", "kubectl", "kubectl-patch"}, kind

    tool.syncs({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}})
    for each in objects:
        world.gone(*each)
    schedules = [each.id async for each in await temporal.list_schedules()]
    assert world.schedule_id("flights") not in schedules
