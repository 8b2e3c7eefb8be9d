"""The bare node itself: what it leaves on the machine when it is gone, and that two of them get along."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.kubernetes import ROOT
from tools import envtest
from tools.cluster import lifecycle, node
from tools.cluster.layout import Layout
from tools.cluster.liveness import started


def interfaces() -> set[str]:
    return {folder.name for folder in Path("/sys/class/net").iterdir()}


def cgroups() -> set[str]:
    roots = (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir())
    return {str(found) for root in roots if root.is_dir() for found in root.glob("tidemill-cluster-*")}


def mounts_at(folder: Path) -> list[str]:
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line]


def sysctls() -> str:
    asked = ["sysctl", "-n", "vm.overcommit_memory", "kernel.panic", "kernel.panic_on_oops", "net.ipv4.ip_forward"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout


def test_a_second_node_comes_and_goes_and_leaves_nothing(cluster: Cluster, tmp_path: Path) -> None:
    if cluster.chosen.by_kind:
        pytest.skip("here kind makes the clusters; the bare node is for machines without Docker")
    layout = Layout(tmp_path / "second")
    before = (interfaces(), cgroups(), sysctls())
    try:
        assert lifecycle.up(layout)
        assert not lifecycle.up(layout)
        state = lifecycle.status(layout)
        assert (state.running, state.problem) == (True, "")
        assert state.programs == dict.fromkeys(state.programs, 0), "no program ended and was started again"
        mine = node.recorded(layout)
        assert mine is not None
        assert mine.link.interface in interfaces()
        assert mounts_at(layout.state) == []
        assert lifecycle.kubectl(layout, "get", "namespaces", "-o", "name").stdout.count("namespace/") == 4
    finally:
        lifecycle.down(layout)
    assert (interfaces(), cgroups(), sysctls()) == before
    assert started(mine.pid) is None
    assert not layout.state.exists()
    assert lifecycle.status(layout).problem == "it isn't running"
    assert not lifecycle.down(layout)
    assert cluster.kubectl("get", "nodes").returncode == 0


def test_the_commands_of_the_how_to(cluster: Cluster) -> None:
    """docs/how-to/cluster.md: make cluster-up, cluster-status; python -m tools.cluster check; kubectl get nodes."""
    commands = (
        *("make --silent cluster-up", "make --silent cluster-status", "kubectl get nodes"),
        "python -m tools.cluster check",
    )
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    environment["PATH"] = os.pathsep.join((str(envtest.cache()), str(Path(sys.executable).parent), environment["PATH"]))
    said = [
        subprocess.run(each.split(), cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        for each in commands
    ]
    assert "runs already" in said[0].stderr
    assert f"export KUBECONFIG={cluster.kubeconfig}" in said[1].stdout
    assert " Ready " in said[2].stdout
    assert "can run it" in said[3].stdout + said[3].stderr
