"""A layer as a folder: files of the stage copied to where they are, with the shared libraries that they load.

What comes from Debian packages brings the package's own record and copyright along, so that scanners and our list of
contents (SPDX) know it: `/var/lib/dpkg/status.d/NAME`, as other images without a package manager keep it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

_NEEDED = re.compile(r"^\s*(\S+) => (.+?)(?: \(0x[0-9a-f]+\))?$", re.MULTILINE)
_LOADER = re.compile(r"^\s*(/\S+) \(0x", re.MULTILINE)
# Loaded when a thread is cancelled; named by no program.
_BY_NAME = ("libgcc_s.so.1",)


class LayerError(Exception):
    """A file that the layer needs isn't in the stage."""


class Layer:
    """A folder that becomes a layer on top of `below` (another such folder, or nothing)."""

    def __init__(self, root: Path, below: Path | None = None) -> None:
        """Nothing is made yet; `root` may exist."""
        self.root = root
        self._below = below
        self._copied: set[Path] = set()

    def add(self, source: Path) -> None:
        """Copy a file, or a symbolic link and what it leads to, to the same place, if it isn't below already."""
        # The way to it as it really is: a base image may have merged /lib into /usr/lib.
        source = source.parent.resolve() / source.name
        target = self._at(source)
        if os.path.lexists(target) or (self._below and os.path.lexists(self._below / source.relative_to("/"))):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
        self._copied.add(source)
        if source.is_symlink():
            self.add(source.parent / source.readlink())

    def add_tree(self, folder: Path, leave_out: Iterable[str] = ()) -> None:
        """Copy a folder but the entries whose path relative to it matches a pattern."""
        left_out = {match for pattern in leave_out for match in folder.glob(pattern)}
        for found in _walk(folder, left_out):
            if found.is_symlink() or not found.is_dir():
                self.add(found)
            else:
                self._at(found).mkdir(parents=True, exist_ok=True)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file of our own."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        target.chmod(mode)

    def add_libraries(self) -> None:
        """Whatever the programs and libraries in the layer load. Raises LayerError if one isn't there."""
        looked: set[Path] = set()
        while waiting := [path for path in sorted(self._copied) if path not in looked]:
            looked.update(waiting)
            for path in waiting:
                if not path.is_symlink() and _is_elf(path):
                    for library in needed(path):
                        self.add(library)

    def add_loaded_by_name(self) -> None:
        """Libraries that the C library loads by itself."""
        listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
        for name in _BY_NAME:
            line = next((line for line in listed.splitlines() if line.split()[:1] == [name]), None)
            if line is None:
                raise LayerError(f"the base image has no {name}")
            self.add(Path(line.rpartition("=> ")[2]))

    def add_package_records(self) -> None:
        """The records of the Debian packages whose files are in the layer; nothing where there is no dpkg."""
        if shutil.which("dpkg-query") is None:
            return
        for package in sorted(_packages(self._copied)):
            record = _dpkg("--status", package)
            name = package.partition(":")[0]
            if self._below and (self._below / "var/lib/dpkg/status.d" / name).exists():
                continue
            self.write(f"/var/lib/dpkg/status.d/{name}", record)
            copyright_file = Path("/usr/share/doc", name, "copyright")
            if copyright_file.exists():
                self.add(copyright_file)

    def finish(self, epoch: int) -> None:
        """Give all files and folders the same time: what is built twice is the same."""
        for folder, _, files in os.walk(self.root, topdown=False):
            for name in files:
                os.utime(Path(folder, name), (epoch, epoch), follow_symlinks=False)
            os.utime(folder, (epoch, epoch))

    def _at(self, path: Path) -> Path:
        return self.root / path.relative_to("/")


def needed(path: Path) -> Iterator[Path]:
    """The files that the loader would load for this program or library. Raises LayerError if one isn't there."""
    asked = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False)
    if asked.returncode != 0:  # no dynamic program
        return
    for name, where in _NEEDED.findall(asked.stdout):
        if where == "not found":
            raise LayerError(f"{path} needs {name}, which isn't there")
        yield Path(where)
    for loader in _LOADER.findall(asked.stdout):
        yield Path(loader)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _walk(folder: Path, left_out: set[Path]) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry in left_out:
            continue
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry, left_out)


def _packages(files: Iterable[Path]) -> set[str]:
    """Packages that brought these files, under the name that dpkg has for them."""
    names = [str(file) for file in files if not str(file).startswith("/opt/")]
    # dpkg knows files by the paths of before /usr was merged, too.
    names += [name.removeprefix("/usr") for name in names if name.startswith("/usr/lib")]
    names += [name.removeprefix("/usr") for name in names if name.startswith(("/usr/bin/", "/usr/sbin/"))]
    found = set()
    for start in range(0, len(names), 500):
        asked = subprocess.run(
            ["dpkg-query", "--search", *names[start : start + 500]], capture_output=True, text=True, check=False
        )
        for line in asked.stdout.splitlines():
            if not line.startswith("diversion "):
                found.update(line.partition(": ")[0].split(", "))
    return found


def _dpkg(*arguments: str) -> str:
    return subprocess.run(["dpkg-query", *arguments], capture_output=True, text=True, check=True).stdout
