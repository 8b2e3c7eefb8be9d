"""The dashboard of data quality: what is rejected, by which rule, and what waits to be looked after."""

from __future__ import annotations

from typing import Final

from tools.monitoring.choices import NAMESPACE, OF_PIPELINE, QUIET, THE_PIPELINE, UNUSED, grown, pipeline, rate
from tools.monitoring.panels import Dashboard, Panel, Query, Row

_NAME: Final = "{{pipeline_namespace}}/{{pipeline}}"
_REJECTED: Final = pipeline("last_run_rows", 'outcome="rejected"')
_READ: Final = pipeline("last_run_rows", 'outcome="read"')
_TOLERATED: Final = pipeline("tolerated_rejects_ratio")

_RUNS: Final = Row(
    "Runs that ended",
    (
        Panel(
            "Rejected rows of the newest run",
            "The part of the rows that was read and rejected.",
            "percentunit",
            (Query(f"{_REJECTED} / ({_READ} > 0)", _NAME),),
            thresholds=((0.01, "orange"), (0.1, "red")),
        ),
        Panel(
            "Of what is tolerated",
            "Rejected rows of the newest run, against `execution.errorTolerance.maxPercent`; beyond 100% a run fails.",
            "percentunit",
            (Query(f"{_REJECTED} / ({_READ} > 0) / ({_TOLERATED} > 0)", _NAME, empty=UNUSED),),
            thresholds=((0.8, "orange"), (1, "red")),
        ),
        Panel(
            "Rows",
            "Rows of runs that ended, by what became of them.",
            "short",
            (Query(grown("rows_total", "outcome", one=True), "{{outcome}}"),),
            stacked=True,
        ),
        Panel(
            "Rows of the newest run",
            "A volume that leaves its usual range shows here.",
            "short",
            (Query(_READ, _NAME),),
        ),
    ),
)
_LETTERS: Final = Row(
    "Dead letters",
    (
        Panel(
            "Dead letters",
            "Dead letters that the metastore had when the newest run ended, whatever their state.",
            "short",
            (Query(pipeline("dead_letters"), _NAME),),
        ),
        Panel(
            "Of what may be kept",
            "Dead letters against `deadLetter.maxRows`; a run that needs room for more fails.",
            "percentunit",
            (Query(f"{pipeline('dead_letters')} / {pipeline('dead_letters_limit')}", _NAME),),
            "bargauge",
            ((0.5, "orange"), (0.8, "red")),
        ),
    ),
)
_RULES: Final = Row(
    "Rules, as workers tell",
    (
        Panel(
            "Rejected rows by rule",
            "Dead letters written, by step and the rule that they broke. Who breaks several rules counts for each.",
            "short",
            (
                Query(
                    f"sum by (pipeline, step, rule) "
                    f"(increase(tidemill_worker_rejected_rows_total{{{OF_PIPELINE}}}[$__rate_interval]))",
                    "{{pipeline}} {{step}} {{rule}}",
                    empty="No row has broken a rule.",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Rows by step",
            "Rows a second that sources and validating steps passed, rejected and skipped.",
            "rowsps",
            (
                Query(
                    rate(f"tidemill_worker_step_rows_total{{{OF_PIPELINE}}}", "pipeline, step, outcome"),
                    "{{pipeline}} {{step}} {{outcome}}",
                ),
            ),
        ),
        Panel(
            "Checks that didn't hold",
            "Of `spec.checks`, by severity. An Error fails the run, a Warn is told.",
            "short",
            (
                Query(
                    f"sum by (pipeline, severity) "
                    f"(increase(tidemill_worker_checks_failed_total{{{OF_PIPELINE}}}[$__rate_interval]))",
                    "{{pipeline}} {{severity}}",
                    empty=QUIET,
                ),
            ),
            width=24,
        ),
    ),
)
BOARD: Final = Dashboard(
    "tidemill-data-quality",
    "Tidemill / Data quality",
    "What is rejected, by which rule, and what waits to be looked after.",
    (NAMESPACE, THE_PIPELINE),
    (_RUNS, _LETTERS, _RULES),
)
