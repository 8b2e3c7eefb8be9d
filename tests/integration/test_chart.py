"""The chart as Helm 4 and Helm 3 render it: a matrix of values that a real server takes, and what is refused."""

from __future__ import annotations

import functools
import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.chart import CHART, HELMS, NO_CLUSTER, documents, helm, of_kind
from tests.support.kubernetes import ROOT, ApiServer
from tidemill_api.v1alpha1 import GROUP, KINDS
from tools.generators import chart_values

WATCHED = "watched"
DIGEST = f"sha256:{'a' * 64}"
EXTRA = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}}'
MATRIX: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "namespaces": (f"--set=watch.namespaces={{{WATCHED}}}",),
    "names": ("--set=fullnameOverride=a-name-that-is-as-long-as-forty-letters-allow-and-more",),
    "no crds": ("--set=crds.enabled=false",),
    "crds go": ("--set=crds.keep=false",),
    "mirror": ("--set=global.imageRegistry=mirror.example.com", "--set=global.imagePullSecrets={mirror}"),
    "digest": (f"--set=image.digest={DIGEST}", f"--set=workerImage.digest={DIGEST}"),
    "temporal by TLS": (
        "--set=temporal.address=temporal.example.com:7233",
        "--set=temporal.tls.existingSecret=temporal-client",
        "--set=temporal.tls.serverName=temporal",
    ),
    "temporal's authority alone": (
        "--set=temporal.address=temporal.example.com:443",
        "--set=temporal.tls.existingSecret=temporal-ca",
        "--set=temporal.tls.certKey=",
        "--set=temporal.tls.keyKey=",
    ),
    "temporal by key": (
        "--set=temporal.address=cloud.example.com:7233",
        "--set=temporal.apiKey.existingSecret=cloud",
        "--set=temporal.tls.enabled=true",
    ),
    "no encryption": ("--set=encryption.enabled=false", "--set=encryption.existingSecret="),
    "demo": ("--set=devServices.enabled=true", "--set=devServices.existingSecret=passwords"),
    "dashboards": ("--set=dashboards.enabled=true", "--set=dashboards.namespace=watched"),
    "least": tuple(
        f"--set={off}=false"
        for off in (
            *("admissionPolicy.enabled", "podDisruptionBudget.enabled", "networkPolicy.enabled", "metrics.enabled"),
            *("tests.enabled", "rbac.create", "rbac.userRoles", "serviceAccount.create"),
        )
    ),
    "limits": (
        "--set=admissionPolicy.allowedImagePrefixes={registry.example.com/team/}",
        "--set=admissionPolicy.exemptNamespaceLabels.platform=own",
        "--set=rbac.temporalConnectionSecrets={cloud,other}",
    ),
    "extras": (
        '--set-json=operator.extraArgs=["--log-level=debug"]',
        '--set-json=operator.extraEnv=[{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]',
        '--set-json=operator.extraVolumes=[{"name": "more", "emptyDir": {}}]',
        '--set-json=operator.extraVolumeMounts=[{"name": "more", "mountPath": "/more"}]',
        '--set-json=operator.tolerations=[{"operator": "Exists"}]',
        '--set-json=operator.nodeSelector={"disk": "fast"}',
        '--set-json=operator.affinity={"nodeAffinity": {}}',
        '--set-json=operator.podAnnotations={"a": "b"}',
        '--set-json=operator.podLabels={"team": "data"}',
        '--set-json=operator.podSecurityContext={"runAsUser": 1000}',
        '--set-json=serviceAccount.annotations={"a": "b"}',
        '--set-json=networkPolicy.metricsFrom=[{"podSelector": {}}]',
        '--set-json=networkPolicy.extraEgress=[{"to": [{"podSelector": {}}]}]',
        '--set-json=metrics.annotations={"prometheus.io/scrape": "true"}',
        '--set-json=commonLabels={"team": "data"}',
        f"--set-json=extraObjects=[{EXTRA}]",
        "--set=operator.priorityClassName=system-cluster-critical",
    ),
}


