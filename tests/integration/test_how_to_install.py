"""docs/how-to/install.md, its commands in their order, with both Helms on a real API server without nodes.

`helm install`, `helm upgrade`, `helm template`, `helm uninstall`; `kubectl create secret generic temporal-cloud`,
`kubectl auth can-i create`, `kubectl delete crd`, `kubectl delete namespace tidemill-system`; `tidemill keys new`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chart import HELMS, helm
from tests.support.kubernetes import ROOT, ApiServer, api_server
from tools.documents import blocks, matches

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
    environment = {**server.environment, "PATH": path}
    run = 0
    for block in blocks(ROOT / "docs" / "how-to" / "install.md"):
        assert block.tested_by == THIS
        for command in block.commands:
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
    assert run > 6
