"""The base image where no registry can be reached: a minimal Debian with Python, made once and kept in a cache.

With a registry it isn't needed: `PYTHON_IMAGE=python:3.12-slim-bookworm` (Docker's default) does as well. What reaches
our images of either is Python and the libraries that it loads.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path

from tools import debian
from tools.images.catalog import PREFIX
from tools.images.engine import BuildError, Engine, run, say

_SUITE = "bookworm"
_MIRROR = "http://deb.debian.org/debian"
_SECURITY = f"deb http://deb.debian.org/debian-security {_SUITE}-security main"
_PACKAGES = ("python3", "python3-venv", "ca-certificates", "binutils")
# Made anew when this changes. Debian's own updates come with the next release of ours, or with the cache removed.
_GENERATION = "2026-11-23"


def reference() -> str:
    """The base image's name, which says what it was made from."""
    key = hashlib.sha256("\0".join((_SUITE, _SECURITY, *_PACKAGES, _GENERATION)).encode()).hexdigest()[:12]
    return f"{PREFIX}/python-base:{_SUITE}-{key}"


def ensure(engine: Engine) -> str:
    """Have the base image in the engine's storage: from there, from the cache, or made. Returns its reference.

    Raises:
        BuildError: debootstrap can't run here, or failed.
    """
    name = reference()
    if engine.has(name):
        return name
    cached = _cache() / f"{name.rpartition(':')[2]}.tar"
    if not cached.exists():
        _make(cached)
    engine.import_root(cached, name)
    return name


def _cache() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "tidemill" / "images"


def _make(cached: Path) -> None:
    """A tar of the root file system, written whole or not at all."""
    if os.geteuid() != 0:
        raise BuildError("without a registry the base image is made by debootstrap, which only root can run")
    debian.ensure(("debootstrap",), "to make the images' base without a registry")
    began = time.monotonic()
    say(f"making the base image from Debian {_SUITE} by debootstrap (once)")
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as temporary:
        root = Path(temporary, "root")
        run("debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE, str(root), _MIRROR)
        with (root / "etc/apt/sources.list").open("a", encoding="utf-8") as sources:
            sources.write(f"{_SECURITY}\n")
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        for arguments in (("update", "-q=2"), ("upgrade", "-q=2", "--yes"), ("clean",)):
            run("chroot", str(root), "apt-get", *arguments)
        shutil.rmtree(root / "var/lib/apt/lists")
        fresh = Path(temporary, "root.tar")
        run(
            "tar",
            "--create",
            "--file",
            str(fresh),
            "--directory",
            str(root),
            "--numeric-owner",
            "--exclude=./dev/*",
            ".",
        )
        fresh.rename(cached)
    say(f"made the base image in {time.monotonic() - began:.0f} s; it is kept in {cached.parent}")
