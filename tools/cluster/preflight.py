"""Whether this machine can run the node, told before anything is changed: each check says what to do."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools import debian, envtest
from tools.cluster.layout import Layout, Link

DISK_NEEDED = 8 << 30
"""Bytes: images twice (archive and unpacked), programs and the compiler's cache."""
_LINKS = 100
WHY = "to run pods without Docker"
_CGROUPS = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "memory", "pids")
_ISOLATED = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc")
_TABLES = (
    "iptables -t nat -A POSTROUTING -m comment --comment tidemill -j MASQUERADE && "
    "iptables -A INPUT -m conntrack --ctstate NEW -m mark --mark 0x4000/0x4000 -j ACCEPT && "
    "iptables -t nat -A OUTPUT -m statistic --mode random --probability 0.5 -j RETURN && "
    "iptables -t nat -A OUTPUT -m addrtype --dst-type LOCAL -j RETURN"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A check that failed: its name, what was seen, and what to do."""

    check: str
    seen: str
    advice: str

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.check}: {self.seen}. {self.advice}"


class PreflightError(Exception):
    """This machine can't run the cluster; the message names each check that failed and what to do."""

    def __init__(self, failures: tuple[Failure, ...]) -> None:
        self.failures = failures
        lines = "".join(f"\n  - {failure}" for failure in failures)
        super().__init__(
            f"this machine can't run pods, nothing was changed:{lines}\n"
            "With Docker, `make kind-up` needs none of this; tests without pods: `make test-integration`."
        )


def run(layout: Layout) -> None:
    """All checks that need nothing installed.

    Raises:
        PreflightError: with every check that failed.
    """
    first = tuple(failure for check in (_linux, _root) if (failure := check()) is not None)
    if first:
        raise PreflightError(first)
    checks: tuple[Callable[[], Failure | None], ...] = (
        _cgroups,
        _kernel_log,
        _namespaces,
        _interfaces,
        _packages,
        _go,
        lambda: _disk(layout),
        lambda: None if free_link() else Failure("network", "no 10.97.x.0/30 is free", "End other clusters."),
    )
    failures: tuple[Failure, ...] = tuple(failure for check in checks if (failure := check()) is not None)
    if not failures and not debian.missing(debian.NODE):
        refused = packet_rules()
        failures = () if refused is None else (refused,)
    if failures:
        raise PreflightError(failures)


def packet_rules() -> Failure | None:
    """Whether the kernel takes the rules that Services need; tried where they are nobody's."""
    done = _isolated(_TABLES)
    if done.returncode == 0:
        return None
    return Failure(
        "packet rules",
        f"iptables refuses what Services need ({_last(done.stderr)})",
        "The kernel needs nf_nat, nf_conntrack, xt_comment, xt_mark, xt_statistic, xt_addrtype and MASQUERADE, built "
        "in or loaded (modprobe nf_conntrack xt_MASQUERADE xt_comment xt_statistic xt_addrtype).",
    )


def snapshotter(folder: Path) -> str:
    """How containerd lays an image's layers over each other there: `overlayfs`, or `native`, which copies."""
    with tempfile.TemporaryDirectory(prefix=".overlay-", dir=folder) as place:
        for name in ("lower", "upper", "work", "merged"):
            Path(place, name).mkdir()
        options = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
        tried = _isolated(f"mount -t overlay overlay -o '{options}' '{place}/merged'")
        # A mount's working folder isn't its owner's to list; it is root's here.
        return "overlayfs" if tried.returncode == 0 else "native"


def free_link() -> Link | None:
    """A link whose interface and addresses nobody on this machine uses."""
    ip = debian.located("ip")
    if ip is None:
        return Link(0)
    links = _output(ip, "-o", "link", "show")
    routes = _output(ip, "-o", "route", "show", "table", "all")
    for link in map(Link, range(_LINKS)):
        prefix = str(link.network).split("/")[0].rsplit(".", 1)[0]
        if f" {link.interface}:" not in links and f" {link.interface}@" not in links and f"{prefix}." not in routes:
            return link
    return None


def _linux() -> Failure | None:
    if platform.system() == "Linux":
        return None
    return Failure("system", f"it is {platform.system()}", "A node runs on Linux; here use Docker and `make kind-up`.")


def _root() -> Failure | None:
    if os.geteuid() == 0:
        return None
    return Failure("root", f"the user is {os.geteuid()}", "Containers, mounts and network need root: use sudo.")


def _cgroups() -> Failure | None:
    version2 = _CGROUPS / "cgroup.controllers"
    if version2.exists():
        there = version2.read_text(encoding="ascii").split()
    else:
        there = [name for name in _CONTROLLERS if (_CGROUPS / name / "tasks").exists()]
    absent = [name for name in _CONTROLLERS if name not in there]
    folder = _CGROUPS if version2.exists() else _CGROUPS / "memory"
    if absent:
        return Failure(
            "cgroups",
            f"no controller {', '.join(absent)} at {_CGROUPS}",
            "Boot with them enabled (cgroup_enable=memory) and mounted there.",
        )
    if not os.access(folder, os.W_OK) or _read_only(folder):
        return Failure("cgroups", f"{folder} can't be written", "In a container, it must be a privileged one.")
    return None


def _read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _kernel_log() -> Failure | None:
    if Path("/dev/kmsg").exists():
        return None
    return Failure("kernel log", "there is no /dev/kmsg", "The kubelet reads it: `mknod /dev/kmsg c 1 11`.")


def _namespaces() -> Failure | None:
    if shutil.which("unshare") is None:
        return Failure("namespaces", "there is no unshare", f"As root: {debian.command(['util-linux'])}")
    done = _isolated("true")
    if done.returncode == 0:
        return None
    return Failure(
        "namespaces",
        f"new process, mount and network namespaces can't be made ({_last(done.stderr)})",
        "In a container, it must be a privileged one.",
    )


def _interfaces() -> Failure | None:
    if debian.located("ip") is None:
        return None
    done = _isolated("ip link add one type veth peer name two")
    if done.returncode == 0:
        return None
    return Failure("interfaces", f"no veth pair can be made ({_last(done.stderr)})", "As root: modprobe veth.")


def _packages() -> Failure | None:
    why = debian.obstacle(debian.NODE, WHY)
    return None if why is None else Failure("packages", why, "Then try again.")


def _go() -> Failure | None:
    if not envtest.missing(envtest.cache(), envtest.CLUSTER):
        return None
    if shutil.which("go") or debian.located("pip3") or (Path(sys.executable).parent / "pip").exists():
        return None
    return Failure("Go", "neither Go nor pip is there", "Kubernetes' programs are built with Go: install it.")


def _disk(layout: Layout) -> Failure | None:
    there = next(folder for folder in (layout.state, *layout.state.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free >= DISK_NEEDED:
        return None
    return Failure("disk", f"{free >> 30} GiB are free at {there}", f"Make room: {DISK_NEEDED >> 30} GiB are needed.")


def _isolated(script: str) -> subprocess.CompletedProcess[str]:
    path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
    return subprocess.run(
        [*_ISOLATED, "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _last(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "no reason was given"
