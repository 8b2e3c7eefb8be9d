"""Up, down and status of the cluster."""

from __future__ import annotations

import contextlib
import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools import debian, envtest
from tools.cluster import configure, images, node, preflight
from tools.cluster.layout import NODE, Layout
from tools.cluster.node import ClusterError

_READY = 120.0


@dataclass(frozen=True, slots=True)
class State:
    """What there is of the cluster: `problem` is empty if it serves."""

    running: bool
    problem: str
    server: str
    programs: dict[str, int]
    """Restarts by program."""
    images: tuple[str, ...]


def up(layout: Layout) -> bool:
    """Start the cluster unless it runs; returns whether it was started.

    Raises:
        preflight.PreflightError: this machine can't run it; nothing was changed.
        debian.PackagesError, envtest.EnvtestError, ClusterError: what went wrong, and where to look.
    """
    with _locked(layout):
        if serves(layout):
            return False
        preflight.run(layout)
        debian.ensure(debian.NODE, preflight.WHY)
        if (refused := preflight.packet_rules()) is not None:
            raise preflight.PreflightError((refused,))
        programs = envtest.ensure_cached(envtest.CLUSTER)
        _remove(layout)
        _start(layout, programs)
        return True


def down(layout: Layout) -> bool:
    """Stop the cluster and remove all of it; returns whether there was any."""
    with _locked(layout):
        there = layout.state.exists()
        _remove(layout)
    layout.lock.unlink(missing_ok=True)
    return there


def status(layout: Layout) -> State:
    """What there is; asks the API server."""
    known = node.recorded(layout)
    if known is None or not known.alive:
        return State(running=False, problem="it isn't running", server="", programs={}, images=())
    listed = json.loads(layout.programs_record.read_text(encoding="utf-8")) if layout.programs_record.exists() else {}
    restarts = {name: int(each["restarts"]) for name, each in listed.items()}
    return State(
        running=True,
        problem=_obstacle(layout),
        server=known.link.server,
        programs=restarts,
        images=images.names(known),
    )


def load(layout: Layout, archives: tuple[Path, ...]) -> tuple[Path, ...]:
    """Load image archives into the running cluster; returns those that were new."""
    known = node.recorded(layout)
    if known is None or not known.alive:
        raise ClusterError("the cluster isn't running: `make cluster-up`")
    return images.load(layout, known, archives)


def kill_sandbox(layout: Layout, namespace: str, pod: str) -> None:
    """Kill the process that holds the pod's namespaces."""
    known = node.recorded(layout)
    if known is None:
        raise ClusterError("the cluster isn't running: `make cluster-up`")
    images.kill_sandbox(known, namespace, pod)


def kubectl(layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl as the cluster's administrator."""
    program = envtest.cache() / "kubectl"
    return subprocess.run(
        [str(program), f"--kubeconfig={layout.kubeconfig}", *arguments], capture_output=True, text=True, check=False
    )


def say(line: str) -> None:
    """A line of progress, on stderr."""
    print(f"cluster: {line}", file=sys.stderr, flush=True)


def _start(layout: Layout, programs: Path) -> None:
    began = time.monotonic()
    link = preflight.free_link()
    if link is None:
        raise ClusterError("no network is free for the node")
    layout.state.mkdir(parents=True, exist_ok=True)
    layers = preflight.snapshotter(layout.state)
    if layers != "overlayfs":
        say("this file system takes no overlay: images are copied for each container, which is slow and large")
    configure.write(layout, link, layers)
    node.make_cgroups(link.cgroup)
    started = node.start(layout, link, programs)
    say(f"starting at {link.server}")
    _await(layout, started, "containerd", lambda: _import_pause(layout, started, programs))
    _await(layout, started, "API server", lambda: kubectl(layout, "get", "--raw=/readyz").returncode == 0)
    _await(layout, started, "DNS", lambda: _apply(layout))
    _await(layout, started, "node", lambda: not _obstacle(layout))
    say(f"serves after {time.monotonic() - began:.0f} s; export KUBECONFIG={layout.kubeconfig}")


def _import_pause(layout: Layout, started: node.Node, programs: Path) -> bool:
    try:
        images.load_pause(layout, started, programs / "pause")
    except ClusterError:
        return False
    return True


def _apply(layout: Layout) -> bool:
    return kubectl(layout, "apply", "--server-side", "-f", str(configure.manifests(layout))).returncode == 0


def _await(layout: Layout, started: node.Node, what: str, ready: Callable[[], bool]) -> None:
    limit = time.monotonic() + _READY
    while not ready():
        if not started.alive or time.monotonic() > limit:
            how = f"doesn't serve within {_READY:g} s" if started.alive else "ended, as the whole node did"
            raise ClusterError(f"{what} {how}; see {layout.logs} (`make cluster-down` removes it)")
        time.sleep(0.2)


def serves(layout: Layout) -> bool:
    """Whether the cluster runs and its node takes pods."""
    known = node.recorded(layout)
    return known is not None and known.alive and not _obstacle(layout)


def _obstacle(layout: Layout) -> str:
    """Why the cluster doesn't serve; empty if it does."""
    path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    asked = kubectl(layout, "get", "node", NODE, "-o", path, "--request-timeout=5s")
    if asked.returncode != 0:
        return asked.stderr.strip() or "the API server doesn't answer"
    return "" if asked.stdout == "True" else "its node isn't ready"


def _remove(layout: Layout) -> None:
    if (known := node.recorded(layout)) is not None:
        node.end(known)
    if layout.state.exists():
        node.remove_state(layout)


@contextlib.contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    layout.lock.parent.mkdir(parents=True, exist_ok=True)
    with layout.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
