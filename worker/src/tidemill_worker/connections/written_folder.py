"""Files that sinks write into a folder: of a volume that all workers of a pool mount."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tidemill_api.errors import StoreDenied, StoreUnavailable
from tidemill_worker.files.writable import STAGED, STAGING


@dataclass(frozen=True, slots=True)
class WrittenFolder:
    """See `files.writable.Writable`. What is renamed is of one file system, and so appears at once."""

    root: Path
    connection: str
    """Its name, for messages."""

    @contextlib.contextmanager
    def writing(self, folder: str) -> Iterator[Path]:
        """See `Writable`."""
        with self._said("written"):
            hidden = self.root / folder / STAGING
            hidden.mkdir(parents=True, exist_ok=True)
        path = hidden / f"{uuid4().hex}{STAGED}"  # made by whoever writes it, with the rights that files get here
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def put(self, written: Path, name: str) -> None:
        """See `Writable`."""
        target = self.root / name
        with self._said("written"):
            with written.open("rb") as file:
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            written.replace(target)
            _synced(target.parent)

    def place(self, staged: str, name: str) -> bool:
        """See `Writable`."""
        target = self.root / name
        with self._said("written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                (self.root / staged).replace(target)
            except FileNotFoundError:
                if (self.root / staged).is_file():
                    raise  # the folder went, empty as it was: an attempt like any other
                return target.is_file()
            _synced(target.parent)
        return True

    def tell(self, content: bytes, name: str) -> None:
        """See `Writable`."""
        folder, _, _ = name.rpartition("/")
        with self.writing(folder) as path:
            with self._said("written"):
                path.write_bytes(content)
            self.put(path, name)

    def remove(self, names: Sequence[str]) -> None:
        """See `Writable`. Folders that are empty then go, too."""
        with self._said("removed"):
            for name in names:
                path = self.root / name
                path.unlink(missing_ok=True)
                _without_empty(path.parent, self.root)

    def drop(self, folder: str) -> None:
        """See `Writable`."""
        with self._said("removed"):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self.root / folder)
            _without_empty((self.root / folder).parent, self.root)

    def any_of(self, folder: str, ending: str) -> str | None:
        """See `Writable`."""
        with self._said("listed"):
            for at, _, names in os.walk(self.root / folder):
                for name in names:
                    if name.endswith(ending):
                        return (Path(at) / name).relative_to(self.root).as_posix()
        return None

    def close(self) -> None:
        """See `Writable`: nothing is."""

    @contextlib.contextmanager
    def _said(self, what: str) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise StoreDenied(f"connections.{self.connection}.files.url: files can't be {what}: no right to") from error
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise StoreUnavailable(f"connections.{self.connection}.files: files can't be {what}: {why}") from error


def _without_empty(folder: Path, root: Path) -> None:
    """Remove a folder and those above it, as long as nothing is in them; `root` stays, and where files are staged."""
    while folder != root and folder.name != STAGING and folder.is_relative_to(root):
        try:
            folder.rmdir()
        except OSError:  # others are in it, or it is gone
            return
        folder = folder.parent


def _synced(folder: Path) -> None:
    """Let a new name outlive a crash of the machine, where the file system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
