"""Every way in which our objects stand, as GitOps tools read it: kstatus, `kubectl wait` and Argo CD's Lua.

The objects are those of a real API server, operator and worker. `tests/golden/statuses` holds them without what
differs from time to time; `TIDEMILL_RECORD=1 pytest tests/integration/test_gitops_status.py` records them anew.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fixtures import Database, unique
from tests.support.gitops import health, kstatus, lasting, lua
from tests.support.kubernetes import ROOT, ApiServer
from tests.support.operator_process import OperatorProcess
from tests.support.operator_world import Manifest, World, pipeline, pool, rolled_out, run
from tests.support.plugin import Terminal
from tests.support.pods import running_pod
from tidemill_cli.dev.components import postgres
from tidemill_cli.dev.components.temporal import TemporalServer

GOLDEN = ROOT / "tests" / "golden" / "statuses"

STATES: dict[str, tuple[str, str]] = {
    "DataPipeline/scheduled": ("Current", "Healthy"),
    "DataPipeline/on-demand": ("Current", "Healthy"),
    "DataPipeline/unseen": ("InProgress", "Progressing"),
    "DataPipeline/edited": ("InProgress", "Progressing"),
    "DataPipeline/waits-for-pool": ("InProgress", "Progressing"),
    "DataPipeline/invalid": ("Failed", "Degraded"),
    "DataPipeline/failing": ("Current", "Degraded"),
    "DataPipeline/suspended": ("Current", "Suspended"),
    "DataPipeline/paused": ("Current", "Suspended"),
    "DataPipeline/leaving": ("Terminating", "Progressing"),
    "WorkerPool/etl": ("Current", "Healthy"),
    "WorkerPool/zero": ("Current", "Healthy"),
    "WorkerPool/idle": ("InProgress", "Progressing"),
    "WorkerPool/refused": ("Failed", "Degraded"),
    "WorkerPool/unseen": ("InProgress", "Progressing"),
    "TemporalConnection/here": ("Current", "Healthy"),
    "TemporalConnection/away": ("InProgress", "Progressing"),
    "DataPipelineRun/unseen": ("InProgress", "Progressing"),
    "DataPipelineRun/pending": ("InProgress", "Progressing"),
    "DataPipelineRun/invalid": ("Failed", "Degraded"),
    "DataPipelineRun/running": ("InProgress", "Progressing"),
    "DataPipelineRun/succeeded": ("Current", "Healthy"),
    "DataPipelineRun/failed": ("Failed", "Degraded"),
    "DataPipelineRun/skipped": ("Failed", "Suspended"),
    "DataPipelineRun/cancelled": ("Failed", "Suspended"),
}
"""Object -> what kstatus and what Argo CD make of it. What isn't sure of itself is never Current or Healthy."""


def connection(name: str, address: str) -> Manifest:
    kind = {"apiVersion": "tidemill.dev/v1alpha1", "kind": "TemporalConnection"}
    return {**kind, "metadata": {"name": name}, "spec": {"address": address}}


def manifests(landing: Path, dsn: str, temporal: str) -> list[Manifest]:
    connections = [
        {"name": "landing", "files": {"url": f"file://{landing}/"}},
        {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}},
    ]
    missing = [{"name": "raw", "connection": "landing", "files": {"path": "b.csv", "format": {"csv": {}}}}]
    again = {**run("skipped", "scheduled"), "spec": {"pipelineRef": {"name": "scheduled"}, "runKey": "succeeded"}}
    called_off = run("cancelled", "waits-for-pool")
    called_off["metadata"]["annotations"] = {"tidemill.dev/cancel": "not today"}
    paused = pipeline("paused")
    paused["metadata"]["annotations"] = {"tidemill.dev/paused": "the source is being repaired"}
    secret = {"dsn": base64.b64encode(dsn.encode()).decode()}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "warehouse"}, "data": secret},
        connection("here", temporal),
        connection("away", "127.0.0.1:1"),
        pool("etl", connections=connections),
        pool("zero", replicas=0),
        pool("idle"),
        pool("refused", template={"spec": {"nodeSelector": ["x"]}}),
        pipeline("scheduled"),
        pipeline("on-demand", None),
        pipeline("waits-for-pool", workerPoolRef={"name": "nowhere"}),
        pipeline("invalid", "99 * * * *"),
        pipeline("failing", sources=missing),
        pipeline("suspended", suspend=True),
        paused,
        pipeline("leaving", workerPoolRef={"name": "idle"}),
        pipeline("open", workerPoolRef={"name": "idle"}),
        run("succeeded", "scheduled"),
        run("failed", "failing"),
        run("pending", "waits-for-pool"),
        run("running", "open"),
        run("invalid", "scheduled", colour="red"),
        run("holds", "leaving"),
        called_off,
        again,
    ]


