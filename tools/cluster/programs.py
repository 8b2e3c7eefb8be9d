"""What runs in the node, with which arguments.  Pure: paths and addresses are the node's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tools.cluster.layout import API_PORT, INSIDE_PROGRAMS, INSIDE_STATE, NODE, NODE_ADDRESS, SERVICES

ETC = INSIDE_STATE / "etc"
PKI = INSIDE_STATE / "pki"
USERS = {
    "kube-controller-manager": ("system:kube-controller-manager", ()),
    "kube-scheduler": ("system:kube-scheduler", ()),
    "kube-proxy": ("system:kube-proxy", ()),
    "kubelet": (f"system:node:{NODE}", ("system:nodes",)),
    "coredns": ("system:coredns", ()),
    "admin": ("tidemill-cluster-admin", ("system:masters",)),
}
"""The users of the cluster's own programs, by the name of their kubeconfig, with their groups."""


@dataclass(frozen=True, slots=True)
class NodeProgram:
    """A program of the node: how it starts, and what must answer before it does."""

    name: str
    command: tuple[str, ...]
    after: tuple[tuple[str, int], ...] = ()
    """TCP ports that must accept connections first."""

    @property
    def log(self) -> Path:
        """Where its output goes, seen from the node."""
        return INSIDE_STATE / "logs" / f"{self.name}.log"


_ETCD = ("127.0.0.1", 2379)
_API = ("127.0.0.1", API_PORT)


def node_programs(cgroup: str) -> tuple[NodeProgram, ...]:
    """All programs of the node, in the order of their start."""
    return (
        NodeProgram("containerd", ("containerd", "--config", str(ETC / "containerd.toml"))),
        _ours("etcd", _etcd()),
        _ours("kube-apiserver", _apiserver(), after=(_ETCD,)),
        _ours("kube-controller-manager", _controllers(), after=(_API,)),
        _ours("kube-scheduler", {**_client("kube-scheduler"), **_locally(), "leader-elect": "false"}, after=(_API,)),
        _ours("kubelet", _kubelet(cgroup), after=(_API,)),
        _ours("kube-proxy", _proxy(), after=(_API,)),
        _ours("coredns", {"conf": str(ETC / "Corefile")}, after=(_API,), dash="-"),
    )


def _ours(name: str, options: dict[str, str], after: tuple[tuple[str, int], ...] = (), dash: str = "--") -> NodeProgram:
    arguments = (f"{dash}{option}={value}" for option, value in options.items())
    return NodeProgram(name, (str(INSIDE_PROGRAMS / name), *arguments), after)


def _client(name: str) -> dict[str, str]:
    return {"kubeconfig": str(ETC / f"{name}.kubeconfig")}


def _locally() -> dict[str, str]:
    return {"bind-address": "127.0.0.1", "profiling": "false"}


def _etcd() -> dict[str, str]:
    client, peer = f"http://127.0.0.1:{_ETCD[1]}", "http://127.0.0.1:2380"
    return {
        "data-dir": "/var/lib/etcd",
        "unsafe-no-fsync": "true",
        "log-level": "warn",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
    }


def _apiserver() -> dict[str, str]:
    return {
        "etcd-servers": f"http://127.0.0.1:{_ETCD[1]}",
        "secure-port": str(API_PORT),
        "advertise-address": NODE_ADDRESS,
        "tls-cert-file": str(PKI / "server.crt"),
        "tls-private-key-file": str(PKI / "server.key"),
        "client-ca-file": str(PKI / "ca.crt"),
        "kubelet-client-certificate": str(PKI / "client-tidemill-cluster-admin.crt"),
        "kubelet-client-key": str(PKI / "client-tidemill-cluster-admin.key"),
        # Or `kubectl logs` looks the node up by its name.
        "kubelet-preferred-address-types": "InternalIP",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": str(PKI / "service-accounts.key"),
        "service-account-signing-key-file": str(PKI / "service-accounts.key"),
        "service-cluster-ip-range": SERVICES,
        "endpoint-reconciler-type": "master-count",
        # A pod on a lost node is replaced soon.
        "default-not-ready-toleration-seconds": "20",
        "default-unreachable-toleration-seconds": "20",
        "profiling": "false",
    }


def _controllers() -> dict[str, str]:
    return {
        **_client("kube-controller-manager"),
        **_locally(),
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": str(PKI / "service-accounts.key"),
        "root-ca-file": str(PKI / "ca.crt"),
        "cluster-signing-cert-file": str(PKI / "ca.crt"),
        "cluster-signing-key-file": str(PKI / "ca.key"),
        "node-monitor-grace-period": "30s",
    }


def _kubelet(cgroup: str) -> dict[str, str]:
    return {
        **_client("kubelet"),
        "config": str(ETC / "kubelet.yaml"),
        "cgroup-root": f"/{cgroup}",
        "hostname-override": NODE,
        "node-ip": NODE_ADDRESS,
        "cert-dir": "/var/lib/kubelet/pki",
        "root-dir": "/var/lib/kubelet",
    }


def _proxy() -> dict[str, str]:
    return {
        **_client("kube-proxy"),
        "hostname-override": NODE,
        "proxy-mode": "iptables",
        "detect-local-mode": "ClusterCIDR",
        "cluster-cidr": "10.244.0.0/16",
        "conntrack-max-per-core": "0",
        "conntrack-tcp-timeout-established": "0",
        "conntrack-tcp-timeout-close-wait": "0",
        "iptables-localhost-nodeports": "false",
        "nodeport-addresses": "primary",
    }
