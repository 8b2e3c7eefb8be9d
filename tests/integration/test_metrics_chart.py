"""The chart's monitors choose what is there: the operator's Service by its labels and port, and all pools' pods."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.chart import NO_CLUSTER, helm, of_kind
from tests.unit.pool_world import children_of, observed
from tidemill_operator.settings import parse_settings

ON = ("--set=metrics.serviceMonitor.enabled=true", "--set=metrics.podMonitor.enabled=true")
MORE = (
    *ON,
    '--set-json=metrics.podMonitor.labels={"release": "prometheus"}',
    "--set=metrics.podMonitor.interval=15s",
    "--set=metrics.podMonitor.scrapeTimeout=5s",
    "--set=metrics.podMonitor.namespace=monitoring",
    '--set-json=metrics.podMonitor.relabelings=[{"targetLabel": "team", "replacement": "data"}]',
    '--set-json=metrics.podMonitor.metricRelabelings=[{"action": "labeldrop", "regex": "endpoint"}]',
)


def rendered(*values: str) -> list[dict[str, Any]]:
    return helm("helm").template(*NO_CLUSTER, *values)


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = of_kind(kind, objects)
    return found


def test_off_by_default() -> None:
    objects = rendered()
    assert of_kind("ServiceMonitor", objects) == of_kind("PodMonitor", objects) == []


def test_the_service_monitor_finds_the_operators_service() -> None:
    objects = rendered(*ON)
    spec = one(objects, "ServiceMonitor")["spec"]
    chosen = spec["selector"]["matchLabels"]
    services = [each for each in of_kind("Service", objects) if chosen.items() <= each["metadata"]["labels"].items()]

    assert [each["metadata"]["name"] for each in services] == ["tidemill-metrics"]
    assert spec["namespaceSelector"] == {"matchNames": [services[0]["metadata"]["namespace"]]}
    assert [each["port"] for each in spec["endpoints"]] == [each["name"] for each in services[0]["spec"]["ports"]]
    assert "metrics.enabled must be true" in helm("helm").refusal(*NO_CLUSTER, *ON, "--set=metrics.enabled=false")


def test_the_pod_monitor_finds_the_pods_that_the_operator_makes() -> None:
    spec = one(rendered(*ON), "PodMonitor")["spec"]
    pod = children_of(observed())["Deployment"]["spec"]["template"]
    (expression,) = spec["selector"]["matchExpressions"]

    assert spec["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert (expression["key"] in pod["metadata"]["labels"], expression["operator"]) == (True, "Exists")
    (endpoint,) = spec["podMetricsEndpoints"]
    assert endpoint == {"port": pod["spec"]["containers"][0]["ports"][0]["name"], "path": "/metrics"}
    assert spec["namespaceSelector"] == {"any": True}
    only = one(rendered(*ON, "--set=watch.namespaces={travel,sales}"), "PodMonitor")["spec"]
    assert only["namespaceSelector"] == {"matchNames": ["travel", "sales"]}


def test_what_is_given_is_handed_on() -> None:
    monitor = one(rendered(*MORE), "PodMonitor")

    assert monitor["metadata"]["namespace"] == "monitoring"
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["podMetricsEndpoints"] == [
        {
            "port": "health",
            "path": "/metrics",
            "interval": "15s",
            "scrapeTimeout": "5s",
            "relabelings": [{"targetLabel": "team", "replacement": "data"}],
            "metricRelabelings": [{"action": "labeldrop", "regex": "endpoint"}],
        }
    ]


@pytest.mark.parametrize("value", ["interval=soon", "interval=30", "scrapeTimeout=1 minute"])
def test_what_is_no_duration_is_refused(value: str) -> None:
    assert value.partition("=")[0] in helm("helm").refusal(*NO_CLUSTER, *ON, f"--set=metrics.podMonitor.{value}")


def test_limits_reach_the_operator() -> None:
    objects = rendered("--set=metrics.maxPipelines=7", "--set=metrics.maxPools=0")
    (operator,) = [each for each in of_kind("Deployment", objects) if each["metadata"]["name"].endswith("-operator")]
    arguments = operator["spec"]["template"]["spec"]["containers"][0]["args"]
    given = [each for each in arguments if each.startswith("--metrics-")]

    limits = parse_settings(["--installation=i", *given]).limits

    assert (limits.pipelines, limits.pools) == (7, 0)
