"""The kubectl commands of the how-tos, run as they stand there, against an operator and a worker on a real API server.

docs/how-to/pause.md (kubectl annotate, wait, get and patch dpl flights), run-by-hand.md (kubectl create; kubectl wait
and get dplrun) and delete.md (kubectl delete, wait and annotate dpl stranded, which is out of reach of its Temporal).
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fixtures import Database, unique
from tests.support.kubernetes import ROOT, ApiServer
from tests.support.operator_process import running_operator
from tests.support.operator_world import Manifest, pipeline, pool, run
from tests.support.pods import running_pod
from tests.support.waiting import until
from tidemill_cli.dev.components import ports
from tidemill_cli.dev.components.temporal import TemporalServer
from tools.documents import Block, blocks, matches

THIS = "tests/e2e/test_how_to_cluster.py"
WORDS = (
    "kubectl annotate dpl flights", "kubectl get dpl flights", "kubectl wait dpl flights", "kubectl patch dpl flights",
    "kubectl create", "kubectl wait dplrun flights-ua-again", "kubectl get dplrun flights-ua-again",
    "kubectl delete dpl flights", "kubectl delete dpl stranded", "kubectl annotate dpl stranded",
)  # fmt: skip
"""The commands that the how-tos name this file for."""


class Reader:
    """Somebody who follows a how-to in a terminal, in a namespace of the cluster."""

    def __init__(self, server: ApiServer, namespace: str, folder: Path) -> None:
        self.namespace = namespace
        self._folder = folder
        config = json.loads(server.kubeconfig.read_text())
        config["contexts"][0]["context"]["namespace"] = namespace
        mine = folder / "kubeconfig"
        mine.touch(mode=0o600)
        mine.write_text(json.dumps(config))
        path = f"{server.assets}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**os.environ, "KUBECONFIG": str(mine), "PATH": path}

    def apply(self, *manifests: Manifest) -> None:
        """Apply manifests; not part of a how-to."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        subprocess.run(["kubectl", "apply", "-f", "-"], input=text, text=True, env=self._environment, check=True)

    def sees(self, *arguments: str) -> Any:
        """An object as JSON; empty if there is none."""
        command = ["kubectl", "get", *arguments, "-o", "json", "--ignore-not-found"]
        done = subprocess.run(command, capture_output=True, text=True, env=self._environment, check=True)
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def follows(self, block: Block) -> None:
        """Save a manifest under the name in its first line, or run the commands and compare what they print."""
        if block.language == "yaml":
            name = re.match(r"# (\S+)\n", block.text)
            assert name is not None, f"line {block.number}: a manifest says its file's name first"
            (self._folder / name[1]).write_text(block.text)
            return
        for command in block.commands:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command.line],
                cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"$ {command.line}\n{done.stdout}{done.stderr}"
            shown = "\n".join(command.prints)
            assert matches(done.stdout, command.prints), f"$ {command.line}\nshown:\n{shown}\nprinted:\n{done.stdout}"


def of(document: str) -> list[Block]:
    """The blocks of a how-to that this file tests."""
    found = [block for block in blocks(ROOT / "docs" / "how-to" / document) if block.tested_by == THIS]
    assert found
    return found


def flights(landing: Path) -> tuple[Manifest, ...]:
    """The pool and the pipeline that the how-tos speak of."""
    (landing / "a.csv").write_text("carrier,flight\nUA,1545\nAA,1141\n")
    secret = {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}}
    connections = [{"name": "landing", "files": {"url": f"file://{landing}/"}}, secret]
    return pool(connections=connections), pipeline("flights", parameters=[{"name": "carrier", "default": ""}])


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the pipeline reads."""
    return tmp_path_factory.mktemp("landing")


@pytest.fixture(scope="module")
def reader(
    crds: ApiServer, temporal_server: TemporalServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reader]:
    """Somebody at a terminal, in a namespace of their own; an operator looks after it."""
    namespace = installation = unique("how-to-")
    crds.kubectl("create", "namespace", namespace)
    arguments = (f"--namespaces={namespace}", f"--lease-name={installation}", f"--lease-namespace={namespace}")
    folder = tmp_path_factory.mktemp("operator")
    with running_operator(folder, crds.kubeconfig, installation, *arguments, temporal=temporal_server.address):
        yield Reader(crds, namespace, tmp_path_factory.mktemp("terminal"))


def test_pausing_and_deleting(reader: Reader, landing: Path) -> None:
    reader.apply(*flights(landing))
    until(lambda: reader.sees("dpl", "flights").get("status", {}).get("nextRuns"), "the Schedule is there")
    for block in of("pause.md"):
        reader.follows(block)
    dead = {"address": f"127.0.0.1:{ports.free()}"}
    reader.apply(
        {
            "apiVersion": "tidemill.dev/v1alpha1",
            "kind": "TemporalConnection",
            "metadata": {"name": "dead"},
            "spec": dead,
        },
        pool("unreachable", temporal={"connectionRef": {"name": "dead"}}),
        pipeline("stranded", workerPoolRef={"name": "unreachable"}),
    )
    until(lambda: reader.sees("dpl", "stranded").get("metadata", {}).get("finalizers"), "the operator has seen it")
    for block in of("delete.md"):
        reader.follows(block)
    assert reader.sees("dpl", "flights") == {}
    assert reader.sees("dpl", "stranded") == {}


def test_running_by_hand(reader: Reader, crds: ApiServer, database: Database, landing: Path, tmp_path: Path) -> None:
    secret = {"dsn": base64.b64encode(database.dsn.encode()).decode()}
    reader.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "warehouse"}, "data": secret}, *flights(landing)
    )
    until(lambda: reader.sees("deployment", "etl-worker"), "the pool's Deployment")
    pods = tmp_path / "pods"
    pods.mkdir()
    with running_pod(crds, reader.namespace, "etl-worker", pods):
        for block in of("run-by-hand.md"):
            reader.follows(block)
        assert database.query("SELECT count(*) FROM public.a") == [["2"]]
        assert (
            run("flights-ua-again", "flights", carrier="UA")["spec"]
            == reader.sees("dplrun", "flights-ua-again")["spec"]
        )
