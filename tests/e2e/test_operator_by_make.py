"""`make install`, `make run` and `make uninstall` (docs/how-to/operator.md) on an API server of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

from tests.support.fixtures import unique
from tests.support.kubernetes import ROOT, ApiServer, api_server
from tests.support.operator_world import pipeline
from tests.support.waiting import until
from tidemill_cli.dev.components import ports
from tidemill_cli.dev.components.temporal import TemporalServer

REASON = "jsonpath={.status.conditions[?(@.type=='Ready')].reason}"


def make(server: ApiServer, target: str) -> None:
    subprocess.run(["make", "--no-print-directory", target], cwd=ROOT, env=server.environment, check=True)


def test_from_nothing_and_back(tmp_path: Path, temporal_server: TemporalServer) -> None:
    with api_server(tmp_path / "kubernetes") as server:
        make(server, "install")
        arguments = (
            f"--installation {unique('make-')} --temporal-address {temporal_server.address} "
            f"--health-address 127.0.0.1:{ports.free()}"
        )
        log = tmp_path / "operator.log"
        with log.open("wb") as output:
            operator = subprocess.Popen(
                ["make", "run", f"OPERATOR_ARGS={arguments}"],
                cwd=ROOT, env=server.environment, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            server.kubectl("apply", "-f", "-", stdin=json.dumps(pipeline("flights")))
            until(
                lambda: server.kubectl("get", "dpl", "flights", "-o", REASON).stdout == "WaitingForPool",
                f"the operator to see the pipeline; its log: {log}",
                90,
            )
            refused = subprocess.run(
                ["make", "--no-print-directory", "uninstall"],
                cwd=ROOT, env=server.environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert refused.returncode != 0
            assert re.search(r"^DataPipeline +default +flights$", refused.stderr, re.MULTILINE)
            (delete,) = [line.split() for line in refused.stderr.splitlines() if line.startswith("  kubectl ")]
            server.kubectl(*delete[1:], "--timeout=50s")
            assert not server.kubectl("get", "dpl", "-A", "-o", "name").stdout
        finally:
            os.killpg(operator.pid, signal.SIGINT)
            operator.wait(30)
        assert "stopped" in log.read_text()
        make(server, "uninstall")
        left = server.kubectl("get", "crds", "-o", "name").stdout
        assert "tidemill" not in left
