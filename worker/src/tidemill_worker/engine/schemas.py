"""Which columns a run reads, and how they differ from those of the run before. Light: imports no library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tidemill_worker.engine.model import Chunk, Part

Schemas = Mapping[str, Mapping[str, str]]
"""By source the type of each column: one of those of `Column.type`."""
_SHOWN = 20


def schemas_of(chunks: Iterable[object]) -> dict[str, dict[str, str]]:
    """The columns of the sources that a plan reads; of one without anything to read there are none."""
    found: dict[str, dict[str, str]] = {}
    for chunk in chunks:
        if isinstance(chunk, Chunk):
            for source, part in ((chunk.source, chunk.part), *_whole(chunk)):
                if source not in found:
                    found[source] = {column.name: column.type for column in part.layout.columns}
    return found


def _whole(chunk: Chunk) -> Iterator[tuple[str, Part]]:
    for source, parts in (*chunk.broadcast, *chunk.ahead):
        if parts:
            yield source, parts[0]


def changes(before: Schemas, now: Schemas) -> tuple[str, ...]:
    """What has changed, a sentence for each column. A source that one of them doesn't have is no change."""
    return tuple(each for source in now if source in before for each in _of(source, before[source], now[source]))


def _of(source: str, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    told = [
        *(f"source {source}: {name} is new ({kind})" for name, kind in now.items() if name not in before),
        *(f"source {source}: {name} is gone (it was {kind})" for name, kind in before.items() if name not in now),
        *(
            f"source {source}: {name} is {kind}, and was {before[name]}"
            for name, kind in now.items()
            if before.get(name, kind) != kind
        ),
    ]
    yield from told[:_SHOWN]
    if len(told) > _SHOWN:
        yield f"source {source}: {len(told) - _SHOWN} columns more have changed"
