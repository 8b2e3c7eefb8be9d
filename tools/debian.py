"""The Debian packages that the tools need, in one place: what is missing is installed if we may, else told.

Nothing is installed twice, no question is asked, and no service is started: a package such as containerd brings one
that would run beside ours.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_POLICY = Path("/usr/sbin/policy-rc.d")
_DENY = "#!/bin/sh\nexit 101\n"
# Debian keeps system programs in folders that aren't on every PATH.
_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


class PackagesError(Exception):
    """Packages are missing and can't be installed by us; the message has the command that installs them."""


# What runs pods on a node without a container engine.
NODE = ("containerd", "runc", "containernetworking-plugins", "conntrack", "iptables", "iproute2", "util-linux")
# A package is there if what we use of it is, whoever installed it: a program's name, or an absolute path.
_BRINGS = {
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "iproute2": "ip",
    "util-linux": "nsenter",
}


def located(program: str) -> str | None:
    """The path of a program, system programs included."""
    return shutil.which(program, path=_PATH)


def missing(packages: Iterable[str]) -> tuple[str, ...]:
    """Those whose program (of the package's name, unless told otherwise above) isn't there."""
    return tuple(name for name in packages if not _there(_BRINGS.get(name, name)))


def _there(brought: str) -> bool:
    return Path(brought).exists() if brought.startswith("/") else located(brought) is not None


def command(names: Iterable[str]) -> str:
    """What a person types to install these."""
    return f"apt-get install --no-install-recommends {' '.join(names)}"


def obstacle(packages: Iterable[str], why: str) -> str | None:
    """Why the missing ones can't be installed by us, with the command that does; changes nothing.

    `why` ends the sentence "these packages are needed ...".
    """
    names = missing(packages)
    if not names:
        return None
    if shutil.which("apt-get") is None:
        return f"packages are needed {why}: install {', '.join(names)} (Debian's names) as your system does"
    if os.geteuid() != 0:
        return f"packages are needed {why}, and only root can install them: {command(names)}"
    return None


def ensure(packages: Iterable[str], why: str) -> None:
    """Install what is missing, without starting a service; `why` as in `obstacle`.

    Raises:
        PackagesError: this is no Debian, or we aren't root, or apt failed.
    """
    wanted = tuple(packages)
    names = missing(wanted)
    if not names:
        return
    if (obstructed := obstacle(wanted, why)) is not None:
        raise PackagesError(obstructed)
    say(f"installing {', '.join(names)} ({why})")
    with _no_services():
        said = _apt("install", "--no-install-recommends", *names)
        if missing(names):
            # The lists of packages may be old or absent.
            _apt("update")
            said = _apt("install", "--no-install-recommends", *names)
    if "containerd" in names and shutil.which("systemctl"):
        # Nor at the next boot: ours runs its own.
        subprocess.run(["systemctl", "disable", "containerd"], capture_output=True, check=False)
    if left := missing(wanted):
        raise PackagesError(f"`{command(left)}` failed:\n{said.strip()}")


def _apt(*arguments: str) -> str:
    """Run apt-get without a question; returns what it complained of."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Another apt may be at work: wait for its lock.
    options = ("--quiet=2", "--yes", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0")
    done = subprocess.run(
        ["apt-get", *options, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Debian's own switch: while this file says so, a package starts nothing.  A policy that is there already stays."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_DENY, encoding="utf-8")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)


def say(line: str) -> None:
    """A line of progress, on stderr."""
    print(f"packages: {line}", file=sys.stderr, flush=True)
