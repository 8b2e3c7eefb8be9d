"""The catalogue of metrics keeps the conventions, and what is exposed is what it says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from tests.unit.operator_world import NOW, pipeline, pool, seen_run
from tidemill_api.metrics import BOUNDS, Metric, operator, worker
from tidemill_operator.connection import figures as of_connection
from tidemill_operator.connection.certificates import ends_at
from tidemill_operator.metrics import Metrics
from tidemill_operator.pipeline import figures as of_pipeline
from tidemill_operator.pool import figures as of_pool
from tidemill_operator.series import Sample, Series, within

ALL = (*operator.ALL, *worker.ALL)
SCRAPERS = {"namespace", "pod", "container", "job", "instance", "service", "endpoint", "le", "quantile"}


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_names_keep_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"tidemill_[a-z][a-z0-9_]*[a-z0-9]", metric.name)
    bare = metric.name.removesuffix("_total")
    assert metric.name.endswith("_total") == (metric.type == "counter")
    assert not re.search(r"_(bucket|sum|count|created)$", metric.name)
    assert bool(metric.unit) == bare.endswith(("_seconds", "_bytes")), "the unit ends the name"
    assert bare.endswith(f"_{metric.unit}") or not metric.unit
    assert bool(metric.buckets) == (metric.type == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.help.endswith(".")


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_labels_are_described_and_bounded_and_not_the_scrapers(metric: Metric) -> None:
    assert set(metric.labels) <= set(BOUNDS)
    assert not set(metric.labels) & SCRAPERS
    assert len(set(metric.labels)) == len(metric.labels)


def test_names_are_used_once_and_every_label_is() -> None:
    assert [name for name, count in Counter(metric.name for metric in ALL).items() if count > 1] == []
    assert set(BOUNDS) == {label for metric in ALL for label in metric.labels}
    assert all(metric.labels[:2] == ("pool_namespace", "pool") for metric in worker.ALL)


# What the operator exposes

STATUS: dict[str, Any] = {
    "conditions": [{"type": "Ready", "status": "True", "reason": "Scheduled", "message": "never a label"}],
    "nextRuns": ["2026-05-01T13:00:00Z"],
    "activeRuns": [{"startedAt": "2026-05-01T11:00:00Z"}, {"startedAt": "2026-05-01T10:00:00Z"}],
    "lastRun": {
        "result": "Failed",
        "startedAt": "2026-05-01T10:00:00Z",
        "finishedAt": "2026-05-01T10:00:30Z",
        "rowsRead": 9,
        "rowsLoaded": 8,
        "rowsRejected": 1,
    },
    "missedRuns": 3,
    "schedule": {"driftRepaired": 2},
    "paused": {"by": "Annotation"},
    "totals": {
        "succeeded": 5,
        "failed": 2,
        "rowsRead": 90,
        "seconds": 12.5,
        "failuresInRow": 1,
        "deadLetters": 4,
        "lastSuccessAt": "2026-05-01T11:59:30.000000Z",
    },
}
SPEC = {
    "suspend": True,
    "freshness": {"within": "2h"},
    "execution": {"errorTolerance": {"maxPercent": 5}},
    "deadLetter": {"maxRows": 10},
}
ZEROS = {"Succeeded", "Failed", "Skipped", "Cancelled"}
TEN, ONE = 1777629600.0, 1777640400.0  # o'clock


def shown(samples: list[Sample]) -> dict[tuple[str, ...], float]:
    found = {(metric.name, *labels): value for metric, labels, value in samples}
    assert len(found) == len(samples)
    assert all(len(labels) == len(metric.labels) for metric, labels, _ in samples)
    return found


def test_a_pipeline_shows_what_its_status_says() -> None:
    manifest = pipeline(spec=SPEC, status=STATUS, creationTimestamp="2026-05-01T09:00:00Z") | {"status": STATUS}

    found = shown(list(of_pipeline.figures(manifest, NOW)))

    us = ("travel", "flights")
    expected = {
        ("info", *us, "etl"): 1,
        ("condition", *us, "Ready", "True", "Scheduled"): 1,
        ("suspended", *us): 1,
        ("paused", *us): 1,
        ("next_run_timestamp_seconds", *us): ONE,
        ("last_run_timestamp_seconds", *us): TEN + 30,
        ("last_run_duration_seconds", *us): 30,
        ("last_run_result", *us, "Failed"): 1,
        ("last_run_rows", *us, "rejected"): 1,
        ("last_run_rows", *us, "skipped"): 0,
        ("active_runs", *us): 2,
        ("oldest_active_run_timestamp_seconds", *us): TEN,
        ("missed_runs_total", *us): 3,
        ("drift_repaired_total", *us): 2,
        ("runs_total", *us, "Succeeded"): 5,
        ("runs_total", *us, "Failed"): 2,
        ("runs_total", *us, "Skipped"): 0,
        ("rows_total", *us, "read"): 90,
        ("run_seconds_total", *us): 12.5,
        ("consecutive_failures", *us): 1,
        ("dead_letters", *us): 4,
        ("dead_letters_limit", *us): 10,
        ("freshness_limit_seconds", *us): 7200,
        ("freshness_age_seconds", *us): 30,
        ("tolerated_rejects_ratio", *us): 0.05,
    }
    assert {key: found.get((f"tidemill_pipeline_{key[0]}", *key[1:])) for key in expected} == expected


def test_a_new_pipeline_has_its_counters_at_zero_and_no_times_that_arent() -> None:
    found = shown(list(of_pipeline.figures(pipeline(creationTimestamp="2026-05-01T11:00:00Z"), NOW)))

    counters = {key[3]: value for key, value in found.items() if key[0] == "tidemill_pipeline_runs_total"}
    assert counters == dict.fromkeys(ZEROS, 0)
    assert found["tidemill_pipeline_freshness_age_seconds", "travel", "flights"] == 3600
    assert not [key for key in found if "last_run" in key[0] or "last_success" in key[0] or "next_run" in key[0]]


def test_a_pool_shows_what_its_status_says() -> None:
    manifest = pool() | {
        "status": {
            "conditions": [{"type": "Ready", "status": "False", "reason": "WorkersFailing"}],
            "desiredReplicas": 4,
            "replicas": 3,
            "readyReplicas": 2,
            "pipelines": 6,
            "scaling": {"backlog": 7, "backlogAge": "90s", "busySlots": 5, "slots": 8, "workers": 2},
        }
    }
    manifest["spec"] = manifest["spec"] | {"scaling": {"minReplicas": 1}}

    found = shown(list(of_pool.figures(manifest, {("up", "Backlog"): 3})))

    us = ("travel", "etl")
    assert found == {
        ("tidemill_pool_condition", *us, "Ready", "False", "WorkersFailing"): 1,
        ("tidemill_pool_pipelines", *us): 6,
        ("tidemill_pool_replicas", *us, "wished"): 4,
        ("tidemill_pool_replicas", *us, "there"): 3,
        ("tidemill_pool_replicas", *us, "ready"): 2,
        ("tidemill_pool_replicas", *us, "least"): 1,
        ("tidemill_pool_replicas", *us, "most"): 10,
        ("tidemill_pool_backlog_tasks", *us): 7,
        ("tidemill_pool_backlog_age_seconds", *us): 90,
        ("tidemill_pool_slots", *us, "busy"): 5,
        ("tidemill_pool_slots", *us, "free"): 3,
        ("tidemill_pool_workers", *us): 2,
        ("tidemill_pool_scaling_decisions_total", *us, "up", "Backlog"): 3,
    }


def test_a_certificate_that_cant_be_read_has_no_end() -> None:
    assert ends_at(b"nonsense") is None
    assert [value for _, _, value in of_connection.way(None, b"nonsense", reachable=False, age=None)] == [0.0]


@pytest.mark.parametrize(("most", "names"), [(0, []), (2, ["b", "a"]), (3, ["c", "b", "a"])])
def test_beyond_the_limit_the_oldest_have_series(most: int, names: list[str]) -> None:
    made = {"a": "2026-05-01T10:00:00Z", "b": "2026-05-01T09:00:00Z", "c": "2026-05-01T11:00:00Z"}
    known = [
        pipeline() | {"metadata": {"name": name, "namespace": "n", "creationTimestamp": made[name]}} for name in "cba"
    ]

    assert [each["metadata"]["name"] for each in within(known, most)] == names


def test_both_formats_can_be_read_and_a_run_can_be_found_from_its_exemplar() -> None:
    metrics, manifest = Metrics(), pipeline()
    metrics.collect_from(Series(lambda: of_pipeline.figures(manifest, NOW), lambda: ()))
    metrics.run_ended(seen_run(workflow_id="w" * 30), "Succeeded", 3.5)
    metrics.run_ended(seen_run(workflow_id="w" * 1000), "Failed", 4.0)
    metrics.count_temporal("list_runs", "ok", 0.01)
    metrics.pool_decided("travel", "etl", "up", "Backlog")

    text, kind = metrics.exposition("text/plain")
    assert kind.startswith("text/plain")
    read_text: Callable[[str], Iterable[Any]] = parser.text_string_to_metric_families
    plain = {family.name: family for family in read_text(text.decode())}
    body, kind = metrics.exposition("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind.startswith("application/openmetrics-text")
    families = {family.name: family for family in openmetrics_parser.text_string_to_metric_families(body.decode())}  # type: ignore[no-untyped-call]

    assert families["tidemill_pipeline_runs"].samples[0].labels["pipeline"] == "flights"
    assert families["tidemill_run_duration_seconds"].unit == "seconds"
    assert {name for name in families if name.startswith("tidemill_")} == {
        name for name in plain if name.startswith("tidemill_")
    }
    exemplars = [sample.exemplar for sample in families["tidemill_run_duration_seconds"].samples if sample.exemplar]
    assert [exemplar.labels for exemplar in exemplars] == [
        {"run_id": "id-again", "workflow_id": "w" * 30},
        {"run_id": "id-again"},
    ]
    assert "_created" not in body.decode()


def test_what_is_exposed_is_in_the_catalogue() -> None:
    metrics = Metrics()
    known = {metric.name.removesuffix("_total") for metric in operator.ALL}

    exposed = {family.name for family in metrics.registry.collect() if family.name.startswith("tidemill_")}

    assert exposed <= known


OTHERS = {
    "tidemill_run",
    "tidemill_worker",
    "tidemill_operator",
    "tidemill_api",
    "tidemill_check",
    "tidemill_cli",
    "tidemill_codec",
}
"""Packages, and a facet of lineage."""


def test_documents_name_only_metrics_that_are_there() -> None:
    known = {name for metric in ALL for name in (metric.name, *metric.series)}
    docs = Path(__file__).parents[2] / "docs"
    named = {
        (word, str(file.relative_to(docs)))
        for file in docs.rglob("*.md")
        for word in re.findall(r"`(tidemill_[a-z0-9_]*[a-z0-9])(?:\{[^`]*\})?`", file.read_text())
    }

    assert len({word for word, _ in named} & known) == len(ALL), "the reference has all of them"
    assert {each for each in named if each[0] not in known | OTHERS} == set()
