"""The NetworkPolicy of a pool: where its workers may connect to, and who may connect to them. Pure.

With `spec.egress` that is DNS, the pool's Temporal and what is listed, nothing else. Without, it is everything but
link-local addresses and clouds' metadata services: what a pool needs stands in Secrets that the operator doesn't read,
and nearly every database has a private address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from tidemill_api.v1alpha1.workerpool import Egress, PodPeer

NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""A label that every namespace has."""
_ALL: Final[Mapping[str, tuple[str, ...]]] = {
    "0.0.0.0/0": ("169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32"),
    "::/0": ("fe80::/10", "fd00:ec2::254/128"),
}
"""All addresses, less link-local ones and the metadata services that are elsewhere (Azure, Alibaba, AWS by IPv6)."""

Rule = dict[str, Any]


def network_policy(selector: Mapping[str, str], egress: Egress | None, temporal: str, health_port: int) -> Rule:
    """The policy's spec. `temporal` is the address of the pool's Temporal, host:port."""
    return {
        "podSelector": {"matchLabels": dict(selector)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [_port(health_port)]}],
        "egress": [_dns(), *_temporal(temporal), *(_listed(egress) if egress is not None else [_anywhere()])],
    }


def _dns() -> Rule:
    """Wherever the resolver is: in the cluster, on the node, or on a link-local address of the node."""
    return {"ports": [_port(53, "UDP"), _port(53)]}


def _anywhere() -> Rule:
    # Some network plugins don't take pods for addresses.
    return {"to": [*_addresses(), {"namespaceSelector": {}}]}


def _temporal(address: str) -> list[Rule]:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    ports = [_port(int(port))]
    try:
        return [{"to": [{"ipBlock": {"cidr": str(ipaddress.ip_network(host))}}], "ports": ports}]
    except ValueError:
        pass
    parts = host.rstrip(".").split(".")
    if len(parts) == 1:
        return [{"to": [{"podSelector": {}}]}]
    # A Service's port needn't be its pods', which is the one that counts.
    pods: Rule = {"to": [{"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: parts[1]}}}]}
    if len(parts) > 2 and parts[2] == "svc":
        return [pods]
    outside: Rule = {"to": _addresses(), "ports": ports}
    return [outside, pods] if len(parts) == 2 else [outside]


def _listed(egress: Egress) -> list[Rule]:
    blocks = [{"ipBlock": {"cidr": cidr}} for cidr in egress.cidrs]
    return [*([{"to": blocks}] if blocks else []), *map(_peer, egress.pods)]


def _peer(peer: PodPeer) -> Rule:
    to: Rule = {"podSelector": _labels(peer.pods.match_labels)}
    if peer.namespaces is not None:
        to["namespaceSelector"] = _labels(peer.namespaces.match_labels)
    return {"to": [to]} | ({"ports": [_port(port) for port in peer.ports]} if peer.ports else {})


def _labels(labels: Mapping[str, str]) -> Rule:
    return {"matchLabels": dict(labels)} if labels else {}


def _addresses() -> list[Rule]:
    return [{"ipBlock": {"cidr": cidr, "except": list(but)}} for cidr, but in _ALL.items()]


def _port(number: int, protocol: str = "TCP") -> Rule:
    return {"protocol": protocol, "port": number}
