"""Dashboards in the chart: ConfigMaps that a Grafana's sidecar takes in."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.chart import HELMS, NO_CLUSTER, helm, of_kind
from tests.support.kubernetes import ROOT
from tools.documents import blocks
from tools.monitoring.dashboards import DASHBOARDS
from tools.monitoring.panels import grafana

ON = "--set=dashboards.enabled=true"


def test_each_dashboard_is_a_config_map_with_the_sidecars_label() -> None:
    four, three = (of_kind("ConfigMap", helm(program).template(*NO_CLUSTER, ON)) for program in HELMS)
    made = [each for each in four if "grafana_dashboard" in each["metadata"]["labels"]]
    assert made == [each for each in three if "grafana_dashboard" in each["metadata"]["labels"]]
    files = {name: json.loads(text) for each in made for name, text in each["data"].items()}
    assert files == {f"{board.uid}.json": grafana(board, DASHBOARDS) for board in DASHBOARDS}
    for each in made:
        metadata = each["metadata"]
        assert metadata["labels"]["grafana_dashboard"] == "1"
        assert metadata["annotations"] == {"grafana_folder": "Tidemill"}
        # `kubectl apply` keeps a copy in an annotation, of which there may be so much.
        assert len(json.dumps(each)) < 250_000


def test_there_are_none_by_default() -> None:
    assert not [each for each in of_kind("ConfigMap", helm("helm").template(*NO_CLUSTER)) if ".json" in str(each)]


def test_the_values_in_the_docs_are_taken(tmp_path: Path) -> None:
    (block,) = blocks(ROOT / "docs" / "how-to" / "dashboards.md")
    values = tmp_path / "values.yaml"
    values.write_text(block.text, encoding="utf-8")
    maps = of_kind("ConfigMap", helm("helm").template(*NO_CLUSTER, f"--values={values}"))
    assert len([each for each in maps if each["metadata"]["namespace"] == "monitoring"]) == len(DASHBOARDS)
