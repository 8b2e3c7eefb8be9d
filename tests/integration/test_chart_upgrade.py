"""A release through its life on a real API server: from an earlier chart to this one, away, and back again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.chart import CHART, HELMS, RELEASE, Helm, helm, uninstall
from tests.support.fixtures import unique
from tests.support.kubernetes import ROOT, ApiServer, api_server
from tests.support.operator_world import pipeline, pool
from tests.support.waiting import until

EARLIER = sorted((ROOT / "tests" / "golden" / "charts").glob("*.tgz"))
"""Charts as they were released, packed; `make chart-keep` adds this one when it is."""
MADE_ONCE = ("configmap/tidemill-installation", "secret/tidemill-encryption", "secret/tidemill-dev-services")
GIVEN = ("--set=devServices.enabled=true", "--disable-openapi-validation")
"""The server validates what it gets; that Helm does so before takes as long as all else that it does."""


@pytest.fixture(scope="module")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A server of this module's own: here CRDs come and go."""
    with api_server(tmp_path_factory.mktemp("kubernetes")) as server:
        yield server


@pytest.fixture
def namespace(apiserver: ApiServer) -> str:
    """A namespace for people's objects."""
    name = unique("test-")
    apiserver.kubectl("create", "namespace", name)
    return name


@pytest.fixture
def home(apiserver: ApiServer) -> Iterator[str]:
    """A namespace for the release, and no other release's CRDs to begin with."""
    name = unique("home-")
    apiserver.kubectl("create", "namespace", name)
    gone(apiserver)
    yield name
    gone(apiserver)


def gone(api: ApiServer) -> None:
    """CRDs belong to one release only."""
    api.kubectl("delete", "crd", "--ignore-not-found", "-l", "app.kubernetes.io/part-of=tidemill", "--timeout=60s")


def kept(api: ApiServer, home: str) -> dict[str, Any]:
    """What was made once, by name."""
    found = api.kubectl("-n", home, "get", *MADE_ONCE, "-o", "json").stdout
    return {each["metadata"]["name"]: each["data"] for each in json.loads(found)["items"]}


@dataclass(frozen=True, slots=True)
class Released:
    """An object of a release."""

    kind: str
    name: str
    namespace: str
    keep: bool


def objects(program: Helm, home: str) -> list[Released]:
    """All objects of the release, read line by line: parsing the CRDs as YAML takes seconds."""
    manifest = program.run("get", "manifest", RELEASE, f"--namespace={home}").stdout
    found = []
    for text in re.split("^---$", manifest, flags=re.MULTILINE):
        kind = re.search(r"^kind: (\S+)", text, re.MULTILINE)
        name = re.search(r"^metadata:\n  name: (\S+)", text, re.MULTILINE)
        place = re.search(r"^metadata:\n  name: \S+\n  namespace: (\S+)", text, re.MULTILINE)
        if kind and name:
            keep = "helm.sh/resource-policy: keep" in text
            found.append(Released(kind[1], name[1], place[1] if place else home, keep))
    assert len(found) > 15
    return found


def there(api: ApiServer, wanted: list[Released]) -> list[Released]:
    """Those that the API server has."""
    seen = []
    for place in {each.namespace for each in wanted}:
        here = [each for each in wanted if each.namespace == place]
        names = [f"{each.kind}/{each.name}" for each in here]
        done = api.kubectl("-n", place, "get", *names, "--ignore-not-found", "-o", "json")
        items = json.loads(done.stdout)["items"] if done.stdout.strip() else []
        got = {(item["kind"], item["metadata"]["name"]) for item in items}
        seen += [each for each in here if (each.kind, each.name) in got]
    return seen


def populate(api: ApiServer, namespace: str) -> str:
    """A pool and a pipeline as a person would have them; the pipeline's uid."""
    both = {"apiVersion": "v1", "kind": "List", "items": [pool(), pipeline("flights")]}
    # The API server serves a new kind a moment after its CRD.
    until(lambda: api.kubectl("get", "datapipelines", check=False).returncode == 0, "the kinds are served", 30)
    api.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(both))
    return uid(api, namespace)


def uid(api: ApiServer, namespace: str) -> str:
    return api.kubectl("-n", namespace, "get", "datapipeline", "flights", "-o", "jsonpath={.metadata.uid}").stdout


