"""An image as its archive holds it: configuration, layers, and every file of the result."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's sizes, in bytes: as a tar, and as registries send it."""

    digest: str
    """SHA-256 (hex) of the tar: two builds of the same make the same."""
    size: int
    compressed: int


@dataclass(frozen=True, slots=True)
class Archive:
    """A docker-archive, read once."""

    config: Mapping[str, Any]
    layers: tuple[Layer, ...]
    files: Mapping[str, int]
    """Bytes of each regular file by its path without the leading slash. No layer of ours hides a file of another."""
    texts: Mapping[str, str]
    """Contents of the files that tell of packages."""

    @property
    def size(self) -> int:
        """Bytes of all layers."""
        return sum(layer.size for layer in self.layers)

    @property
    def compressed(self) -> int:
        """Bytes of all layers as registries send them (gzip, level 6)."""
        return sum(layer.compressed for layer in self.layers)


def read(path: Path) -> Archive:
    """Read a docker-archive."""
    layers: list[Layer] = []
    files: dict[str, int] = {}
    texts: dict[str, str] = {}
    with tarfile.open(path) as archive:
        manifest = json.load(_member(archive, "manifest.json"))[0]
        config = json.load(_member(archive, manifest["Config"]))
        for name in manifest["Layers"]:
            layers.append(_layer(_member(archive, name)))
            with tarfile.open(fileobj=_member(archive, name)) as layer:
                for entry in layer:
                    if entry.isreg():
                        inside = entry.name.removeprefix("./")
                        files[inside] = entry.size
                        if tells_of_packages(inside):
                            texts[inside] = _member(layer, entry).read().decode("utf-8", errors="replace")
    return Archive(config, tuple(layers), files, texts)


def tells_of_packages(path: str) -> bool:
    """Whether a file says which package is there."""
    return (
        path.endswith((".dist-info/METADATA", ".dist-info/RECORD"))
        or path.startswith("var/lib/dpkg/status.d/")
        or path == "usr/share/python/version"
    )


def _layer(tar: IO[bytes]) -> Layer:
    digest, counter, size = hashlib.sha256(), _Counter(), 0
    with gzip.GzipFile(fileobj=counter, mode="wb", compresslevel=6, mtime=0) as packed:
        for block in _blocks(tar):
            digest.update(block)
            packed.write(block)
            size += len(block)
    return Layer(digest.hexdigest(), size, counter.written)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(1 << 20):
        yield block


def _member(archive: tarfile.TarFile, name: str | tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(name)
    assert file is not None, f"the archive has no {name}"
    return file


class _Counter:
    """A file that only counts."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> int:
        self.written += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing to do."""
