"""docs/how-to/install.md, its commands in their order, with both Helms on a real API server without nodes.

`helm install`, `helm upgrade`, `helm template`, `helm uninstall`; `kubectl create secret generic temporal-cloud`,
`kubectl auth can-i create`, `kubectl delete datapipelineruns.tidemill.dev,datapipelines.tidemill.dev,...`,
`kubectl delete crd`, `kubectl delete namespace tidemill-system`; `tidemill keys new`. And from docs/how-to/delete.md
`kubectl get tidemill` and `kubectl patch dpl orphan`.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.chart import HELMS, helm
from tests.support.kubernetes import ROOT, ApiServer, api_server
from tests.support.operator_world import pipeline
from tests.support.waiting import until
from tidemill_api.names import FINALIZER
from tools.documents import Block, blocks, matches

THIS = "tests/integration/test_how_to_install.py"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """A cluster that has never seen Tidemill."""
    with api_server(tmp_path / "kubernetes") as server:
        yield server


@pytest.mark.parametrize("program", HELMS)
def test_the_how_to_s_commands(program: str, server: ApiServer, tmp_path: Path) -> None:
    """Each prints what the page shows."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "helm").symlink_to(helm(program).program)
    path = os.pathsep.join((str(programs), str(ROOT / ".venv" / "bin"), server.environment["PATH"]))
    found = blocks(ROOT / "docs" / "how-to" / "install.md")
    assert all(block.tested_by == THIS for block in found)
    assert follow(found, {**server.environment, "PATH": path}) > 6


def test_an_object_whose_operator_is_gone(server: ApiServer) -> None:
    """docs/how-to/delete.md, its last section: it hangs, until its finalizer is taken off by hand."""
    server.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    orphan = pipeline("orphan")
    orphan["metadata"]["finalizers"] = [FINALIZER]
    until(lambda: server.kubectl("get", "dpl", check=False).returncode == 0, "the kinds are served", 30)
    server.kubectl("apply", "-f", "-", stdin=json.dumps(orphan))
    server.kubectl("delete", "dpl", "orphan", "--wait=false")
    assert server.kubectl("get", "dpl", "orphan", "-o", "jsonpath={.metadata.deletionTimestamp}").stdout
    found = [block for block in blocks(ROOT / "docs" / "how-to" / "delete.md") if block.tested_by == THIS]
    assert follow(found, server.environment) == 2
    assert not server.kubectl("get", "dpl", "orphan", "--ignore-not-found").stdout


def follow(found: Iterable[Block], environment: dict[str, str]) -> int:
    """Type the commands; returns how many there were."""
    run = 0
    for command in [each for block in found for each in block.commands]:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command.line],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        # Who asks whether something is allowed is answered by the exit code too.
        assert done.returncode == (1 if "can-i" in command.line else 0), f"{command.line}: {done.stderr}"
        assert matches(done.stdout, command.prints), f"{command.line} printed {done.stdout}"
        run += 1
    return run