@pytest.mark.parametrize("earlier", EARLIER, ids=lambda file: file.name)
@pytest.mark.parametrize(("before", "after"), [("helm", "helm"), ("helm3", "helm3"), ("helm3", "helm")])
def test_from_each_earlier_chart(
    before: str, after: str, earlier: Path, apiserver: ApiServer, home: str, namespace: str
) -> None:
    """What was made once is what it was, people's objects stay, and all else is as this chart has it."""
    helm(before, apiserver).run("install", RELEASE, str(earlier), f"--namespace={home}", *GIVEN)
    was, pipeline_uid = kept(apiserver, home), populate(apiserver, namespace)

    now = helm(after, apiserver)
    now.run("upgrade", RELEASE, str(CHART), f"--namespace={home}", *GIVEN)
    assert kept(apiserver, home) == was, "though the release lists the Secrets no more"
    assert uid(apiserver, namespace) == pipeline_uid
    assert there(apiserver, objects(now, home)) == objects(now, home)
    assert not [each for each in objects(now, home) if each.kind == "Secret"]
    args = apiserver.kubectl("-n", home, "get", "deployment", f"{RELEASE}-operator", "-o", "jsonpath={..args}").stdout
    assert f"--lease-name={RELEASE}-leader" in args
    now.run("uninstall", RELEASE, f"--namespace={home}")


@pytest.mark.parametrize("program", HELMS)
def test_an_uninstall_leaves_what_keep_says_and_a_new_release_finds_it(
    program: str, apiserver: ApiServer, home: str, namespace: str
) -> None:
    it = helm(program, apiserver)
    it.run("install", RELEASE, str(CHART), f"--namespace={home}", *GIVEN)
    was, pipeline_uid = kept(apiserver, home), populate(apiserver, namespace)
    all_of_it = objects(it, home)
    it.run("uninstall", RELEASE, f"--namespace={home}")
    left = there(apiserver, all_of_it)
    assert left == [each for each in all_of_it if each.keep]
    assert {each.kind for each in left} == {"CustomResourceDefinition", "ConfigMap"}
    assert kept(apiserver, home) == was, "Secrets that are made once are no part of the release"

    it.run("install", RELEASE, str(CHART), f"--namespace={home}", *GIVEN)
    assert kept(apiserver, home) == was
    assert uid(apiserver, namespace) == pipeline_uid
    it.run("uninstall", RELEASE, f"--namespace={home}")


@pytest.mark.parametrize("program", HELMS)
def test_crds_go_along(program: str, apiserver: ApiServer, home: str, tmp_path: Path) -> None:
    """An upgrade changes them; without `keep` an uninstall takes them away."""
    old = tmp_path / "tidemill"
    shutil.copytree(CHART, old)
    (crd,) = old.glob("templates/crds/*_workerpools.yaml")
    crd.write_text(crd.read_text(encoding="utf-8").replace("- wpool", "- formerpool"), encoding="utf-8")
    it = helm(program, apiserver)

    def short() -> str:
        return apiserver.kubectl("get", "crd", "workerpools.tidemill.dev", "-o", "jsonpath={..names.shortNames}").stdout

    it.run("install", RELEASE, str(old), f"--namespace={home}", "--set=crds.keep=false")
    assert "formerpool" in short()
    it.run("upgrade", RELEASE, str(CHART), f"--namespace={home}", "--set=crds.keep=false")
    assert "wpool" in short()
    done, hook = uninstall(it, home, tmp_path, "--wait", "--timeout=60s")
    assert (done.returncode, hook.code) == (0, 0), f"{done.stderr}\n{hook.told}"
    assert "tidemill" not in apiserver.kubectl("get", "crds", "-o", "name").stdout


