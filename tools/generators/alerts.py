"""`docs/reference/alerts/`: the alert rules as a plain file for any Prometheus, and a table of them."""

from __future__ import annotations

from typing import Any

from tools.generators import chart_values
from tools.monitoring.alerts import GROUPS
from tools.monitoring.model import Rule, fill, yaml_of

FOLDER = "docs/reference/alerts"
_NOTE = """# Alerts of Tidemill for a Prometheus without the Prometheus Operator: a file of its rule_files.
# Made by `make generate` from tools/monitoring, with the default thresholds of the chart.
"""
_HEAD = """# Alerts

Made by `make generate` from tools/monitoring; edit that. Each alert has a page that says what it means, how to confirm
it and what to do. [How to get alerts](../../how-to/alerts.md) says how to switch them on; without the Prometheus
Operator take [tidemill.rules.yaml](tidemill.rules.yaml).
"""


def files() -> dict[str, str]:
    """The page and the rules file."""
    given = thresholds()
    rules = yaml_of(GROUPS, lambda text: fill(text, given), str(_value("alerts.runbooks")))
    return {"README.md": f"{_HEAD}\n{_tables()}", "tidemill.rules.yaml": _NOTE + rules}


def thresholds() -> dict[str, object]:
    """The default thresholds of the chart."""
    group = _value("alerts.thresholds")
    return dict(group)


def _value(dotted: str) -> Any:
    return next(value.default for value in chart_values.read(chart_values.CHART) if value.dotted == dotted)


def _tables() -> str:
    parts = []
    for group in GROUPS:
        rows = "\n".join(_row(rule) for rule in group.rules)
        parts.append(f"## {group.name}\n\n| alert | severity | for | thresholds |\n|---|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _row(rule: Rule) -> str:
    wait = fill(rule.wait, thresholds())
    used = " ".join(f"`{name}`" for name in rule.thresholds)
    return f"| [{rule.alert}](../../runbooks/{rule.runbook}) | {rule.severity} | {wait} | {used} |"
