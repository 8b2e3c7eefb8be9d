"""A real cluster with kubelets, and the release on it: kind where Docker runs, else a bare node, as the machine can.

One cluster serves all tests of a session, each in a namespace of its own.  It is stopped at the end if the session
started it, unless `TIDEMILL_KEEP_CLUSTER` is set; with `TIDEMILL_KEEP_CLUSTER=as-is` a release that is there is taken
as it is, rather than upgraded to what the source tree holds now.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from temporalio.client import Client

from tests.support.fixtures import unique
from tests.support.kubernetes import ROOT
from tests.support.waiting import until
from tidemill_cli.dev.components import ports
from tools import debian, envtest
from tools.cluster import choice, preflight
from tools.cluster.layout import Layout
from tools.cluster.node import ClusterError

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster, its administrator's kubectl and Helm."""

    chosen: choice.Chosen

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.chosen.kubeconfig

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl; with `check` a failure raises `AssertionError` with what it said."""
        return _run(self.chosen.kubectl(*arguments), stdin, check, timeout)

    def helm(self, *arguments: str, check: bool = True, timeout: float = 330) -> subprocess.CompletedProcess[str]:
        """Run Helm 4, likewise."""
        return _run(self.chosen.helm(*arguments), None, check, timeout)

    def apply(self, *objects: Object) -> None:
        """Server-side apply."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "--server-side", "-f", "-", stdin=text)

    def get(self, namespace: str, kind: str, name: str) -> Object:
        """An object as it stands; empty if it isn't there."""
        done = self.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        loaded: Object = json.loads(done.stdout) if done.stdout.strip() else {}
        return loaded

    def items(self, namespace: str, kind: str, *options: str) -> list[Object]:
        """The objects of a kind."""
        listed = json.loads(self.kubectl("get", kind, "-n", namespace, "-o", "json", *options).stdout)
        items: list[Object] = listed["items"]
        return items

    def ready(self, namespace: str, *objects: str, timeout: float = 120) -> None:
        """Wait until all of `kind/name` are Ready."""
        self.kubectl(
            *("wait", "-n", namespace, "--for=condition=Ready", f"--timeout={timeout:g}s", *objects),
            timeout=timeout + 30,
        )

    @contextlib.contextmanager
    def forwarded(self, namespace: str, target: str, port: int) -> Iterator[int]:
        """A local port that leads to a port of `service/name` or the like."""
        local = ports.free()
        command = self.chosen.kubectl("port-forward", "-n", namespace, target, f"{local}:{port}")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
            try:
                assert child.stdout is not None
                said = child.stdout.readline()
                assert "Forwarding" in said, said
                yield local
            finally:
                child.terminate()


