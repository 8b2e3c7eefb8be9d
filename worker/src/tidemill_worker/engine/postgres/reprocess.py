"""Processing a run key again when an earlier execution has appended rows: only if they are the rows it would append."""

from __future__ import annotations

from tidemill_api.errors import ReprocessRefused
from tidemill_api.names import content_hash
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_check.stages import stages
from tidemill_worker.engine.bookkeeping import books_of
from tidemill_worker.engine.model import Chunk, Connections, Parameters, RunRef
from tidemill_worker.engine.postgres.errors import typed


def content_of(spec: DataPipelineSpec, parameters: Parameters, chunk: Chunk) -> str:
    """Hash of all that decides which rows a chunk gives: the files, and the parts of the spec that say what is done."""
    chunk = chunk.by_its_rows()
    made_of = [spec.sources, spec.steps, spec.sinks, spec.parameters]
    return content_hash([[[model.to_json() for model in part] for part in made_of], dict(parameters), chunk.to_json()])


async def refuse_other_rows(
    spec: DataPipelineSpec, parameters: Parameters, run: RunRef, chunks: tuple[Chunk, ...], connections: Connections
) -> None:
    """Raises ReprocessRefused if an Append sink holds rows of this run key that this plan doesn't give.

    Not of files: those of an earlier execution give way to this one's.
    """
    planned = {chunk.index: content_of(spec, parameters, chunk) for chunk in chunks}
    loaded = {name for number in {chunk.stage for chunk in chunks} for name in stages(spec)[number].sinks}
    for sink in spec.sinks:
        if sink.files is not None or sink.write_disposition != "Append" or sink.name not in loaded:
            continue
        books = await books_of(sink, connections)
        pool = books.pool
        with typed(sink.name, books.connection):
            rows = await pool.fetch(
                "SELECT DISTINCT chunk, content FROM tidemill.ledger l WHERE uid = $1 AND run_key = $2 AND sink = "
                "$3 AND execution < $4 AND (NOT $5 OR EXISTS (SELECT FROM tidemill.published p WHERE p.uid = l.uid "
                "AND p.run_key = l.run_key AND p.sink = l.sink AND p.execution = l.execution))",
                run.uid,
                run.run_key,
                sink.name,
                run.execution,
                sink.at_end,
            )
        if any(planned.get(row["chunk"]) != row["content"] for row in rows):
            raise ReprocessRefused(
                f"sink {sink.name}: an earlier execution of run {run.run_key} has appended rows to "
                f"{sink.target}, and the "
                "files, the parameters or the pipeline have changed since: loading again would double or mix rows. "
                "Remove that run's rows and start a run of its own"
            )