@pytest.fixture(scope="module")
def confined(crds: ApiServer) -> str:
    """A namespace that refuses what isn't restricted, and warns of it; `watched` is another."""
    name = "confined"
    crds.kubectl("create", "namespace", name)
    crds.kubectl("create", "namespace", WATCHED)
    profile = "pod-security.kubernetes.io"
    crds.kubectl("label", "namespace", name, f"{profile}/enforce=restricted", f"{profile}/warn=restricted")
    return name


@pytest.mark.parametrize("program", HELMS)
def test_lints_strictly(program: str) -> None:
    helm(program).run("lint", "--strict", str(CHART))
    helm(program).run("lint", "--strict", str(CHART), *NO_CLUSTER)


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_both_helms_render_the_same_and_the_server_takes_it(
    values: tuple[str, ...], crds: ApiServer, confined: str
) -> None:
    """A server-side dry-run validates each field strictly, and would warn of a pod that isn't restricted."""
    four, three = (helm(program).rendered(*NO_CLUSTER, *values, namespace=confined) for program in HELMS)
    assert _parts(four) == _parts(three)
    done = crds.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=four)
    assert len(done.stdout.splitlines()) == len(re.findall("^kind: ", four, re.MULTILINE)) > 5
    assert done.stderr == "", "a warning of Pod Security, or of an API that goes"


def _parts(rendered: str) -> list[str]:
    """The documents; the two Helms put them in another order."""
    return sorted(part.strip() for part in re.split("^---$", rendered, flags=re.MULTILINE))


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "a typo": (("--set=opertor.replicas=3",), "opertor"),
    "a typo in a group": (("--set=operator.replcas=3",), "replcas"),
    "a wrong type": (("--set=operator.replicas=two",), "replicas"),
    "too many": (("--set=operator.replicas=10",), "replicas"),
    "a wrong word": (("--set=operator.logLevel=loud",), "logLevel"),
    "no address": (("--set=temporal.address=temporal",), "address"),
    "no digest": (("--set=image.digest=latest",), "digest"),
    "a prefix that ends amidst a name": (
        ("--set=admissionPolicy.allowedImagePrefixes={ghcr.io/team}",),
        "allowedImage",
    ),
    "no name of a Secret": (("--set=rbac.temporalConnectionSecrets={cloud-*}",), "temporalConnectionSecrets"),
    "no namespace": (("--set=watch.namespaces={A_B}",), "namespaces"),
    "key and certificate": (
        ("--set=temporal.tls.existingSecret=a", "--set=temporal.apiKey.existingSecret=b"),
        "temporal.apiKey.existingSecret and temporal.tls.certKey exclude each other",
    ),
    "half a certificate": (
        ("--set=temporal.tls.existingSecret=a", "--set=temporal.tls.keyKey="),
        "temporal.tls.certKey and temporal.tls.keyKey belong together",
    ),
}


@pytest.mark.parametrize("program", HELMS)
@pytest.mark.parametrize(("values", "said"), WRONG.values(), ids=WRONG)
def test_refuses(values: tuple[str, ...], said: str, program: str) -> None:
    assert said in helm(program).refusal(*NO_CLUSTER, *values)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "give installationId"),
        (("--set=installationId=a",), "give encryption.existingSecret"),
        ((*NO_CLUSTER, "--set=devServices.enabled=true"), "give devServices.existingSecret"),
    ],
)
def test_makes_nothing_up_where_it_couldn_t_be_kept(given: tuple[str, ...], said: str) -> None:
    assert said in helm("helm").refusal(*given)


