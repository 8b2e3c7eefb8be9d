"""The chart and the two Helms, for tests: rendering, and releases on a real API server (where no pod ever runs)."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from tests.support.kubernetes import ROOT, ApiServer, find_assets

CHART: Final = ROOT / "helm" / "tidemill"
HELMS: Final = ("helm", "helm3")
"""Helm 4 and Helm 3, by the names of their programs."""
NO_CLUSTER: Final = ("--set=installationId=test", "--set=encryption.existingSecret=ring")
"""What must be given where no cluster is looked into."""


@dataclass(frozen=True, slots=True)
class Helm:
    """One of the two programs, and the cluster that it speaks to (None: none)."""

    program: Path
    api: ApiServer | None

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run it; with `check` a failure raises `AssertionError` with what it said."""
        kubeconfig = str(self.api.kubeconfig) if self.api is not None else "/dev/null"
        command = [str(self.program), *arguments, f"--kubeconfig={kubeconfig}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if check and done.returncode != 0:
            raise AssertionError(
                f"{self.program.name} {' '.join(arguments)} ended with {done.returncode}: {done.stderr}"
            )
        return done

    def rendered(self, *values: str, namespace: str = "tidemill-system", chart: Path = CHART) -> str:
        """What it would apply, as YAML."""
        return self.run("template", "tidemill", str(chart), f"--namespace={namespace}", *values).stdout

    def template(self, *values: str, namespace: str = "tidemill-system", chart: Path = CHART) -> list[dict[str, Any]]:
        """The rendered objects, without the CRDs, which take seconds to parse."""
        return documents(self.rendered("--set=crds.enabled=false", *values, namespace=namespace, chart=chart))

    def refusal(self, *values: str, chart: Path = CHART) -> str:
        """Why it can't be rendered."""
        done = self.run("template", "tidemill", str(chart), *values, check=False)
        assert done.returncode != 0, f"it was rendered: {done.stdout[:500]}"
        return done.stderr


def helm(program: str, api: ApiServer | None = None) -> Helm:
    """`helm` (4) or `helm3`."""
    return Helm(find_assets() / program, api)


def documents(text: str) -> list[dict[str, Any]]:
    """The objects of a YAML stream."""
    found: list[dict[str, Any]] = [each for each in YAML(typ="safe").load_all(text) if each]
    return found


def of_kind(kind: str, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of one kind."""
    return [each for each in objects if each["kind"] == kind]
