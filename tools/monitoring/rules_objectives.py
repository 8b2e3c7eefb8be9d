"""Burn rates of two objectives of each pipeline, over several windows (Google's SRE workbook, chapter 5).

A rate of 1 uses the whole budget in 30 days. An alert needs a long window, so that a blip doesn't fire it, and a short
one, so that it ends soon after the trouble does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tools.monitoring.model import Group, Rule
from tools.monitoring.promql import PIPELINE, not_suspended, since

FAST: Final = ((14.4, "1h", "5m"), (6.0, "6h", "30m"))
SLOW: Final = ((3.0, "1d", "2h"), (1.0, "3d", "6h"))
"""Burn rate, long window, short window."""


def _runs(result: str, window: str) -> str:
    return since(f'tidemill_pipeline_runs_total{{result="{result}"}}', window)


def _ended(window: str) -> str:
    return f"({_runs('Failed', window)} + {_runs('Succeeded', window)})"


def _success(rate: float, long: str, short: str) -> str:
    """Failed runs among those that ended; in a long window with few runs a single failure says nothing."""
    budget = f"{rate:g} * (1 - <successObjective>)"
    return (
        f"{_runs('Failed', long)} / ({_ended(long)} >= <objectiveRuns>) > {budget}\n"
        f"and {_runs('Failed', short)} / ({_ended(short)} > 0) > {budget}"
    )


def _stale(window: str) -> str:
    """The part of a window in which a promise was broken, of the time that one was made."""
    condition = "tidemill_pipeline_condition"
    broken, known = (
        f'sum by ({PIPELINE}) (count_over_time({condition}{{type="Fresh", status{which}}}[{window}]))'
        for which in ('="False"', '=~"True|False"')
    )
    return f"{broken} / {known}"


def _freshness(rate: float, long: str, short: str) -> str:
    budget = f"{rate:g} * (1 - <freshnessObjective>)"
    return f"{_stale(long)} > {budget}\nand {_stale(short)} > {budget}"


def _any(burns: Callable[[float, str, str], str], windows: tuple[tuple[float, str, str], ...]) -> str:
    parts = "\n)\nor\n(\n".join(burns(*each) for each in windows)
    return not_suspended(f"(\n(\n{parts}\n)\n)")


_SUCCESS: Final = (
    "{{ $value | humanizePercentage }} of the runs of @pipeline that ended in the longer window failed. "
    "At this rate its budget of failures"
)
_FRESHNESS: Final = (
    "What @pipeline loads was too old for {{ $value | humanizePercentage }} of the longer window. At this rate its "
    "budget of staleness"
)

FAST_GROUP: Final = Group(
    "tidemill-objectives-fast",
    (
        Rule(
            "TidemillSuccessBudgetBurnsFast",
            "critical",
            "2m",
            _any(_success, FAST),
            "Runs of the pipeline @pipeline fail far more often than its objective allows",
            f"{_SUCCESS} for 30 days is gone within days.",
        ),
        Rule(
            "TidemillFreshnessBudgetBurnsFast",
            "critical",
            "2m",
            _any(_freshness, FAST),
            "The pipeline @pipeline is stale far longer than its objective allows",
            f"{_FRESHNESS} for 30 days is gone within days.",
        ),
    ),
)
SLOW_GROUP: Final = Group(
    "tidemill-objectives-slow",
    (
        Rule(
            "TidemillSuccessBudgetBurnsSlowly",
            "warning",
            "15m",
            _any(_success, SLOW),
            "Runs of the pipeline @pipeline fail more often than its objective allows",
            f"{_SUCCESS} is gone before its 30 days are.",
        ),
        Rule(
            "TidemillFreshnessBudgetBurnsSlowly",
            "warning",
            "15m",
            _any(_freshness, SLOW),
            "The pipeline @pipeline is stale longer than its objective allows",
            f"{_FRESHNESS} is gone before its 30 days are.",
        ),
    ),
    # Windows of days change little in a minute, and to read them costs.
    interval="5m",
)