SAMPLES: dict[str, Any] = {
    "temporal.address": "temporal.example.com:7000",
    "temporal.apiKey.existingSecret": "cloud",
    "image.digest": DIGEST,
    "workerImage.digest": DIGEST,
    "devServices.image.digest": DIGEST,
    "watch.namespaces": [WATCHED],
    "admissionPolicy.allowedImagePrefixes": ["registry.example.com/"],
    "networkPolicy.metricsFrom": [{"podSelector": {}}],
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}}],
    "alerts.rules": {"TidemillRunMissed": {"enabled": False}},
    "alerts.thresholds.failingFor": "1h",
    **{
        f"metrics.{kind}.{name}": "17s"
        for kind in ("serviceMonitor", "podMonitor")
        for name in ("interval", "scrapeTimeout")
    },
}
"""Values that can't be made up from what the schema says of them."""
CONTEXT: dict[str, dict[str, Any]] = {
    "temporal.tls": {"temporal.tls.existingSecret": "client"},
    "temporal.apiKey.key": {"temporal.apiKey.existingSecret": "cloud"},
    "temporal.apiKey.existingSecret": {"temporal.tls.enabled": True},
    "tests.database.key": {"tests.database.existingSecret": "pg"},
    "alerts.": {"alerts.enabled": True},
    "dashboards.": {"dashboards.enabled": True},
    "metrics.serviceMonitor.": {"metrics.serviceMonitor.enabled": True},
    "metrics.podMonitor.": {"metrics.podMonitor.enabled": True},
}
"""What must be given so that a value (or a group) matters."""


@pytest.mark.parametrize("value", [v for v in chart_values.read(CHART) if not v.is_group], ids=lambda v: v.dotted)
def test_every_value_does_something(value: chart_values.Value) -> None:
    """Another than the default changes what is rendered."""
    context = next((given for place, given in CONTEXT.items() if value.dotted.startswith(place)), {})
    base = {"installationId": "a", "encryption.existingSecret": "b", "devServices.enabled": True}
    base |= {"devServices.existingSecret": "c"} | context
    base.pop(value.dotted, None)
    if value.dotted in {"installationId", "encryption.existingSecret", "devServices.existingSecret"}:
        base[value.dotted] = "a"
    if not value.dotted.startswith("crds."):
        base["crds.enabled"] = False  # they are most of the text
    assert _rendered({**base, value.dotted: _another(value)}) != _rendered(base)


def _another(value: chart_values.Value) -> Any:
    if value.dotted in SAMPLES:
        return SAMPLES[value.dotted]
    choices = [each for each in value.hints.get("enum", ()) if each != value.default]
    match value.default:
        case _ if choices:
            return choices[0]
        case bool():
            return not value.default
        case int():
            return value.default + 1
        case float():
            return value.default * 0.9
        case str():
            return "another"
        case list():
            item = value.hints["items"]
            kinds = {"string": "another", "integer": 1234, "object": {"name": "another", "mountPath": "/another"}}
            return [kinds[item["type"]]]
        case _:
            return {"another": "one"}


def _rendered(values: dict[str, Any]) -> str:
    return _rendered_once(tuple(f"--set-json={dotted}={json.dumps(value)}" for dotted, value in values.items()))


@functools.cache
def _rendered_once(given: tuple[str, ...]) -> str:
    return helm("helm").rendered(*given)


def test_a_value_that_is_no_more_is_told(tmp_path: Path) -> None:
    chart = tmp_path / "tidemill"
    shutil.copytree(CHART, chart)
    gone = {"operator.workers": "give operator.replicas", "old": "there is none"}
    (chart / "deprecated.yaml").write_text(json.dumps(gone), encoding="utf-8")
    for name, text in chart_values.files(chart).items():
        (chart / name).write_text(text, encoding="utf-8")
    for program in HELMS:
        assert helm(program).template(*NO_CLUSTER, chart=chart)
        said = helm(program).refusal(*NO_CLUSTER, "--set=operator.workers=3", chart=chart)
        assert "operator.workers is no more: give operator.replicas" in said
        assert "old is no more" in helm(program).refusal(*NO_CLUSTER, "--set=old.deep=3", chart=chart)


def test_hooks_and_all_pods_are_restricted() -> None:
    """What the server can't warn of here: hooks are no part of a dry-run, and no pod may need more than the profile."""
    values = (*NO_CLUSTER, *MATRIX["demo"], *MATRIX["temporal by TLS"])
    before_an_uninstall = helm("helm").rendered(*values, *MATRIX["crds go"], "--show-only=templates/leftovers.yaml")
    pods = [*_pods(helm("helm").template(*values)), *_pods(documents(before_an_uninstall))]
    assert len(pods) >= 5
    for name, spec in pods:
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in (*spec["containers"], *spec.get("initContainers", ())):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name


