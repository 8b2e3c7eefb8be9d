"""`python -m tidemill_operator.trial`: does this installation work? What `helm test` runs; 0 if all is well, else 1.

It asks the API server for our kinds and the leader's Lease, makes a pool and a pipeline of its own (Ready says that the
operator reaches Temporal), with a database loads one row, and takes everything away again. Only the API server is
spoken to, with the rights of whoever runs it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tidemill_api.errors import TidemillError
from tidemill_api.names import GROUP
from tidemill_operator.adapters.kubernetes import KubernetesClient
from tidemill_operator.clients import Object
from tidemill_operator.reading import status_of

_PAUSE: Final = 0.5
_FOLDER: Final = "/trial"
ROW_FILE: Final = "row.csv"
"""Key of the ConfigMap with the row: a CSV file with the column `answer`."""


class TrialFailedError(Exception):
    """What doesn't work, in a sentence."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is tried, and where."""

    namespace: str
    lease: tuple[str, str]
    """Namespace and name of the leader's Lease."""
    name: str
    """Of all objects that are made."""
    temporal: bool
    """The operator has a Temporal of its own."""
    database: tuple[str, str] | None
    """Secret, and key in it, with the connection string; None: no row is loaded."""
    row: str
    """ConfigMap with the row."""
    timeout: float
    """Seconds that each step may take."""


async def trial(kubernetes: KubernetesClient, wish: Wish, tell: Callable[[str], None]) -> None:
    """All of it; `tell` gets a sentence for each step. Raises TrialFailedError."""
    if not await kubernetes.serves_our_kinds():
        raise TrialFailedError(f"the API server doesn't serve all kinds of {GROUP}: are the CRDs installed?")
    tell(f"the API server serves the kinds of {GROUP}")

    async def leader() -> str | None:
        lease = await kubernetes.get("Lease", *wish.lease)
        return ((lease or {}).get("spec") or {}).get("holderIdentity") or None

    tell(f"{await _until(leader, 'an operator leads', wish.timeout)} leads")
    if not wish.temporal:
        tell("left out: Temporal and a row, since the operator has no Temporal of its own")
        return
    try:
        await _load(kubernetes, wish, tell)
    except BaseException:
        await _take_away(kubernetes, wish, wait=False)  # the failure is what counts; the operator sees to the rest
        raise
    await _take_away(kubernetes, wish, wait=True)
    tell("what was made for the test is gone again")


async def _load(kubernetes: KubernetesClient, wish: Wish, tell: Callable[[str], None]) -> None:
    await kubernetes.create("WorkerPool", wish.namespace, pool(wish))
    await kubernetes.create("DataPipeline", wish.namespace, pipeline(wish))
    await _until(lambda: _ready(kubernetes, wish, "DataPipeline"), "the pipeline is Ready", wish.timeout)
    tell("the operator made a Schedule in Temporal")
    if wish.database is None:
        tell("left out: a row, since no database was named")
        return
    await kubernetes.create("DataPipelineRun", wish.namespace, run(wish))

    async def ended() -> Object | None:
        status = status_of(await kubernetes.get("DataPipelineRun", wish.namespace, wish.name) or {})
        return status if status.get("phase") not in (None, "Pending", "Running") else None

    try:
        status = await _until(ended, "the run has ended", wish.timeout)
    except TrialFailedError as error:
        said = [await _condition(kubernetes, wish, kind) for kind in ("WorkerPool", "DataPipelineRun")]
        raise TrialFailedError("; ".join((str(error), *said))) from None
    rows = (status.get("run") or {}).get("rowsLoaded", 0)
    if status["phase"] != "Succeeded" or rows != 1:
        raise TrialFailedError(f"{rows} rows were loaded; {await _condition(kubernetes, wish, 'DataPipelineRun')}")
    tell("a worker loaded one row")


async def _ready(kubernetes: KubernetesClient, wish: Wish, kind: str) -> bool:
    manifest = await kubernetes.get(kind, wish.namespace, wish.name) or {}
    conditions = status_of(manifest).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def _condition(kubernetes: KubernetesClient, wish: Wish, kind: str) -> str:
    conditions = status_of(await kubernetes.get(kind, wish.namespace, wish.name) or {}).get("conditions") or ()
    said = next((each for each in conditions if each["type"] == "Ready"), None)
    return f"the {kind} is {said['reason']}: {said['message']}" if said else f"the {kind} has no condition yet"


