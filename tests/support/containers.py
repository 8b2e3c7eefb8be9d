"""Containers from the images' archives, as a kubelet runs them: by runc, read-only, as 65532, without capabilities.

No engine and no cluster is needed: the archive's layers are unpacked and runc gets the folder.  A container has a
network of its own with nothing but loopback, so ports of the machine are never in the way, unless it is to meet the
servers of other fixtures.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import debian
from tools.images.catalog import Image

USER = 65532


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An image's files in a folder, and its configuration."""

    root: Path
    config: Mapping[str, Any]


def unpack(image: Image, folder: Path) -> Unpacked:
    """The image's archive as `unpack_archive` has it."""
    return unpack_archive(image.archive, folder)


def unpack_archive(path: Path, folder: Path) -> Unpacked:
    """Unpack a docker-archive's layers, the lowest first, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path) as archive:
        manifest = json.load(_member(archive, "manifest.json"))[0]
        config = json.load(_member(archive, manifest["Config"]))
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(_member(archive, layer).read())) as files:
                files.extractall(folder, numeric_owner=True, filter="fully_trusted")  # noqa: S202 - we built it
    return Unpacked(folder, config["config"])


def _member(archive: tarfile.TarFile, name: str) -> io.BufferedReader:
    file = archive.extractfile(name)
    assert file is not None
    return file  # type: ignore[return-value]  # it is one, whatever the stubs promise


@dataclass(frozen=True, slots=True)
class Container:
    """A container that was started."""

    name: str
    state: Path
    process: subprocess.Popen[str]

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as `kubectl exec` does."""
        return subprocess.run(
            [*_runc(self.state), "exec", self.name, *command], capture_output=True, text=True, check=False, timeout=60
        )

    def kill(self, name: str) -> None:
        """Send its first process a signal."""
        subprocess.run([*_runc(self.state), "kill", self.name, name], check=True, capture_output=True)


def run(
    unpacked: Unpacked, folder: Path, arguments: Sequence[str] = (), *, entrypoint: Sequence[str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a container to its end; without `entrypoint` the image's own."""
    with started(unpacked, folder, arguments, entrypoint=entrypoint) as container:
        out, err = container.process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, container.process.returncode, out, err)


@contextlib.contextmanager
def started(
    unpacked: Unpacked,
    folder: Path,
    arguments: Sequence[str] = (),
    *,
    entrypoint: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    volumes: Mapping[str, Path] | None = None,
    files: Mapping[str, Path] | None = None,
    network_of_host: bool = False,
) -> Iterator[Container]:
    """Start a container; it is gone at the end. `folder` is for runc's own files.

    `volumes` are writable for it as a pod's are, `files` are folders that it can only read.
    """
    debian.ensure(("runc",), "to run the images in tests")
    name = f"tidemill-test-{uuid.uuid4().hex[:12]}"
    bundle = folder / name
    bundle.mkdir(parents=True)
    state = bundle / "state"
    specification = _specification(unpacked, entrypoint, arguments, environment or {})
    specification["mounts"] += [*_volumes(volumes or {}), *_files(files or {})]
    if network_of_host:
        specification["linux"]["namespaces"].remove({"type": "network"})
    (bundle / "config.json").write_text(json.dumps(specification), encoding="utf-8")
    process = subprocess.Popen(
        [*_runc(state), "run", "--bundle", str(bundle), name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Container(name, state, process)
    finally:
        subprocess.run([*_runc(state), "delete", "--force", name], capture_output=True, check=False)
        process.communicate()
        shutil.rmtree(bundle)


def _runc(state: Path) -> list[str]:
    return ["runc", "--root", str(state)]


def _volumes(volumes: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    for place, volume in volumes.items():
        volume.mkdir(exist_ok=True)
        # As fsGroup leaves a volume: root's, and the group may write.
        os.chown(volume, 0, USER)
        volume.chmod(0o2775)
        yield {"destination": place, "type": "bind", "source": str(volume), "options": ["bind", "rw"]}


def _files(files: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    for place, folder in files.items():
        folder.chmod(0o755)
        yield {"destination": place, "type": "bind", "source": str(folder), "options": ["bind", "ro"]}


def _specification(
    unpacked: Unpacked,
    entrypoint: Sequence[str] | None,
    arguments: Sequence[str],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    config = unpacked.config
    own = [*(config.get("Entrypoint") or ()), *(() if arguments else config.get("Cmd") or ())]
    small = {"type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=64m"]}
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(unpacked.root), "readonly": True},
        "hostname": "test",
        "process": {
            "user": {"uid": USER, "gid": USER},
            "args": [*(own if entrypoint is None else entrypoint), *arguments],
            "env": [*config["Env"], *(f"{key}={value}" for key, value in environment.items())],
            "cwd": config.get("WorkingDir") or "/",
            "noNewPrivileges": True,
            "capabilities": {},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
            {"destination": "/dev/shm", **small},  # noqa: S108 - the container's own
            {"destination": "/tmp", **small},  # noqa: S108 - the container's own
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")]},
    }
