"""`make demo`: the example on a real cluster, from nothing to rows, told step by step; `--down` removes all of it.

What it does is what a person would type; each command is shown.
"""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tools import debian, envtest
from tools.cluster import choice, lifecycle, preflight
from tools.cluster.choice import NAMESPACE, RELEASE, Chosen
from tools.cluster.layout import ROOT, Layout
from tools.cluster.node import ClusterError

EXAMPLE = ROOT / "examples" / "flights"
TRAVEL = "travel"
EVERY = "30s"
_READY, _RUN = 180.0, 240.0
_WHY = "{.status.conditions[?(@.type=='Ready')].message}"
_LOOK = f"look further: kubectl describe -n {TRAVEL}"
_SHOWN = {
    "What was loaded:": """
        SELECT airline, count(*) AS flights, count(built) AS known_plane, round(avg(arr_delay), 1) AS mean_delay
        FROM flights GROUP BY airline ORDER BY flights DESC LIMIT 5""",
    "All rows:": "SELECT count(*) AS rows FROM flights",
    "What was rejected, and why; the original rows are kept:": """
        SELECT rules, count(DISTINCT (source, line)) AS rows
        FROM tidemill.dead_letters WHERE line IS NOT NULL GROUP BY rules ORDER BY rows DESC""",
}


class DemoError(Exception):
    """A step didn't do what it should; the message says which, and where to look."""


def main() -> int:
    """Entry point; returns the exit code."""
    chosen = choice.choose()
    try:
        if sys.argv[1:] == ["--down"]:
            say("removed, with all that ran on it" if chosen.down() else "there is no cluster")
            say("what was built is kept for the next time, in the image tool's storage and in .cache (`make clean`)")
            return 0
        began = time.monotonic()
        prepare(chosen)
        apply_example(chosen)
        show(chosen, watch_a_run(chosen))
        say(f"that took {time.monotonic() - began:.0f} s; `make demo-down` removes all of it")
    except (preflight.PreflightError, debian.PackagesError, envtest.EnvtestError, ClusterError, DemoError) as error:
        say(str(error))
        return 1
    return 0


def prepare(chosen: Chosen) -> None:
    """The cluster with the release on it."""
    say(f"1. a cluster {'in Docker, made by kind' if chosen.by_kind else 'on this machine itself'}, and the images")
    if not chosen.by_kind and not lifecycle.serves(Layout()):  # before images are built, which takes long
        preflight.run(Layout())
    building = choice.build_images()
    try:
        chosen.up()
        archives = choice.await_images(building)
    finally:
        if building.poll() is None:
            building.terminate()
            building.wait()
    chosen.load(archives)
    say(f"2. Tidemill, by Helm: helm upgrade --install {RELEASE} helm/tidemill --namespace {NAMESPACE} ...")
    choice.install(chosen)


def apply_example(chosen: Chosen) -> None:
    """A namespace, the database's Secret, and the example, with a schedule that needn't be waited for."""
    say("3. the example's namespace, which admits restricted pods only, and the Secret that its pool names")
    dsn = base64.b64decode(
        kubectl(chosen, "get", "secret", f"{RELEASE}-dev-services", "-n", NAMESPACE, "-o", "jsonpath={.data.dsn}")
    )
    apply(chosen, namespace(TRAVEL), secret(TRAVEL, dsn.decode().rpartition("/")[0] + "/warehouse"))
    say("4. the example: kubectl apply -f examples/flights/pool.yaml -f examples/flights/pipeline.yaml")
    pipeline = manifest("pipeline")
    say(f"   (for now its schedule is every {EVERY} rather than {pipeline['spec']['schedule']['crons'][0]!r})")
    pipeline["spec"]["schedule"] = {"intervals": [{"every": EVERY}]}
    apply(chosen, manifest("pool"), pipeline)
    for kind, name in (("workerpool", "etl"), ("datapipeline", "flights")):
        told = chosen.kubectl("wait", "-n", TRAVEL, f"--timeout={_READY:g}s", "--for=condition=Ready", f"{kind}/{name}")
        if subprocess.run(told, capture_output=True, check=False).returncode != 0:
            why = kubectl(chosen, "get", kind, name, "-n", TRAVEL, "-o", f"jsonpath={_WHY}")
            raise DemoError(f"{kind} {name} isn't Ready after {_READY:g} s: {why}; {_LOOK} {kind} {name}")


