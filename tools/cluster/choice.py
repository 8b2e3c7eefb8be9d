"""One cluster to try things on, whichever this machine can run: what demo and tests use, so that they needn't know."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools import envtest
from tools.cluster import images, kind, lifecycle
from tools.cluster.kind import Kind
from tools.cluster.layout import ROOT, Layout
from tools.cluster.node import ClusterError

CHART = ROOT / "helm" / "tidemill"
VALUES = Path(__file__).with_name("values.yaml")
RELEASE = "tidemill"
NAMESPACE = "tidemill-system"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The cluster that is up, or would be: kind's if a Docker engine answers, else the bare node."""

    by_kind: bool
    kubeconfig: Path

    def up(self) -> bool:
        """Start it unless it runs; returns whether it was started.  Raises as `lifecycle.up` and `kind.up`."""
        return kind.up(Kind()) if self.by_kind else lifecycle.up(Layout())

    def down(self) -> bool:
        """Remove it; returns whether there was one."""
        return kind.down(Kind()) if self.by_kind else lifecycle.down(Layout())

    def load(self, archives: Iterable[Path]) -> None:
        """Load image archives."""
        if self.by_kind:
            kind.load(Kind(), archives)
        else:
            lifecycle.load(Layout(), tuple(archives))

    def kill_sandbox(self, namespace: str, pod: str, machine: str) -> None:
        """End what holds a pod's namespaces, and with it the pod, as when its node is lost under it."""
        if self.by_kind:
            kind.kill_sandbox(machine, namespace, pod)
        else:
            lifecycle.kill_sandbox(Layout(), namespace, pod)

    def kubectl(self, *arguments: str) -> list[str]:
        """The command line of kubectl for it."""
        return [str(envtest.cache() / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]

    def helm(self, *arguments: str) -> list[str]:
        """The command line of Helm for it."""
        return [str(envtest.cache() / "helm"), *arguments, f"--kubeconfig={self.kubeconfig}"]


def choose() -> Chosen:
    """The one that is up, else kind's where a Docker engine answers, else the bare node."""
    if not Layout().record.exists() and (Kind().made or kind.engine_answers()):
        return Chosen(True, Kind().kubeconfig)
    return Chosen(False, Layout().kubeconfig)


def prepare() -> None:
    """Build what the cluster runs and our images, unless they are built.  Raises EnvtestError, ClusterError."""
    if not choose().by_kind:
        # Small ones first, each by itself: who needs one of them meanwhile doesn't wait for Kubernetes.
        for names in (*((name,) for name in envtest.OURS), envtest.CLUSTER):
            envtest.ensure_cached(names)
    await_images(build_images())


def build_images() -> subprocess.Popen[bytes]:
    """Begin to build the images that aren't built; `await_images` waits for them."""
    return subprocess.Popen([sys.executable, "-m", "tools.images"], cwd=ROOT)


def await_images(building: subprocess.Popen[bytes]) -> tuple[Path, ...]:
    """The archives of all images."""
    if (code := building.wait()) != 0:
        raise ClusterError(f"the images weren't built, see above (`make images` ended with {code})")
    return tuple(sorted(images.ARCHIVES.glob("*.tar")))


def install(chosen: Chosen, *options: str, release: str = RELEASE, namespace: str = NAMESPACE) -> None:
    """Install or upgrade the release with the images of this source tree, and wait until it is ready."""
    envtest.ensure_cached(("helm", "kubectl"))
    # The images' names stay while what is in them changes; pods must not.
    built = "".join(file.read_text(encoding="utf-8")[:12] for file in sorted(images.ARCHIVES.glob("*.key")))
    _helm(
        chosen,
        *("upgrade", "--install", release, str(CHART), "--namespace", namespace, "--create-namespace"),
        *("--values", str(VALUES), f"--set-string=operator.podAnnotations.built={built}", *options),
        *("--wait", "--timeout", "5m"),
    )


def uninstall(chosen: Chosen, release: str = RELEASE, namespace: str = NAMESPACE) -> None:
    """Uninstall the release; what the chart keeps stays."""
    envtest.ensure_cached(("helm", "kubectl"))
    _helm(chosen, "uninstall", release, "--namespace", namespace, "--ignore-not-found", "--wait")


def _helm(chosen: Chosen, *arguments: str) -> None:
    done = subprocess.run(chosen.helm(*arguments), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"helm {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