async def _take_away(kubernetes: KubernetesClient, wish: Wish, *, wait: bool) -> None:
    for kind in ("DataPipelineRun", "DataPipeline", "WorkerPool"):
        found = await kubernetes.get(kind, wish.namespace, wish.name)
        if found is None:
            continue
        await kubernetes.delete(kind, wish.namespace, wish.name, uid=found["metadata"]["uid"])

        async def gone(kind: str = kind) -> bool:
            return await kubernetes.get(kind, wish.namespace, wish.name) is None

        if wait:
            await _until(gone, f"the {kind} {wish.name} is gone", wish.timeout)


async def _until(look: Callable[[], Any], what: str, seconds: float) -> Any:
    try:
        async with asyncio.timeout(seconds):
            while True:
                if seen := await look():
                    return seen
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise TrialFailedError(f"waited {seconds:g} s until {what}") from None


# What is made


def pool(wish: Wish) -> Object:
    """One worker with the row as a file; none if there is no database to load it into."""
    secret, key = wish.database or (wish.row, ROW_FILE)
    volume = {"name": "row", "configMap": {"name": wish.row}}
    mount = {"name": "row", "mountPath": _FOLDER, "readOnly": True}
    spec = {
        "replicas": 1 if wish.database else 0,
        "deletionPolicy": "Cancel",
        "connections": [
            {"name": "row", "files": {"url": f"file://{_FOLDER}/"}},
            {"name": "database", "postgres": {"dsn": {"secretKeyRef": {"name": secret, "key": key}}}},
        ],
        "metastore": {"connection": "database"},
        "template": {
            "spec": {"volumes": [volume], "containers": [{"name": "worker", "volumeMounts": [mount]}]},
        },
    }
    return _object("WorkerPool", wish, spec)


def pipeline(wish: Wish) -> Object:
    """One column from the file into a table of its own, never by itself."""
    spec = {
        "workerPoolRef": {"name": wish.name},
        "schedule": {"crons": ["0 0 1 1 *"]},
        "suspend": True,
        "deletionPolicy": "Cancel",
        "sources": [
            {
                "name": "row",
                "connection": "row",
                "files": {"path": ROW_FILE, "format": {"csv": {}}},
                "columns": [{"name": "answer", "type": "int32", "required": True}],
            }
        ],
        "sinks": [
            {
                "name": "table",
                "input": "row",
                "connection": "database",
                "postgres": {"table": "public.tidemill_trial"},
                "writeDisposition": "Replace",
            }
        ],
    }
    return _object("DataPipeline", wish, spec)


def run(wish: Wish) -> Object:
    """The one run."""
    return _object("DataPipelineRun", wish, {"pipelineRef": {"name": wish.name}})


def _object(kind: str, wish: Wish, spec: Object) -> Object:
    metadata = {"name": wish.name, "namespace": wish.namespace}
    return {"apiVersion": f"{GROUP}/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


# The command


def parse(arguments: Sequence[str]) -> tuple[Wish, Path | None]:
    """What to try, and the kubeconfig. Raises SystemExit (argparse says what is wrong)."""
    parser = argparse.ArgumentParser(prog="python -m tidemill_operator.trial", description="Does it work?")
    parser.add_argument("--namespace", required=True, help="where pool and pipeline are made")
    parser.add_argument("--lease", required=True, metavar="NAMESPACE/NAME", help="the leader's Lease")
    parser.add_argument("--row", default="", metavar="CONFIGMAP", help=f"ConfigMap with {ROW_FILE}")
    parser.add_argument("--no-temporal", action="store_true", help="the operator has no Temporal of its own")
    parser.add_argument("--database", default="", metavar="SECRET/KEY", help="connection string for the row")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="for each step (120)")
    parser.add_argument("--kubeconfig", type=Path, help="the pod's service account if not given")
    given = parser.parse_args(arguments)
    lease_namespace, _, lease = given.lease.partition("/")
    secret, _, key = given.database.partition("/")
    wish = Wish(
        namespace=given.namespace,
        lease=(lease_namespace, lease),
        name=f"tidemill-trial-{uuid.uuid4().hex[:8]}",
        temporal=not given.no_temporal,
        database=(secret, key) if secret else None,
        row=given.row,
        timeout=given.timeout,
    )
    return wish, given.kubeconfig


def main() -> int:
    """The whole command; returns the exit code."""
    wish, kubeconfig = parse(sys.argv[1:])
    try:
        asyncio.run(_main(wish, kubeconfig))
    except (TrialFailedError, TidemillError) as error:
        _tell(f"FAILED: {error}")
        return 1
    return 0


async def _main(wish: Wish, kubeconfig: Path | None) -> None:
    kubernetes = await KubernetesClient.connect(kubeconfig, None, lambda *_: None)
    try:
        await trial(kubernetes, wish, lambda line: _tell(f"ok: {line}"))
    finally:
        await kubernetes.close()


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