def work_off(world: World, wished: list[Manifest]) -> None:
    """Bring every object to the state that its name says."""
    *others, again = wished
    world.apply(*others)
    for name, workers in (("etl", 1), ("zero", 0)):
        rolled_out(world, f"{name}-worker", workers)
    world.wait("DataPipelineRun", "succeeded", "True", "Succeeded")
    world.apply(again)
    for name, reason in (
        ("scheduled", "Scheduled"),
        ("on-demand", "OnDemand"),
        ("failing", "Scheduled"),
        ("suspended", "Suspended"),
        ("paused", "Scheduled"),
    ):
        world.wait("DataPipeline", name, "True", reason)
    world.wait("DataPipeline", "failing", "False", "Failed", of="Succeeding")
    world.wait("DataPipeline", "scheduled", "True", "Succeeded", of="Succeeding")
    world.wait("DataPipeline", "paused", "True", "Annotation", of="Paused")
    world.wait("DataPipeline", "waits-for-pool", "False", "WaitingForPool")
    world.wait("DataPipeline", "invalid", "False", "InvalidSchedule")
    world.wait("WorkerPool", "etl", "True", "WorkersReady")
    world.wait("WorkerPool", "zero", "True", "ScaledToZero")
    world.wait("WorkerPool", "idle", "False", "Progressing")
    world.wait("WorkerPool", "refused", "False", "Refused")
    world.wait("TemporalConnection", "here", "True", "Connected")
    world.wait("TemporalConnection", "away", "False", "TemporalUnreachable")
    for name, reason in (
        ("failed", "Failed"),
        ("skipped", "Skipped"),
        ("cancelled", "Cancelled"),
        ("running", "Running"),
    ):
        world.wait("DataPipelineRun", name, "False", reason)
    world.wait("DataPipelineRun", "pending", "False", "WaitingForPool")
    world.wait("DataPipelineRun", "invalid", "False", "InvalidSpec")
    world.wait("DataPipelineRun", "holds", "False", "Running")
    open_runs = "jsonpath={.status.activeRuns[0].key}"
    world.until(
        lambda: {"key": key} if (key := world.kubectl("get", "dpl", "leaving", "-o", open_runs)) else {}, "a run"
    )
    world.kubectl("delete", "dpl", "leaving", "--wait=false")
    world.wait("DataPipeline", "leaving", "False", "WaitingForRuns")


@pytest.fixture(scope="module")
def live(
    crds: ApiServer,
    temporal_server: TemporalServer,
    operated: tuple[str, OperatorProcess],
    postgres_server: postgres.PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[World, dict[str, Manifest]]]:
    """The namespace, and each object of `STATES` as the API server has it."""
    installation, operator = operated
    namespace = unique("gitops-")
    crds.kubectl("create", "namespace", namespace)
    world = World(crds, temporal_server.address, installation, operator, namespace)
    landing = tmp_path_factory.mktemp("gitops") / "landing"
    landing.mkdir()
    (landing / "a.csv").write_text("carrier,flight\nUA,1545\n")
    database = Database(postgres_server, unique("test_"))
    Database(postgres_server, "postgres").query(f"CREATE DATABASE {database.name} TEMPLATE {postgres.DATABASE}")
    wished = manifests(landing, database.dsn, temporal_server.address)
    world.apply(*wished[:4])
    world.until(lambda: world.get("deployment", "etl-worker"), "the pool's Deployment")
    with running_pod(crds, namespace, "etl-worker", tmp_path_factory.mktemp("pods")):
        work_off(world, wished)
        yield world, {name: seen(world, name) for name in STATES}


