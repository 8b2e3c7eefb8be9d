"""The dashboard of all pipelines: what runs, what fails, what is late."""

from __future__ import annotations

from typing import Final

from tools.monitoring.choices import NAMESPACE, UNUSED, grown, pipelines, quantile
from tools.monitoring.panels import Dashboard, Panel, Query, Row
from tools.monitoring.promql import PIPELINE

_NAME: Final = "{{pipeline_namespace}}/{{pipeline}}"
_ZERO: Final = " or vector(0)"
_FAILED: Final = pipelines("last_run_result", 'result="Failed"')
_OLD: Final = pipelines("condition", 'type="Fresh", status="False"')
_STALLED: Final = pipelines("condition", 'type="Stalled", status="True"')
_REJECTED: Final = pipelines("last_run_rows", 'outcome="rejected"')
_READ: Final = pipelines("last_run_rows", 'outcome="read"')
_FIRING: Final = 'ALERTS{alertname=~"Tidemill.*", alertstate="firing"}'


def _count(title: str, description: str, expression: str, red: bool = True) -> Panel:
    thresholds = ((1.0, "red"),) if red else ()
    return Panel(title, description, "short", (Query(expression),), "stat", thresholds, width=4, height=4)


def _top(
    title: str, description: str, unit: str, query: Query, thresholds: tuple[tuple[float, str], ...] = ()
) -> Panel:
    return Panel(title, description, unit, (query,), "bargauge", thresholds, width=8, height=9)


_NOW: Final = Row(
    "Now",
    (
        _count("Pipelines", "Pipelines that the operator knows.", f"count({pipelines('info')})", red=False),
        _count(
            "Failing",
            "Pipelines whose newest run that ended has failed.",
            f"count({_FAILED} == 1){_ZERO}",
        ),
        _count(
            "Too old",
            "Pipelines that break their promise `freshness.within`.",
            f"count({_OLD} == 1){_ZERO}",
        ),
        _count(
            "Need an edit",
            "Pipelines that are stalled: nothing but an edit of their spec helps.",
            f"count({_STALLED} == 1){_ZERO}",
        ),
        _count(
            "Paused or suspended",
            "Pipelines whose schedule starts nothing, by Git's wish or a person's.",
            f"count({pipelines('suspended')} + {pipelines('paused')} > 0){_ZERO}",
            red=False,
        ),
        _count("Open runs", "Runs that are open now.", f"sum({pipelines('active_runs')})", red=False),
    ),
)
_RUNS: Final = Row(
    "Runs",
    (
        Panel(
            "Runs that ended",
            "Runs that ended, by what they came to.",
            "short",
            (Query(grown("runs_total", "result"), "{{result}}"),),
            stacked=True,
        ),
        Panel(
            "How long runs take",
            "Duration of runs, over all pipelines of all namespaces.",
            "s",
            (
                Query(quantile(0.5, "tidemill_run_duration_seconds", ""), "half of them"),
                Query(quantile(0.95, "tidemill_run_duration_seconds", ""), "95 %"),
            ),
        ),
        Panel(
            "Rows of runs that ended",
            "Rows, by what became of them.",
            "short",
            (Query(grown("rows_total", "outcome"), "{{outcome}}"),),
            stacked=True,
        ),
        Panel(
            "Missed and failed",
            "Runs that failed, and scheduled runs that Temporal didn't start in time.",
            "short",
            (
                Query(grown("runs_total", "pipeline_namespace", 'result="Failed"'), "failed {{pipeline_namespace}}"),
                Query(grown("missed_runs_total", "pipeline_namespace"), "missed {{pipeline_namespace}}"),
            ),
        ),
    ),
)
_WORST: Final = Row(
    "Who stands out",
    (
        _top(
            "Longest runs",
            "The pipelines whose newest run took longest.",
            "s",
            Query(f"topk(10, {pipelines('last_run_duration_seconds')})", _NAME),
        ),
        _top(
            "Most rejected rows",
            "Of the newest run, the part of the rows that was read and rejected.",
            "percentunit",
            Query(
                f"topk(10, {_REJECTED} / ({_READ} > 0))",
                _NAME,
            ),
            ((0.01, "orange"), (0.1, "red")),
        ),
        _top(
            "Oldest against their promise",
            "Age of what is loaded as a part of `freshness.within`; beyond 100% the promise is broken.",
            "percentunit",
            Query(
                f"topk(10, {pipelines('freshness_age_seconds')} / {pipelines('freshness_limit_seconds')})",
                _NAME,
                empty=UNUSED,
            ),
            ((0.8, "orange"), (1.0, "red")),
        ),
    ),
)
_ALL: Final = Row(
    "All pipelines",
    (
        Panel(
            "Each pipeline",
            "A line each: failures in a row, age of what is loaded, next scheduled run, newest run, dead letters.",
            "short",
            (
                Query(pipelines("consecutive_failures"), "Failures in a row"),
                Query(pipelines("freshness_age_seconds"), "Age"),
                Query(f"{pipelines('next_run_timestamp_seconds')} * 1000", "Next run", empty="Nothing is scheduled."),
                Query(pipelines("last_run_duration_seconds"), "Took"),
                Query(pipelines("last_run_rows", 'outcome="loaded"'), "Loaded"),
                Query(pipelines("last_run_rows", 'outcome="rejected"'), "Rejected"),
                Query(pipelines("dead_letters"), "Dead letters"),
            ),
            "table",
            width=24,
            height=12,
            columns=(
                ("Failures in a row", "short", "1"),
                ("Age", "s", ""),
                ("Next run", "dateTimeFromNow", ""),
                ("Took", "s", ""),
                ("Rejected", "short", "1"),
                ("Dead letters", "short", ""),
            ),
        ),
        Panel(
            "Alerts that fire",
            "Alerts of Tidemill that fire now.",
            "short",
            (
                Query(
                    f"count by (alertname, severity, {PIPELINE}, pool) ({_FIRING})",
                    "Firing",
                    empty="All is well.",
                ),
            ),
            "table",
            width=24,
            height=6,
        ),
    ),
)
BOARD: Final = Dashboard(
    "tidemill-fleet",
    "Tidemill / Fleet",
    "All pipelines: what runs, what fails, what is late.",
    (NAMESPACE,),
    (_NOW, _RUNS, _WORST, _ALL),
)
