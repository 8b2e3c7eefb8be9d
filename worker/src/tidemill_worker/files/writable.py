"""A place that files are written to: what sinks need of folders and buckets alike."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

STAGING: Final = "_tidemill"
"""Folder, in that of a data set, for what can't be seen yet."""
STAGED: Final = ".staged"
"""How names of such files end: patterns like `**/*.parquet` pass them over even where hidden folders don't count."""


class Writable(Protocol):
    """The place. Names are relative, with slashes. Blocks; for threads.

    Raises StoreUnavailable, StoreDenied, BucketMissing, ConfigError. All of it may be repeated: what is done stays so.
    """

    def writing(self, folder: str) -> AbstractContextManager[Path]:
        """A new local file to be written, which will be put below a folder; it goes away at the end."""
        ...

    def put(self, written: Path, name: str) -> None:
        """Let a file that is written whole be there, by a name that nobody else gives."""
        ...

    def place(self, staged: str, name: str) -> bool:
        """Give a file that was put the name by which it is seen; the other name is gone then.

        A second time nothing happens. False: there is no file of either name.
        """
        ...

    def tell(self, content: bytes, name: str) -> None:
        """Put a small file in the place of what is there by that name, at once."""
        ...

    def remove(self, names: Sequence[str]) -> None:
        """Remove files; those that aren't there are none to remove."""
        ...

    def drop(self, folder: str) -> None:
        """Remove a folder with all that is in it; nothing happens if there is none."""
        ...

    def any_of(self, folder: str, ending: str) -> str | None:
        """A file somewhere below a folder whose name ends so; None if there is none."""
        ...

    def close(self) -> None:
        """Close what is held open for further writing."""
        ...
