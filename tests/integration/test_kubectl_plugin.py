"""`kubectl tidemill`, found by the real kubectl, on a real API server with the operator and a worker behind it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from tests.support.fixtures import Database, unique
from tests.support.kubernetes import ROOT, ApiServer
from tests.support.log_server import node_with_logs, pod_on
from tests.support.operator_world import Manifest, World, pipeline, pool, rolled_out
from tests.support.plugin import Terminal
from tests.support.pods import running_pod
from tidemill_cli.app import app
from tidemill_cli.cluster import asking
from tidemill_cli.cluster.kubectl import Kubectl
from tidemill_cli.cluster.overview import WRONG

GOOD = "carrier,flight\nUA,1545\nAA,1141\n"


def manifests(landing: Path) -> tuple[Manifest, ...]:
    connections = [
        {"name": "landing", "files": {"url": f"file://{landing}/"}},
        {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}},
    ]
    columns = [{"name": "carrier", "type": "string"}, {"name": "flight", "type": "int32", "required": True}]
    source = {"name": "raw", "connection": "landing", "files": {"path": "a.csv", "format": {"csv": {}}}}
    parameters = [{"name": "carrier", "default": ""}]
    return (
        pool(connections=connections),
        pipeline("flights", sources=[{**source, "columns": columns}], parameters=parameters),
    )


def secret(database: Database) -> Manifest:
    dsn = base64.b64encode(database.dsn.encode()).decode()
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "warehouse"}, "data": {"dsn": dsn}}


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    (folder / "a.csv").write_text(GOOD)
    return folder


@pytest.fixture
def terminal(world: World, tmp_path: Path) -> Terminal:
    return Terminal.of(world.api, world.namespace, tmp_path)


@pytest.fixture
def working(world: World, database: Database, landing: Path, tmp_path: Path) -> Iterator[World]:
    """The namespace with a pipeline and a worker that runs it; the worker's log is `pods/pod.log`."""
    world.apply(secret(database), *manifests(landing))
    world.until(lambda: world.get("deployment", "etl-worker"), "the pool's Deployment")
    folder = tmp_path / "pods"
    folder.mkdir()
    with running_pod(world.api, world.namespace, "etl-worker", folder):
        yield world


def test_a_run_from_asking_to_its_log(working: World, terminal: Terminal, tmp_path: Path) -> None:
    told = terminal.tidemill("run", "flights", "-p", "carrier=UA", "--wait", "--timeout", "90")
    assert "Succeeded: 2 rows loaded, 0 rejected" in told

    [run] = terminal.sees("runs", "flights")["items"]
    assert (run["result"], run["rowsLoaded"], run["parameters"]) == ("Succeeded", 2, {"carrier": "UA"})
    assert run["key"].startswith("flights-2")
    owners = working.kubectl("get", "dplrun", run["key"], "--show-managed-fields", "-o", "yaml")
    assert "manager: kubectl-tidemill" in owners
    assert "KEY" in terminal.tidemill("runs", "flights").splitlines()[0]

    described = terminal.tidemill("describe", "flights")
    for words in ("Pool: etl", "Schedule: 15 6 1 1 *", "public.a (Append)", "Ready=", run["key"], "Events:"):
        assert words in described
    assert "Parameter carrier: UA" in terminal.tidemill("describe", run["key"])

    with node_with_logs(working.api, "here", {"etl-0": tmp_path / "pods" / "pod.log"}):
        pod_on(working.api, "here", working.namespace, "etl-0", {"tidemill.dev/pool": "etl"})
        for which in (run["key"], "flights", f"run/{run['key']}"):
            assert "chunk 0: 2 rows read, 2 loaded, 0 rejected" in terminal.tidemill("logs", which)
        lines = [json.loads(line) for line in terminal.tidemill("logs", "flights", "-f", "-o", "json").splitlines()]
    chunk = next(line for line in lines if "chunk" in line)
    assert (chunk["pod"], chunk["rowsRead"], chunk["workflow"]) == ("etl-0", 2, run["workflowId"])
    assert {line["workflow"] for line in lines} == {run["workflowId"]}


