"""Manifests as models. What the API server let through can still be wrong for us: then it reads as problems."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

from pydantic import ValidationError

from tidemill_api.conditions import INVALID_SPEC
from tidemill_api.v1alpha1 import Model, field_path
from tidemill_check.problem import Problem
from tidemill_operator.clients import Object

Spec = TypeVar("Spec", bound=Model)


def read_spec(model: type[Spec], manifest: Object) -> Spec | tuple[Problem, ...]:
    """The spec of a manifest, or all that is wrong with it."""
    try:
        return model.model_validate(manifest.get("spec") or {})
    except ValidationError as error:
        return tuple(Problem(field_path(("spec", *each["loc"])), INVALID_SPEC, each["msg"]) for each in error.errors())


Value = TypeVar("Value")


class Memory(Generic[Value]):
    """The last value of a pure function for each object; a new version of the object replaces the old one's."""

    LONGEST: Final = 20_000

    def __init__(self) -> None:
        self._values: OrderedDict[str, tuple[object, Value]] = OrderedDict()

    def get(self, uid: str, version: object, make: Callable[[], Value]) -> Value:
        """The value for this version of the object, made only if the last one was for another version."""
        known = self._values.get(uid)
        if known is None or known[0] != version:
            known = self._values[uid] = version, make()
        self._values.move_to_end(uid)
        if len(self._values) > self.LONGEST:
            self._values.popitem(last=False)
        return known[1]


def annotation(manifest: Object, name: str) -> str | None:
    """The value of an annotation; None if it isn't there."""
    value = (manifest["metadata"].get("annotations") or {}).get(name)
    return value if isinstance(value, str) else None


def is_going(manifest: Object) -> bool:
    """Whether the object is being deleted."""
    return bool(manifest["metadata"].get("deletionTimestamp"))


def status_of(manifest: Object) -> Object:
    """The status as last written; empty before the first time."""
    return manifest.get("status") or {}


def predecessors(manifest: Object) -> tuple[str, ...]:
    """Names of the pipelines that a DataPipeline follows; robust against any JSON."""
    spec = manifest.get("spec")
    schedule = spec.get("schedule") if isinstance(spec, Mapping) else None
    after = schedule.get("after") if isinstance(schedule, Mapping) else None
    names = (name_at(each, "pipelineRef") for each in after) if isinstance(after, list | tuple) else ()
    return tuple(name for name in names if name)


def name_at(value: object, *path: str) -> str | None:
    """The name within a reference in any JSON, by the path to it; None: there is none."""
    for part in (*path, "name"):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value if isinstance(value, str) else None
