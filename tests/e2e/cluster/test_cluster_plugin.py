"""`kubectl tidemill` on a real cluster: a run by hand, the logs of its chunks from the pods, by an author's rights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.cluster import Place, example

LOADED_OF_ONE = 342
"""Flights of Hawaiian Airlines in 2013, all of which landed."""


def tidemill(place: Place, *words: str) -> str:
    """`kubectl tidemill WORDS` in the test's namespace, with the cluster's own kubectl."""
    kubectl = place.cluster.chosen.kubectl("tidemill")[0]
    path = os.pathsep.join((str(Path(sys.executable).parent), str(Path(kubectl).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["kubectl", "tidemill", *words, "--namespace", place.namespace],
        env={**os.environ, "PATH": path, "KUBECONFIG": str(place.cluster.kubeconfig)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"kubectl tidemill {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def author(place: Place) -> tuple[str, ...]:
    """Somebody who has Kubernetes' role `edit` here, into which the chart's rights of authors go."""
    name = f"author-of-{place.namespace}"
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "author"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    }
    place.apply(binding)
    return ("--as", name)


def test_a_run_by_hand_and_its_log(place: Place) -> None:
    place.apply(example("pool"), example("pipeline"))
    place.cluster.ready(place.namespace, "workerpool/etl", "datapipeline/flights")
    me = author(place)
    told = json.loads(tidemill(place, "run", "flights", "-p", "carrier=HA", "--wait", "-o", "json", *me))["items"][0]
    assert (told["result"], told["rowsLoaded"]) == ("Succeeded", LOADED_OF_ONE)
    assert place.count("flights") == LOADED_OF_ONE

    lines = [json.loads(line) for line in tidemill(place, "logs", told["key"], "-o", "json", *me).splitlines()]
    assert {line["workflow"] for line in lines} == {told["workflowId"]}
    assert {line["pod"] for line in lines} <= set(place.workers())
    chunks = [line for line in lines if "chunk" in line]
    assert sum(line["rowsLoaded"] for line in chunks) == LOADED_OF_ONE
    assert "pipeline/flights" in tidemill(place, "status", *me)
    described = tidemill(place, "describe", "flights", *me)
    assert told["key"] in described
    assert "Workers: 1 ready of 1" in tidemill(place, "describe", "etl", *me)
