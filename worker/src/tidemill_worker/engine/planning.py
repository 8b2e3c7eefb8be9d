"""Which files there are, what their columns are, and where they are cut into chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, Protocol, assert_never

from tidemill_api.errors import SourceMissing
from tidemill_api.v1alpha1 import DataPipelineSpec, parse_bytes
from tidemill_api.v1alpha1.datapipeline import CSV, JSON, JSONLines, Parquet, Source
from tidemill_check.parameters import bind_parameters
from tidemill_check.paths import rendered
from tidemill_check.stages import stages
from tidemill_worker.engine import files
from tidemill_worker.engine.forms import files_at
from tidemill_worker.engine.incremental import Known, KnownFiles, KnownRows, KnownState
from tidemill_worker.engine.model import Chunk, Connections, Pages, Parameters, Part, Place, RunRef
from tidemill_worker.engine.places import places_of
from tidemill_worker.engine.planning_api import APIPlanner, FunctionPlanner
from tidemill_worker.engine.planning_csv import CSVPlanner
from tidemill_worker.engine.planning_json import JSONPlanner
from tidemill_worker.engine.planning_parquet import ParquetPlanner
from tidemill_worker.engine.planning_tables import TablePlanner
from tidemill_worker.engine.postgres.reprocess import refuse_other_rows
from tidemill_worker.files import FileRef, Files

_NOTHING: Final[Mapping[str, Known]] = MappingProxyType({})


async def plan(
    spec: DataPipelineSpec,
    parameters: Parameters,
    run: RunRef,
    connections: Connections,
    known: Mapping[str, Known] | None = None,
) -> tuple[Chunk, ...]:
    """See `engine.plan`."""
    values = bind_parameters(spec, parameters, run.run_time, run.interval_start)
    where = await places_of(spec.sources, connections, values)
    located = rendered(spec, values)
    chunks = await asyncio.to_thread(chunks_of, located, where, known or {})
    if run.execution > 1:
        await refuse_other_rows(spec, parameters, run, chunks, connections)
    return chunks


def chunks_of(
    spec: DataPipelineSpec, where: Mapping[str, Place], known: Mapping[str, Known] = _NOTHING
) -> tuple[Chunk, ...]:
    """The chunks of all stages over sources, from what is there now, but for what is `known` of a source.

    Blocks; raises what `engine.plan` raises of files.
    """
    cut = stages(spec)
    driving = {name for stage in cut for name in (stage.source, *stage.steps)}
    parts: dict[str, tuple[Part, ...]] = {}
    places = {source.name: place for place, source in enumerate(spec.sources)}
    for place, source in enumerate(spec.sources):
        if any(source.name in (stage.source, *stage.broadcast) for stage in cut):
            parts[source.name] = _parts(spec, place, where, known.get(source.name))
    chunks: list[Chunk] = []
    reported: set[str] = set(driving)
    for number, stage in enumerate(cut):
        if stage.wave > 0:
            continue
        broadcast = tuple((name, parts[name]) for name in stage.broadcast if name in parts)
        reports = tuple(name for name in stage.broadcast if name not in reported)
        reported.update(reports)
        for part in _cut(spec, _planner(spec, places[stage.source], where), parts[stage.source]):
            chunks.append(Chunk(len(chunks), number, stage.source, part, broadcast, reports))
            reports = ()
    ahead = {name for stage in cut if stage.wave > 0 for name in stage.broadcast if name in parts}
    if ahead:
        chunks[0] = replace(chunks[0], ahead=tuple((name, parts[name]) for name in parts if name in ahead))
    return tuple(chunks)


def _parts(
    spec: DataPipelineSpec, place: int, where: Mapping[str, Place], known: Known | None = None
) -> tuple[Part, ...]:
    source, planner = spec.sources[place], _planner(spec, place, where)
    if isinstance(planner, TablePlanner) and isinstance(known, KnownRows):
        return planner.new_rows(known)
    if isinstance(planner, FunctionPlanner) and isinstance(known, KnownState):
        planner = replace(planner, state=known.state)
    if isinstance(planner, TablePlanner | APIPlanner | FunctionPlanner):
        return planner.parts(())
    refs = _refs(source, files_at(where[source.name]), known)
    return planner.parts(refs) if refs else ()


def _refs(source: Source, place: Files, known: Known | None) -> tuple[FileRef, ...]:
    """The files to read. Of a source that reads only new ones there may be none."""
    try:
        found = files.find(place, source.in_files)
    except SourceMissing:
        if known is None:
            raise
        return ()
    return tuple(ref for ref in found if not isinstance(known, KnownFiles) or known.is_new(ref))


class Planner(Protocol):
    """Plans the files or the table of one source. Blocks; raises what `engine.plan` raises of files."""

    def parts(self, refs: Sequence[FileRef]) -> tuple[Part, ...]:
        """Each file that has rows, or the first one if none has."""
        ...

    def cut(self, part: Part, most_bytes: int, most_rows: int) -> Iterator[Part]:
        """Ranges of a part, each of no more than that where it can be cut so finely; without gaps."""
        ...


def _planner(spec: DataPipelineSpec, place: int, where: Mapping[str, Place]) -> Planner:
    source = spec.sources[place]
    if source.python is not None:
        return FunctionPlanner(source, source.python)
    reached = where[source.name]
    if source.postgres is not None:
        assert not isinstance(reached, Files | Pages)
        return TablePlanner(source, source.postgres, f"spec.sources[{place}].postgres", reached)
    if source.http is not None:
        return APIPlanner(source, source.http)
    held, field = files_at(reached), f"spec.sources[{place}].files.format"
    match source.in_files.format.chosen:
        case CSV() as csv:
            return CSVPlanner(source, csv, f"{field}.csv", held)
        case JSONLines() | JSON():
            return JSONPlanner(source, held)
        case Parquet():
            return ParquetPlanner(source, held)
        case other:
            assert_never(other)


def _cut(spec: DataPipelineSpec, planner: Planner, parts: Iterable[Part]) -> Iterator[Part]:
    most_bytes, most_rows = parse_bytes(spec.execution.chunk.max_bytes), spec.execution.chunk.max_rows
    for part in parts:
        yield from planner.cut(part, most_bytes, most_rows)


def parts_of(
    spec: DataPipelineSpec, names: Iterable[str], where: Mapping[str, Place]
) -> tuple[tuple[str, tuple[Part, ...]], ...]:
    """The files of sources that are read whole. Blocks; raises what `engine.plan` raises of files."""
    places = {source.name: place for place, source in enumerate(spec.sources)}
    return tuple((name, _parts(spec, places[name], where)) for name in names if name in places)
