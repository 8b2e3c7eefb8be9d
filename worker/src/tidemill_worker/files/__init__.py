"""Files of connections, wherever they are: in a folder, in a bucket, on a web server. Light: standard library only."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from tidemill_api.errors import SourceMissing

OURS: Final = ".tidemill"
"""A folder of this name is the default place for what passes between stages; no source's files are in it."""


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file as planning saw it; another size or time when it is read is a `SourceChanged`."""

    path: str
    """Relative to the connection's place."""
    size: int
    mtime_ns: int
    member: str | None = None
    """Name within a zip."""
    etag: str | None = None
    """Of an object in a store: what its content is known by there."""

    @property
    def label(self) -> str:
        """How dead letters and messages call it: `a/b.zip!c.csv`."""
        return self.path if self.member is None else f"{self.path}!{self.member}"


class Files(ABC):
    """A place of files: a folder, or the keys of a bucket below a prefix. Blocks; for threads.

    A file that isn't what a `FileRef` says any more is `SourceChanged`, at the latest when it is left: so one that
    changes while it is read isn't taken for whole.
    """

    @abstractmethod
    def matching(self, pattern: str) -> Sequence[FileRef]:
        """The files that a pattern matches, sorted by path.

        Raises SourceMissing for a pattern that can't match, SourceUnreadable, and what the place raises of outages.
        """

    @abstractmethod
    def opened(self, ref: FileRef, start: int = 0, end: int | None = None) -> AbstractContextManager[io.RawIOBase]:
        """A file's bytes as they are kept, from `start` on, to be read in order and not beyond `end`."""

    @abstractmethod
    def held(self, ref: FileRef) -> AbstractContextManager[io.RawIOBase]:
        """A file's bytes as they are kept, to be read from any place."""

    def ranged(self, ref: FileRef) -> bool:
        """Whether a file can be read from its middle at no more cost than from its beginning."""
        del ref
        return True

    @abstractmethod
    def unchanged(self, ref: FileRef) -> None:
        """Raises SourceChanged if what was read may not be what planning saw. Asked before rows are committed."""

    def close(self) -> None:  # noqa: B027 - most places hold nothing open
        """Close what is held open for further reading."""


def segments(pattern: str) -> tuple[str, ...]:
    """The parts of a pattern between slashes; `**` stands for any folders and is never the last one.

    Raises SourceMissing for a pattern that can't match.
    """
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if any("**" in part and part != "**" for part in parts):
        raise SourceMissing(f"no file matches {pattern}: ** stands for whole folders only, as in **/*.csv")
    if not parts:
        raise SourceMissing(f"no file matches {pattern}: it names the connection's folder itself; write */ or *.csv")
    return (*parts, "*") if parts[-1] == "**" else tuple(parts)
