"""How the objects of a namespace stand, what is wrong first. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from tidemill_cli.cluster.kubectl import Object

WRONG: Final = ("Stalled", "Failing", "Unseen", "Waiting", "Deleting")
"""States that somebody should look at, the worst first."""
_ORDER: Final = (*WRONG, "Paused", "Suspended", "Running", "Well")


@dataclass(frozen=True, slots=True)
class Standing:
    """How one object stands."""

    namespace: str
    kind: str
    name: str
    state: str
    """Stalled (needs an edit), Failing (its last run failed), Unseen (no operator has looked at it), Waiting,
    Deleting, Paused, Suspended, Running or Well."""
    reason: str
    message: str
    last_run: dict[str, Any] | None = None
    next_run: str | None = None
    workers: str | None = None
    """Of a pool: `ready/wished`."""

    @property
    def wrong(self) -> bool:
        """Whether somebody should look at it."""
        return self.state in WRONG

    def to_json(self) -> dict[str, Any]:
        """For programs; what isn't there is left out."""
        names = {"last_run": "lastRun", "next_run": "nextRun"}
        return {names.get(name, name): value for name, value in asdict(self).items() if value not in (None, "")}


def standings(objects: Iterable[Object]) -> list[Standing]:
    """All of them, the worst first."""
    found = [standing(each) for each in objects]
    return sorted(found, key=lambda each: (_ORDER.index(each.state), each.namespace, each.kind, each.name))


def standing(manifest: Object) -> Standing:
    """How a pipeline, a pool or a connection stands."""
    metadata, status, spec = manifest["metadata"], manifest.get("status") or {}, manifest["spec"]
    state, reason, message = _state(manifest)
    pool = manifest["kind"] == "WorkerPool"
    return Standing(
        namespace=metadata.get("namespace", ""),
        kind=manifest["kind"],
        name=metadata["name"],
        state=state,
        reason=reason,
        message=message,
        last_run=status.get("lastRun"),
        next_run=next(iter(status.get("nextRuns") or ()), None),
        workers=f"{status.get('readyReplicas', 0)}/{_wished(spec, status)}" if pool else None,
    )


def _wished(spec: Object, status: Object) -> object:
    """Workers that a pool is to have: what the operator says, for scaling may have another say than the spec."""
    return status.get("desiredReplicas", spec.get("replicas", 1))


def condition(manifest: Object, of: str) -> Object:
    """A condition, or an empty one."""
    told = (manifest.get("status") or {}).get("conditions") or ()
    return next((each for each in told if each["type"] == of), {})


def _state(manifest: Object) -> tuple[str, str, str]:
    """State, reason and message."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    ready = condition(manifest, "Ready")
    reason, message = ready.get("reason", ""), ready.get("message", "")
    if metadata.get("deletionTimestamp"):
        return "Deleting", reason, message
    seen, wished = status.get("observedGeneration"), metadata.get("generation")
    if not ready or (seen is not None and wished is not None and seen < wished):
        return "Unseen", "", "no operator has looked at it as it is now: does one run, and for this namespace?"
    if condition(manifest, "Stalled").get("status") == "True":
        return "Stalled", reason, message
    succeeding, paused = condition(manifest, "Succeeding"), condition(manifest, "Paused")
    if succeeding.get("status") == "False":
        return "Failing", succeeding["reason"], succeeding.get("message", "")
    if ready["status"] != "True":
        return "Waiting", reason, message
    if paused.get("status") == "True":
        return "Paused", paused["reason"], paused.get("message", "")
    if running := status.get("activeRuns"):
        return "Running", reason, f"open: {', '.join(run['key'] for run in running[:3])}"
    return ("Suspended" if reason == "Suspended" else "Well"), reason, message


def summary(found: Sequence[Standing]) -> str:
    """All in one line, such as `3 pipelines: 1 stalled, 2 well; 1 pool: 1 well`."""
    parts = []
    for kind, one, many in (
        ("DataPipeline", "pipeline", "pipelines"),
        ("WorkerPool", "pool", "pools"),
        ("TemporalConnection", "connection", "connections"),
    ):
        states = Counter(each.state for each in found if each.kind == kind)
        if total := states.total():
            told = ", ".join(f"{states[state]} {state.lower()}" for state in _ORDER if states[state])
            parts.append(f"{total} {one if total == 1 else many}: {told}")
    return "; ".join(parts) or "nothing of Tidemill here"
