"""The node as the machine sees it: its record, starting it, being in it for a moment, ending it and all it left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tools.cluster.layout import ROOT, Layout, Link
from tools.cluster.liveness import started

_CGROUPS = Path("/sys/fs/cgroup")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_END = 30.0


class ClusterError(Exception):
    """The cluster couldn't be started or stopped; the message says where to look."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node that was started: its first process, as the machine counts processes, and its link."""

    pid: int
    begun: str
    link: Link

    @property
    def alive(self) -> bool:
        """Whether its first process still runs."""
        return started(self.pid) == self.begun


def recorded(layout: Layout) -> Node | None:
    """The node that the state folder tells of, running or not."""
    try:
        record = json.loads(layout.record.read_text(encoding="utf-8"))
        return Node(int(record["pid"]), str(record["started"]), Link(int(record["link"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def start(layout: Layout, link: Link, programs: Path) -> Node:
    """Start the node on its configured state; its programs may not serve yet."""
    log = layout.logs / "node.log"
    with log.open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-m", "tools.cluster.first", str(layout.state), str(programs), str(link.number)],
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    node = recorded(layout)
    if done.returncode != 0 or node is None:
        raise ClusterError(f"the node didn't start; see {log}")
    _plug(node)
    return node


def command(node: Node, *arguments: str) -> list[str]:
    """A command to run inside the node's mounts, network and processes."""
    return ["nsenter", f"--target={node.pid}", "--mount", "--net", "--pid", "--", *arguments]


def end(node: Node) -> None:
    """End the first process, with which the kernel ends all others of the node, and take away its cgroups."""
    if node.alive:
        os.kill(node.pid, signal.SIGKILL)
    limit = time.monotonic() + _END
    while node.alive or not _remove_cgroups(node.link.cgroup):
        if time.monotonic() > limit:
            raise ClusterError(f"process {node.pid} or cgroups named {node.link.cgroup} don't end within {_END:g} s")
        time.sleep(0.05)
    # The interface goes with its other end, a moment after the last process.
    while _unplug(node.link):
        if time.monotonic() > limit:
            raise ClusterError(f"the interface {node.link.interface} stays")
        time.sleep(0.05)


def make_cgroups(name: str) -> None:
    """The cgroup of the pods, in each hierarchy."""
    for hierarchy in _hierarchies():
        folder = hierarchy / name
        folder.mkdir(exist_ok=True)
        # A cpuset without processors or memory takes no process.
        for file in ("cpuset.cpus", "cpuset.mems"):
            mine = folder / file
            with contextlib.suppress(OSError):
                if mine.exists() and (hierarchy / file).exists() and not mine.read_text(encoding="ascii").strip():
                    mine.write_text((hierarchy / file).read_text(encoding="ascii"), encoding="ascii")


def remove_state(layout: Layout) -> None:
    """Remove the state folder."""
    shutil.rmtree(layout.state, ignore_errors=True)
    if layout.state.exists():
        raise ClusterError(f"{layout.state} can't be removed wholly")


def _environment() -> dict[str, str]:
    """What the node's programs get of ours: little, so that all machines start the same."""
    return {"PATH": _SYSTEM_PATH, "LANG": "C.UTF-8", "HOME": "/root", "PYTHONPATH": str(ROOT)}


def _plug(node: Node) -> None:
    link = node.link
    _ip("link", "add", link.interface, "type", "veth", "peer", "name", "eth0", "netns", str(node.pid))
    _ip("address", "add", str(link.machine), "dev", link.interface)
    _ip("link", "set", link.interface, "up")


def _unplug(link: Link) -> bool:
    """Whether there was still something to unplug."""
    command_line = ["ip", "link", "delete", link.interface]
    return subprocess.run(command_line, capture_output=True, check=False, env=_environment()).returncode == 0


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False, env=_environment())
    if done.returncode != 0:
        raise ClusterError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _hierarchies() -> tuple[Path, ...]:
    if (_CGROUPS / "cgroup.controllers").exists():
        return (_CGROUPS,)
    return tuple(
        folder for folder in _CGROUPS.iterdir() if (folder / "cgroup.procs").exists() and not folder.is_symlink()
    )


def _remove_cgroups(name: str) -> bool:
    """Whether nothing is left of them; processes that are just ending hold theirs a little longer."""
    gone = True
    for hierarchy in _hierarchies():
        top = hierarchy / name
        folders = sorted((folder for folder in top.rglob("*") if folder.is_dir()), reverse=True) if top.exists() else []
        for folder in (*folders, top):
            with contextlib.suppress(FileNotFoundError, OSError):
                folder.rmdir()
        gone = gone and not top.exists()
    return gone