def test_the_how_to_works_as_it_stands(working: World, terminal: Terminal, tmp_path: Path) -> None:
    terminal.tidemill("run", "flights", "--name", "before", "--wait")
    rolled_out(working, "etl-worker", 1)
    working.wait("DataPipeline", "flights", "True", "Scheduled")
    with node_with_logs(working.api, "node", {"etl-0": tmp_path / "pods" / "pod.log"}):
        pod_on(working.api, "node", working.namespace, "etl-0", {"tidemill.dev/pool": "etl"})
        document = ROOT / "docs" / "how-to" / "kubectl-plugin.md"
        assert len(terminal.follows(document, "tests/integration/test_kubectl_plugin.py")) >= 6


def test_a_failed_run_is_processed_again_under_its_key(
    working: World, terminal: Terminal, landing: Path, database: Database
) -> None:
    (landing / "a.csv").unlink()
    told = terminal.sees("run", "flights", "--name", "monday", "-p", "carrier=UA", "--wait", ends=3)
    assert told["items"][0]["result"] == "Failed"
    working.wait("DataPipeline", "flights", "False", "Failed", of="Succeeding")
    [standing] = terminal.sees("status", "flights", "--check", ends=3)["items"]
    assert (standing["state"], standing["lastRun"]["key"]) == ("Failing", "monday")

    (landing / "a.csv").write_text(GOOD)
    [again] = terminal.sees("rerun", "flights", "--failed", "--wait")["items"]
    assert (again["key"], again["result"], again["execution"]) == ("monday", "Succeeded", 2)
    assert again["parameters"] == {"carrier": "UA"}
    assert database.query("SELECT count(*) FROM public.a") == [["2"]]
    moments = database.query("SELECT DISTINCT run_time FROM tidemill.runs WHERE run_key = 'monday'")
    assert len(moments) == 1, "a key's moment never changes"
    assert terminal.tidemill("rerun", "flights", "--failed") == "no run of flights that is known has failed\n"
    assert "only what the cluster shows" in terminal.types("tidemill", "rerun", "flights", "--failed").stderr
    assert "has succeeded" in terminal.fails("rerun", "flights", "--key", "monday")
    assert "--failed" in terminal.fails("rerun", "flights")

    terminal.tidemill("rerun", "monday")  # its own DataPipelineRun failed, though its key has succeeded since
    working.until(
        lambda: {"skipped": True} if "Skipped" in terminal.tidemill("runs", "flights") else {}, "the key is done"
    )


def test_a_scheduled_key_is_processed_at_its_own_moment(working: World, terminal: Terminal, database: Database) -> None:
    wish = {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "DataPipelineRun",
        "metadata": {"name": "again"},
        "spec": {"pipelineRef": {"name": "flights"}, "runKey": "2025-03-01T04:15:00Z"},
    }
    working.apply(wish)
    working.wait("DataPipelineRun", "again", "True", "Succeeded")
    assert database.query("SELECT run_time AT TIME ZONE 'UTC' FROM tidemill.runs") == [["2025-03-01 04:15:00"]]
    [run] = terminal.sees("runs", "flights")["items"]
    assert (run["key"], run["dataPipelineRun"]) == ("2025-03-01T04:15:00Z", "again")


