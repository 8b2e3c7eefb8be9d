"""Which workers go first: by an annotation of their pods that a ReplicaSet goes by. Pure.

A ReplicaSet lets go of pods that aren't ready before all others, then of those of the least cost. So only pods whose
workers are known to be idle get a cost, and no more workers go than are known to be idle, unready or not there at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tidemill_operator.actions import SetDeletionCost
from tidemill_operator.clients import Object
from tidemill_operator.pool.scaling import Decision
from tidemill_operator.standing import condition

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
_ENDED: Final = ("Failed", "Succeeded")


@dataclass(frozen=True, slots=True)
class Removal:
    """How far the workers can go down, and what comes before."""

    replicas: int
    marks: tuple[SetDeletionCost, ...] = ()


def choose(decision: Decision, replicas: int, pods: Sequence[Object]) -> Removal:
    """What becomes of a decision for fewer workers than `replicas`, given all pods of the pool."""
    if decision.replicas == 0:
        return Removal(0)
    living = [pod for pod in pods if _lives(pod)]
    ready = {pod["metadata"]["name"]: pod for pod in living if _is_ready(pod)}
    idle = [name for name in decision.remove if name in ready]
    elsewhere = max(0, replicas - len(ready))
    going = min(replicas - decision.replicas, elsewhere + len(idle))
    first = {name: place - len(idle) for place, name in enumerate(idle[: max(0, going - elsewhere)])}
    marks = tuple(
        SetDeletionCost(pod["metadata"]["namespace"], pod["metadata"]["name"], pod["metadata"]["uid"], first.get(name))
        for name, pod in sorted(ready.items())
        if _cost(pod) != first.get(name)
    )
    return Removal(replicas - going, marks if going else ())


def _lives(pod: Object) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and (pod.get("status") or {}).get("phase") not in _ENDED


def _is_ready(pod: Object) -> bool:
    told = condition(pod.get("status") or {}, "Ready")
    return told is not None and told.get("status") == "True"


def _cost(pod: Object) -> int | None:
    """Ours, if it has one; others' are theirs, unless they make a pod go first."""
    text = (pod["metadata"].get("annotations") or {}).get(DELETION_COST)
    return int(text) if isinstance(text, str) and text.lstrip("-").isdigit() and int(text) < 0 else None
