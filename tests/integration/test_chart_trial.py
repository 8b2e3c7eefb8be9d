"""`helm test`: what its pod runs, under the rights that the chart gives it, with a worker that loads the one row."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.chart import RELEASE, as_account, documents, helm, of_kind, released_operator
from tests.support.fixtures import Database, unique
from tests.support.kubernetes import ApiServer
from tests.support.pods import running_pod
from tests.support.waiting import until
from tidemill_cli.dev.components.temporal import TemporalServer
from tidemill_operator import trial


def command(api: ApiServer, home: str, folder: Path) -> list[str]:
    """The hook's command, with the rights of its ServiceAccount."""
    hooks = documents(helm("helm", api).run("get", "hooks", RELEASE, f"--namespace={home}").stdout)
    (pod,) = of_kind("Pod", hooks)
    container = pod["spec"]["containers"][0]
    kubeconfig = as_account(api, home, pod["spec"]["serviceAccountName"], folder)
    return [sys.executable, *container["command"][1:], *container["args"], f"--kubeconfig={kubeconfig}"]


def left(api: ApiServer, namespace: str) -> str:
    return api.kubectl("-n", namespace, "get", "workerpool,datapipeline,datapipelinerun", "-o", "name").stdout


@pytest.mark.parametrize("elsewhere", [False, True], ids=["cluster", "namespaces"])
def test_one_row(
    elsewhere: bool,
    crds: ApiServer,
    temporal_server: TemporalServer,
    installation_id: str,
    namespace: str,
    database: Database,
    tmp_path: Path,
) -> None:
    """In the release's namespace, or in the first of those that the operator looks after."""
    home = unique("home-")
    crds.kubectl("create", "namespace", home)
    where = namespace if elsewhere else home
    scope = (f"--set=watch.namespaces={{{namespace}}}",) if elsewhere else ()
    crds.kubectl("-n", where, "create", "secret", "generic", "pg", f"--from-literal=dsn={database.dsn}")
    given = ("--set=tests.database.existingSecret=pg", "--set=tests.timeout=60", *scope)
    with released_operator(crds, temporal_server, home, installation_id, tmp_path, *given):
        child = subprocess.Popen(command(crds, home, tmp_path), stdout=subprocess.PIPE, text=True)
        deployment = until(lambda: worker_of(crds, where), "the operator made the worker's Deployment", 60)
        with running_pod(crds, where, deployment, tmp_path / "pod"):
            told, _ = child.communicate(timeout=120)
        assert child.returncode == 0, told
        assert [line for line in told.splitlines() if not line.startswith("ok: ")] == []
        assert "ok: a worker loaded one row" in told
        assert left(crds, where) == ""
    assert database.query("SELECT answer FROM public.tidemill_trial") == [["42"]]


def worker_of(api: ApiServer, namespace: str) -> str:
    found = json.loads(api.kubectl("-n", namespace, "get", "deployments", "-o", "json").stdout)["items"]
    names = [each["metadata"]["name"] for each in found]
    return next((name for name in names if name.startswith("tidemill-trial-")), "")


def test_without_a_database_temporal_is_tried_all_the_same(
    crds: ApiServer, temporal_server: TemporalServer, installation_id: str, tmp_path: Path
) -> None:
    home = unique("home-")
    crds.kubectl("create", "namespace", home)
    with released_operator(crds, temporal_server, home, installation_id, tmp_path):
        done = subprocess.run(command(crds, home, tmp_path), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert "ok: the operator made a Schedule in Temporal" in done.stdout
        assert left(crds, home) == ""


def test_says_what_doesn_t_work(crds: ApiServer, namespace: str, tmp_path: Path) -> None:
    """Nobody leads here."""
    arguments = (f"--namespace={namespace}", f"--lease={namespace}/nobody", "--timeout=1")
    kubeconfig = f"--kubeconfig={crds.kubeconfig}"
    command = [sys.executable, "-m", "tidemill_operator.trial", *arguments, kubeconfig]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "FAILED: waited 1 s until an operator leads"
    assert trial.parse([*arguments, kubeconfig])[0].database is None
    assert tmp_path.exists()
