"""The images, what each is made of, and what it may weigh."""

from __future__ import annotations

import hashlib
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.images.inside.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / ".cache" / "images"
BUDGET = ROOT / "images" / "budget.toml"
DOCKERFILE = ROOT / "images" / "Dockerfile"
PREFIX = "localhost/tidemill"
EPOCH = 1_767_225_600
"""The time of all files of all images, and of the images (2026-01-01): what is built twice is the same."""
NAMES = ("operator", "worker", "dev-services", "examples")

_BUILD = ("images/Dockerfile", "tools/images/inside", "requirements.lock", "pyproject.toml")
_PART_OF = {
    "tidemill": "api",
    "tidemill_api": "api",
    "tidemill_check": "check",
    "tidemill_codec": "codec",
    "tidemill_cli": "cli",
}


@dataclass(frozen=True, slots=True)
class Image:
    """One image; its target in the Dockerfile has its name."""

    name: str
    tag: str = "dev"

    @property
    def reference(self) -> str:
        """The name that engines know it by."""
        return f"{PREFIX}/{self.name}:{self.tag}"

    @property
    def archive(self) -> Path:
        """Where `make images` leaves it, as a docker-archive."""
        return OUTPUT / f"{self.name}.tar"

    @property
    def contents(self) -> Path:
        """Where the list of what is in it lies (SPDX)."""
        return OUTPUT / f"{self.name}.spdx.json"

    @property
    def record(self) -> Path:
        """The key of the inputs that the archive was made of."""
        return OUTPUT / f"{self.name}.key"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Paths in the source tree that decide what is in it."""
        if self.name == "examples":
            return (*_BUILD, "images/examples.py", "examples/flights/data")
        return (*_BUILD, *dict.fromkeys(_source(package) for package in RECIPES[self.name].packages))

    def key(self, *others: str) -> str:
        """A hash of the inputs' contents and of whatever else decides: base image, engine."""
        digest = hashlib.sha256("\0".join(others).encode())
        for file in _files(self.inputs):
            digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_mode & 0o111}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def labels(self) -> dict[str, str]:
        """OCI labels. The revision is the last commit that changed an input: others don't make another image."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        revision, _, when = _git("log", "-1", "--format=%H %cI", "--", *self.inputs).partition(" ")
        changed = _git("status", "--porcelain", "--", *self.inputs)
        return {
            "org.opencontainers.image.title": f"tidemill-{self.name}",
            "org.opencontainers.image.description": _DESCRIPTIONS[self.name],
            "org.opencontainers.image.version": project["version"],
            "org.opencontainers.image.licenses": project["license"],
            "org.opencontainers.image.source": "https://github.com/tidemill/tidemill",
            "org.opencontainers.image.revision": (revision or "unknown") + ("-changed" if changed else ""),
            "org.opencontainers.image.created": when or "unknown",
        }


_DESCRIPTIONS = {
    "operator": "Tidemill's operator: keeps Temporal and Kubernetes in step with DataPipelines",
    "worker": "Tidemill's worker: runs the pipelines of one WorkerPool",
    "dev-services": "Temporal, PostgreSQL and Redis for demos and tests of Tidemill; for nothing else",
    "examples": "The data that Tidemill's example reads",
}


def images(names: Iterable[str] = ()) -> tuple[Image, ...]:
    """These images, or all. Raises ValueError for a name that there isn't."""
    wanted = tuple(names) or NAMES
    for name in wanted:
        if name not in NAMES:
            raise ValueError(f"there is no image {name}; there are {', '.join(NAMES)}")
    return tuple(Image(name) for name in wanted)


def _source(package: str) -> str:
    """The folder in the tree of a path inside of the wheel."""
    top = package.partition("/")[0]
    return f"{_PART_OF.get(top, top.removeprefix('tidemill_'))}/src/{package}"


def _files(paths: Iterable[str]) -> Iterator[Path]:
    for path in sorted(set(paths)):
        start = ROOT / path
        found = [start] if start.is_file() else sorted(start.rglob("*"))
        yield from (file for file in found if file.is_file() and "__pycache__" not in file.parts)


def _git(*arguments: str) -> str:
    """What git says, nothing where this is no clone."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
