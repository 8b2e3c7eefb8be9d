"""What holds of dashboards without a Grafana: each panel is complete, and asks for what the catalogue has."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from tests.support.promql import unknown
from tools.monitoring.dashboards import DASHBOARDS
from tools.monitoring.panels import Dashboard, grafana

UNITS = {"short", "s", "bytes", "Bps", "percentunit", "ops", "reqps", "rowsps", "dateTimeFromNow"}
"""Names that Grafana knows."""


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: str(board.uid))
def test_each_panel_is_complete(board: Dashboard) -> None:
    names = {"datasource", *(variable.name for variable in board.variables)}
    assert len({panel.title for panel in board.panels}) == len(board.panels)
    for panel in board.panels:
        assert panel.unit in UNITS, panel.title
        assert panel.description.endswith("."), panel.title
        assert {unit for _, unit, _ in panel.columns} <= UNITS, panel.title
        assert {name for name, _, _ in panel.columns} <= {query.legend for query in panel.queries}, panel.title
        assert list(panel.thresholds) == sorted(panel.thresholds), panel.title
        for query in panel.queries:
            assert list(unknown(query.expression)) == [], panel.title
            used = set(re.findall(r"\$(\w+)", query.expression)) - {"__rate_interval"}
            assert used <= names, f"{panel.title} chooses by {used - names}"
            labels = set(re.findall(r"{{(\w+)}}", query.legend))
            assert labels <= _labels(query.expression), f"{panel.title}: the legend has {labels}"


def _labels(expression: str) -> set[str]:
    """Labels that the series of an expression may have: those that it groups by, or all of single series."""
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
    found = {name.strip() for names in grouped for name in names.split(",")}
    return found | {"connection_namespace", "connection"}


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: str(board.uid))
def test_grafana_gets_what_it_needs(board: Dashboard) -> None:
    made = grafana(board, DASHBOARDS)
    panels = made["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    for before, after in pairwise(panel["gridPos"] for panel in panels):
        beside = before["y"] == after["y"] and before["x"] + before["w"] <= after["x"]
        below = before["y"] + before["h"] <= after["y"] and after["x"] == 0
        assert beside or below or (after["x"] == 0 and after["y"] > before["y"]), (before, after)
        assert after["x"] + after["w"] <= 24
    assert all(variable["name"] != "datasource" for variable in made["templating"]["list"][1:])
    assert made["templating"]["list"][0]["type"] == "datasource"
    assert {link["url"] for link in made["links"]} == {f"/d/{each.uid}" for each in DASHBOARDS if each is not board}
