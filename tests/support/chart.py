"""The chart and the two Helms, for tests: rendering, and releases on a real API server (where no pod ever runs)."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from tests.support.kubernetes import ROOT, ApiServer
from tests.support.operator_process import OperatorProcess, running_operator
from tests.support.waiting import until
from tidemill_cli.dev.components.component import ComponentError
from tidemill_cli.dev.components.temporal import TemporalServer
from tools.envtest import folder_for, missing

CHART: Final = ROOT / "helm" / "tidemill"
RELEASE: Final = "tidemill"
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
    folder = folder_for(HELMS)
    if absent := missing(folder, (program,)):
        raise ComponentError(f"{absent[0]} is needed: run `make envtest`, which builds it")
    return Helm(folder / program, api)


def documents(text: str) -> list[dict[str, Any]]:
    """The objects of a YAML stream."""
    found: list[dict[str, Any]] = [each for each in YAML(typ="safe").load_all(text) if each]
    return found


def of_kind(kind: str, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of one kind."""
    return [each for each in objects if each["kind"] == kind]


def operator_container(api: ApiServer, home: str) -> dict[str, Any]:
    """The operator's container of the release in a namespace."""
    found = api.kubectl("-n", home, "get", "deployment", f"{RELEASE}-operator", "-o", "json").stdout
    only: dict[str, Any] = json.loads(found)["spec"]["template"]["spec"]["containers"][0]
    return only


def as_account(api: ApiServer, home: str, account: str, folder: Path) -> Path:
    """The kubeconfig of a ServiceAccount, with a token such as its pods get."""
    token = api.kubectl("-n", home, "create", "token", account).stdout.strip()
    config = json.loads(api.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": token}
    file = folder / f"{account}.kubeconfig"
    file.touch(mode=0o600)
    file.write_text(json.dumps(config), encoding="utf-8")
    return file


@dataclass(frozen=True, slots=True)
class Hook:
    """What a hook's pod did where no node runs it: its exit code and what it printed."""

    code: int
    told: str


def uninstall(it: Helm, home: str, folder: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], Hook]:
    """`helm uninstall` of a release with `crds.keep=false`, whose hook is a process here with the rights of its pod."""
    api = it.api
    assert api is not None
    command = [str(it.program), "uninstall", RELEASE, f"--namespace={home}", *options, f"--kubeconfig={api.kubeconfig}"]
    helm = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    name = f"{RELEASE}-leftovers"

    def waiting() -> dict[str, Any]:
        found = api.kubectl("-n", home, "get", "pod", name, "--ignore-not-found", "-o", "json").stdout
        pod: dict[str, Any] = json.loads(found) if found.strip() else {}
        return pod if pod.get("status", {}).get("phase") == "Pending" else {}

    pod = until(waiting, "the hook's pod is there", 60)
    container = pod["spec"]["containers"][0]
    kubeconfig = as_account(api, home, pod["spec"]["serviceAccountName"], folder)
    words = [sys.executable, *container["command"][1:], *container["args"], f"--kubeconfig={kubeconfig}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    phase = json.dumps({"status": {"phase": "Failed" if done.returncode else "Succeeded"}})
    api.kubectl("-n", home, "patch", "pod", name, "--subresource=status", "--type=merge", "-p", phase)
    out, err = helm.communicate(timeout=120)
    return subprocess.CompletedProcess(command, helm.returncode, out, err), Hook(done.returncode, done.stdout)


@contextlib.contextmanager
def released_operator(
    api: ApiServer, temporal: TemporalServer, home: str, installation: str, folder: Path, *values: str
) -> Iterator[OperatorProcess]:
    """Install the chart into the namespace `home` and run the operator as its Deployment would.

    Its arguments and its key ring are those of the release, its rights those of the release's ServiceAccount. The
    CRDs are there already.
    """
    four = helm("helm", api)
    given = (
        f"--set=installationId={installation}",
        f"--set=temporal.address={temporal.address}",
        "--set=admissionPolicy.enabled=false",
        "--set=rbac.userRoles=false",
        "--set=crds.enabled=false",
    )
    four.run("install", RELEASE, str(CHART), f"--namespace={home}", *given, *values)
    try:
        arguments = (*operator_container(api, home)["args"], *_ring(api, home, folder / "ring"))
        with running_operator(
            folder / "operator",
            as_account(api, home, RELEASE, folder),
            installation,
            *(each for each in arguments if not each.startswith("--health-address")),
            *("--log-level=debug", "--log-format=text", "--sweep-interval=0.5", "--resync-interval=3"),
            temporal=temporal.address,
        ) as operator:
            yield operator
    finally:
        four.run("uninstall", RELEASE, f"--namespace={home}")


def _ring(api: ApiServer, home: str, folder: Path) -> tuple[str, ...]:
    """The key ring as it would be mounted, and arguments that say what the container's variables do."""
    data = json.loads(api.kubectl("-n", home, "get", "secret", f"{RELEASE}-encryption", "-o", "json").stdout)["data"]
    folder.mkdir()
    for name, value in data.items():
        (folder / name).write_bytes(base64.b64decode(value))
    told = {each["name"]: each.get("value", "") for each in operator_container(api, home)["env"]}
    return (f"--encryption-keys={folder}", f"--encryption-secret={told['TIDEMILL_ENCRYPTION_SECRET']}")
