"""The plan of a later wave: computations over what has been kept, and chunks of what they have come to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from tidemill_api.names import content_hash
from tidemill_api.v1alpha1 import DataPipelineSpec, parse_bytes
from tidemill_check.stages import Cut, Stage, cut
from tidemill_worker.engine import kept
from tidemill_worker.engine.artifacts import Artifacts, node_folder
from tidemill_worker.engine.model import Chunk, Connections, Given, Parameters, Part, RunRef
from tidemill_worker.engine.postgres.reprocess import refuse_other_rows
from tidemill_worker.engine.work import Computation, Work
from tidemill_worker.files import FileRef


async def plan_wave(
    spec: DataPipelineSpec,
    parameters: Parameters,
    run: RunRef,
    wave: int,
    before: Sequence[Work],
    connections: Connections,
) -> tuple[Work, ...]:
    """See `engine.plan_wave`."""
    store = connections.artifacts()
    found = await asyncio.to_thread(_planned, spec, run, wave, before, store)
    if run.execution > 1:
        chunks = tuple(each for each in found if isinstance(each, Chunk))
        await refuse_other_rows(spec, parameters, run, chunks, connections)
    return found


def _planned(
    spec: DataPipelineSpec, run: RunRef, wave: int, before: Sequence[Work], store: Artifacts
) -> tuple[Work, ...]:
    whole, found = cut(spec), list[Work]()
    lineage = content_hash([each.to_json() for each in before])
    for computation in whole.computations:
        if computation.wave == wave:
            inputs = tuple(given(whole, before, name) for name in computation.inputs)
            found.append(Computation(len(before) + len(found), computation.step, inputs))
    ahead = dict(before[0].ahead) if before and isinstance(before[0], Chunk) else {}
    reported = {name for stage in whole.stages for name in (stage.source, *stage.steps)}
    reported |= {name for each in before if isinstance(each, Chunk) for name in each.reports}
    for number, stage in enumerate(whole.stages):
        if stage.wave == wave:
            broadcast = tuple((name, ahead[name]) for name in stage.broadcast if name in ahead)
            reports = tuple(name for name in stage.broadcast if name in _counted(spec, whole) and name not in reported)
            reported.update(reports)
            answers = tuple(given(whole, before, name) for name in stage.broadcast if name in whole.computed)
            for part in _parts(spec, run, stage, given(whole, before, stage.source), store):
                index = len(before) + len(found)
                found.append(
                    Chunk(index, number, stage.source, part, broadcast, reports, answers=answers, lineage=lineage)
                )
                reports = ()
    return tuple(found)


def _counted(spec: DataPipelineSpec, whole: Cut) -> set[str]:
    """Names of sources and steps that aren't computed."""
    names = {each.name for each in spec.sources} | {each.name for each in spec.steps}
    return names - whole.computed


def given(whole: Cut, before: Sequence[Work], name: str) -> Given:
    """Which pieces of work have kept the rows of `name`."""
    if name in whole.computed:
        places = [each.index for each in before if isinstance(each, Computation) and each.step == name]
    else:
        stage = next(number for number, stage in enumerate(whole.stages) if name in stage.kept)
        places = [each.index for each in before if each.stage == stage]
    return Given(name, min(places), len(places))


def _parts(spec: DataPipelineSpec, run: RunRef, stage: Stage, source: Given, store: Artifacts) -> Iterator[Part]:
    """Ranges of rows of the kept files; at least one, so that a sink without rows is published too."""
    most_rows, most_bytes = spec.execution.chunk.max_rows, parse_bytes(spec.execution.chunk.max_bytes)
    prefix = f"{node_folder(run, stage.source)}/"
    empty = True
    names = kept.whole_files(store, run, source.name, source.first, source.count)
    layout = kept.layout_of(kept.schema_of_file(store, names[0]))
    for name in names:
        for start, end, size in _ranges(kept.groups_of(store, name), most_rows, most_bytes):
            yield Part(FileRef(name.removeprefix(prefix), size, 0), layout, start, end, start + 1, 0)
            empty = False
    if empty:
        yield Part(FileRef(names[0].removeprefix(prefix), 0, 0), layout, 0, 0, 1, 0)


def _ranges(groups: Sequence[tuple[int, int]], most_rows: int, most_bytes: int) -> Iterator[tuple[int, int, int]]:
    """First row, the row after the last one, and bytes: row groups together up to the limits."""
    start = end = size = 0
    for rows, length in groups:
        if end > start and (end + rows - start > most_rows or size + length > most_bytes):
            yield start, end, size
            start, size = end, 0
        end, size = end + rows, size + length
    if end > start:
        yield start, end, size
