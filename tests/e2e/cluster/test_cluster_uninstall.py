"""A release beside another, in a namespace of its own: it becomes ready; an uninstall leaves what the chart keeps."""

from __future__ import annotations

from tests.support.cluster import Place
from tests.support.waiting import until
from tools.cluster.choice import CHART, VALUES


def everything_of(place: Place, release: str) -> set[str]:
    """All objects of the cluster that carry the release's label, as `kind/name`."""
    kinds = place.cluster.kubectl("api-resources", "--verbs=list", "-o", "name").stdout.split()
    listed = place.cluster.kubectl(
        *("get", ",".join(kinds), "--all-namespaces", "-o", "name", "--ignore-not-found"),
        *("-l", f"app.kubernetes.io/instance={release}"),
    )
    return set(listed.stdout.split())


def test_uninstall_leaves_only_what_is_kept(place: Place) -> None:
    release = place.namespace
    temporal = f"{place.release.name}-temporal.{place.release.namespace}.svc:7233"
    place.cluster.helm(
        *("install", release, str(CHART), "--namespace", release, "--values", str(VALUES)),
        *("--set", "devServices.enabled=false", "--set", f"temporal.address={temporal}"),
        *("--set", "crds.enabled=false", "--set", f"watch.namespaces={{{release}}}", "--set", "operator.replicas=1"),
        *("--wait", "--timeout=3m"),
    )
    installed = everything_of(place, release)
    assert any(name.startswith("deployment.apps/") for name in installed), installed
    place.cluster.helm("uninstall", release, "--namespace", release, "--wait")
    kept = {f"configmap/{release}-tidemill-installation", f"secret/{release}-tidemill-encryption"}
    until(lambda: everything_of(place, release) == kept, f"only {kept} are left", 60)
    assert place.cluster.get("tidemill-system", "deployment", "tidemill-operator"), "the other release is untouched"
    assert "datapipelines.tidemill.dev" in place.cluster.kubectl("get", "crds", "-o", "name").stdout
