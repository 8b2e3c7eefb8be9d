"""APIs and functions: their columns are declared, all they give is one chunk. Planning a run asks nothing of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tidemill_api.v1alpha1.datapipeline import Source
from tidemill_api.v1alpha1.http_source import HTTPSource
from tidemill_api.v1alpha1.python import PythonSource
from tidemill_worker.engine.model import Asked, Part
from tidemill_worker.engine.wanted import by_order, declared
from tidemill_worker.files import FileRef


@dataclass(frozen=True, slots=True)
class APIPlanner:
    """Plans the API of one source, whose path and query have the values of the run."""

    source: Source
    settings: HTTPSource

    def parts(self, refs: Sequence[FileRef]) -> tuple[Part, ...]:
        """All its pages, as one part; there are no files."""
        del refs
        wanted = declared(self.source)
        layout = by_order(self.source, self.settings.path or "/", wanted, len(wanted))
        asked = Asked(self.settings.path, tuple(self.settings.query.items()))
        return (Part(FileRef(self.settings.path or "/", 0, 0), layout, 0, None, 1, 0, asked=asked),)

    def cut(self, part: Part, most_bytes: int, most_rows: int) -> Iterator[Part]:
        """The whole: which page comes next is known when the one before it has been read."""
        del most_bytes, most_rows
        yield part


@dataclass(frozen=True, slots=True)
class FunctionPlanner:
    """Plans what a function gives: all of it is one part, and each attempt at it begins with the same state."""

    source: Source
    settings: PythonSource
    state: str = "{}"
    """JSON that the last run has left."""

    def parts(self, refs: Sequence[FileRef]) -> tuple[Part, ...]:
        """All rows, as one part; there are no files."""
        del refs
        wanted = declared(self.source)
        entrypoint = self.settings.entrypoint
        layout = by_order(self.source, entrypoint, wanted, len(wanted))
        asked = Asked(entrypoint, (("state", self.state),))
        return (Part(FileRef(entrypoint, 0, 0), layout, 0, None, 1, 0, asked=asked),)

    def cut(self, part: Part, most_bytes: int, most_rows: int) -> Iterator[Part]:
        """The whole."""
        del most_bytes, most_rows
        yield part
