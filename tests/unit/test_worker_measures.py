"""A worker's figures: bounded by pipelines, forgotten when idle, and read together with those of Temporal's SDK."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from prometheus_client.openmetrics import parser

from tidemill_api.contract import CheckResult, RunResult, SinkCount, StepCount
from tidemill_api.metrics import worker
from tidemill_worker.engine.spent import Spent
from tidemill_worker.measures import IDLE, MOST_PIPELINES, Measures
from tidemill_worker.metastore.told import by_rule
from tidemill_worker.sdk_metrics import as_openmetrics, together
from tidemill_worker.workflows.messages import Counts

US = ("travel", "flights")
POOL = {"pool_namespace": "travel", "pool": "etl"}
OURS = {**POOL, "pipeline_namespace": "travel", "pipeline": "flights"}


class OpenPool:
    """Three connections of at most five, one of which nobody uses."""

    def get_size(self) -> int:
        return 3

    def get_idle_size(self) -> int:
        return 1

    def get_max_size(self) -> int:
        return 5


def value(measures: Measures, name: str, **labels: str) -> float | None:
    registry = measures._made.registry
    found: float | None = registry.get_sample_value(name, {**POOL, **labels})
    return found


def busy() -> Measures:
    measures = Measures("travel", "etl")
    counts = Counts(chunks=1, rows_read=9, rows_loaded=8, rows_rejected=1, bytes_read=100)
    with measures.chunk() as attempt:
        attempt.whose, attempt.exemplar, attempt.number = US, {"run_id": "r"}, 2
        measures.rows(
            US, counts, [StepCount(step="raw", rows_in=9, rows_out=8, rejected=1)], [SinkCount(sink="out", rows=8)]
        )
        measures.rejected(US, {("raw", "BadValue"): 1})
        measures.phases(US, {"read": 0.5})
    with pytest.raises(ValueError, match="broken"), measures.chunk():
        raise ValueError("broken")
    check = CheckResult(check="c", sink="out", metric="rowCount", severity="Warn", passed=False)
    measures.run(US, RunResult(pipeline="flights", run_key="k", result="Succeeded", failed_checks=(check,)))
    measures.notification("Unsent")
    measures.lineage("Sent")
    measures.secret("warehouse", unusable=True)
    measures.cache("hit", 2.5)
    measures.cache_waited(0.25)
    measures.postgres("warehouse", 0.01, had=True)
    measures.postgres("warehouse", 5.0, had=False)
    measures.http("api", 200, 0.1)
    measures.pools = lambda: [("warehouse", OpenPool()), ("warehouse", OpenPool())]
    measures.slots = 4
    return measures


def test_what_was_done_is_counted() -> None:
    measures = busy()
    measures.exposition()
    expected: dict[tuple[Any, ...], float] = {
        ("read_rows_total", ("pipeline", "flights")): 9,
        ("read_bytes_total", ("pipeline", "flights")): 100,
        ("loaded_rows_total", ("pipeline", "flights"), ("sink", "out")): 8,
        ("step_rows_total", ("pipeline", "flights"), ("step", "raw"), ("outcome", "rejected")): 1,
        ("rejected_rows_total", ("pipeline", "flights"), ("step", "raw"), ("rule", "BadValue")): 1,
        ("chunks_total", ("pipeline", "flights"), ("outcome", "done")): 1,
        ("chunk_retries_total", ("pipeline", "flights")): 1,
        ("phase_seconds_total", ("pipeline", "flights"), ("phase", "read")): 0.5,
        ("checks_failed_total", ("pipeline", "flights"), ("severity", "Warn")): 1,
        ("runs_total", ("result", "Succeeded")): 1,
        ("cache_lookups_total", ("outcome", "hit")): 1,
        ("cache_saved_seconds_total",): 2.5,
        ("cache_waits_total",): 1,
        ("postgres_connections", ("connection", "warehouse"), ("state", "used")): 4,
        ("postgres_connections", ("connection", "warehouse"), ("state", "most")): 10,
        ("postgres_failures_total", ("connection", "warehouse")): 1,
        ("postgres_wait_seconds_count", ("connection", "warehouse")): 2,
        ("http_requests_total", ("connection", "api"), ("code", "200")): 1,
        ("slots",): 4,
        ("chunks_open",): 0,
        ("ready",): 0,
    }
    found: dict[tuple[Any, ...], float | None] = {}
    for name, *labels in expected:
        given = dict(labels) | ({"pipeline_namespace": "travel"} if "pipeline" in dict(labels) else {})
        found[name, *labels] = value(measures, f"tidemill_worker_{name}", **given)
    assert found == expected
    failed = {"pipeline_namespace": "", "pipeline": "", "outcome": "failed"}
    assert value(measures, "tidemill_worker_chunks_total", **failed) == 1, "one that failed before its run was read"


def test_every_metric_of_the_catalogue_is_made() -> None:
    measures = busy()
    for _ in range(MOST_PIPELINES + 1):
        measures._used((str(_), ""))
    measures._used(US)
    text = busy().exposition()[0].decode()

    assert {metric.name for metric in worker.ALL if f"# TYPE {metric.name} {metric.type}" not in text} == set()


def test_waiting_for_a_connection_imports_nothing_and_is_counted_later() -> None:
    measures = Measures("travel", "etl")
    measures.postgres("warehouse", 0.5, had=True)
    assert "_made" not in vars(measures), "a worker's start waits for connections"

    measures.exposition()

    assert value(measures, "tidemill_worker_postgres_wait_seconds_sum", connection="warehouse") == 0.5


def test_of_too_many_pipelines_the_one_idle_the_longest_is_forgotten() -> None:
    measures = Measures("travel", "etl")
    for number in range(MOST_PIPELINES):
        measures.phases((("travel", f"p{number}")), {"read": 1.0})
        measures._used(("travel", f"p{number}"))
    measures._used(("travel", "p0"))
    measures._used(("travel", "new"))

    def seconds(name: str) -> float | None:
        return value(
            measures, "tidemill_worker_phase_seconds_total", pipeline_namespace="travel", pipeline=name, phase="read"
        )

    assert (seconds("p0"), seconds("p1"), seconds("p2")) == (1.0, None, 1.0)
    assert value(measures, "tidemill_worker_pipelines_forgotten_total") == 1


def test_a_pipeline_idle_for_a_day_is_forgotten() -> None:
    now = [0.0]
    measures = Measures("travel", "etl", lambda: now[0])
    measures.rejected(US, {("raw", "BadValue"): 1})
    now[0] = IDLE
    measures.exposition()
    assert value(measures, "tidemill_worker_rejected_rows_total", **{**OURS, "step": "raw", "rule": "BadValue"}) == 1
    now[0] = IDLE + 1

    measures.exposition()

    assert value(measures, "tidemill_worker_rejected_rows_total", **{**OURS, "step": "raw", "rule": "BadValue"}) is None


SDK = """# HELP temporal_request_total Count of requests
# TYPE temporal_request_total counter
temporal_request_total{operation="PollTask"} 3
# HELP temporal_request_latency_seconds Latency
# TYPE temporal_request_latency_seconds histogram
temporal_request_latency_seconds_bucket{le="1"} 3
temporal_request_latency_seconds_bucket{le="+Inf"} 3
temporal_request_latency_seconds_sum 0.5
temporal_request_latency_seconds_count 3

