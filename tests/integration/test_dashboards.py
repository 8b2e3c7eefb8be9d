"""Every query of every panel and every alert, by a real Prometheus that scrapes a real operator and a real worker.

Then things are broken on purpose, and the right alert fires, in its words, and no other, until they are mended.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.fixtures import new_database, unique
from tests.support.kubernetes import ApiServer
from tests.support.metrics_world import Measured, measured
from tests.support.operator_process import running_operator
from tests.support.operator_world import World
from tests.support.prometheus import PrometheusServer, Scraped, running_prometheus
from tests.support.promql import series_of
from tests.support.waiting import until
from tidemill_cli.dev.components.postgres import PostgresServer
from tidemill_cli.dev.components.temporal import TemporalServer
from tools.generators.alerts import thresholds
from tools.monitoring.alerts import GROUPS, RULES
from tools.monitoring.dashboards import DASHBOARDS
from tools.monitoring.model import Rule, fill, yaml_of
from tools.monitoring.panels import Dashboard

SCALED = json.dumps({"spec": {"scaling": {"minReplicas": 1, "maxReplicas": 3}}})
TOLERANT = json.dumps({"spec": {"execution": {"errorTolerance": {"maxPercent": 90}}}})
EMPTY = {
    # Nobody uses these here, and nothing has failed.
    "tidemill_temporal_certificate_expiry_timestamp_seconds": "the operator speaks to its Temporal without TLS",
    "tidemill_operator_schedules_sealed": "payloads aren't encrypted",
    "tidemill_worker_cache_lookups_total": "the pool has no cache",
    "tidemill_worker_secret_unusable": "no Secret was changed",
}
"""Series of alerts that needn't be there, with why."""


AT_ONCE = tuple(
    dataclasses.replace(group, interval="", rules=tuple(dataclasses.replace(rule, wait="0s") for rule in group.rules))
    for group in GROUPS
)
"""The rules as they are, but for the time that they wait."""


@dataclasses.dataclass(frozen=True, slots=True)
class Monitored:
    """An operator, a worker, and who watches them."""

    here: Measured
    prometheus: PrometheusServer

    def firing(self) -> dict[str, dict[str, str]]:
        """The alerts that fire, with what they say."""
        alerts = self.prometheus.get("alerts")["alerts"]
        return {each["labels"]["alertname"]: each["annotations"] for each in alerts if each["state"] == "firing"}


@pytest.fixture(scope="module")
def monitored(
    crds: ApiServer,
    temporal_server: TemporalServer,
    postgres_server: PostgresServer,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Monitored]:
    """A Prometheus that scrapes an operator and a worker, from before the runs of a pipeline until after them."""
    folder, namespace = tmp_path_factory.mktemp("monitored"), unique("test-")
    crds.kubectl("create", "namespace", namespace)
    installation = unique("i")
    # Its own namespace only: what other tests have left on the API server would have its alerts, too.
    options = ("--resync-interval=3", f"--lease-name={installation}", f"--namespaces={namespace}")
    rules = folder / "rules.yaml"
    rules.write_text(yaml_of(AT_ONCE, lambda text: fill(text, thresholds()), "https://runbooks.example.com"))
    with (
        running_operator(
            folder / "operator", crds.kubeconfig, installation, *options, temporal=temporal_server.address
        ) as operator,
        new_database(postgres_server, migrated_template) as database,
        measured(
            world := World(crds, temporal_server.address, installation, operator, namespace),
            database,
            temporal_server,
            folder,
        ) as here,
        running_prometheus(folder / "prometheus", _targets(here), rules) as prometheus,
    ):
        world.kubectl("patch", "wpool", "etl", "--type=merge", "--patch", SCALED)
        world.kubectl("patch", "dpl", "flights", "--type=merge", "--patch", TOLERANT)
        # What is counted from the first run on has grown by the second.
        for name in ("first", "second"):
            here.run(name)
            _scraped_since(prometheus, time.time())
        yield Monitored(here, prometheus)


def _scraped_since(prometheus: PrometheusServer, moment: float) -> None:
    """Wait until both have been scraped after that moment."""
    until(lambda: len(prometheus.query(f"timestamp(up) > {moment}")) == 2, "a scrape of both")


