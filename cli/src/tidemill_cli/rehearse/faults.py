"""Errors of the engine with the place in the manifest that they are about."""

from __future__ import annotations

from tidemill_api.errors import PythonFailed, SourceMissing, SpecError, TidemillError
from tidemill_api.v1alpha1 import DataPipeline
from tidemill_api.v1alpha1.datapipeline import DataPipelineSpec
from tidemill_cli.lint.finding import Finding
from tidemill_cli.manifests import Manifest
from tidemill_worker.engine.rehearsal import NodeFailed


def finding(pipeline: Manifest[DataPipeline], error: NodeFailed | SpecError) -> Finding:
    """The error as lint would say it: file, line, field."""
    cause = error.error if isinstance(error, NodeFailed) else error
    node = error.node if isinstance(error, NodeFailed) else ""
    return pipeline.place.finding(_field(pipeline.object.spec, node, cause), message_of(cause), reason=cause.type)


def message_of(error: TidemillError) -> str:
    """The sentence without the field's path, and what an author's function said of it: here it is his to see."""
    if isinstance(error, PythonFailed) and error.detail:
        return f"{error} ({error.detail})"
    return error.message if isinstance(error, SpecError) else str(error)


def _field(spec: DataPipelineSpec, node: str, error: TidemillError) -> str:
    if isinstance(error, SpecError):
        return error.field
    for place, source in enumerate(spec.sources):
        if source.name == node:
            return f"spec.sources[{place}]{'.files.path' if isinstance(error, SourceMissing) else ''}"
    for place, step in enumerate(spec.steps):
        if step.name == node:
            return f"spec.steps[{place}]"
    return next((f"spec.sinks[{place}]" for place, sink in enumerate(spec.sinks) if sink.name == node), "spec")
