"""Whether a run publishes its staged sinks by itself, within the load of its only chunk."""

from __future__ import annotations

from tidemill_api.v1alpha1 import DataPipelineSpec, parse_bytes
from tidemill_check.stages import cut
from tidemill_worker.engine.model import Chunk


def publishes_itself(spec: DataPipelineSpec, chunk: Chunk, chunks_in_run: int) -> bool:
    """One chunk that isn't large, and nothing after it: then it is one transaction.

    A large compressed file commits parts, so it is staged; and so are files, and what is checked before it can be seen.
    """
    at_once = chunks_in_run == 1 and cut(spec).waves == 1 and not spec.checks
    at_once = at_once and all(sink.postgres is not None for sink in spec.sinks)
    return at_once and chunk.bytes <= parse_bytes(spec.execution.chunk.max_bytes)
