"""The NetworkPolicy of a pool: where its workers may connect to, and who may connect to them. Pure.

With `spec.egress` that is DNS, the pool's Temporal and what is listed, nothing else. Without, it is everything but
link-local addresses and clouds' metadata services: what a pool needs stands in Secrets that the operator doesn't read,
and nearly every database has a private address. These are left out of wide ranges that are listed, too: whoever means
them lists them themselves.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from tidemill_api.v1alpha1.workerpool import Egress, PodPeer

NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""A label that every namespace has."""
FRONTEND_PORT: Final = 7233
"""Where Temporal's frontend listens in its pods, whatever the port of a Service before them."""
_ALL: Final = ("0.0.0.0/0", "::/0")
_METADATA: Final = (
    "169.254.0.0/16",
    "168.63.129.16/32",
    "100.100.100.200/32",
    "fe80::/10",
    "fd00:ec2::254/128",
)
"""Link-local addresses, and the metadata services that are elsewhere (Azure, Alibaba, AWS by IPv6)."""

Rule = dict[str, Any]
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


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
    # A Service's port needn't be its pods', which is the one that counts: the same, or Temporal's own.
    behind = [_port(each) for each in sorted({int(port), FRONTEND_PORT})]
    if len(parts) == 1:
        return [{"to": [{"podSelector": {}}], "ports": behind}]
    pods: Rule = {"to": [{"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: parts[1]}}}], "ports": behind}
    if len(parts) > 2 and parts[2] == "svc":
        return [pods]
    outside: Rule = {"to": _addresses(), "ports": ports}
    return [outside, pods] if len(parts) == 2 else [outside]


def _listed(egress: Egress) -> list[Rule]:
    blocks = [_block(cidr) for cidr in egress.cidrs]
    return [*([{"to": blocks}] if blocks else []), *map(_peer, egress.pods)]


def _peer(peer: PodPeer) -> Rule:
    to: Rule = {"podSelector": _labels(peer.pods.match_labels)}
    if peer.namespaces is not None:
        to["namespaceSelector"] = _labels(peer.namespaces.match_labels)
    return {"to": [to]} | ({"ports": [_port(port) for port in peer.ports]} if peer.ports else {})


def _labels(labels: Mapping[str, str]) -> Rule:
    return {"matchLabels": dict(labels)} if labels else {}


def _addresses() -> list[Rule]:
    return [_block(cidr) for cidr in _ALL]


def _block(cidr: str) -> Rule:
    """A range of addresses, less those of metadata that it contains; one that is these, or lies in them, means them."""
    network = ipaddress.ip_network(cidr)
    but = [each for each in _METADATA if _contains(network, ipaddress.ip_network(each))]
    return {"ipBlock": {"cidr": cidr} | ({"except": but} if but else {})}


def _contains(network: _Network, part: _Network) -> bool:
    return network.version == part.version and network.prefixlen < part.prefixlen and network.overlaps(part)


def _port(number: int, protocol: str = "TCP") -> Rule:
    return {"protocol": protocol, "port": number}
