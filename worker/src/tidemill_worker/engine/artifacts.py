"""What passes between the stages of a run: files in a place that all workers of a pool share. Light: no library.

A name says whose a file is and which rows it holds, so whoever writes it writes the same: the first one counts, and a
retry or a lost worker that comes late changes nothing.
"""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote

from tidemill_worker.engine.model import RunRef


class Artifacts(Protocol):
    """The place. Names are relative, with slashes. Blocks; raises ArtifactsUnavailable."""

    def names(self, folder: str) -> list[str]:
        """Names of the finished files in a folder, without it, sorted; none if there is no such folder."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is a finished file of this name. Costs the same however many there are."""
        ...

    def writing(self) -> AbstractContextManager[Path]:
        """A new local file to be written; it goes away at the end."""
        ...

    def put(self, written: Path, name: str) -> None:
        """Let a file that is written whole appear under a name, unless there is one: then that one stays."""
        ...

    def held(self, name: str) -> AbstractContextManager[Path]:
        """A finished file, to be read where it is or from a copy that goes away at the end. Raises ArtifactGone."""
        ...

    def opened(self, name: str) -> AbstractContextManager[io.RawIOBase]:
        """A finished file, to be read from any place, and no more of it than is read. Raises ArtifactGone."""
        ...

    def drop(self, folder: str) -> None:
        """Remove a folder with all that is in it; nothing happens if there is none."""
        ...

    def folders(self) -> list[tuple[str, float]]:
        """All folders that are three deep, as `RunFolder.path` names them, with the time (Unix) of the last change."""
        ...

    def drop_unfinished(self, before: float) -> None:
        """Remove what was begun before that time (Unix) and never finished: its writer was killed."""
        ...


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Whose a folder is."""

    uid: str
    run_key: str
    execution: int

    @property
    def path(self) -> str:
        """Its name in the place."""
        return f"{_safe(self.uid)}/{_safe(self.run_key)}/{self.execution}"

    @classmethod
    def of(cls, run: RunRef) -> RunFolder:
        """That of an execution."""
        return cls(run.uid, run.run_key, run.execution)

    @classmethod
    def named(cls, path: str) -> RunFolder | None:
        """The inverse of `path`; None if that is no folder of ours."""
        parts = path.split("/")
        if len(parts) != 3 or not parts[2].isdigit():
            return None
        return cls(unquote(parts[0]), unquote(parts[1]), int(parts[2]))


@dataclass(frozen=True, slots=True)
class Kept:
    """A file with rows of a source or step: a part of what one chunk gave."""

    chunk: int
    part: int
    last: bool
    """No further part of this chunk comes."""

    @property
    def name(self) -> str:
        """The file's name. Sorted by name, files are in the order of their rows."""
        return f"{self.chunk:08d}-{self.part:06d}-{'last' if self.last else 'more'}.parquet"

    @classmethod
    def named(cls, name: str) -> Kept | None:
        """The inverse of `name`; None if that is no file of ours."""
        stem, dot, ending = name.partition(".")
        pieces = stem.split("-")
        if dot + ending != ".parquet" or len(pieces) != 3 or not (pieces[0] + pieces[1]).isdigit():
            return None
        return cls(int(pieces[0]), int(pieces[1]), pieces[2] == "last")


def node_folder(run: RunRef, node: str) -> str:
    """Where the rows of a source or step of a run are."""
    return f"{RunFolder.of(run).path}/{_safe(node)}"


def _safe(name: str) -> str:
    return quote(name, safe="")
