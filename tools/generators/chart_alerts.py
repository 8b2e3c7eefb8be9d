"""`helm/tidemill/alerts/`: the alert rules as the chart's template takes them, with places for its values."""

from __future__ import annotations

from tools.monitoring.alerts import GROUPS
from tools.monitoring.model import yaml_of

FOLDER = "helm/tidemill/alerts"
_NOTE = "# Made by `make generate` from tools/monitoring; edit that. <name> stands for a value of alerts.thresholds.\n"


def files() -> dict[str, str]:
    """One file."""
    return {"rules.yaml": _NOTE + yaml_of(GROUPS, lambda text: text, "<runbooks>")}