@pytest.mark.parametrize("program", HELMS)
def test_crds_don_t_go_under_objects_that_need_the_operator(
    program: str, apiserver: ApiServer, home: str, namespace: str, tmp_path: Path
) -> None:
    """The uninstall is refused with all still there, and says what to type: both ways out of it work."""
    it = helm(program, apiserver)
    it.run("install", RELEASE, str(CHART), f"--namespace={home}", "--set=crds.keep=false")
    populate(apiserver, namespace)
    (tmp_path / "first").mkdir()
    done, hook = uninstall(it, home, tmp_path / "first", "--timeout=60s")
    assert done.returncode != 0
    assert hook.code == 1
    assert f"DataPipeline: {namespace}/flights" in hook.told
    assert f"WorkerPool: {namespace}/etl" in hook.told
    assert apiserver.kubectl("-n", home, "get", f"deployment/{RELEASE}-operator").stdout
    typed = [line.split() for line in hook.told.splitlines() if line.startswith(("  kubectl ", "  helm "))]
    delete, again, back, keep = typed
    assert again == ["helm", "uninstall", RELEASE, "--namespace", home]

    it.run(*back[1:])
    it.run(*(str(CHART) if word == "CHART" else word for word in keep[1:]))
    crd = apiserver.kubectl("get", "crd", "datapipelines.tidemill.dev", "-o", "json").stdout
    assert json.loads(crd)["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    it.run("rollback", RELEASE, "1", f"--namespace={home}")

    apiserver.kubectl(*delete[1:])
    done, hook = uninstall(it, home, tmp_path, "--wait", "--timeout=60s")
    assert (done.returncode, hook.code) == (0, 0), f"{done.stderr}\n{hook.told}"
    assert "tidemill" not in apiserver.kubectl("get", "crds", "-o", "name").stdout


def rotate(api: ApiServer, home: str, key: str) -> None:
    """Another key becomes the one that writes, by the how-to's line; and the demo's password is another."""
    line = (
        f"kubectl get secret {RELEASE}-encryption -n {home} -o yaml | tidemill keys rotate --id {key} --from - "
        "| kubectl replace -f -"
    )
    path = os.pathsep.join((str(ROOT / ".venv" / "bin"), api.environment["PATH"]))
    shell = ["bash", "-euo", "pipefail", "-c", line]
    subprocess.run(shell, env={**api.environment, "PATH": path}, capture_output=True, check=True)
    password = json.dumps({"stringData": {"redis-password": f"another-{key}"}})
    api.kubectl("-n", home, "patch", "secret", f"{RELEASE}-dev-services", "--type=merge", "-p", password)


@pytest.mark.parametrize("program", HELMS)
def test_what_was_rotated_since_outlives_every_command(program: str, apiserver: ApiServer, home: str) -> None:
    """No revision's manifest has the keys, so none is written over: neither by a rollback to one from before them."""
    it = helm(program, apiserver)
    given = (f"--namespace={home}", *GIVEN, "--set=crds.enabled=false")
    it.run("install", RELEASE, str(CHART), *given)
    was = kept(apiserver, home)
    id_of_it = was[f"{RELEASE}-installation"]
    for number, command in enumerate(
        (
            ("upgrade", RELEASE, str(CHART), *given, "--set=operator.logLevel=debug"),
            ("rollback", RELEASE, "1", f"--namespace={home}"),
            ("rollback", RELEASE, "2", f"--namespace={home}"),
            ("upgrade", RELEASE, str(CHART), *given, "--set=encryption.enabled=false"),
            ("rollback", RELEASE, "0", f"--namespace={home}"),
            ("uninstall", RELEASE, f"--namespace={home}"),
            ("install", RELEASE, str(CHART), *given),
        )
    ):
        rotate(apiserver, home, f"k{number}")
        was = kept(apiserver, home)
        it.run(*command)
        assert kept(apiserver, home) == was, command
    assert was[f"{RELEASE}-installation"] == id_of_it
    assert len(was[f"{RELEASE}-encryption"]) == 9  # the first key, the seven, and which one writes
    it.run("uninstall", RELEASE, f"--namespace={home}")


@pytest.mark.parametrize("earlier", EARLIER, ids=lambda file: file.name)
@pytest.mark.parametrize("program", HELMS)
@pytest.mark.parametrize("began_earlier", [pytest.param(True, marks=pytest.mark.slow), False])
def test_the_way_back_to_an_earlier_chart_is_an_upgrade(
    program: str, earlier: Path, began_earlier: bool, apiserver: ApiServer, home: str
) -> None:
    """Its own revisions list the keys as they were then, so no rollback to one of them; docs/how-to/install.md."""
    it = helm(program, apiserver)
    given = (f"--namespace={home}", *GIVEN, "--set=crds.enabled=false")
    it.run("install", RELEASE, str(earlier if began_earlier else CHART), *given)
    rotate(apiserver, home, "k2")
    was = kept(apiserver, home)
    it.run("upgrade", RELEASE, str(CHART), *given)
    assert kept(apiserver, home) == was
    rotate(apiserver, home, "k3")
    was = kept(apiserver, home)
    it.run("upgrade", RELEASE, str(earlier), *given)
    assert kept(apiserver, home) == was
    it.run("upgrade", RELEASE, str(CHART), *given)
    assert kept(apiserver, home) == was
    it.run("uninstall", RELEASE, f"--namespace={home}")
    assert kept(apiserver, home) == was


def test_two_releases_don_t_meet(apiserver: ApiServer, home: str) -> None:
    """Of one name in two namespaces: the second without CRDs, each with its own id, keys and rights."""
    other = unique("home-")
    apiserver.kubectl("create", "namespace", other)
    it = helm("helm", apiserver)
    it.run("install", RELEASE, str(CHART), f"--namespace={home}", GIVEN[0])
    it.run("install", RELEASE, str(CHART), f"--namespace={other}", GIVEN[0], "--set=crds.enabled=false")
    first, second = kept(apiserver, home), kept(apiserver, other)
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)
    it.run("uninstall", RELEASE, f"--namespace={other}")
    assert there(apiserver, objects(it, home)) == objects(it, home)
    it.run("uninstall", RELEASE, f"--namespace={home}")
