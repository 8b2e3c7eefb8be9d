"""Which installation looks after an object. Pure.

Two operators whose namespaces overlap would undo each other's writes for ever. The first one's ids stand in the status;
the other one leaves the object alone, until somebody says by an annotation that it is the other one's now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidemill_api.names import ANNOTATION_INSTALLATION
from tidemill_operator.clients import Object, Store
from tidemill_operator.reading import annotation, status_of


def other_installation(kind: str, manifest: Object, installation: str, store: Store) -> str | None:
    """The id of another installation that looks after the object; None: it is ours, or nobody's yet."""
    claimed = annotation(manifest, ANNOTATION_INSTALLATION)
    holder = claimed if claimed is not None else _holder(kind, manifest, store)
    return holder if holder not in (None, installation) else None


def _holder(kind: str, manifest: Object, store: Store) -> str | None:
    """Whose ids the status shows, or that of what the object needs."""
    status, spec = status_of(manifest), manifest.get("spec") or {}
    namespace = manifest["metadata"].get("namespace", "")
    match kind:
        case "WorkerPool":
            return _first(status.get("taskQueue"))
        case "DataPipeline":
            own, needed, name = _at(status, "schedule", "id"), "WorkerPool", _at(spec, "workerPoolRef", "name")
        case "DataPipelineRun":
            own, needed, name = _at(status, "run", "workflowId"), "DataPipeline", _at(spec, "pipelineRef", "name")
        case _:
            return None
    if own:
        return _first(own)
    found = store.get(needed, namespace, name) if name else None
    if found is None:
        return None
    claimed = annotation(found, ANNOTATION_INSTALLATION)
    return claimed if claimed is not None else _holder(needed, found, store)


def _first(identifier: object) -> str | None:
    """The installation in an id: `<installation>/<namespace>/<name>`."""
    return identifier.partition("/")[0] if isinstance(identifier, str) and identifier else None


def _at(value: Mapping[str, Any], part: str, name: str) -> str | None:
    found = value.get(part)
    return found.get(name) if isinstance(found, Mapping) else None