def test_pause_and_resume(world: World, terminal: Terminal, landing: Path) -> None:
    world.apply(*manifests(landing))
    world.until(lambda: world.get("DataPipeline", "flights").get("status", {}).get("nextRuns"), "it is scheduled")
    terminal.tidemill("pause", "flights", "--reason", "the source is being repaired")
    world.wait("DataPipeline", "flights", "True", "Annotation", of="Paused")
    assert world.get("DataPipeline", "flights")["status"]["paused"]["note"] == "the source is being repaired"
    assert terminal.tidemill("resume", "flights") == "flights resumed\n"
    world.until(
        lambda: {"resumed": True} if not world.condition("DataPipeline", "flights", "Paused") else {}, "it is resumed"
    )
    assert terminal.tidemill("resume", "flights") == "flights has no pause to take back\n"
    world.kubectl("patch", "dpl", "flights", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    terminal.tidemill("resume", "flights", ends=3)
    assert "Missing option '--reason'" in terminal.types("tidemill", "pause", "flights").stderr


def test_cancel_what_is_open_and_what_never_began(
    world: World, terminal: Terminal, landing: Path, database: Database, tmp_path: Path
) -> None:
    """Runs stay open until there is a worker, which then finds that they are to stop."""
    etl, flights = manifests(landing)
    later = pipeline("later", workerPoolRef={"name": "nowhere"})
    often = pipeline("often", None, schedule={"intervals": [{"every": "1s"}]})
    world.apply(secret(database), etl, flights, later, often)

    terminal.tidemill("run", "later", "--name", "waits")
    world.wait("DataPipelineRun", "waits", "False", "WaitingForPool")
    assert terminal.tidemill("cancel", "waits", "--reason", "not today") == "run waits is asked to stop\n"
    ready = world.wait("DataPipelineRun", "waits", "False", "Cancelled")
    assert ready["message"] == "it was cancelled before it began: not today"
    assert world.get("DataPipelineRun", "waits")["status"]["phase"] == "Cancelled"

    late = terminal.types("tidemill", "run", "flights", "--name", "open", "--wait", "--timeout", "1")
    assert (late.returncode, "hasn't ended after 1 s" in late.stderr) == (4, True)
    world.wait("DataPipelineRun", "open", "False", "Running")
    assert terminal.tidemill("cancel", "flights") == "run open is asked to stop\n"

    def open_run() -> Manifest:
        runs = world.get("DataPipeline", "often").get("status", {}).get("activeRuns") or [{}]
        return dict(runs[0])

    key = world.until(open_run, "a scheduled run is open")["key"]
    assert "has no open run 2001" in terminal.fails("cancel", "often", "--key", "2001")
    assert terminal.tidemill("cancel", "often", "--key", key) == f"run {key} is asked to stop\n"

    pods = tmp_path / "pods"
    pods.mkdir()
    with running_pod(world.api, world.namespace, "etl-worker", pods):
        world.wait("DataPipelineRun", "open", "False", "Cancelled")
        assert terminal.tidemill("cancel", "flights") == "flights has no open run\n"
        world.until(lambda: {"ended": True} if open_run().get("key") != key else {}, "it has ended")
    cancelled = database.query("SELECT pipeline, run_key FROM tidemill.runs WHERE result = 'Cancelled' ORDER BY 1")
    assert cancelled == [["flights", "open"], ["often", key]]


def test_two_cancellations_at_once_lose_no_key(crds: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of scheduled runs, which have no object of their own: their keys share an annotation."""
    name = unique("two-")
    crds.kubectl("create", "namespace", name)
    often = pipeline("often")
    often["metadata"]["annotations"] = {"tidemill.dev/installation": "nobody"}  # no operator writes its status
    crds.kubectl("create", "-n", name, "-f", "-", stdin=json.dumps(often))
    runs = [{"key": key, "result": "Running", "workflowId": f"often/{key}"} for key in ("first", "second")]
    shown = json.dumps({"status": {"activeRuns": runs}})
    crds.kubectl("patch", "-n", name, "dpl", "often", "--subresource=status", "--type=merge", "-p", shown)
    flags = (f"--kubeconfig={crds.kubeconfig}", f"--namespace={name}")
    monkeypatch.setenv("PATH", f"{crds.assets}{os.pathsep}{os.environ['PATH']}")
    cluster = Kubectl(flags)
    before = cluster.get("DataPipeline", "often")

    for key in ("first", "second"):
        assert [run.key for run in asking.cancel(cluster, before, "", [key])] == [key]

    annotations = cluster.get("DataPipeline", "often")["metadata"]["annotations"]
    assert annotations[asking.CANCEL] == "first,second"


def test_two_rotations_at_once_lose_no_key(crds: ApiServer, tmp_path: Path) -> None:
    name = unique("two-")
    crds.kubectl("create", "namespace", name)
    made = run_keys("new", "--secret", "ring", "--id", "k1")
    crds.kubectl("create", "-n", name, "-f", "-", stdin=made)
    read = tmp_path / "ring.yaml"
    read.write_text(crds.kubectl("get", "-n", name, "secret", "ring", "-o", "yaml").stdout)

    changed = [run_keys("rotate", "--from", str(read), "--id", key) for key in ("k2", "k3")]
    done = [crds.kubectl("replace", "-n", name, "-f", "-", stdin=each, check=False) for each in changed]

    assert [each.returncode for each in done] == [0, 1]
    assert "the object has been modified" in done[1].stderr
    held = json.loads(crds.kubectl("get", "-n", name, "secret", "ring", "-o", "json").stdout)["data"]
    assert set(held) == {"active", "k1", "k2"}


def run_keys(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["keys", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_what_is_wrong_comes_first(world: World, terminal: Terminal, landing: Path) -> None:
    etl, flights = manifests(landing)
    bad = pipeline("wrong", "99 * * * *")
    world.apply(etl, flights, bad, pipeline("alone", workerPoolRef={"name": "nowhere"}))
    world.wait("DataPipeline", "wrong", "False", "InvalidSchedule")
    world.wait("DataPipeline", "alone", "False", "WaitingForPool")
    world.until(lambda: world.get("DataPipeline", "flights").get("status", {}).get("nextRuns"), "flights is seen")

    lines = terminal.tidemill("status").splitlines()
    assert lines[0].split()[:2] == ["NAME", "STATE"]
    assert lines[1].startswith("pipeline/wrong")
    assert "Stalled (InvalidSchedule)" in lines[1]
    assert "spec.schedule.crons[0]" in lines[1]
    items = terminal.sees("status")["items"]
    states = [each["state"] for each in items]
    assert states == sorted(states, key=(*WRONG, "Paused", "Suspended", "Running", "Well").index)
    yaml = YAML(typ="safe", pure=True).load(terminal.tidemill("status", "-o", "yaml"))
    assert [each["name"] for each in yaml["items"]] == [each["name"] for each in items]
    everywhere = terminal.tidemill("status", "-A").splitlines()
    assert everywhere[0].startswith("NAMESPACE")
    assert any(line.startswith(world.namespace) for line in everywhere)
    terminal.tidemill("status", "wrong", "--check", ends=3)


ERRORS = {
    "no such pipeline": (("run", "nothing"), 'datapipelines.tidemill.dev "nothing" not found'),
    "no such name": (("describe", "nothing"), "there is no pipeline, pool, run or connection nothing here"),
    "neither": (("cancel", "nothing"), "there is no pipeline or run nothing here"),
    "status of nothing": (("status", "nothing"), "there is no pipeline, pool or connection nothing here"),
    "odd sort": (("logs", "pool/etl"), "pool/etl: write pipeline/etl or run/etl"),
    "no such parameter": (("run", "flights", "-p", "colour=red"), "declares no parameter colour; it has carrier"),
    "no value": (("run", "flights", "-p", "carrier"), "write it as NAME=VALUE"),
    "bad name": (("run", "flights", "--name", "Big Name"), "Invalid value"),
    "no run": (("logs", "flights"), "has no run that has begun"),
    "context": (("status", "--context", "nowhere"), "context was not found for specified context: nowhere"),
    "kubeconfig": (("status", "--kubeconfig", "/nowhere"), "stat /nowhere"),
    "explain": (("explain", "datapipeline.spec.schedul"), "did you mean spec.schedule?"),
}


@pytest.fixture(scope="module")
def quiet(operated: object, crds: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """A terminal in a namespace with a pipeline that nobody runs."""
    assert operated
    name = unique("quiet-")
    crds.kubectl("create", "namespace", name)
    listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests(Path("/data")))}
    crds.kubectl("apply", "-n", name, "-f", "-", stdin=json.dumps(listed))
    return Terminal.of(crds, name, tmp_path_factory.mktemp("terminal"))


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_one_line_that_says_what_to_do(name: str, quiet: Terminal) -> None:
    words, said = ERRORS[name]
    assert said in quiet.fails(*words)


def test_without_kubectl_or_kinds_or_cluster(quiet: Terminal, tmp_path: Path) -> None:
    plugin = quiet.scripts / "kubectl-tidemill"
    lonely = {**quiet.environment, "PATH": str(tmp_path)}
    done = subprocess.run([plugin, "status"], env=lonely, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "tidemill: kubectl isn't there: put kubectl on the PATH, or set KUBECTL to it\n",
    )
    away = tmp_path / "away"
    away.write_text(quiet.kubeconfig.read_text().replace(quiet.api.url, "https://127.0.0.1:1"))
    said = quiet.fails("status", "--kubeconfig", str(away))
    assert "The connection to the server 127.0.0.1:1 was refused" in said
    assert said.endswith("(--context chooses another cluster)")


def test_what_a_person_may_do_is_what_the_cluster_lets_them(quiet: Terminal, tmp_path: Path) -> None:
    namespace = json.loads(quiet.kubeconfig.read_text())["contexts"][0]["context"]["namespace"]
    config = quiet.api.as_user("reader-of-pipelines")
    reader = Terminal.of(quiet.api, namespace, tmp_path, user=config)
    assert "ask whoever grants rights" in reader.fails("status")
    quiet.types("create", "role", "pipelines", "--verb=get,list,watch", "--resource=datapipelines.tidemill.dev")
    quiet.types("create", "rolebinding", "pipelines", "--role=pipelines", "--user=reader-of-pipelines")
    seen = reader.types("tidemill", "status")
    assert "pipeline/flights" in seen.stdout
    assert "You may not list WorkerPool, TemporalConnection here." in seen.stderr
    for words in (("pause", "flights", "--reason", "x"), ("run", "flights")):
        said = reader.fails(*words)
        assert "forbidden" in said
        assert "ask whoever grants rights" in said
    assert "pipeline/flights" in quiet.tidemill("status", "--as", "reader-of-pipelines")


COMPLETIONS = {
    "commands": (("ru",), {"run", "runs"}),
    "pipelines": (("run", ""), {"flights"}),
    "all": (("status", ""), {"flights", "etl"}),
    "options": (("status", "--c"), {"--check", "--context"}),
    "output": (("status", "-o", ""), {"table", "json", "yaml"}),
    "another namespace": (("run", "-n", "default", ""), set[str]()),
    "context": (("run", "--context", ""), {"test"}),
    "fields": (("explain", "datapipeline.spec.schedule.cr"), {"datapipeline.spec.schedule.crons"}),
}


@pytest.mark.parametrize("name", COMPLETIONS)
def test_kubectl_completes(name: str, quiet: Terminal) -> None:
    words, expected = COMPLETIONS[name]
    answer = quiet.types("__complete", "tidemill", *words).stdout.splitlines()
    assert {line.split("\t")[0] for line in answer[:-1]} - {""} == expected
    assert answer[-1] == ":4"


def test_a_reader_that_goes_away_is_no_error(quiet: Terminal) -> None:
    done = subprocess.run(
        ["bash", "-c", "kubectl tidemill explain -r dpl | head -1; exit ${PIPESTATUS[0]}"],
        env=quiet.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("DataPipeline (tidemill.dev/v1alpha1")
    assert os.environ.get("PATH")
