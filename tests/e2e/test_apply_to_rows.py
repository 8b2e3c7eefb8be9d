"""The whole path: `kubectl apply` on a real API server becomes rows in Postgres (operator, Schedule, worker)."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.fixtures import Database
from tests.support.kubernetes import ApiServer
from tests.support.pods import running_pod
from tests.support.waiting import until
from tidemill_cli.dev.components import ports
from tidemill_cli.dev.components.temporal import TemporalServer

FLIGHTS = """carrier,flight,month,delay
UA,1545,1,2
UA,1714,1,4
AA,1141,13,2
B6,725,1,late
DL,461,1,-6
"""
AIRLINES = """carrier,name
UA,United
AA,American
B6,JetBlue
"""
GOOD = [["DL", "461", "-6", ""], ["UA", "1545", "2", "United"], ["UA", "1714", "4", "United"]]


def manifests(namespace: str, landing: Path, dsn: str) -> str:
    meta = {"namespace": namespace}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {**meta, "name": "warehouse"},
        "data": {"dsn": base64.b64encode(dsn.encode()).decode()},
    }
    pool = {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {**meta, "name": "etl"},
        "spec": {
            "connections": [
                {"name": "landing", "files": {"url": f"file://{landing}/"}},
                {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}},
            ],
            "metastore": {"connection": "warehouse"},
        },
    }
    csv: dict[str, Any] = {"format": {"csv": {}}}
    pipeline = {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "DataPipeline",
        "metadata": {**meta, "name": "flights"},
        "spec": {
            "workerPoolRef": {"name": "etl"},
            "schedule": {"intervals": [{"every": "1s"}]},
            "sources": [
                {
                    "name": "raw",
                    "connection": "landing",
                    "files": {"path": "flights.csv", **csv},
                    "columns": [
                        {"name": "carrier", "type": "string", "required": True},
                        {"name": "flight", "type": "int32", "required": True},
                        {"name": "month", "type": "int16"},
                        {"name": "delay", "type": "float64"},
                    ],
                },
                {"name": "airlines", "connection": "landing", "files": {"path": "airlines.csv", **csv}},
            ],
            "steps": [
                {
                    "name": "valid",
                    "inputs": ["raw"],
                    "validate": {"rules": [{"name": "month-in-range", "expression": "month BETWEEN 1 AND 12"}]},
                },
                {
                    "name": "named",
                    "inputs": ["valid", "airlines"],
                    "sql": {
                        "query": "SELECT v.carrier, v.flight, v.delay, a.name AS airline "
                        "FROM valid v LEFT JOIN airlines a USING (carrier)"
                    },
                },
            ],
            "sinks": [
                {
                    "name": "flights",
                    "input": "named",
                    "connection": "warehouse",
                    "postgres": {"table": "public.flights"},
                    "writeDisposition": "Merge",
                    "primaryKey": ["carrier", "flight"],
                }
            ],
        },
    }
    return "\n---\n".join(json.dumps(part) for part in (secret, pool, pipeline))


@contextmanager
def operator(
    server: ApiServer, temporal: TemporalServer, installation: str, namespace: str, log: Path
) -> Iterator[int]:
    port = ports.free()
    command = [sys.executable, "-m", "tidemill_operator", "--installation", installation, "--namespaces", namespace]
    where = ["--temporal-address", temporal.address, "--kubeconfig", str(server.kubeconfig)]
    pace = ["--health-address", f"127.0.0.1:{port}", "--lease-namespace", namespace, "--sweep-interval", "0.5s"]
    with log.open("wb") as out:
        child = subprocess.Popen([*command, *where, *pace], stdout=out, stderr=out)
    try:
        yield port
    finally:
        child.terminate()
        child.wait(30)


def get(server: ApiServer, kind: str, namespace: str, name: str) -> dict[str, Any]:
    done = server.kubectl("get", kind, name, "-n", namespace, "-o", "json", check=False)
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def test_apply_to_rows(
    crds: ApiServer,
    temporal_server: TemporalServer,
    database: Database,
    namespace: str,
    installation_id: str,
    tmp_path: Path,
) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "flights.csv").write_text(FLIGHTS)
    (landing / "airlines.csv").write_text(AIRLINES)
    pods = tmp_path / "pods"
    pods.mkdir()

    with operator(crds, temporal_server, installation_id, namespace, tmp_path / "operator.log"):
        crds.kubectl("apply", "--server-side", "-f", "-", stdin=manifests(namespace, landing, database.dsn))
        crds.kubectl("wait", "--for=condition=Ready", "-n", namespace, "dpl/flights", "--timeout=30s")
        until(lambda: get(crds, "deployment", namespace, "etl-worker"), "the pool's Deployment")

        with running_pod(crds, namespace, "etl-worker", pods):
            status = until(
                lambda: (
                    (s := get(crds, "dpl", namespace, "flights").get("status", {}))
                    and s.get("lastRun", {}).get("result") == "Succeeded"
                    and s
                ),
                "a scheduled run that succeeded",
                timeout=60,
            )
            assert database.query("SELECT carrier, flight, delay, airline FROM public.flights ORDER BY 1, 2") == GOOD
            last = status["lastRun"]
            assert (last["rowsRead"], last["rowsLoaded"], last["rowsRejected"]) == (5, 3, 2)
            conditions = {c["type"]: c["status"] for c in status["conditions"]}
            assert conditions["Ready"] == "True"
            assert conditions["Succeeding"] == "True"
            assert status["nextRuns"]

            letters = database.query(
                "SELECT step, row_text, line FROM tidemill.dead_letters WHERE run_key = "
                "(SELECT min(run_key) FROM tidemill.dead_letters) ORDER BY line"
            )
            assert letters == [["valid", "AA,1141,13,2", "4"], ["raw", "B6,725,1,late", "5"]]

            crds.kubectl("patch", "dpl", "flights", "-n", namespace, "--type=merge", "-p", '{"spec":{"suspend":true}}')
            crds.kubectl(
                "wait", "-n", namespace, "dpl/flights", "--timeout=30s",
                "--for=jsonpath={.status.conditions[?(@.type=='Ready')].reason}=Suspended",
            )  # fmt: skip
            crds.kubectl("delete", "dpl", "flights", "-n", namespace, "--timeout=60s")
        crds.kubectl("delete", "wpool", "etl", "-n", namespace, "--timeout=60s")
