"""What the operator asks of the API server: the one table from which the chart's RBAC rules are made.

A kind that the operator starts to use, or a new verb for one, is a line here, and `make generate` brings it into the
chart. A test runs the operator's whole life under exactly these rules: it fails for a right that is missing here, and
for one that nothing uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from tidemill_api.names import GROUP

Verb = Literal["get", "list", "watch", "create", "update", "patch", "delete"]
Named = Literal["any", "lease", "encryption", "temporal"]
"""Which objects of a kind: any; or only those whose names the chart knows: the leader's Lease, the Secret with the key
ring that goes with the pools, the Secrets of TemporalConnections (none, unless the chart is told their names)."""


@dataclass(frozen=True, slots=True)
class Right:
    """One rule of RBAC: what may be done with which objects, and why."""

    group: str
    """API group; empty for the core."""
    resource: str
    """Plural, with its subresource if it has one: `datapipelines/status`."""
    verbs: tuple[Verb, ...]
    why: str
    named: Named = "any"
    asked_by: Literal["request", "admission"] = "request"
    """Who asks for it: a request of ours, or OwnerReferencesPermissionEnforcement (as on OpenShift) about one."""


def _ours(plural: str) -> tuple[Right, ...]:
    """What each kind of ours needs: its spec is read and never written."""
    return (
        Right(GROUP, plural, ("get", "list", "watch"), "read what is wished"),
        Right(GROUP, plural, ("patch",), "finalizer, and the owner of a run by hand"),
        Right(GROUP, f"{plural}/status", ("patch",), "tell what was seen"),
    )


_OWNERS: Final = (
    Right(
        GROUP, "workerpools/finalizers", ("update",), "let children hold up their pool's deletion", "any", "admission"
    ),
    Right(GROUP, "datapipelineruns", ("delete",), "give runs by hand their pipeline as owner", "any", "admission"),
    Right("", "secrets", ("delete",), "give the key ring its pools as owners", "encryption", "admission"),
)
"""Who says that an object goes with another must have the right to do away with it."""

WATCHED: Final[tuple[Right, ...]] = (
    *_ours("datapipelines"),
    *_ours("workerpools"),
    *_ours("datapipelineruns"),
    *_ours("temporalconnections"),
    *_OWNERS,
    Right("apps", "deployments", ("get", "list", "watch", "create", "patch"), "the workers of a pool"),
    Right(
        "",
        "configmaps",
        ("get", "list", "create", "patch"),
        "the workers' configuration; and queries, each by its name",
    ),
    Right("", "serviceaccounts", ("get", "list", "create", "patch"), "the workers' identity"),
    Right("networking.k8s.io", "networkpolicies", ("get", "list", "create", "patch"), "where workers may connect to"),
    Right("", "secrets", ("get",), "credentials of a TemporalConnection", "temporal"),
    Right("", "secrets", ("get", "create", "patch"), "the key ring that workers need", "encryption"),
    Right("", "pods", ("list",), "see why a pool's workers aren't ready"),
    Right("", "pods", ("patch",), "say which of a pool's workers go first when there are to be fewer"),
    Right("", "namespaces", ("get",), "see whether one is being deleted, when a deletion can't reach Temporal"),
    Right("events.k8s.io", "events", ("list",), "see why a pool's workers can't start"),
    Right("events.k8s.io", "events", ("create",), "tell what happened"),
)
"""In each namespace that is looked after."""

OWN: Final[tuple[Right, ...]] = (
    Right("coordination.k8s.io", "leases", ("create",), "the leader's Lease, the first time"),
    Right("coordination.k8s.io", "leases", ("get", "patch"), "take and renew it", "lease"),
)
"""In the operator's own namespace."""
