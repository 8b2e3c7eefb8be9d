"""Where everything of the cluster is: on the machine, and as its own processes see it.  No I/O here."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".data" / "cluster"
FILES = Path(__file__).with_name("files")

# Inside the node, all paths and addresses are the same for every cluster.
INSIDE = Path("/run/node")
INSIDE_STATE = INSIDE / "state"
INSIDE_PROGRAMS = INSIDE / "programs"
CONTAINERD = "/run/containerd/containerd.sock"
NODE = "tidemill-node-1"
NODE_ADDRESS = "10.244.255.1"
SERVICES = "10.96.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
API_PORT = 6443
PAUSE_IMAGE = "localhost/tidemill/pause:1"


@dataclass(frozen=True, slots=True)
class Link:
    """The pair of interfaces between the machine and the node; `number` tells clusters of one machine apart."""

    number: int

    @property
    def interface(self) -> str:
        """The machine's end."""
        return f"tidemill{self.number}"

    @property
    def network(self) -> IPv4Network:
        """The four addresses of the pair."""
        return IPv4Network(f"10.97.{self.number}.0/30")

    @property
    def machine(self) -> IPv4Interface:
        """The machine's address, with the length of the network's prefix."""
        return IPv4Interface(f"{self.network[1]}/30")

    @property
    def node(self) -> IPv4Interface:
        """The node's address, likewise."""
        return IPv4Interface(f"{self.network[2]}/30")

    @property
    def server(self) -> str:
        """The API server's address, from the machine."""
        return f"https://{self.node.ip}:{API_PORT}"

    @property
    def cgroup(self) -> str:
        """The cgroup below which the pods are."""
        return f"tidemill-cluster-{self.number}"


@dataclass(frozen=True, slots=True)
class Layout:
    """The state folder and what is in it, as the machine sees it."""

    state: Path = STATE

    @property
    def kubeconfig(self) -> Path:
        """An administrator's, usable from the machine; it holds its keys itself."""
        return self.state / "kubeconfig"

    @property
    def record(self) -> Path:
        """Which process is the node's first, and which link it has."""
        return self.state / "node.json"

    @property
    def programs_record(self) -> Path:
        """Which programs run in the node, written by it."""
        return self.state / "programs.json"

    @property
    def images_record(self) -> Path:
        """Which image archives were loaded."""
        return self.state / "images.json"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        """One file a program, and the node's own."""
        return self.state / "logs"

    @property
    def variable(self) -> Path:
        """What the node sees as /var: containers, volumes, images."""
        return self.state / "var"

    @property
    def configuration(self) -> Path:
        """What the programs read."""
        return self.state / "etc"

    @property
    def lock(self) -> Path:
        """Held by whoever starts or stops the cluster; beside the state, which goes away."""
        return self.state.with_name(f"{self.state.name}.lock")
