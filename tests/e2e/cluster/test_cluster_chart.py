"""The chart on a real cluster: `helm test` loads its row, and an upgrade from an earlier chart lets runs go on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.chart import HELMS, RELEASE, helm
from tests.support.cluster import Place, Release
from tests.support.kubernetes import ROOT
from tests.support.small import applied, last_run, pipeline
from tools.cluster.choice import CHART, VALUES

EARLIER = sorted((ROOT / "tests" / "golden" / "charts").glob("*.tgz"))


@pytest.mark.parametrize("program", HELMS)
def test_helm_test_loads_a_row(program: str, release: Release) -> None:
    """The hook's pod is admitted, may do what it does, and goes again."""
    command = (str(helm(program).program), "test", RELEASE, f"--namespace={release.namespace}", "--timeout=6m")
    kubeconfig = f"--kubeconfig={release.cluster.kubeconfig}"
    done = subprocess.run([*command, kubeconfig], capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert "Succeeded" in done.stdout
    rows = release.query("tidemill", "SELECT answer FROM public.tidemill_trial")
    assert rows == [["42"]]
    assert release.cluster.items(release.namespace, "pods", "--selector=app.kubernetes.io/component=test") == []


@pytest.mark.parametrize("earlier", EARLIER, ids=lambda file: file.name)
def test_runs_go_on_through_upgrades(earlier: Path, place: Place) -> None:
    """From the chart as it is to an earlier one and back: no run fails, and the Schedule is the same."""
    applied(place, pipeline())
    seen = last_run(place, "rows")
    schedules = place.schedules()
    for chart in (earlier, CHART):
        upgrade = ("upgrade", RELEASE, str(chart), "--namespace", place.release.namespace, "--values", str(VALUES))
        place.cluster.helm(*upgrade, "--wait", "--timeout=5m")
        seen = last_run(place, "rows", after=seen["startedAt"])
        assert seen["result"] == "Succeeded"
    assert place.schedules() == schedules
    assert place.query("SELECT run_key, result FROM tidemill.runs WHERE result IN ('Failed', 'Cancelled')") == []
