"""A real operator and a real worker after real runs, to be scraped: `measured`."""

from __future__ import annotations

import base64
import contextlib
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import parser as text_format
from prometheus_client.openmetrics import parser as openmetrics

from tests.support.fixtures import Database
from tests.support.operator_world import Manifest, World, pipeline, pool, run
from tests.support.worker import Pool, WorkerProcess
from tidemill_cli.dev.components.temporal import TemporalServer

ROWS = "id,month,name\n1,1,Ann\nx,2,Bob\n3,13,Cid\n4,4,Dot\n5,14,Eve\n"
"""Two rows are good; one has a value of the wrong type, two break a rule."""
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one scrape has given."""

    samples: Samples
    exemplars: tuple[dict[str, str], ...] = ()

    def value(self, name: str, **labels: str) -> float | None:
        """Of the one series with exactly these labels; None: there is none."""
        return self.samples.get((name, frozenset(labels.items())))

    def some(self, name: str, **labels: str) -> float:
        """The sum over all series that have these labels."""
        wanted = set(labels.items())
        return sum(value for (each, found), value in self.samples.items() if each == name and wanted <= found)

    def names(self) -> set[str]:
        """All names of samples."""
        return {name for name, _ in self.samples}


def scraped(port: int, accept: str = OPENMETRICS) -> Scrape:
    """A scrape as Prometheus asks for it, read by a parser of the format that came."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - the address is a literal
        content_type, text = answer.headers["Content-Type"], answer.read().decode()
    read: Any = openmetrics if content_type.startswith("application/openmetrics-text") else text_format
    found = [sample for family in read.text_string_to_metric_families(text) for sample in family.samples]
    samples = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in found}
    assert len(samples) == len(found), "a series was told twice"
    return Scrape(samples, tuple(sample.exemplar.labels for sample in found if sample.exemplar))


@dataclass(frozen=True, slots=True)
class Measured:
    """An operator and a worker, and the pipeline `flights` with a promise of freshness."""

    world: World
    pool: Pool
    worker: WorkerProcess

    @property
    def labels(self) -> dict[str, str]:
        """Of the pipeline's series."""
        return {"pipeline_namespace": self.world.namespace, "pipeline": "flights"}

    def run(self, name: str, phase: str = "Succeeded") -> None:
        """A run by hand, to its end as the pipeline's status tells it."""
        self.world.apply(run(name, "flights"))
        self.world.until(
            lambda: self.world.get("dpl", "flights") if self._last() == (name, phase) else {}, f"run {name} is {phase}"
        )

    def _last(self) -> tuple[str, str]:
        last = self.world.get("dpl", "flights").get("status", {}).get("lastRun", {})
        return last.get("key", ""), last.get("result", "")


@contextlib.contextmanager
def measured(world: World, database: Database, temporal: TemporalServer, folder: Path) -> Iterator[Measured]:
    """The pool's one worker runs as a process here: nobody makes pods of Deployments."""
    here = Pool(folder, database, world.installation, temporal, namespace=world.namespace)
    here.write()
    (here.landing / "a.csv").write_text(ROWS)
    world.apply(*_manifests(here))
    worker = here.start()
    try:
        yield Measured(world, here, worker)
    finally:
        worker.stop()


def _manifests(here: Pool) -> tuple[Manifest, ...]:
    dsn = base64.b64encode(here.database.dsn.encode()).decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "warehouse"}, "data": {"dsn": dsn}}
    columns = [{"name": "id", "type": "int64", "required": True}, {"name": "month", "type": "int32"}]
    source = {"name": "raw", "connection": "landing", "files": {"path": "a.csv", "format": {"csv": {}}}}
    rules = [{"name": "month-in-range", "expression": "month BETWEEN 1 AND 12"}]
    sink = {"name": "out", "input": "named", "connection": "warehouse", "writeDisposition": "Append"}
    return (
        secret,
        pool(connections=[{"name": "landing", "files": {"url": "file:///landing/"}}, *here.connections[1:]]),
        pipeline(
            "flights",
            sources=[source | {"columns": columns}],
            steps=[
                {"name": "valid", "inputs": ["raw"], "validate": {"rules": rules}},
                {"name": "named", "inputs": ["valid"], "sql": {"query": "SELECT *, month * 2 AS twice FROM valid"}},
            ],
            sinks=[sink | {"postgres": {"table": "public.flights"}}],
            freshness={"within": "2h"},
        ),
    )
