"""What an alert rule is, and how groups of them become YAML for Prometheus. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

RUNBOOKS: Final = "docs/runbooks"
"""The folder with a page for each rule, named after it."""
_PLACE: Final = re.compile(r"<([A-Za-z]+)>")
SUBJECTS: Final = {
    "@pipeline": "{{ $labels.pipeline_namespace }}/{{ $labels.pipeline }}",
    "@pool": "{{ $labels.pool_namespace }}/{{ $labels.pool }}",
    "@database": "the database `{{ $labels.connection }}` of the pool {{ $labels.pool_namespace }}/{{ $labels.pool }}",
    "@temporal": "{{ if $labels.connection }}of {{ $labels.connection_namespace }}/{{ $labels.connection }}"
    "{{ else }}of the operator{{ end }}",
    "@operator": "{{ $labels.job }} in {{ $labels.namespace }}",
}
"""How texts of alerts name what they are about. Empty labels are those of the operator's own Temporal."""


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert: when it fires, and what it says.

    `expression` is PromQL in which `<name>` stands for the value `alerts.thresholds.name` of the chart (so for `wait`).
    `summary` and `description` are Prometheus' own templates (`{{ $value }}`), and may have `SUBJECTS`.
    """

    alert: str
    severity: Literal["critical", "warning", "info"]
    wait: str
    """How long the expression must hold (`for`)."""
    expression: str
    summary: str
    description: str

    @property
    def runbook(self) -> str:
        """Its page's file name."""
        return f"{self.alert}.md"

    @property
    def thresholds(self) -> tuple[str, ...]:
        """The names of the thresholds that it uses, each once, in their order."""
        return tuple(dict.fromkeys(_PLACE.findall(f"{self.expression} {self.wait}")))


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that Prometheus evaluates one after another."""

    name: str
    rules: tuple[Rule, ...]
    interval: str = ""
    """How often; empty: as Prometheus is told."""


def named(text: str) -> str:
    """A text of an alert with its subjects written out."""
    for word, template in SUBJECTS.items():
        text = text.replace(word, template)
    return text


def fill(text: str, thresholds: Mapping[str, object]) -> str:
    """The text with the values of thresholds in it.

    Raises:
        KeyError: it uses one that isn't there.
    """
    return _PLACE.sub(lambda found: str(thresholds[found[1]]), text)


def yaml_of(groups: tuple[Group, ...], shown: Callable[[str], str], runbooks: str) -> str:
    """The groups as a rules file; `shown` is applied to expressions and durations, `runbooks` is a URL."""
    return "\n".join(["groups:", *(line for group in groups for line in _group(group, shown, runbooks))]) + "\n"


def _group(group: Group, shown: Callable[[str], str], runbooks: str) -> Iterator[str]:
    yield f"  - name: {group.name}"
    if group.interval:
        yield f"    interval: {group.interval}"
    yield "    rules:"
    for rule in group.rules:
        yield f"      - alert: {rule.alert}"
        yield "        expr: |-"
        yield from (f"          {line}" for line in shown(rule.expression).splitlines())
        yield f"        for: {shown(rule.wait)}"
        yield "        labels:"
        yield f"          severity: {rule.severity}"
        yield "        annotations:"
        yield f"          summary: {json.dumps(named(rule.summary))}"
        yield f"          description: {json.dumps(named(rule.description))}"
        yield f"          runbook_url: {runbooks}/{rule.runbook}"
