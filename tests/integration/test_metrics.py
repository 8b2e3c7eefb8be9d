"""What a real operator and a real worker tell a scraper after real runs is what the metastore and Postgres hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fixtures import Database
from tests.support.metrics_world import Measured, Scrape, measured, scraped
from tests.support.operator_process import running_operator
from tests.support.operator_world import World
from tests.support.waiting import until
from tidemill_api.metrics import operator, worker
from tidemill_cli.dev.components.temporal import TemporalServer


@pytest.fixture
def here(world: World, database: Database, temporal_server: TemporalServer, tmp_path: Path) -> Iterator[Measured]:
    """Before any run."""
    with measured(world, database, temporal_server, tmp_path) as found:
        yield found


def rows(scrape: Scrape, here: Measured) -> dict[str, float | None]:
    return {
        outcome: scrape.value("tidemill_pipeline_rows_total", **here.labels, outcome=outcome)
        for outcome in ("read", "loaded", "rejected", "skipped")
    }


def runs(scrape: Scrape, here: Measured) -> list[float | None]:
    results = ("Succeeded", "Failed", "Skipped", "Cancelled")
    return [scrape.value("tidemill_pipeline_runs_total", **here.labels, result=result) for result in results]


def test_figures_are_the_truth_and_outlive_the_operator(here: Measured, tmp_path: Path) -> None:
    world = here.world
    world.until(lambda: world.condition("dpl", "flights"), "the pipeline has a status")
    until(lambda: None not in runs(scraped(world.operator.port), here), "the pipeline has series")
    before = scraped(world.operator.port)
    assert runs(before, here) == [0, 0, 0, 0]
    assert rows(before, here) == {"read": 0, "loaded": 0, "rejected": 0, "skipped": 0}

    here.run("first")
    told = scraped(world.operator.port)
    ((read, loaded, rejected),) = here.pool.database.query(
        "SELECT rows_read, rows_loaded, rows_rejected FROM tidemill.runs WHERE run_key = 'first'"
    )
    assert rows(told, here) == {"read": int(read), "loaded": int(loaded), "rejected": int(rejected), "skipped": 0}
    assert (int(read), int(loaded), int(rejected)) == (5, 2, 3)
    assert runs(told, here) == [1, 0, 0, 0]
    assert told.value("tidemill_pipeline_dead_letters", **here.labels) == 3
    assert told.value("tidemill_pipeline_freshness_limit_seconds", **here.labels) == 7200
    assert told.value("tidemill_temporal_reachable", connection_namespace="", connection="") == 1
    fresh = {"type": "Fresh", "status": "True", "reason": "WithinPromise"}
    assert told.value("tidemill_pipeline_condition", **here.labels, **fresh) == 1
    assert any("run_id" in exemplar for exemplar in told.exemplars)
    known = {name for metric in operator.ALL for name in metric.series}
    assert {name for name in told.names() if name.startswith("tidemill_")} <= known

    assert scraped(world.operator.port, "text/plain").names() >= told.names() - {"tidemill_operator_info"}
    _the_workers(here)
    _another_leader(here, tmp_path)


def _the_workers(here: Measured) -> None:
    for accept in ("application/openmetrics-text;version=1.0.0", "text/plain"):
        told = scraped(here.worker.port, accept)
        ours = {"pool_namespace": here.world.namespace, "pool": "etl"}
        flights = {**ours, **here.labels}
        assert told.value("tidemill_worker_read_rows_total", **flights) == 5
        assert told.value("tidemill_worker_loaded_rows_total", **flights, sink="out") == 2
        letters = here.pool.database.query(
            "SELECT step, coalesce(rules[1], reason), count(*) FROM tidemill.dead_letters GROUP BY 1, 2 ORDER BY 1"
        )
        assert letters == [["raw", "BadValue", "1"], ["valid", "month-in-range", "2"]]
        for step, rule, count in letters:
            rejected = told.value("tidemill_worker_rejected_rows_total", **flights, step=step, rule=rule)
            assert rejected == int(count)
        for phase in ("read", "check", "transform", "load"):
            assert (told.value("tidemill_worker_phase_seconds_total", **flights, phase=phase) or 0) > 0, phase
        assert told.value("tidemill_worker_chunks_total", **flights, outcome="done") == 1
        assert told.value("tidemill_worker_chunks_open", **ours) == 0
        assert told.value("tidemill_worker_ready", **ours) == 1
        assert told.value("tidemill_worker_slots", **ours) == 4
        assert told.some("tidemill_worker_postgres_wait_seconds_count", **ours, connection="warehouse") > 0
        assert told.some("tidemill_worker_postgres_connections", **ours, connection="warehouse", state="open") > 0
        assert told.some("temporal_request_total", **ours) > 0, "the SDK's own, on the same port"
        assert told.some("temporal_activity_execution_latency_seconds_count", **ours) > 0
        known = {name for metric in worker.ALL for name in metric.series}
        assert {name for name in told.names() if name.startswith("tidemill_")} <= known
        assert told.some("process_resident_memory_bytes") > 0


def _another_leader(here: Measured, folder: Path) -> None:
    """It goes on where the first one was, counts what has ended in between, and nothing twice."""
    world = here.world
    lease = f"--lease-name={world.installation}"
    with running_operator(folder, world.api.kubeconfig, world.installation, lease, temporal=world.temporal) as second:
        standing_by = scraped(second.port)
        assert runs(standing_by, here) == [None] * 4, "one that doesn't lead tells of no pipeline"
        assert standing_by.value("tidemill_operator_leader") == 0
        world.operator.stop()
        until(second.leads, "the second one leads", 30)
        until(lambda: None not in runs(scraped(second.port), here), "it tells of the pipeline")
        assert runs(scraped(second.port), here) == [1, 0, 0, 0]
        here.run("second")
        until(lambda: runs(scraped(second.port), here) == [2, 0, 0, 0], "the second run is counted")
        assert rows(scraped(second.port), here) == {"read": 10, "loaded": 4, "rejected": 6, "skipped": 0}

        world.kubectl("delete", "dpl", "flights", "--wait=false")
        until(lambda: runs(scraped(second.port), here) == [None] * 4, "its series go with the pipeline", 30)