def seen(world: World, name: str) -> Manifest:
    """An object of `STATES`. What the operator never sees is what the server would make of it (a dry run)."""
    kind, _, word = name.partition("/")
    asked = ("--dry-run=server", "-o", "json")
    if word == "edited":
        patch = json.dumps({"spec": {"schedule": {"crons": ["20 6 1 1 *"]}}})
        return dict(json.loads(world.kubectl("patch", kind, "scheduled", "--type=merge", "-p", patch, *asked)))
    if word == "unseen":
        new = {"DataPipeline": pipeline(word), "WorkerPool": pool(word), "DataPipelineRun": run(word, "scheduled")}
        command = ("-n", world.namespace, "create", "-f", "-", *asked)
        return dict(json.loads(world.api.kubectl(*command, stdin=json.dumps(new[kind])).stdout))
    return world.get(kind, word)


@pytest.mark.parametrize("name", STATES)
def test_kstatus_and_flux(name: str, live: tuple[World, dict[str, Manifest]]) -> None:
    [verdict] = kstatus([live[1][name]])
    assert (verdict["status"], verdict["flux"]) == (STATES[name][0], STATES[name][0]), verdict["message"]


@pytest.mark.parametrize("name", STATES)
def test_argo_cd(name: str, live: tuple[World, dict[str, Manifest]]) -> None:
    found = health(live[1][name])
    assert found["status"] == STATES[name][1], found
    assert found["message"]


