"""Files in a folder of this machine: of a volume that all workers mount, or of a laptop."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tidemill_api.errors import SourceChanged, SourceUnreadable
from tidemill_worker.files import OURS, FileRef, Files, segments
from tidemill_worker.files.readable import readable


@dataclass(frozen=True, slots=True)
class Folder(Files):
    """See `Files`. Symbolic links are followed only if they stay below `root`."""

    root: Path

    def matching(self, pattern: str) -> tuple[FileRef, ...]:
        """See `Files`.

        What `glob` makes of some patterns differs from one version of Python to the next: it is given only such as
        don't.
        """
        with readable(pattern):
            found = sorted(
                path.relative_to(self.root).as_posix()
                for path in self.root.glob("/".join(segments(pattern)))
                if path.is_file()
                and path.resolve().is_relative_to(self.root.resolve())
                and OURS not in path.relative_to(self.root).parts
            )
        for name in found:
            if any("\ud800" <= character <= "\udfff" for character in name):  # how bytes that aren't UTF-8 come
                raise SourceUnreadable(f"the name of the file {name!a} isn't UTF-8: give it another one")
        stats = ((name, (self.root / name).stat()) for name in found)
        return tuple(FileRef(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)

    @contextmanager
    def opened(self, ref: FileRef, start: int = 0, end: int | None = None) -> Iterator[io.RawIOBase]:
        """See `Files`."""
        del end  # whoever reads no further costs nothing here
        with self.held(ref) as raw:
            with readable(ref.label):
                raw.seek(start)
            yield raw

    @contextmanager
    def held(self, ref: FileRef) -> Iterator[io.RawIOBase]:
        """See `Files`. Looked at when it is opened and again when it is left."""
        with readable(ref.label):
            try:
                raw = (self.root / ref.path).open("rb", buffering=0)
            except FileNotFoundError:
                raise SourceChanged(f"{ref.path} was there when the run was planned and is gone") from None
        with raw:
            _same(os.fstat(raw.fileno()), ref)
            yield raw
            _same(os.fstat(raw.fileno()), ref)

    def unchanged(self, ref: FileRef) -> None:
        """See `Files`."""
        try:
            _same((self.root / ref.path).stat(), ref)
        except FileNotFoundError:
            raise SourceChanged(f"{ref.path} was there when the run was planned and is gone") from None


def _same(stat: os.stat_result, ref: FileRef) -> None:
    if (stat.st_size, stat.st_mtime_ns) != (ref.size, ref.mtime_ns):
        raise SourceChanged(
            f"{ref.path} has changed since the run was planned: {ref.size} bytes then, {stat.st_size} now, "
            "or written to in between"
        )
