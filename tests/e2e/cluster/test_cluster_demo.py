"""`make demo` on a cluster that runs already: what it promises to show."""

from __future__ import annotations

import subprocess

from tests.support.cluster import Release
from tests.support.kubernetes import ROOT


def test_the_demo_shows_a_scheduled_run_and_its_rows(release: Release) -> None:
    try:
        done = subprocess.run(["make", "demo"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Succeeded, 336,776 rows read, 335,596 loaded, 1,180 rejected" in done.stdout
        assert "United Air Lines Inc." in done.stdout
        assert "{landed}" in done.stdout
        assert "kubectl exec -it" in done.stdout
    finally:
        release.cluster.kubectl("delete", "datapipelines,workerpools", "--all", "-n", "travel", check=False)
        release.cluster.kubectl("delete", "namespace", "travel", "--wait=false", check=False)