def watch_a_run(chosen: Chosen) -> dict[str, Any]:
    """The first run that the schedule starts from now on, once it has ended; its summary in the status."""
    say("5. a run, started by its schedule")
    asked = datetime.now(UTC)
    limit = time.monotonic() + _RUN
    while True:
        status = json.loads(kubectl(chosen, "get", "dpl", "flights", "-n", TRAVEL, "-o", "json")).get("status", {})
        run: dict[str, Any] = status.get("lastRun") or {}
        begun = run.get("startedAt")
        if begun is not None and datetime.fromisoformat(begun) >= asked:
            break
        if time.monotonic() > limit:
            why = "; ".join(f"{each['type']}: {each['message']}" for each in status.get("conditions", ()))
            raise DemoError(f"no run ended within {_RUN:g} s ({why}); {_LOOK} dpl flights")
        time.sleep(0.5)
    apply(chosen, manifest("pipeline"))
    if run["result"] != "Succeeded":
        raise DemoError(f"the run ended as {run['result']}: {run.get('error')}")
    return run


def show(chosen: Chosen, run: dict[str, Any]) -> None:
    """What there is now, and how to look further."""
    say(
        f"   {run['key']}: {run['result']}, {run['rowsRead']:,} rows read, {run['rowsLoaded']:,} loaded, "
        f"{run['rowsRejected']:,} rejected"
    )
    print()
    for command in (("get", "dpl,wpool,pods", "-n", TRAVEL), ("get", "pods", "-n", NAMESPACE)):
        print(kubectl(chosen, *command))
    for title, sql in _SHOWN.items():
        print(f"{title}\n{kubectl(chosen, *psql(), '--quiet', '-c', sql)}")
    print(
        f"Look further:\n  export KUBECONFIG={chosen.kubeconfig}\n"
        f"  {shlex.join(('kubectl', *psql('-it')))}\n"
        f"  kubectl describe dpl flights -n {TRAVEL}\n"
        f"  kubectl logs -n {TRAVEL} deploy/etl-worker\n"
        f"  kubectl port-forward -n {NAMESPACE} svc/{RELEASE}-temporal 8233   # Temporal's own UI: http://localhost:8233\n"
        f"  .venv/bin/tidemill status -n {TRAVEL}"
    )


def psql(*options: str) -> tuple[str, ...]:
    """Arguments of kubectl for psql on the demo's database."""
    return (
        "exec",
        *options,
        "-n",
        NAMESPACE,
        f"deploy/{RELEASE}-postgres",
        "--",
        "tidemill-dev-services",
        "psql",
        "warehouse",
    )


def namespace(name: str) -> dict[str, Any]:
    """A namespace that admits no pod but restricted ones."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def secret(where: str, dsn: str) -> dict[str, Any]:
    """The Secret that the example's pool takes its connection string from."""
    metadata = {"name": "warehouse", "namespace": where}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"dsn": dsn}}


def manifest(name: str) -> dict[str, Any]:
    """One of the example's manifests."""
    loaded: dict[str, Any] = YAML(typ="safe").load(Path(EXAMPLE, f"{name}.yaml"))
    return loaded


def apply(chosen: Chosen, *objects: dict[str, Any]) -> None:
    """Server-side apply."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    _run(chosen.kubectl("apply", "--server-side", "-f", "-"), text)


def kubectl(chosen: Chosen, *arguments: str) -> str:
    """What kubectl answers."""
    return _run(chosen.kubectl(*arguments))


def shown(command: list[str]) -> str:
    """A command as a person would type it."""
    return shlex.join(["kubectl", *command[1:]])


def say(line: str) -> None:
    """A line of the story."""
    print(f"demo: {line}", flush=True)


def _run(command: list[str], text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DemoError(f"{shown(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
