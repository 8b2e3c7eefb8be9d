"""The NetworkPolicy of a pool, evaluated: what a worker may connect to."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any

import pytest

from tidemill_api.v1alpha1 import WorkerPoolSpec
from tidemill_api.v1alpha1.workerpool import Egress
from tidemill_check.verdict import check_pool
from tidemill_operator.pool.network import NAMESPACE_NAME, network_policy

MINE = {NAMESPACE_NAME: "travel"}


@dataclass(frozen=True)
class To:
    """Something to connect to: an address outside of the cluster, or a pod."""

    port: int
    ip: str | None = None
    namespace: dict[str, str] = field(default_factory=lambda: dict(MINE))
    pod: dict[str, str] = field(default_factory=dict)
    protocol: str = "TCP"


def allowed(policy: dict[str, Any], to: To) -> bool:
    """What the API's documentation says that a plugin does."""
    return any(_by(rule, to) for rule in policy["egress"])


def _by(rule: dict[str, Any], to: To) -> bool:
    ports = rule.get("ports")
    if ports and not any((each["protocol"], each["port"]) == (to.protocol, to.port) for each in ports):
        return False
    return "to" not in rule or any(_peer(peer, to) for peer in rule["to"])


def _peer(peer: dict[str, Any], to: To) -> bool:
    if "ipBlock" in peer:
        if to.ip is None:
            return False
        address = ipaddress.ip_address(to.ip)
        block = peer["ipBlock"]
        return address in ipaddress.ip_network(block["cidr"]) and not any(
            address in ipaddress.ip_network(each) for each in block.get("except", ())
        )
    if to.ip is not None:
        return False
    namespaces = peer.get("namespaceSelector")
    if not _chooses({"matchLabels": MINE} if namespaces is None else namespaces, to.namespace):
        return False
    return _chooses(peer.get("podSelector", {}), to.pod)


