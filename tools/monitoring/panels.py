"""What dashboards are made of, and how they become Grafana's JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

_GREEN: Final = "green"
_WIDTH: Final = 24
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel."""

    expression: str
    legend: str = ""
    """How a series is named: labels as `{{pipeline}}`. In a table: the name of the column."""
    empty: str = ""
    """Why it may give nothing although all is well; without that it must give data wherever something runs."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture."""

    title: str
    description: str
    unit: str
    """Grafana's name of it: short, s, bytes, percentunit, dateTimeFromNow, ..."""
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat", "table", "bargauge"] = "timeseries"
    thresholds: tuple[tuple[float, str], ...] = ()
    """From which value on it has which colour; below all of them it is green."""
    width: int = 12
    height: int = 8
    stacked: bool = False
    names: bool = False
    """Of a stat: show the names of series instead of their values."""
    words: tuple[tuple[str, str, str], ...] = ()
    """Values with the text and colour that stand for them."""
    columns: tuple[tuple[str, str, str], ...] = ()
    """Of a table: columns (by a query's legend) with units of their own, and what value makes them red."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard: the values of a label."""

    name: str
    label: str
    query: str
    """`label_values(...)`."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of them."""
        return tuple(panel for row in self.rows for panel in row.panels)


def grafana(dashboard: Dashboard, others: tuple[Dashboard, ...]) -> dict[str, Any]:
    """A dashboard as Grafana imports it, with links to the others that keep the choices made."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["tidemill"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "links": [
            {
                "title": other.title.removeprefix("Tidemill / "),
                "type": "link",
                "url": f"/d/{other.uid}",
                "includeVars": True,
                "keepTime": True,
            }
            for other in others
            if other is not dashboard
        ],
        "templating": {"list": [_DATASOURCE, *(_variable(each) for each in dashboard.variables)]},
        "annotations": {"list": [_ALERTS]},
        "panels": list(_panels(dashboard)),
    }


_DATASOURCE: Final = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "current": {},
    "hide": 0,
}
_ALERTS: Final = {
    "name": "Alerts",
    "datasource": _SOURCE,
    "enable": True,
    "iconColor": "red",
    "expr": 'ALERTS{alertname=~"Tidemill.*", alertstate="firing"}',
    "titleFormat": "{{alertname}}",
    "textFormat": "{{pipeline_namespace}} {{pipeline}} {{pool}}",
    "step": "60s",
}


def _variable(variable: Variable) -> dict[str, Any]:
    return {
        "name": variable.name,
        "label": variable.label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": variable.query, "refId": variable.name},
        "definition": variable.query,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "sort": 1,
    }


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    """Headings and panels, from left to right and from top to bottom."""
    number = top = 0
    for row in dashboard.rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": _WIDTH, "h": 1},
        }
        top, left, tallest = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > _WIDTH:
                top, left, tallest = top + tallest, 0, 0
            number += 1
            yield _panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": panel.height})
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    table = panel.kind == "table"
    now = panel.kind != "timeseries"
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": [_column(*column) for column in panel.columns]},
        "options": _options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query.expression,
                "legendFormat": query.legend or "__auto",
                "instant": now,
                "range": not now,
                **({"format": "table"} if table else {}),
            }
            for index, query in enumerate(panel.queries)
        ],
        **({"transformations": _joined(panel)} if table else {}),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": _GREEN, "value": None}]
    steps += [{"color": colour, "value": value} for value, colour in panel.thresholds]
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": [
            {"type": "value", "options": {value: {"text": text, "color": colour}}}
            for value, text, colour in panel.words
        ],
    }
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 5,
            "showPoints": "auto",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.thresholds else "off"},
        }
    if panel.unit.startswith("dateTime"):
        del defaults["min"]
    return defaults


def _options(panel: Panel) -> dict[str, Any]:
    match panel.kind:
        case "timeseries":
            legend = {
                "displayMode": "table",
                "placement": "bottom",
                "calcs": ["lastNotNull", "max"],
                "showLegend": True,
            }
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        case "stat":
            calculation = {"calcs": ["lastNotNull"], "fields": "", "values": False}
            return {
                "reduceOptions": calculation,
                "colorMode": "value",
                "graphMode": "none",
                "textMode": "name" if panel.names else "auto",
            }
        case "bargauge":
            calculation = {"calcs": ["lastNotNull"], "fields": "", "values": False}
            return {"reduceOptions": calculation, "orientation": "horizontal", "displayMode": "basic"}
        case "table":
            return {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}}


def _joined(panel: Panel) -> list[dict[str, Any]]:
    """One line for all queries with the same labels, and a column for each query."""
    one = len(panel.queries) == 1
    names = {
        "Value" if one else f"Value #{chr(ord('A') + index)}": query.legend for index, query in enumerate(panel.queries)
    }
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}},
    ]


def _column(name: str, unit: str, red: str) -> dict[str, Any]:
    properties: list[dict[str, Any]] = [{"id": "unit", "value": unit}]
    if red:
        steps = [{"color": "text", "value": None}, {"color": "red", "value": float(red)}]
        properties.append({"id": "thresholds", "value": {"mode": "absolute", "steps": steps}})
        properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}
