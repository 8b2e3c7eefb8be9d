"""What holds of the alert rules without running them: their pages, and names that the code has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tests.support.promql import unknown
from tidemill_cli.app import app
from tools.check_docs import ROOT
from tools.monitoring.alerts import GROUPS, RULES
from tools.monitoring.model import RUNBOOKS, Rule, fill, named

PAGES = sorted((ROOT / RUNBOOKS).glob("*.md"))


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    assert [page.name for page in PAGES] == sorted(rule.runbook for rule in RULES)
    names = [rule.alert for rule in RULES]
    assert len(set(names)) == len(names)
    assert len({group.name for group in GROUPS}) == len(GROUPS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_a_page_says_what_it_means_how_to_confirm_it_and_what_to_do(page: Path) -> None:
    title, _, rest = page.read_text(encoding="utf-8").partition("\n")
    meaning, confirm, what = re.split(r"^## (?:How to confirm it|What to do)$", rest, flags=re.MULTILINE)
    assert title == f"# {page.stem}"
    assert len(meaning) > 80
    assert len(what) > 50
    assert "```" in confirm


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_a_page_names_metrics_and_commands_that_there_are(page: Path) -> None:
    blocks = re.findall(r"^ *```(\w+)\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert {language for language, _ in blocks} <= {"bash", "promql"}
    for language, text in blocks:
        for line in filter(None, map(str.strip, text.splitlines())):
            wrong = list(unknown(line)) if language == "promql" else _misused(shlex.split(line))
            assert not wrong, f"{line}: {wrong}"


def _misused(words: list[str]) -> list[str]:
    """What of a command of ours isn't there; kubectl's own begin with a verb or with a namespace."""
    while words[0] == "kubectl" and words[1] == "tidemill":
        words = words[1:]
    if words[0] == "kubectl":
        verbs = {"get", "logs", "describe", "rollout", "top", "-n"}
        return [] if words[1] in verbs else [words[1]]
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while commands := getattr(command, "commands", None):
        if rest[0] not in commands:
            return [rest[0]]
        command, rest = commands[rest[0]], rest[1:]
    options = {option for each in command.params for option in each.opts}
    return [word for word in rest if word.startswith("-") and word not in options]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.alert)
def test_a_rule_is_written_on_what_the_catalogue_has(rule: Rule) -> None:
    assert not list(unknown(fill(rule.expression, dict.fromkeys(rule.thresholds, 1))))
    assert re.fullmatch(r"Tidemill[A-Z][A-Za-z]+", rule.alert)
    for text in (rule.summary, rule.description):
        assert "@" not in named(text)


def test_names_are_compared() -> None:
    assert list(unknown("max by (pipeline, piepline) (tidemill_pipeline_paused)")) == [
        "no series has the label piepline"
    ]
    assert list(unknown('tidemill_pipeline_paused{pool="a"}')) == ["tidemill_pipeline_paused has no label pool"]
    assert list(unknown("tidemill_pipeline_pausd")) == ["there is no series tidemill_pipeline_pausd"]
