"""The alert rules in Prometheus' own judgement: they parse, and fire when they should and not otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.integration import alert_scenes, alert_scenes_platform
from tests.integration.alert_scenes import Scene
from tests.support.chart import HELMS, NO_CLUSTER, helm, of_kind
from tests.support.kubernetes import ROOT
from tests.support.prometheus import promtool
from tools.documents import blocks
from tools.generators import alerts as reference
from tools.monitoring.alerts import RULES
from tools.monitoring.model import Rule

PLAIN = ROOT / "docs" / "reference" / "alerts" / "tidemill.rules.yaml"
SCENES = (
    *(*alert_scenes.RUNS, *alert_scenes.DATA, *alert_scenes.POOLS),
    *(*alert_scenes_platform.OPERATORS, *alert_scenes_platform.DEPENDENCIES, *alert_scenes_platform.OBJECTIVES),
)
HEALTHY = {
    alert_scenes_platform.operator("info", version="0.1.0"): "1x900",
    alert_scenes_platform.operator("leader"): "1x900",
}
"""What is in a scene that says nothing else of the operator."""
ALERTS = {rule.alert: rule for rule in RULES}
SHORT = 60
"""Minutes that the longest of the short scenes takes."""


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    """All scenes in one process; what promtool says names the scene, the minute, and what it got instead."""
    groups = _groups()
    # Hours of all rules take long: in long scenes, and in those of objectives, there are only the rules of one group.
    files = [_file(tmp_path, "short", [each for each in groups if "objectives" not in each["name"]])]
    files += [_file(tmp_path, group["name"], [group]) for group in groups]
    done = promtool("test", "rules", *files)
    assert done.returncode == 0, done.stdout + done.stderr


def _groups() -> list[dict[str, Any]]:
    """The groups of the plain file."""
    groups: list[dict[str, Any]] = YAML(typ="safe").load(PLAIN.read_text(encoding="utf-8"))["groups"]
    return groups


def _file(folder: Path, name: str, groups: list[dict[str, Any]]) -> str:
    """A file of tests: the short scenes of several groups, for a single one what isn't among these."""
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    single = len(groups) == 1
    apart = single and "objectives" in name
    scenes = [each for each in SCENES if each.alert in alerts and (apart or (each.length > SHORT) == single)]
    rules, tests = folder / f"{name}.rules.yaml", folder / f"{name}.yaml"
    rules.write_text(json.dumps({"groups": groups}), encoding="utf-8")
    content = [_test(scene, alerts) for scene in scenes]
    # promtool doesn't mind the interval of a group.
    interval = groups[0].get("interval", "1m")
    tests.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": interval, "tests": content}))
    return str(tests)


def _test(scene: Scene, alerts: Iterable[str]) -> dict[str, Any]:
    tells_of_operators = any(
        series.startswith(("tidemill_operator_info", "tidemill_operator_leader")) for series in scene.series
    )
    series = scene.series if tells_of_operators else {**HEALTHY, **scene.series}
    if scene.alert == "TidemillOperatorLeaderless":
        series = {**series, alert_scenes_platform.operator("info"): "1x60"}
    return {
        "name": f"{scene.alert}: {scene.name}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": list(_expected(scene, alerts)),
    }


def _expected(scene: Scene, alerts: Iterable[str]) -> Iterator[dict[str, Any]]:
    for minute in scene.quiet:
        yield {"eval_time": f"{minute}m", "alertname": scene.alert, "exp_alerts": []}
    for minute, value in scene.firing.items():
        yield {"eval_time": f"{minute}m", "alertname": scene.alert, "exp_alerts": [_alert(scene, value)]}
        for other in alerts:
            if other != scene.alert:
                yield {"eval_time": f"{minute}m", "alertname": other, "exp_alerts": []}


def _alert(scene: Scene, value: str) -> dict[str, Any]:
    rule = ALERTS[scene.alert]
    return {
        "exp_labels": {"severity": rule.severity, **scene.labels},
        "exp_annotations": {
            "summary": said(rule.summary, scene.labels, value),
            "description": said(rule.description, scene.labels, value),
            "runbook_url": f"https://github.com/tidemill/tidemill/blob/main/docs/runbooks/{scene.alert}.md",
        },
    }


def said(text: str, labels: Mapping[str, str], value: str) -> str:
    """What a person reads: a text of a rule with subjects, labels and value in it."""
    own = not labels.get("connection")
    subjects = {
        "@pipeline": "{pipeline_namespace}/{pipeline}",
        "@pool": "{pool_namespace}/{pool}",
        "@database": "the database `{connection}` of the pool {pool_namespace}/{pool}",
        "@temporal": "of the operator" if own else "of {connection_namespace}/{connection}",
        "@operator": "{job} in {namespace}",
    }
    text = re.sub(r"@[a-z]+", lambda word: subjects[word[0]].format_map(labels), text)
    text = re.sub(r"{{ \$labels\.(\w+) }}", lambda label: labels[label[1]], text)
    assert value or "$value" not in text, f"the scene must say what the value is: {text}"
    return re.sub(r"{{ \$value[^}]*}}", value, text)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.alert)