@pytest.mark.parametrize("name", ["DataPipeline/scheduled", "WorkerPool/etl", "TemporalConnection/here"])
def test_what_was_well_is_not_what_is_edited_or_deleted(name: str, live: tuple[World, dict[str, Manifest]]) -> None:
    """What the API server changes by itself in the moment of an edit or a deletion, before the operator sees it."""
    well = live[1][name]
    metadata = well["metadata"]
    edited = {**well, "metadata": {**metadata, "generation": metadata["generation"] + 1}}
    going = {**well, "metadata": {**metadata, "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert [each["status"] for each in kstatus([well, edited, going])] == ["Current", "InProgress", "Terminating"]
    assert [health(each)["status"] for each in (well, edited, going)] == ["Healthy", "Progressing", "Progressing"]


@pytest.mark.parametrize("name", STATES)
def test_the_recorded_status_is_in_step(name: str, live: tuple[World, dict[str, Manifest]]) -> None:
    world, objects = live
    file = GOLDEN / f"{name.replace('/', '-').lower()}.json"
    found = lasting(objects[name], installation=world.installation, namespace=world.namespace)
    text = json.dumps(found, indent=1, sort_keys=True) + "\n"
    if os.environ.get("TIDEMILL_RECORD"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_what_is_recorded_is_what_is_tested() -> None:
    expected = {f"{name.replace('/', '-').lower()}.json" for name in STATES}
    assert {file.name for file in GOLDEN.iterdir()} == expected


def test_kubectl_wait_is_not_deceived_by_what_was(live: tuple[World, dict[str, Manifest]]) -> None:
    world, _ = live
    world.apply(pipeline("later"))
    world.kubectl("wait", "dpl/later", "--for=condition=Ready", "--timeout=60s")
    world.kubectl("wait", "dpl/later", "--for=jsonpath={.status.observedGeneration}=1", "--timeout=10s")
    world.apply(pipeline("later", "99 * * * *"))
    ended = world.api.kubectl(
        "-n", world.namespace, "wait", "dpl/later", "--for=condition=Ready", "--timeout=5s", check=False
    )
    assert ended.returncode != 0, "it was Ready as it was before, not as it is"
    world.kubectl("wait", "dpl/later", "--for=condition=Stalled", "--timeout=60s")
    world.kubectl("delete", "dpl", "later", "--timeout=60s")


def test_the_how_to_works_as_it_stands(live: tuple[World, dict[str, Manifest]], tmp_path: Path) -> None:
    """docs/how-to/gitops-flux.md: kubectl wait dpl/airlines."""
    world, _ = live
    world.apply(pipeline("airlines"))
    terminal = Terminal.of(world.api, world.namespace, tmp_path)
    document = ROOT / "docs" / "how-to" / "gitops-flux.md"
    assert terminal.follows(document, "tests/integration/test_gitops_status.py")


def actions(manifest: Manifest) -> dict[str, bool]:
    """The actions that are offered, and whether they can be used."""
    found: dict[str, Any] = lua(manifest, "actions/discovery.lua")
    return {name: not each.get("disabled") for name, each in found.items()}


def test_argo_cd_offers_what_makes_sense(live: tuple[World, dict[str, Manifest]]) -> None:
    _, objects = live
    assert actions(objects["DataPipeline/scheduled"]) == {"pause": True, "resume": False, "run": True}
    assert actions(objects["DataPipeline/paused"]) == {"pause": False, "resume": True, "run": True}
    assert actions(objects["DataPipeline/leaving"]) == {"pause": False, "resume": False, "run": False}
    open_runs = {
        name: actions(objects[f"DataPipelineRun/{name}"])["cancel"] for name in ("running", "pending", "unseen")
    }
    assert open_runs == {"running": True, "pending": True, "unseen": True}
    assert actions(objects["DataPipelineRun/cancelled"]) == {"cancel": False}
    assert actions(objects["DataPipelineRun/succeeded"]) == {"cancel": False}


def act(world: World, manifest: Manifest, action: str) -> list[Manifest]:
    """Carry an action out as Argo CD does: create what it returns, or patch the object by what it changed."""
    returned = lua(manifest, f"actions/{action}/action.lua")
    if isinstance(returned, list):
        made = [each["resource"] for each in returned if each["operation"] == "create"]
        for each in made:
            world.api.kubectl("create", "-f", "-", stdin=json.dumps(each))
        return made
    before = manifest["metadata"].get("annotations") or {}
    after = returned["metadata"].get("annotations") or {}
    patch = {"metadata": {"annotations": {name: after.get(name) for name in {*before, *after}}}}
    name = manifest["metadata"]["name"]
    world.kubectl("patch", manifest["kind"], name, "--type=merge", "-p", json.dumps(patch))
    assert set(returned) == set(manifest)
    assert set(returned["metadata"]) - set(manifest["metadata"]) <= {"annotations"}
    return []


def test_argo_cds_actions(live: tuple[World, dict[str, Manifest]]) -> None:
    world, _ = live
    world.apply(pipeline("acted-on"))
    world.wait("DataPipeline", "acted-on", "True", "Scheduled")
    act(world, world.get("DataPipeline", "acted-on"), "pause")
    world.wait("DataPipeline", "acted-on", "True", "Annotation", of="Paused")
    paused = world.get("DataPipeline", "acted-on")
    assert health(paused) == {
        "status": "Suspended",
        "message": "The Schedule is paused by the annotation tidemill.dev/paused: paused in Argo CD",
    }
    act(world, paused, "resume")
    world.until(
        lambda: {"resumed": True} if not world.condition("DataPipeline", "acted-on", "Paused") else {}, "it is resumed"
    )
    [made] = act(world, world.get("DataPipeline", "acted-on"), "run")
    name = made["metadata"]["name"]
    assert name.startswith("acted-on-2")
    world.wait("DataPipelineRun", name, "True", "Succeeded")
    owner = world.get("DataPipelineRun", name)["metadata"]["ownerReferences"]
    assert [each["uid"] for each in owner] == [paused["metadata"]["uid"]]

    world.apply(run("stop-me", "waits-for-pool"))
    world.wait("DataPipelineRun", "stop-me", "False", "WaitingForPool")
    act(world, world.get("DataPipelineRun", "stop-me"), "cancel")
    world.wait("DataPipelineRun", "stop-me", "False", "Cancelled")
