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
from dataclasses import dataclass
from pathlib import Path

_POLICY = Path("/usr/sbin/policy-rc.d")
_DENY = "#!/bin/sh\nexit 101\n"
# Debian keeps system programs in folders that aren't on every PATH.
_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


class PackagesError(Exception):
    """Packages are missing and can't be installed by us; the message has the command that installs them."""


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package, known by a program or file that it brings."""

    name: str
    brings: str
    """A program's name, or an absolute path."""

    @property
    def installed(self) -> bool:
        """Whether what it brings is there, from wherever."""
        return Path(self.brings).exists() if self.brings.startswith("/") else located(self.brings) is not None


# What runs pods on a node without a container engine.
NODE = (
    Package("containerd", "containerd"),
    Package("runc", "runc"),
    Package("containernetworking-plugins", "/usr/lib/cni/ptp"),
    Package("conntrack", "conntrack"),
    Package("iptables", "iptables"),
    Package("iproute2", "ip"),
    Package("util-linux", "nsenter"),
)
# What builds images without a container engine.
IMAGES = (
    Package("buildah", "buildah"),
    Package("debootstrap", "debootstrap"),
)


def located(program: str) -> str | None:
    """The path of a program, system programs included."""
    return shutil.which(program, path=_PATH)


def missing(packages: Iterable[Package]) -> tuple[str, ...]:
    """The names of those that aren't installed."""
    return tuple(package.name for package in packages if not package.installed)


def command(names: Iterable[str]) -> str:
    """What a person types to install these."""
    return f"apt-get install --no-install-recommends {' '.join(names)}"


def obstacle(packages: Iterable[Package]) -> str | None:
    """Why the missing ones couldn't be installed by us, with the command that does; changes nothing."""
    names = missing(packages)
    if not names:
        return None
    if shutil.which("apt-get") is None:
        return f"{', '.join(names)} (Debian's names) are missing, and there is no apt-get here to install them"
    if os.geteuid() != 0:
        return f"{', '.join(names)} are missing; as root: {command(names)}"
    return None


def ensure(packages: Iterable[Package]) -> None:
    """Install what is missing, without starting a service.

    Raises:
        PackagesError: we may not install, or apt failed.
    """
    wanted = tuple(packages)
    names = missing(wanted)
    if not names:
        return
    if (why := obstacle(wanted)) is not None:
        raise PackagesError(why)
    say(f"installing {' '.join(names)} (Debian's packages)")
    with _no_services():
        if not _apt("install", "--no-install-recommends", *names):
            # The lists of packages may be old or absent.
            _apt("update")
            _apt("install", "--no-install-recommends", *names)
    if "containerd" in names and shutil.which("systemctl"):
        # Nor at the next boot: ours runs its own.
        subprocess.run(["systemctl", "disable", "containerd"], capture_output=True, check=False)
    if left := missing(wanted):
        raise PackagesError(f"apt-get didn't install {', '.join(left)}, see above; as root: {command(left)}")


def _apt(*arguments: str) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Another apt may be at work: wait for its lock.
    options = ("-q", "-y", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0")
    done = subprocess.run(
        ["apt-get", *options, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode == 0


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