def _pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for each in objects:
        if each["kind"] == "Pod":
            yield each["metadata"]["name"], each["spec"]
        elif "template" in each.get("spec", {}):
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def test_no_secret_stands_in_what_is_rendered() -> None:
    """With the existing ones named, no Secret is made and no password is anywhere."""
    objects = helm("helm").template(*NO_CLUSTER, *MATRIX["demo"], *MATRIX["temporal by key"])
    assert of_kind("Secret", objects) == []


def test_images_and_credentials_go_where_they_belong() -> None:
    (deployment,) = of_kind("Deployment", helm("helm").template(*NO_CLUSTER, *MATRIX["mirror"], *MATRIX["digest"]))
    pod = deployment["spec"]["template"]["spec"]
    (operator,) = pod["containers"]
    assert operator["image"] == f"mirror.example.com/tidemill/operator@{DIGEST}"
    assert f"--worker-image=mirror.example.com/tidemill/worker@{DIGEST}" in operator["args"]
    assert pod["imagePullSecrets"] == [{"name": "mirror"}]
    (deployment,) = of_kind("Deployment", helm("helm").template(*NO_CLUSTER, *MATRIX["temporal's authority alone"]))
    (operator,) = deployment["spec"]["template"]["spec"]["containers"]
    files = [argument for argument in operator["args"] if argument.startswith("--temporal") and "-file=" in argument]
    assert files == ["--temporal-ca-file=/etc/tidemill/temporal/tls/ca.crt"]


def test_a_list_of_namespaces_leaves_no_cluster_role_for_the_operator() -> None:
    objects = helm("helm").template(*NO_CLUSTER, *MATRIX["namespaces"])
    assert of_kind("ClusterRoleBinding", objects) == []
    assert [each["metadata"]["name"].rpartition(":")[2] for each in of_kind("ClusterRole", objects)] == [
        "author",
        "pool-owner",
        "viewer",
    ]
    bound = {each["metadata"]["namespace"] for each in of_kind("RoleBinding", objects)}
    assert {WATCHED, "tidemill-system"} <= bound


def test_chart_and_values_agree_with_the_distribution() -> None:
    chart = YAML(typ="safe").load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    listed = YAML(typ="safe").load(chart["annotations"]["artifacthub.io/crds"])
    assert {each["name"] for each in listed} == {f"{kind.served.plural}.{GROUP}" for kind in KINDS}
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert chart["appVersion"] == version
    images = YAML(typ="safe").load(chart["annotations"]["artifacthub.io/images"])
    assert {each["image"].rpartition(":")[2] for each in images} == {version}


def test_the_policy_names_what_the_values_name() -> None:
    """The port of Temporal's address is let through."""
    (policy,) = of_kind("NetworkPolicy", helm("helm").template(*NO_CLUSTER, "--set=temporal.address=temporal:7000"))
    assert {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]} == {53, 443, 6443, 7233, 7000}


@pytest.mark.parametrize(
    ("given", "readable"),
    [
        ((), []),
        (("--set=rbac.temporalConnectionSecrets={cloud,other}",), [["cloud", "other"]]),
        (("--set=rbac.temporalConnectionSecrets={*}",), [None]),
    ],
)
def test_the_operator_reads_the_secrets_that_are_listed_and_no_other(
    given: tuple[str, ...], readable: list[list[str] | None]
) -> None:
    objects = helm("helm").template(*NO_CLUSTER, *given)
    (role,) = [each for each in of_kind("ClusterRole", objects) if each["metadata"]["name"].endswith(":operator")]
    rules = [rule.get("resourceNames") for rule in role["rules"] if "secrets" in rule["resources"]]
    assert [names for names in rules if names != ["tidemill-worker-encryption"]] == readable
    assert len(rules) == len(readable) + 2
