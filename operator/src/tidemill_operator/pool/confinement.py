"""The confinement of a pool's containers: ours, and those that a template adds. Pure.

What a template says of a container wins, so a platform that wants to hold it judges what is said; what isn't said is
restricted here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

RESTRICTED: Final[Mapping[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""A container's security context, within Pod Security's restricted profile."""


def with_room_for_others(pod: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """Our pod template, with a restricted context for each container that the user's adds: what it is laid over.

    Containers that aren't told apart by their names are left to the API server, which says what is wrong with them.
    """
    ours, theirs = pod["spec"], template.get("spec")
    if not isinstance(theirs, Mapping):
        return dict(pod)
    room = {
        field: [*ours.get(field, ()), *_added(ours.get(field, ()), theirs[field])]
        for field in ("containers", "initContainers")
        if _are_named(theirs.get(field))
    }
    return {**pod, "spec": {**ours, **room}}


def _are_named(containers: Any) -> bool:
    return isinstance(containers, Sequence) and all(isinstance(each, Mapping) and "name" in each for each in containers)


def _added(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    known = {each["name"] for each in ours}
    for each in theirs:
        if each["name"] not in known:
            yield {"name": each["name"], "securityContext": _context(each.get("securityContext"))}


def _context(said: Any) -> dict[str, Any]:
    """No server takes a privileged container that can't escalate."""
    privileged = isinstance(said, Mapping) and said.get("privileged") is True
    return {
        name: value for name, value in RESTRICTED.items() if not (privileged and name == "allowPrivilegeEscalation")
    }
