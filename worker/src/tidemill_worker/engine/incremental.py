"""What of an incremental source has been loaded, and what a run adds to that. Light: imports no library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker.engine.model import Chunk, CursorRange
from tidemill_worker.files import FileRef

LoadedFile = tuple[str, int, int]
"""Path, size, and time of the last change in nanoseconds, as planning saw it."""


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """Files of one source that all its sinks have."""

    by: str
    """Name or ModifiedTime."""
    files: Mapping[str, tuple[int, int]]
    """Size and time of each, by its path."""

    def is_new(self, ref: FileRef) -> bool:
        """Whether it is to be read."""
        there = self.files.get(ref.path)
        return there is None or (self.by == "ModifiedTime" and there != (ref.size, ref.mtime_ns))


@dataclass(frozen=True, slots=True)
class KnownRows:
    """How far all sinks of a source are by its cursor; values as `tidemill_check.cursors.number` gives them."""

    after: int | None
    """Rows up to here needn't be read, the lag being taken off; None: all are new."""
    reached: int | None = None
    """The greatest value that a sink has: the watermark doesn't go back behind it."""
    until: int | None = None
    """Where an earlier execution of this run key has ended: this one ends there too."""


@dataclass(frozen=True, slots=True)
class KnownState:
    """What the last run of a source in Python has left, as JSON: the same in all its sinks."""

    state: str


Known = KnownFiles | KnownRows | KnownState


@dataclass(frozen=True, slots=True)
class Called:
    """A function of a source, as a run calls it."""

    chunk: int
    """The number of its chunk."""
    entrypoint: str
    before: str
    """The state that it begins with, as JSON."""


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Where a run begins: what the sinks of its incremental sources had when it was planned."""

    known: Mapping[str, Known]
    """By source."""
    versions: Mapping[str, Mapping[str, int]]
    """By sink, then by source: how often the watermark has moved."""


def incremental(spec: DataPipelineSpec) -> tuple[str, ...]:
    """Names of the incremental sources."""
    return tuple(source.name for source in spec.sources if source.only_new)


def files_of(chunks: Iterable[object], source: str) -> Sequence[LoadedFile]:
    """The files of a source that a plan reads."""
    refs = {chunk.part.file for chunk in chunks if isinstance(chunk, Chunk) and chunk.source == source}
    return sorted({(ref.path, ref.size, ref.mtime_ns) for ref in refs})


def range_of(chunks: Iterable[object], source: str) -> CursorRange | None:
    """The cursor's range that a plan reads of a source; None: nothing, or no source with a cursor."""
    keys = (chunk.part.keys for chunk in chunks if isinstance(chunk, Chunk) and chunk.source == source)
    return next((each for each in keys if isinstance(each, CursorRange)), None)


def called_of(chunks: Iterable[object], source: str) -> Called | None:
    """What a plan calls for a source that is a function."""
    for chunk in chunks:
        if isinstance(chunk, Chunk) and chunk.source == source and chunk.part.asked is not None:
            return Called(chunk.index, chunk.part.asked.path, dict(chunk.part.asked.query)["state"])
    return None
