"""Prometheus and promtool for tests: unpacked from Debian's package into a cache, installed nowhere.

Run by `make envtest`; uses the standard library only. Nothing is built and no service is added to the machine, so it
takes seconds and needs no root. The package is pinned by version and hash. Where the mirror has another version (it
drops old ones), that one is taken, verified by apt against Debian's signed index; where there is no apt, the programs
on the PATH are. What is printed on stdout is the folder that holds the programs; with `--find` it only looks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MACHINE: Final = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


class PrometheusError(Exception):
    """The programs can't be had; the message says what to install."""


@dataclass(frozen=True)
class Package:
    """A Debian package: its version, the SHA-256 of its file by architecture, and the programs that we take from it."""

    name: str
    version: str
    hashes: dict[str, str]
    programs: dict[str, str]
    """Our name of a program, and its path in the package."""


PACKAGES: Final = (
    Package(
        "prometheus",
        "2.42.0+ds-5+deb12u1",
        {
            "amd64": "81d59a24fce84f7fbe97a45a4f2914b6a5881b5cd1db2a6a0e129e515e1a5f55",
            "arm64": "ca131aa102390083398afbc80be9c8dd1dda78f9f92154fc00df8f7f1f4556e9",
        },
        {"prometheus": "usr/bin/prometheus", "promtool": "usr/bin/promtool"},
    ),
)
PROGRAMS: Final = tuple(program for package in PACKAGES for program in package.programs)


def cache() -> Path:
    """The folder that the programs are unpacked into, keyed by the pinned version."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "tidemill" / "prometheus" / "-".join((*(package.version for package in PACKAGES), MACHINE))


def missing(folder: Path) -> tuple[str, ...]:
    """The programs that aren't there."""
    return tuple(name for name in PROGRAMS if not os.access(folder / name, os.X_OK))


def ensure() -> Path:
    """Fetch what is missing; returns the folder. Safe when several callers come at once.

    Raises:
        PrometheusError: neither apt nor the PATH has them.
    """
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        absent = missing(folder)
        for package in PACKAGES:
            if set(package.programs) & set(absent):
                _bring(package, folder)
    return folder


def _bring(package: Package, folder: Path) -> None:
    """Put a package's programs into the folder, each whole."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        _link(package, folder)
        return
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as text:
        fresh = Path(text)
        file = _download(package, fresh)
        subprocess.run(["dpkg-deb", "--extract", str(file), str(fresh / "tree")], check=True)
        for name, path in package.programs.items():
            (fresh / "tree" / path).rename(folder / name)
    say(f"unpacked {', '.join(package.programs)} from {file.name}")


def _download(package: Package, folder: Path) -> Path:
    """The package's file: the pinned version, whose hash is compared, else the one that the mirror has."""
    pinned = f"{package.name}={package.version}"
    done = _apt(folder, "download", pinned)
    if done.returncode != 0:
        # The lists of packages may be old or absent; only root can renew them.
        _apt(folder, "update")
        done = _apt(folder, "download", pinned)
    files = sorted(folder.glob("*.deb"))
    if done.returncode == 0:
        expected = package.hashes.get(MACHINE)
        got = hashlib.sha256(files[0].read_bytes()).hexdigest()
        if expected is not None and got != expected:
            raise PrometheusError(f"{files[0].name} has the SHA-256 {got}, which isn't the pinned {expected}")
        return files[0]
    say(f"the mirror doesn't have {pinned}; taking its version, which apt verifies")
    done = _apt(folder, "download", package.name)
    if done.returncode != 0:
        raise PrometheusError(
            f"`apt-get download {package.name}` failed: {done.stderr.strip()}\n"
            "run `apt-get update` as root first, or install the package"
        )
    return min(folder.glob("*.deb"))


def _apt(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # As root apt would change to a user of its own, who can't write into our folder, and warn of it.
    options = ("--quiet=2", "-o", "DPkg::Lock::Timeout=300", "-o", "APT::Sandbox::User=root")
    return subprocess.run(
        ["apt-get", *options, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _link(package: Package, folder: Path) -> None:
    """Without apt: the programs as the system has them."""
    for name in package.programs:
        found = shutil.which(name)
        if found is None:
            raise PrometheusError(f"{name} is needed on the PATH where there is no apt: install Prometheus")
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(found)


def say(line: str) -> None:
    """A line of progress, on stderr."""
    print(f"prometheus: {line}", file=sys.stderr, flush=True)


def main() -> int:
    """The command line; returns the exit code."""
    try:
        if "--find" in sys.argv[1:]:
            if absent := missing(cache()):
                raise PrometheusError(f"{', '.join(absent)} not found in {cache()}: run `make envtest`")
            print(cache())
        else:
            print(ensure())
    except PrometheusError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
