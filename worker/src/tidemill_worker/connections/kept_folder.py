"""Artifacts in a folder: a volume that all workers of a pool mount."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tidemill_api.errors import ArtifactGone, ArtifactsUnavailable

_WRITING: Final = ".writing"
"""Folder for what isn't finished; within the place, so that it is of the same file system."""


class FolderArtifacts:
    """See `engine.artifacts.Artifacts`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, folder: str) -> list[str]:
        """See `Artifacts`."""
        with _available("listed"):
            try:
                return sorted(entry.name for entry in os.scandir(self._root / folder) if entry.is_file())
            except FileNotFoundError:
                return []

    def has(self, name: str) -> bool:
        """See `Artifacts`."""
        with _available("looked for"):
            return (self._root / name).is_file()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Path]:
        """See `Artifacts`."""
        with _available("written"):
            folder = self._root / _WRITING
            folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=folder)
            os.close(descriptor)
        path = Path(name)
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def put(self, written: Path, name: str) -> None:
        """See `Artifacts`."""
        target = self._root / name
        with _available("written"):
            with written.open("rb") as file:
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(written, target)
            except FileExistsError:
                return
            except OSError:  # a file system without links: the other one would have written the same
                if not target.exists():
                    written.rename(target)
            _synced(target.parent)

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[Path]:
        """See `Artifacts`."""
        path = self._root / name
        if not path.is_file():
            raise ArtifactGone(f"the artifact {name} is gone: run the pipeline again")
        yield path

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[io.RawIOBase]:
        """See `Artifacts`."""
        with self.held(name) as path, path.open("rb", buffering=0) as file:
            yield file

    def drop(self, folder: str) -> None:
        """See `Artifacts`."""
        with _available("removed"):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self._root / folder)
            parent = (self._root / folder).parent
            while parent != self._root and parent.is_relative_to(self._root):
                try:
                    parent.rmdir()
                except OSError:  # others are in it
                    return
                parent = parent.parent

    def folders(self) -> list[tuple[str, float]]:
        """See `Artifacts`."""
        found = []
        with _available("listed"):
            for path in self._root.glob("*/*/*"):
                if path.is_dir():
                    times = [entry.stat().st_mtime for entry in path.glob("*")]
                    found.append((path.relative_to(self._root).as_posix(), max([path.stat().st_mtime, *times])))
        return found

    def drop_unfinished(self, before: float) -> None:
        """See `Artifacts`."""
        with _available("removed"):
            for path in (self._root / _WRITING).glob("*"):
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime < before:
                        path.unlink()


def _synced(folder: Path) -> None:
    """Let a new name outlive a crash of the machine, where the file system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _available(what: str) -> Iterator[None]:
    """Raise ArtifactsUnavailable for what the system says."""
    try:
        yield
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ArtifactsUnavailable(f"artifacts can't be {what}: {why}") from error
