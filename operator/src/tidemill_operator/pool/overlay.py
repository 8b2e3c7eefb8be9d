"""A pod template of the user's laid over ours. Pure.

- Maps are merged; a null takes the field away.
- Lists whose items have a key of their own (containers, volumes, env, ... by `name`; ports by `containerPort`; mounts
  by `mountPath`) are merged item by item: one of the same key is laid over ours, others are added behind.
- All other lists, and all other values, replace ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "hostAliases": "ip",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
}
"""By which field the items of a list are told apart, as the API server does."""


def overlay(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """`theirs` laid over `ours`; neither is changed."""
    merged = dict(ours)
    for name, value in theirs.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _laid(name, merged.get(name), value)
    return merged


def _laid(name: str, ours: Any, theirs: Any) -> Any:
    if isinstance(theirs, Mapping):
        return overlay(ours if isinstance(ours, Mapping) else {}, theirs)
    key = _KEYS.get(name)
    if key is not None and isinstance(ours, list) and _has_keys(ours, key) and _has_keys(theirs, key):
        return _merged(ours, theirs, key)
    return theirs


def _has_keys(items: Any, key: str) -> bool:
    return isinstance(items, Sequence) and all(isinstance(item, Mapping) and key in item for item in items)


def _merged(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    laid: dict[Any, Mapping[str, Any]] = {item[key]: item for item in ours}
    for item in theirs:
        laid[item[key]] = overlay(laid.get(item[key], {}), item)
    return list(laid.values())