def _targets(here: Measured) -> tuple[Scraped, ...]:
    """As a ServiceMonitor and a PodMonitor would have them."""
    return (
        Scraped("tidemill-metrics", f"127.0.0.1:{here.world.operator.port}", {"namespace": "tidemill-system"}),
        Scraped("tidemill-workers", f"127.0.0.1:{here.worker.port}", {"namespace": here.world.namespace}),
    )


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: str(board.uid))
def test_every_panel_shows_data(board: Dashboard, monitored: Monitored) -> None:
    """All that doesn't say why it may be empty; the rest is at least PromQL."""

    def without_data() -> list[str]:
        return [
            f"{panel.title}: {expression}"
            for panel in board.panels
            for query in panel.queries
            for expression in [chosen(board, query.expression)]
            if not _data(monitored.prometheus, expression) and not query.empty
        ]

    # Rates take a second scrape, and the first looks of an operator some seconds.
    left = ["all"]

    def complete() -> bool:
        left[:] = without_data()
        return not left

    try:
        until(complete, "data in all panels", 30)
    except AssertionError:
        raise AssertionError("no data:\n" + "\n".join(left)) from None


def chosen(board: Dashboard, expression: str) -> str:
    """An expression as Grafana sends it, with all of everything chosen."""
    for variable in board.variables:
        expression = expression.replace(f"${variable.name}", ".*")
    return expression.replace("$__rate_interval", "1m")


def _data(prometheus: PrometheusServer, expression: str) -> bool:
    """Whether there is a value that can be drawn."""
    return any(not math.isnan(float(each["value"][1])) for each in prometheus.query(expression))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.alert)
def test_every_alert_asks_for_what_is_there(rule: Rule, monitored: Monitored) -> None:
    """Where all is well its expression is right and gives nothing, though what it looks at is there."""
    assert monitored.prometheus.query(fill(rule.expression, thresholds())) == []
    for series in series_of(rule.expression) - set(EMPTY):
        assert monitored.prometheus.query(series), series


def test_no_alert_is_on_its_way_where_all_is_well(monitored: Monitored) -> None:
    groups = monitored.prometheus.get("rules")["groups"]
    assert {rule["name"]: rule["state"] for group in groups for rule in group["rules"]} == {
        rule.alert: "inactive" for rule in RULES
    }
    assert [rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")] == []


def _lose_the_file(here: Measured) -> None:
    (here.pool.landing / "a.csv").rename(here.pool.landing / "a.lost")
    here.run("without", "Failed")


def _find_the_file(here: Measured) -> None:
    (here.pool.landing / "a.lost").rename(here.pool.landing / "a.csv")
    here.run("with")


def _edit(here: Measured, time_zone: str) -> None:
    edit = json.dumps({"spec": {"schedule": {"timeZone": time_zone}}})
    here.world.kubectl("patch", "dpl", "flights", "--type=merge", "--patch", edit)


FAULTS: dict[str, tuple[Callable[[Measured], None], Callable[[Measured], None]]] = {
    "TidemillRunFailing": (_lose_the_file, _find_the_file),
    "TidemillPipelineStalled": (lambda here: _edit(here, "Mars/Olympus"), lambda here: _edit(here, "Etc/UTC")),
    "TidemillSecretUnusable": (
        lambda here: here.pool.write_secret("no connection string"),
        lambda here: here.pool.write_secret(here.pool.database.dsn),
    ),
}
"""What is broken, and mended again, by the alert that must tell of it."""


@pytest.mark.parametrize("alert", FAULTS)
def test_a_fault_is_told_by_its_alert_alone_until_it_is_mended(alert: str, monitored: Monitored) -> None:
    breaks, mends = FAULTS[alert]
    breaks(monitored.here)
    firing = until(monitored.firing, alert, 60)
    assert set(firing) == {alert}
    assert monitored.here.world.namespace in firing[alert]["summary"]
    assert firing[alert]["runbook_url"] == f"https://runbooks.example.com/{alert}.md"
    mends(monitored.here)
    until(lambda: not monitored.firing(), f"the end of {alert}", 60)
