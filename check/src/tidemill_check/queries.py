"""Queries that stand in ConfigMaps: which a pipeline names, and its spec with their texts in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tidemill_api import conditions
from tidemill_api.v1alpha1.datapipeline import DataPipelineSpec
from tidemill_check.problem import Problem, suggestion

Ref = tuple[str, str]
"""Name of a ConfigMap of the pipeline's namespace, and a key of its `data`."""


def query_refs(spec: Mapping[str, Any]) -> tuple[Ref, ...]:
    """The keys of ConfigMaps that the steps of a spec (as JSON) take their queries from, each once."""
    return tuple(dict.fromkeys(ref for step in _steps(spec) if (ref := _ref(step)) is not None))


def with_queries(spec: Mapping[str, Any], texts: Mapping[Ref, str]) -> dict[str, Any]:
    """The spec (as JSON) with the texts as its queries; a reference whose text isn't known stays as it is."""
    if not query_refs(spec):
        return dict(spec)
    steps = [_with_query(step, texts) for step in spec["steps"]]
    return {**spec, "steps": steps}


def queries_missing(spec: DataPipelineSpec, known: Mapping[str, Mapping[str, object]]) -> Iterator[Problem]:
    """The references that are left in a spec. `known` has the data of the ConfigMaps that are there, by name."""
    for place, step in enumerate(spec.steps):
        if step.sql is None or step.sql.query_from is None:
            continue
        ref = step.sql.query_from.config_map_key_ref
        field = f"spec.steps[{place}].sql.queryFrom.configMapKeyRef"
        if ref.name not in known:
            yield _waits(f"{field}.name", f"there is no ConfigMap {ref.name} in this namespace (yet)")
        elif ref.key not in known[ref.name]:
            others = suggestion(ref.key, known[ref.name])
            yield _waits(f"{field}.key", f"the ConfigMap {ref.name} has no key {ref.key} in its data (yet){others}")


def _waits(field: str, message: str) -> Problem:
    return Problem(field, conditions.WAITING_FOR_CONFIG_MAP, message, terminal=False)


def _steps(spec: Mapping[str, Any]) -> list[Any]:
    steps = spec.get("steps")
    return steps if isinstance(steps, list) else []


def _ref(step: Any) -> Ref | None:
    """What a step refers to, if it is written so that it can be told."""
    at = step
    for name in ("sql", "queryFrom", "configMapKeyRef"):
        at = at.get(name) if isinstance(at, Mapping) else None
    if not isinstance(at, Mapping) or not isinstance(at.get("name"), str) or not isinstance(at.get("key"), str):
        return None
    return at["name"], at["key"]


def _with_query(step: Any, texts: Mapping[Ref, str]) -> Any:
    ref = _ref(step)
    if ref is None or ref not in texts or step["sql"].get("query") is not None:
        return step
    return {**step, "sql": {"query": texts[ref]}}