# HELP temporal_slots Slots
# TYPE temporal_slots gauge
temporal_slots 4
"""


def test_the_sdks_figures_are_read_with_ours() -> None:
    ours, content_type = busy().exposition("application/openmetrics-text;version=1.0.0")

    families = {
        family.name: family
        for family in parser.text_string_to_metric_families(together(ours, SDK, content_type).decode())  # type: ignore[no-untyped-call]
    }

    assert families["temporal_request"].samples[0].value == 3
    assert families["temporal_request_latency_seconds"].type == "histogram"
    assert families["tidemill_worker_chunks"].type == "counter"
    plain = together(*busy().exposition()[:1], SDK, "text/plain")
    assert plain.endswith(SDK.encode())
    assert as_openmetrics("") == ""


def test_letters_are_told_by_rule() -> None:
    rows = [("raw", "BadValue", []), ("valid", "RuleBroken", ["a", "b"]), ("valid", "RuleBroken", ["a"])]
    table = pa.table(
        {
            "step": [row[0] for row in rows],
            "reason": [row[1] for row in rows],
            "rules": pa.array([row[2] for row in rows], pa.list_(pa.string())),
        }
    )

    assert by_rule(table) == {("raw", "BadValue"): 1, ("valid", "a"): 2, ("valid", "b"): 1}


def test_time_adds_up_by_phase_even_if_a_phase_fails() -> None:
    spent = Spent()
    with spent.on("read"), spent.on("load"):
        pass
    with pytest.raises(ValueError, match="x"), spent.on("read"):
        raise ValueError("x")
    assert set(spent.seconds) == {"read", "load"}