@dataclass(frozen=True, slots=True)
class Release:
    """Tidemill with its demo services on the cluster."""

    cluster: Cluster
    name: str = choice.RELEASE
    namespace: str = choice.NAMESPACE

    @property
    def dsn(self) -> str:
        """The superuser's connection string, as pods reach Postgres."""
        secret = self.cluster.get(self.namespace, "secret", f"{self.name}-dev-services")
        return base64.b64decode(secret["data"]["dsn"]).decode()

    def query(self, database: str, sql: str) -> list[list[str]]:
        """Run SQL in psql and return the rows as text; NULL is the empty string."""
        return list(csv.reader(self._psql(database, sql, check=True).stdout.splitlines()))

    def asked(self, database: str, sql: str) -> list[list[str]]:
        """As `query`, but no rows while the database or the table isn't there."""
        return list(csv.reader(self._psql(database, sql, check=False).stdout.splitlines()))

    def restart(self, service: str) -> None:
        """End the container of `temporal`, `postgres` or `redis` as the kubelet does; it comes again with its data."""
        pod = f"deploy/{self.name}-{service}"
        before = self._restarts(service)
        self.cluster.kubectl(
            *("exec", "-n", self.namespace, pod, "--", "python", "-c", "import os; os.kill(1, 15)"), check=False
        )
        until(lambda: self._restarts(service) > before, f"{service} has been started again", 60)

    def _restarts(self, service: str) -> int:
        pods = self.cluster.items(self.namespace, "pods", f"--selector=app.kubernetes.io/component=dev-{service}")
        return sum(each["restartCount"] for pod in pods for each in pod["status"].get("containerStatuses", ()))

    def _psql(self, database: str, sql: str, check: bool) -> subprocess.CompletedProcess[str]:
        psql = ("tidemill-dev-services", "psql", database, "--quiet", "--csv", "-t", "-v", "ON_ERROR_STOP=1")
        where = ("exec", "-n", self.namespace, f"deploy/{self.name}-postgres", "--")
        return self.cluster.kubectl(*where, *psql, "-c", sql, check=check)


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace and a database of one test, with a pool's Secret `warehouse` that leads to it."""

    release: Release
    namespace: str
    database: str

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        return self.release.cluster

    def apply(self, *objects: Object) -> None:
        """Apply objects in this namespace, whatever they say themselves."""
        self.cluster.apply(
            *({**each, "metadata": {**each["metadata"], "namespace": self.namespace}} for each in objects)
        )

    def get(self, kind: str, name: str) -> Object:
        """An object as it stands; empty if it isn't there."""
        return self.cluster.get(self.namespace, kind, name)

    def status(self, kind: str, name: str) -> Object:
        """Its status; empty if there is none."""
        status: Object = self.get(kind, name).get("status", {})
        return status

    def condition(self, kind: str, name: str, condition: str = "Ready") -> Object:
        """One of its conditions; empty if it isn't there."""
        listed: list[Object] = self.status(kind, name).get("conditions", [])
        return next((each for each in listed if each["type"] == condition), {})

    def query(self, sql: str) -> list[list[str]]:
        """SQL on the test's database."""
        return self.release.query(self.database, sql)

    def count(self, table: str) -> int:
        """Rows of a table; 0 while it isn't there."""
        rows = self.release.asked(self.database, f"SELECT count(*) FROM {table}")
        return int(rows[0][0]) if rows else 0

    def schedules(self) -> list[str]:
        """Ids of the Temporal Schedules of this namespace's pipelines."""

        async def listed(port: int) -> list[str]:
            client = await Client.connect(f"127.0.0.1:{port}")
            return [each.id async for each in await client.list_schedules() if f"/{self.namespace}/" in each.id]

        with self.cluster.forwarded(self.release.namespace, f"svc/{self.release.name}-temporal", 7233) as port:
            return asyncio.run(listed(port))

    def workers(self) -> list[str]:
        """Names of the pods of workers that run."""
        pods = self.cluster.items(self.namespace, "pods", "--selector=app.kubernetes.io/component=worker")
        return [
            pod["metadata"]["name"]
            for pod in pods
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    def kill(self, pod: str) -> None:
        """End a pod at once, without grace."""
        self.cluster.kubectl("delete", "pod", pod, "-n", self.namespace, "--grace-period=0", "--force", "--wait=false")


_AHEAD = pytest.StashKey[subprocess.Popen[bytes]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to build what the cluster's tests need, at the lowest priority, while others run: cold it takes long."""
    if any("cluster" in getattr(item, "fixturenames", ()) for item in session.items):
        command = ["nice", "-n", "19", sys.executable, "-m", "tools.cluster", "prepare"]
        with tempfile.TemporaryFile() as unseen:  # whoever needs it builds it again, and says what fails
            session.stash[_AHEAD] = subprocess.Popen(
                command, cwd=ROOT, stdout=unseen, stderr=unseen, start_new_session=True
            )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End it, if the session ended before it was needed."""
    if (ahead := session.stash.get(_AHEAD, None)) is not None and ahead.poll() is None:
        os.killpg(ahead.pid, signal.SIGTERM)
        ahead.wait()


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A real cluster with the images of this source tree loaded."""
    if (ahead := request.session.stash.get(_AHEAD, None)) is not None:
        ahead.wait()
    chosen = choice.choose()
    kept = os.environ.get("TIDEMILL_KEEP_CLUSTER", "")
    try:
        if not chosen.by_kind:
            preflight.run(Layout())
        envtest.ensure_cached(("helm", "kubectl"))
        started = chosen.up()
        if kept != "as-is" or started:
            chosen.load(choice.await_images(choice.build_images()))
    except (preflight.PreflightError, debian.PackagesError, envtest.EnvtestError, ClusterError) as error:
        pytest.fail(str(error), pytrace=False)
    try:
        yield Cluster(chosen)
    finally:
        if started and not kept:
            chosen.down()


@pytest.fixture(scope="session")
def release(cluster: Cluster) -> Release:
    """Tidemill on the cluster, with Temporal, Postgres and Redis for demos."""
    mine = Release(cluster)
    as_is = os.environ.get("TIDEMILL_KEEP_CLUSTER") == "as-is"
    if not (as_is and cluster.get(mine.namespace, "deployment", f"{mine.name}-operator")):
        choice.install(cluster.chosen)
    return mine


@pytest.fixture
def place(release: Release) -> Iterator[Place]:
    """A namespace that admits restricted pods only, and a database, of this test's own."""
    name = unique("e2e-")
    mine = Place(release, name, name.replace("-", "_"))
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    release.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    release.query("postgres", f"CREATE DATABASE {mine.database}")
    dsn = f"{release.dsn.rpartition('/')[0]}/{mine.database}"
    mine.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "warehouse"}, "stringData": {"dsn": dsn}})
    yield mine
    # Open runs end while there are workers: once the namespace goes, these go first.
    release.cluster.kubectl("delete", "datapipelines,workerpools", "--all", "-n", name, "--timeout=60s", check=False)
    release.cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def example(name: str) -> Object:
    """A manifest of examples/flights: `pool` or `pipeline`."""
    loaded: Object = YAML(typ="safe").load(ROOT / "examples" / "flights" / f"{name}.yaml")
    return loaded


def _run(command: list[str], stdin: str | None, check: bool, timeout: float) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=timeout)
    if check and done.returncode != 0:
        shown = " ".join(command[1:])
        raise AssertionError(f"{Path(command[0]).name} {shown} ended with {done.returncode}: {done.stderr.strip()}")
    return done
