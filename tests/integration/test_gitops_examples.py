"""The sample repository and Argo CD's configuration, given to a real API server and to kubectl's own kustomize."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support.chart import HELMS, helm, of_kind
from tests.support.gitops import ARGOCD
from tests.support.kubernetes import ROOT, ApiServer
from tests.support.plugin import Terminal
from tidemill_cli.lint import lint

SAMPLE = ROOT / "examples" / "gitops"
PATCH = ROOT / "deploy" / "argocd" / "config" / "argocd-cm.yaml"


def test_the_sample_has_no_errors() -> None:
    assert lint([SAMPLE], "text") == 0


@pytest.mark.parametrize("part", ["pool", "pipelines"])
def test_kustomize_builds_what_the_server_takes(part: str, crds: ApiServer) -> None:
    crds.kubectl("create", "namespace", "aviation", check=False)
    folder = SAMPLE / "aviation" / part
    crds.kubectl("apply", "--dry-run=server", "--validate=strict", "-k", str(folder))
    built = list(YAML(typ="safe", pure=True).load_all(crds.kubectl("kustomize", str(folder)).stdout))
    waves = {each["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] for each in built}
    assert waves == {{"pool": "1", "pipelines": "2"}[part]}


@pytest.mark.parametrize("file", sorted(SAMPLE.glob("*/*.yaml")), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_paths_in_the_sample_are_there(file: Path) -> None:
    """The repositories' addresses are examples; the folders in them are those of this sample and of this project."""
    for document in YAML(typ="safe", pure=True).load_all(file.read_text(encoding="utf-8")):
        spec = document["spec"]
        sources = [*spec.get("sources", ()), *([spec["source"]] if "source" in spec else ()), spec]
        for path in [each["path"] for each in sources if "path" in each]:
            assert (SAMPLE / path).is_dir() or (ROOT / path).is_dir(), path
        if "chart" in spec:
            assert (ROOT / spec["chart"]["spec"]["chart"] / "Chart.yaml").is_file()


@pytest.mark.parametrize("program", HELMS)
def test_argo_cd_can_render_its_sample(program: str, tmp_path: Path) -> None:
    """By `helm template`, as it does, which sees no cluster."""
    application = YAML(typ="safe", pure=True).load((SAMPLE / "argocd" / "tidemill.yaml").read_text(encoding="utf-8"))
    source, values = application["spec"]["source"], tmp_path / "values.json"
    values.write_text(json.dumps(source["helm"]["valuesObject"]), encoding="utf-8")
    objects = helm(program).template(
        f"--values={values}",
        namespace=application["spec"]["destination"]["namespace"],
        chart=ROOT / source["path"],
    )
    assert of_kind("Deployment", objects)
    assert not of_kind("Secret", objects)


@pytest.mark.parametrize("program", HELMS)
def test_flux_can_install_its_sample(program: str, apiserver: ApiServer, namespace: str, tmp_path: Path) -> None:
    """By Helm's own way of installing, which looks into the cluster."""
    documents = YAML(typ="safe", pure=True).load_all((SAMPLE / "flux" / "tidemill.yaml").read_text(encoding="utf-8"))
    (release,) = [each["spec"] for each in documents if each["kind"] == "HelmRelease"]
    values = tmp_path / "values.json"
    values.write_text(json.dumps(release["values"]), encoding="utf-8")
    options = (f"--namespace={namespace}", f"--values={values}", "--set=crds.enabled=false", "--dry-run=server")
    chart = ROOT / release["chart"]["spec"]["chart"]
    done = helm(program, apiserver).run("install", release["releaseName"], str(chart), *options)
    assert "name: tidemill-encryption" in done.stdout


def test_the_how_to_works_as_it_stands(crds: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/how-to/gitops-argocd.md, where Argo CD would be.

    `kubectl create namespace tidemill-system`, `tidemill keys new`, `kubectl patch configmap`.
    """
    monkeypatch.chdir(ROOT)
    crds.kubectl("create", "namespace", "argocd", check=False)
    crds.kubectl("create", "configmap", "argocd-cm", "-n", "argocd", check=False)
    terminal = Terminal.of(crds, "argocd", tmp_path)
    document = ROOT / "docs" / "how-to" / "gitops-argocd.md"
    assert terminal.follows(document, "tests/integration/test_gitops_examples.py")


def test_argo_cds_configmap_takes_the_scripts_as_they_are(crds: ApiServer, namespace: str) -> None:
    """`kubectl patch configmap argocd-cm`, as docs/how-to/gitops-argocd.md has it."""
    crds.kubectl("create", "configmap", "argocd-cm", "-n", namespace, "--from-literal=url=https://argocd.example.com")
    crds.kubectl("patch", "configmap", "argocd-cm", "-n", namespace, "--patch-file", str(PATCH))
    data = json.loads(crds.kubectl("get", "configmap", "argocd-cm", "-n", namespace, "-o", "json").stdout)["data"]
    assert data.pop("url") == "https://argocd.example.com"
    for folder in ARGOCD.iterdir():
        health = data.pop(f"resource.customizations.health.tidemill.dev_{folder.name}")
        assert health == (folder / "health.lua").read_text(encoding="utf-8")
        if not (folder / "actions").is_dir():
            continue
        text = data.pop(f"resource.customizations.actions.tidemill.dev_{folder.name}")
        actions = YAML(typ="safe", pure=True).load(text)
        assert actions["discovery.lua"] == (folder / "actions" / "discovery.lua").read_text(encoding="utf-8")
        given = {each["name"]: each["action.lua"] for each in actions["definitions"]}
        scripts = {each.parent.name: each.read_text(encoding="utf-8") for each in folder.glob("actions/*/action.lua")}
        assert given == scripts
    assert data == {}