def _chooses(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    wished: dict[str, str] = selector.get("matchLabels", {})
    return wished.items() <= labels.items()


TEMPORAL = {NAMESPACE_NAME: "temporal"}
DB = {NAMESPACE_NAME: "databases", "team": "db"}
LISTED = {
    "cidrs": ["10.20.0.0/16", "2001:db8::/32"],
    "pods": [
        {"namespaces": {"matchLabels": {"team": "db"}}, "pods": {"matchLabels": {"app": "pg"}}, "ports": [5432]},
        {"pods": {"matchLabels": {"app": "redis"}}},
    ],
}
SERVICE = "frontend.temporal.svc.cluster.local:7233"
CASES: dict[str, tuple[dict[str, Any] | None, str, To, bool]] = {
    "not given: public": (None, SERVICE, To(443, "203.0.113.7"), True),
    "not given: private": (None, SERVICE, To(5432, "10.1.2.3"), True),
    "not given: a pod anywhere": (None, SERVICE, To(5432, namespace=DB), True),
    "not given: metadata": (None, SERVICE, To(80, "169.254.169.254"), False),
    "not given: metadata of Azure": (None, SERVICE, To(80, "168.63.129.16"), False),
    "not given: metadata by IPv6": (None, SERVICE, To(80, "fd00:ec2::254"), False),
    "not given: link-local IPv6": (None, SERVICE, To(80, "fe80::1"), False),
    "a resolver on the node": (None, SERVICE, To(53, "169.254.20.10", protocol="UDP"), True),
    "given: DNS": ({}, SERVICE, To(53, namespace=TEMPORAL, protocol="UDP"), True),
    "given: DNS by TCP": ({}, SERVICE, To(53, "10.0.0.10"), True),
    "given, nothing listed": ({}, SERVICE, To(443, "203.0.113.7"), False),
    "given: Temporal": ({}, SERVICE, To(7233, namespace=TEMPORAL), True),
    "given: another port there": ({}, SERVICE, To(5432, namespace=TEMPORAL), False),
    "given: a Service's own port": ({}, "frontend.temporal.svc:80", To(80, namespace=TEMPORAL), True),
    "given: the frontend's behind it": ({}, "frontend.temporal.svc:80", To(7233, namespace=TEMPORAL), True),
    "given: another port behind it": ({}, "frontend.temporal.svc:80", To(443, namespace=TEMPORAL), False),
    "given: another namespace": ({}, SERVICE, To(7233, namespace=DB), False),
    "listed address": (LISTED, SERVICE, To(5432, "10.20.30.40"), True),
    "listed IPv6": (LISTED, SERVICE, To(5432, "2001:db8::7"), True),
    "unlisted private": (LISTED, SERVICE, To(5432, "10.21.0.1"), False),
    "unlisted metadata": (LISTED, SERVICE, To(80, "169.254.169.254"), False),
    "listed metadata": ({"cidrs": ["169.254.169.254/32"]}, SERVICE, To(80, "169.254.169.254"), True),
    "listed metadata's range": ({"cidrs": ["169.254.0.0/16"]}, SERVICE, To(80, "169.254.169.254"), True),
    "everything listed": ({"cidrs": ["0.0.0.0/0"]}, SERVICE, To(443, "203.0.113.7"), True),
    "everything listed: metadata": ({"cidrs": ["0.0.0.0/0"]}, SERVICE, To(80, "169.254.169.254"), False),
    "everything listed, and metadata too": (
        {"cidrs": ["0.0.0.0/0", "169.254.169.254/32"]},
        SERVICE,
        To(80, "169.254.169.254"),
        True,
    ),
    "half of everything": ({"cidrs": ["128.0.0.0/1"]}, SERVICE, To(80, "169.254.169.254"), False),
    "half of everything: metadata of Azure": ({"cidrs": ["128.0.0.0/1"]}, SERVICE, To(80, "168.63.129.16"), False),
    "everything by IPv6": ({"cidrs": ["::/0"]}, SERVICE, To(443, "2001:db8::7"), True),
    "everything by IPv6: link-local": ({"cidrs": ["::/0"]}, SERVICE, To(80, "fe80::1"), False),
    "local by IPv6: metadata of AWS": ({"cidrs": ["fc00::/7"]}, SERVICE, To(80, "fd00:ec2::254"), False),
    "link-local by IPv6, listed": ({"cidrs": ["fe80::/10"]}, SERVICE, To(80, "fe80::1"), True),
    "listed pod": (LISTED, SERVICE, To(5432, namespace=DB, pod={"app": "pg"}), True),
    "another port of it": (LISTED, SERVICE, To(22, namespace=DB, pod={"app": "pg"}), False),
    "another pod there": (LISTED, SERVICE, To(5432, namespace=DB, pod={"app": "x"}), False),
    "a pod here": (LISTED, SERVICE, To(6379, pod={"app": "redis"}), True),
    "such a pod elsewhere": (LISTED, SERVICE, To(6379, namespace=DB, pod={"app": "redis"}), False),
    "Temporal by address": ({}, "192.0.2.5:7233", To(7233, "192.0.2.5"), True),
    "its neighbour": ({}, "192.0.2.5:7233", To(7233, "192.0.2.6"), False),
    "another port of Temporal": ({}, "192.0.2.5:7233", To(7234, "192.0.2.5"), False),
    "Temporal by IPv6": ({}, "[2001:db8::5]:7233", To(7233, "2001:db8::5"), True),
    "Temporal by a name outside": ({}, "ns.abc.tmprl.cloud:7233", To(7233, "203.0.113.9"), True),
    "that name, private": ({}, "ns.abc.tmprl.cloud:7233", To(7233, "10.3.3.3"), True),
    "that name, metadata": ({}, "ns.abc.tmprl.cloud:80", To(80, "169.254.169.254"), False),
    "that name, another port": ({}, "ns.abc.tmprl.cloud:7233", To(443, "203.0.113.9"), False),
    "Temporal in this namespace": ({}, "temporal:7233", To(7233, pod={"app": "t"}), True),
    "another port in this namespace": ({}, "temporal:7233", To(6379, pod={"app": "redis"}), False),
    "not in others": ({}, "temporal:7233", To(7233, namespace=DB), False),
    "two labels: a Service": ({}, "frontend.temporal:7233", To(7233, namespace=TEMPORAL), True),
    "two labels: another port": ({}, "frontend.temporal:7233", To(5432, namespace=TEMPORAL), False),
    "two labels: a name outside": ({}, "example.com:7233", To(7233, "203.0.113.9"), True),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_worker_may_connect_to(name: str) -> None:
    egress, temporal, to, expected = CASES[name]
    declared = Egress.model_validate(egress) if egress is not None else None

    assert allowed(network_policy({"a": "b"}, declared, temporal, 9464), to) == expected


def test_only_health_and_figures_can_be_asked_for() -> None:
    policy = network_policy({"tidemill.dev/pool": "etl"}, None, SERVICE, 9464)

    assert policy["podSelector"] == {"matchLabels": {"tidemill.dev/pool": "etl"}}
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [{"ports": [{"protocol": "TCP", "port": 9464}]}]


@pytest.mark.parametrize(
    ("cidr", "words"),
    [
        ("10.20.0.0/16", None),
        ("192.0.2.7/32", None),
        ("2001:db8::/32", None),
        ("0.0.0.0/0", None),
        ("10.20.0.1/16", "write 10.20.0.0/16"),
        ("10.20.0.0/33", "is no CIDR"),
        ("10.20/16", "is no CIDR"),
    ],
)
def test_cidrs(cidr: str, words: str | None) -> None:
    dsn = {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}
    spec = WorkerPoolSpec.model_validate(
        {
            "connections": [{"name": "warehouse", "postgres": {"dsn": dsn}}],
            "metastore": {"connection": "warehouse"},
            "egress": {"cidrs": ["10.0.0.0/8", cidr]},
        }
    )

    found = [str(problem) for problem in check_pool(spec)]

    assert (found == []) == (words is None)
    assert words is None or (words in found[0] and found[0].startswith("spec.egress.cidrs[1]: "))
