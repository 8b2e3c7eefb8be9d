"""The dashboard of one pipeline, or a few."""

from __future__ import annotations

from typing import Final

from tools.monitoring.choices import NAMESPACE, OF_PIPELINE, QUIET, THE_PIPELINE, UNUSED, grown, pipeline, rate
from tools.monitoring.panels import Dashboard, Panel, Query, Row

_NAME: Final = "{{pipeline_namespace}}/{{pipeline}}"


def _stat(
    title: str, description: str, unit: str, query: Query, thresholds: tuple[tuple[float, str], ...] = ()
) -> Panel:
    return Panel(title, description, unit, (query,), "stat", thresholds, width=4, height=4)


_NOW: Final = Row(
    "Now",
    (
        Panel(
            "Newest run",
            "What the newest run that ended came to.",
            "short",
            (Query(f"{pipeline('last_run_result', by='result')} == 1", "{{result}}"),),
            "stat",
            width=4,
            height=4,
            names=True,
        ),
        _stat(
            "Failures in a row",
            "Runs that failed since the last one that succeeded.",
            "short",
            Query(pipeline("consecutive_failures"), _NAME),
            ((1, "red"),),
        ),
        _stat(
            "Age of what is loaded",
            "Since the newest run that succeeded has ended.",
            "s",
            Query(pipeline("freshness_age_seconds"), _NAME),
        ),
        _stat(
            "Of what was promised",
            "The age as a part of `freshness.within`; beyond 100% the promise is broken.",
            "percentunit",
            Query(f"{pipeline('freshness_age_seconds')} / {pipeline('freshness_limit_seconds')}", _NAME, empty=UNUSED),
            ((0.8, "orange"), (1, "red")),
        ),
        _stat(
            "Next run",
            "When the schedule starts a run next.",
            "dateTimeFromNow",
            Query(f"{pipeline('next_run_timestamp_seconds')} * 1000", _NAME, empty="Nothing is scheduled."),
        ),
        _stat(
            "Missed runs",
            "Scheduled runs that were not started in time, since the Schedule was made.",
            "short",
            Query(pipeline("missed_runs_total"), _NAME),
            ((1, "orange"),),
        ),
    ),
)
_RUNS: Final = Row(
    "Runs",
    (
        Panel(
            "Runs that ended",
            "By what they came to.",
            "short",
            (Query(grown("runs_total", "result", one=True), "{{result}}"),),
            stacked=True,
        ),
        Panel(
            "Duration",
            "How long the newest run that ended took.",
            "s",
            (Query(pipeline("last_run_duration_seconds"), _NAME),),
        ),
        Panel(
            "Rows of the newest run",
            "What became of the rows that it read.",
            "short",
            (Query(pipeline("last_run_rows", by="outcome"), "{{outcome}} " + _NAME),),
        ),
        Panel(
            "Open runs",
            "Runs that are open; under the overlap policies that allow it there may be several.",
            "short",
            (Query(pipeline("active_runs"), _NAME),),
        ),
        Panel(
            "Age and promise",
            "Age of what is loaded, and `freshness.within`.",
            "s",
            (
                Query(pipeline("freshness_age_seconds"), "age " + _NAME),
                Query(pipeline("freshness_limit_seconds"), "promised " + _NAME, empty=UNUSED),
            ),
        ),
        Panel(
            "Conditions",
            "Conditions with their status and reason, as they hold at each time.",
            "short",
            (
                Query(
                    f"{pipeline('condition', by='type, status, reason')} == 1",
                    "{{type}}={{status}} {{reason}} " + _NAME,
                ),
            ),
            stacked=True,
        ),
    ),
)
_WORK: Final = Row(
    "Work, as its workers tell",
    (
        Panel(
            "Rows read and loaded",
            "Rows a second, of chunks that ended; repeated attempts count again.",
            "rowsps",
            (
                Query(rate(f"tidemill_worker_read_rows_total{{{OF_PIPELINE}}}", "pipeline"), "read {{pipeline}}"),
                Query(
                    rate(f"tidemill_worker_loaded_rows_total{{{OF_PIPELINE}}}", "pipeline, sink"),
                    "loaded {{pipeline}} {{sink}}",
                ),
            ),
        ),
        Panel(
            "Bytes read",
            "Bytes a second read from sources.",
            "Bps",
            (Query(rate(f"tidemill_worker_read_bytes_total{{{OF_PIPELINE}}}", "pipeline"), "{{pipeline}}"),),
        ),
        Panel(
            "Where the time goes",
            "Seconds of threads a second, by phase. Phases overlap.",
            "short",
            (
                Query(
                    rate(f"tidemill_worker_phase_seconds_total{{{OF_PIPELINE}}}", "pipeline, phase"),
                    "{{phase}} {{pipeline}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Chunks",
            "Attempts at chunks that ended, and those that weren't the first.",
            "ops",
            (
                Query(
                    rate(f"tidemill_worker_chunks_total{{{OF_PIPELINE}}}", "pipeline, outcome"),
                    "{{outcome}} {{pipeline}}",
                ),
                Query(
                    rate(f"tidemill_worker_chunk_retries_total{{{OF_PIPELINE}}}", "pipeline"),
                    "repeated {{pipeline}}",
                    empty=QUIET,
                ),
            ),
        ),
    ),
)
BOARD: Final = Dashboard(
    "tidemill-pipeline",
    "Tidemill / Pipeline",
    "One pipeline, or a few: runs, promises, and where their time goes.",
    (NAMESPACE, THE_PIPELINE),
    (_NOW, _RUNS, _WORK),
)
