"""What builds and keeps images: Docker where its engine answers, else buildah. Nobody else needs to know which."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tools import debian
from tools.images.catalog import DOCKERFILE, EPOCH, ROOT, Image

# What a network of its own needs to reach a package index; these end in no image.
_CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_PASSED = ("PIP_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_BUILDKIT = {"DOCKER_BUILDKIT": "1"}
# Stages run in a chroot, on the host's network, and all files get one time.
_HERE = ("--isolation", "chroot", "--network", "host", "--timestamp", str(EPOCH), "--pull-never")


class BuildError(Exception):
    """An image can't be built; the message says why and what to do."""


class Engine(Protocol):
    """What is asked of Docker or buildah."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def has(self, reference: str) -> bool:
        """Whether its storage holds this image."""
        ...

    def import_root(self, root: Path, reference: str) -> None:
        """Make an image of one layer from a tar of a root file system."""
        ...

    def build(self, image: Image, arguments: Mapping[str, str], *, anew: bool = False) -> None:
        """Build one target of the Dockerfile into the storage; `anew`: without what former builds left."""
        ...

    def build_folder(self, folder: Path, reference: str, arguments: Mapping[str, str]) -> None:
        """Build the Dockerfile of a folder, with the folder as context."""
        ...

    def remove(self, reference: str) -> None:
        """Take the name of an image away, and with its last name the image."""
        ...

    def save(self, image: Image, archive: Path) -> None:
        """Write an image as a docker-archive."""
        ...

    def load(self, image: Image) -> None:
        """Read an image from its docker-archive."""
        ...


def engine(asked: str | None) -> Engine:
    """The engine that was asked for (`CONTAINER_TOOL`), else Docker if it answers, else buildah.

    Raises:
        BuildError: It can't run here.
    """
    if asked not in {None, "", "docker", "buildah"}:
        raise BuildError(f"CONTAINER_TOOL is {asked!r}; it can be docker or buildah")
    if asked == "docker" or (not asked and _answers()):
        if not _answers():
            raise BuildError("no Docker engine answers; start it, or use CONTAINER_TOOL=buildah")
        return Docker()
    if shutil.which("buildah") is None:
        debian.ensure(("buildah",), "to build images without Docker")
    if os.geteuid() != 0:
        raise BuildError("buildah is used with chroot isolation, for which one must be root; or start a Docker engine")
    return Buildah()


@dataclass(frozen=True, slots=True)
class Docker:
    """Docker with BuildKit."""

    name: str = "docker"

    def has(self, reference: str) -> bool:
        """See Engine."""
        return _succeeds("docker", "image", "inspect", reference)

    def import_root(self, root: Path, reference: str) -> None:
        """See Engine."""
        run("docker", "import", str(root), reference)

    def build(self, image: Image, arguments: Mapping[str, str], *, anew: bool = False) -> None:
        """See Engine."""
        fresh = ("--no-cache",) if anew else ()
        run("docker", "build", *fresh, *_options(image, arguments), str(ROOT), environment=_BUILDKIT)

    def build_folder(self, folder: Path, reference: str, arguments: Mapping[str, str]) -> None:
        """See Engine."""
        run("docker", "build", "--tag", reference, *_given(arguments), str(folder), environment=_BUILDKIT)

    def remove(self, reference: str) -> None:
        """See Engine."""
        run("docker", "image", "rm", reference)

    def save(self, image: Image, archive: Path) -> None:
        """See Engine."""
        run("docker", "save", "--output", str(archive), image.reference)

    def load(self, image: Image) -> None:
        """See Engine."""
        run("docker", "load", "--input", str(image.archive))


@dataclass(frozen=True, slots=True)
class Buildah:
    """buildah without any privileges but root's: it runs stages in a chroot, on the host's network."""

    name: str = "buildah"

    def has(self, reference: str) -> bool:
        """See Engine."""
        return _succeeds("buildah", "inspect", "--type", "image", reference)

    def import_root(self, root: Path, reference: str) -> None:
        """See Engine."""
        with tempfile.TemporaryDirectory() as context:
            file = Path(context, "Dockerfile")
            file.write_text("FROM scratch\nADD root.tar /\n", encoding="utf-8")
            os.link(root, Path(context, "root.tar")) if _same_device(root, Path(context)) else shutil.copy(
                root, Path(context, "root.tar")
            )
            run("buildah", "bud", "--quiet", "--timestamp", str(EPOCH), "--tag", reference, context)

    def build(self, image: Image, arguments: Mapping[str, str], *, anew: bool = False) -> None:
        """See Engine."""
        fresh = ("--no-cache",) if anew else ()
        run("buildah", "bud", *_HERE, "--layers", *fresh, *_options(image, arguments), str(ROOT))
        # The history names images of stages, which each machine's cache has others of; without, it couldn't cache.
        with tempfile.TemporaryDirectory() as context:
            Path(context, "Dockerfile").write_text(f"FROM {image.reference}\n", encoding="utf-8")
            label = ("--label", f"org.opencontainers.image.title={image.labels()['org.opencontainers.image.title']}")
            run("buildah", "bud", *_HERE, "--omit-history", *label, "--tag", image.reference, context)

    def build_folder(self, folder: Path, reference: str, arguments: Mapping[str, str]) -> None:
        """See Engine."""
        run("buildah", "bud", *_HERE, "--tag", reference, *_given(arguments), str(folder))

    def remove(self, reference: str) -> None:
        """See Engine."""
        run("buildah", "rmi", reference)

    def save(self, image: Image, archive: Path) -> None:
        """See Engine."""
        run("buildah", "push", "--quiet", image.reference, f"docker-archive:{archive}:{image.reference}")

    def load(self, image: Image) -> None:
        """See Engine."""
        run("buildah", "pull", "--quiet", f"docker-archive:{image.archive}")


def _options(image: Image, arguments: Mapping[str, str]) -> list[str]:
    """What both engines understand, for an image of ours."""
    options = ["--file", str(DOCKERFILE), "--target", image.name, "--tag", image.reference]
    for name, value in sorted(image.labels().items()):
        options += ["--label", f"{name}={value}"]
    return [*options, *_given({**arguments, "SOURCE_DATE_EPOCH": str(EPOCH)})]


def _given(arguments: Mapping[str, str]) -> list[str]:
    """Build arguments, and what this machine's network needs."""
    options: list[str] = []
    certificates = next((os.environ[name] for name in _CERTIFICATES if os.environ.get(name)), None)
    if certificates is not None:
        options += ["--secret", f"id=ca,src={certificates}"]
    passed = {name: os.environ[name] for name in _PASSED if os.environ.get(name)}
    for name, value in sorted({**passed, **arguments}.items()):
        options += ["--build-arg", f"{name}={value}"]
    return options


def run(*command: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a command of the build with low priority; its output is shown only if it fails.

    Raises:
        BuildError: With the end of what it printed.
    """
    done = subprocess.run(
        ["nice", *command],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join(f"  | {line}" for line in done.stdout.splitlines()[-30:])
        raise BuildError(f"`{' '.join(command[:2])}` ended with {done.returncode}; the end of what it said:\n{tail}")


def say(line: str) -> None:
    """A line of progress, on stderr."""
    print(f"images: {line}", file=sys.stderr, flush=True)


def _answers() -> bool:
    return shutil.which("docker") is not None and _succeeds("docker", "info")


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _same_device(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev
