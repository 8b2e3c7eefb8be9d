"""The same cluster made of containers, where Docker runs: kind with `kind-config.yaml`.

It has a kubeconfig of its own, and touches no cluster but the one that it made: another of the same name is left alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools import envtest
from tools.cluster.layout import ROOT
from tools.cluster.node import ClusterError

NAME = "tidemill"
STATE = ROOT / ".data" / "kind"
CONFIG = ROOT / "kind-config.yaml"


@dataclass(frozen=True, slots=True)
class Kind:
    """The cluster's state folder."""

    state: Path = STATE

    @property
    def kubeconfig(self) -> Path:
        """An administrator's."""
        return self.state / "kubeconfig"

    @property
    def made(self) -> bool:
        """Whether `up` was called and `down` wasn't."""
        return self.kubeconfig.exists()


def engine_answers() -> bool:
    """Whether there is a Docker whose engine answers."""
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "info", "--format={{.ServerVersion}}"], capture_output=True, check=False)
    return asked.returncode == 0


def up(kind: Kind) -> bool:
    """Make the cluster unless it is there; returns whether it was made.

    `KIND_IMAGE` names the node image, so that one configuration serves every version of Kubernetes.
    """
    if not engine_answers():
        raise ClusterError("kind needs Docker, and no engine answers to `docker info`; without: `make cluster-up`")
    kind.state.mkdir(parents=True, exist_ok=True)
    where = ["--name", NAME, "--kubeconfig", str(kind.kubeconfig)]
    if _there():
        _refuse_a_strangers(kind)
        _run("export", "kubeconfig", *where)  # Docker may have given it another port since
        return False
    image = os.environ.get("KIND_IMAGE")
    _run("create", "cluster", *where, "--config", str(CONFIG), *(["--image", image] if image else []), "--wait", "180s")
    return True


def down(kind: Kind) -> bool:
    """Remove the cluster and its kubeconfig; returns whether there was one."""
    there = (kind.made or engine_answers()) and _there()
    if there:
        _refuse_a_strangers(kind)
        _run("delete", "cluster", "--name", NAME, "--kubeconfig", str(kind.kubeconfig))
    there = there or kind.made
    shutil.rmtree(kind.state, ignore_errors=True)
    return there


def _there() -> bool:
    return NAME in _run("get", "clusters").split()


def _refuse_a_strangers(kind: Kind) -> None:
    """A cluster of our name is ours if our kubeconfig trusts the authority that it has; raises ClusterError if not."""
    ours = _authority(kind.kubeconfig.read_text(encoding="utf-8")) if kind.made else None
    if ours is None or ours != _authority(_run("get", "kubeconfig", "--name", NAME)):
        raise ClusterError(
            f"there is a kind cluster {NAME} that wasn't made here, and it is left alone. If nobody needs it: `kind "
            f"delete cluster --name {NAME}`; to make it this folder's: `kind export kubeconfig --name {NAME} "
            f"--kubeconfig {kind.kubeconfig}`"
        )


def _authority(kubeconfig: str) -> str | None:
    found = re.search(r"certificate-authority-data:\s*(\S+)", kubeconfig)
    return found[1] if found else None


def load(kind: Kind, archives: Iterable[Path]) -> tuple[Path, ...]:
    """Load image archives into all nodes; returns them."""
    _refuse_a_strangers(kind)
    loaded = tuple(archives)
    for archive in loaded:
        _run("load", "image-archive", str(archive), "--name", NAME)
    return loaded


def kill_sandbox(machine: str, namespace: str, pod: str) -> None:
    """Stop the sandbox of a pod on one of the nodes, which are containers of their names."""
    crictl = ["docker", "exec", machine, "crictl"]
    which = subprocess.run(
        [*crictl, "pods", "--namespace", namespace, "--name", pod, "-q"], capture_output=True, text=True, check=True
    )
    subprocess.run([*crictl, "stopp", *which.stdout.split()], capture_output=True, check=True)


def _run(*arguments: str) -> str:
    program = shutil.which("kind") or str(envtest.ensure(("kind",)) / "kind")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"kind {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