def test_each_alert_is_seen_not_yet_firing_and_at_its_end(rule: Rule) -> None:
    whole = [
        scene
        for scene in SCENES
        if scene.alert == rule.alert and scene.firing and min(scene.quiet) < min(scene.firing) < max(scene.quiet)
    ]
    assert whole, "a scene in which it is quiet, fires, and is quiet again"


def test_the_plain_file_is_right_by_promtools_check() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(PLAIN))
    assert (done.returncode, f"{len(RULES)} rules found" in done.stdout) == (0, True), done.stdout + done.stderr


CHANGED = (
    "--set=alerts.enabled=true",
    "--set=alerts.namespace=monitoring",
    "--set=alerts.labels.release=stack",
    "--set=alerts.alertLabels.team=data",
    "--set=alerts.runbooks=https://wiki.example.com/runbooks/",
    "--set=alerts.thresholds.failingFor=1h30m",
    "--set=alerts.thresholds.deadLetterGrowth=5000000",
    "--set=alerts.rules.TidemillRunMissed.enabled=false",
    "--set=alerts.rules.TidemillOperatorAbsent.enabled=true",
    "--set=alerts.rules.TidemillOperatorAbsent.severity=page",
    "--set=alerts.rules.TidemillOperatorAbsent.for=20m",
)


def test_the_chart_has_the_same_rules() -> None:
    (made,) = of_kind("PrometheusRule", helm("helm").template(*NO_CLUSTER, "--set=alerts.enabled=true"))
    assert made["spec"] == YAML(typ="safe").load(PLAIN.read_text(encoding="utf-8"))
    assert of_kind("PrometheusRule", helm("helm").template(*NO_CLUSTER)) == []


def test_the_chart_takes_labels_thresholds_and_changes_of_single_alerts(tmp_path: Path) -> None:
    four, three = (of_kind("PrometheusRule", helm(program).template(*NO_CLUSTER, *CHANGED)) for program in HELMS)
    assert four == three
    (made,) = four
    assert (made["metadata"]["namespace"], made["metadata"]["labels"]["release"]) == ("monitoring", "stack")
    rules = {rule["alert"]: rule for group in made["spec"]["groups"] for rule in group["rules"]}
    assert set(rules) == set(ALERTS) - {"TidemillRunMissed"}
    absent = rules["TidemillOperatorAbsent"]
    assert (absent["labels"], absent["for"]) == ({"severity": "page", "team": "data"}, "20m")
    failing = rules["TidemillRunFailing"]
    assert (failing["labels"], failing["for"]) == ({"severity": "warning", "team": "data"}, "1h30m")
    assert failing["annotations"]["runbook_url"] == "https://wiki.example.com/runbooks/TidemillRunFailing.md"
    assert re.search(r"> 5(e\+06|000000)$", rules["TidemillDeadLettersGrow"]["expr"])
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps(made["spec"]), encoding="utf-8")
    done = promtool("check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("alerts.rules.TidemillRunMised.enabled=false", "alerts.rules.TidemillRunMised: there is no such alert"),
        ("alerts.rules.TidemillRunMissed.enable=false", "enable"),
        ("alerts.rules.TidemillRunMissed.for=soon", "for"),
        ("alerts.thresholds.failingFor=5 minutes", "failingFor"),
        ("alerts.thresholds.sweepage=5", "sweepage"),
        ("alerts.thresholds.successObjective=99", "successObjective"),
    ],
)
def test_the_chart_refuses(given: str, words: str) -> None:
    assert words in helm("helm").refusal(*NO_CLUSTER, "--set=alerts.enabled=true", f"--set={given}")


def test_the_values_in_the_docs_are_taken(tmp_path: Path) -> None:
    (block,) = blocks(ROOT / "docs" / "how-to" / "alerts.md")
    values = tmp_path / "values.yaml"
    values.write_text(block.text, encoding="utf-8")
    (made,) = of_kind("PrometheusRule", helm("helm").template(*NO_CLUSTER, f"--values={values}"))
    waits = {rule["alert"]: rule["for"] for group in made["spec"]["groups"] for rule in group["rules"]}
    assert (waits["TidemillRunFailing"], "TidemillRunMissed" in waits) == ("30m", False)


def test_every_threshold_of_the_values_is_used() -> None:
    assert set(reference.thresholds()) == {name for rule in RULES for name in rule.thresholds}
