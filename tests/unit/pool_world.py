"""A pool as its decisions see it: with children as wished, edited by hand or rolled out; what is planned and told."""

from __future__ import annotations

import copy
from typing import Any

from tests.unit.operator_world import NOW, OURS, SETTINGS, metadata, pool
from tidemill_api.v1alpha1 import WorkerPoolStatus
from tidemill_operator.actions import Action, Outcome
from tidemill_operator.clients import Object, Settings
from tidemill_operator.pool.desire import desire
from tidemill_operator.pool.observe import Observed
from tidemill_operator.pool.plan import plan
from tidemill_operator.pool.report import report


def connection(**spec: Any) -> Object:
    spec = {"address": "elsewhere:7233", "namespace": "travel", **spec}
    return {**OURS, "kind": "TemporalConnection", "metadata": metadata("default", "uid-c"), "spec": spec}


def observed(manifest: Object | None = None, /, **more: Any) -> Observed:
    fields: dict[str, Any] = {
        "temporal_connection": None,
        "connection": None,
        "has_ca": False,
        "trouble": None,
        "children": {},
        "pipelines": (),
    }
    return Observed(manifest or pool(), **{**fields, **more})


def children_of(seen: Observed, settings: Settings = SETTINGS) -> dict[str, Object]:
    return {child["kind"]: copy.deepcopy(child) for child in desire(seen, settings).children}


def made(manifest: Object | None = None, /, **more: Any) -> Observed:
    """A pool whose children are as wished."""
    return observed(manifest, **{"children": children_of(observed(manifest)), **more})


def edited(seen: Observed, kind: str, *path: Any, value: Any) -> Observed:
    """The same, with a field of a child changed by hand."""
    child = copy.deepcopy(seen.children[kind])
    place: Any = child
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return observed(seen.manifest, children={**seen.children, kind: child})


def planned(seen: Observed) -> tuple[Action, ...]:
    return plan(desire(seen, SETTINGS), seen, NOW)


def told(seen: Observed, *outcomes: Outcome) -> Object:
    status = report(desire(seen, SETTINGS), seen, outcomes, NOW)
    assert status is not None
    WorkerPoolStatus.model_validate(status)
    return status


def deployed(seen: Observed, **status: Any) -> Observed:
    deployment = seen.children["Deployment"]
    meta = {**deployment["metadata"], "generation": 2}
    return observed(
        seen.manifest,
        children={**seen.children, "Deployment": {**deployment, "metadata": meta, "status": status}},
    )
