"""`helm/tidemill/dashboards/`: Grafana's JSON of all dashboards, which the chart puts into ConfigMaps."""

from __future__ import annotations

import json

from tools.monitoring.dashboards import DASHBOARDS
from tools.monitoring.panels import grafana

FOLDER = "helm/tidemill/dashboards"


def files() -> dict[str, str]:
    """A file for each."""
    return {f"{each.uid}.json": json.dumps(grafana(each, DASHBOARDS), indent=1) + "\n" for each in DASHBOARDS}
