"""Alerts of pipelines: their runs, and their promises."""

from __future__ import annotations

from typing import Final

from tools.monitoring.model import Group, Rule
from tools.monitoring.promql import PIPELINE, not_suspended, of_pipelines

GROUP: Final = Group(
    "tidemill-runs",
    (
        Rule(
            "TidemillRunFailing",
            "warning",
            "<failingFor>",
            not_suspended(of_pipelines('tidemill_pipeline_last_run_result{result="Failed"}') + " == 1"),
            "The last run of the pipeline @pipeline failed",
            "The newest run of @pipeline that ended has failed, and no run has succeeded since. What it would have "
            "loaded isn't there.",
        ),
        Rule(
            "TidemillRunMissed",
            "warning",
            "0m",
            not_suspended(f"increase(\n  ({of_pipelines('tidemill_pipeline_missed_runs_total')})[3h:1m]\n) > 0"),
            "The pipeline @pipeline missed a scheduled run",
            'Temporal didn\'t start {{ $value | printf "%.0f" }} scheduled run(s) of @pipeline within '
            "`catchupWindow`, in the last three hours. They don't start any more.",
        ),
        Rule(
            "TidemillFreshnessBroken",
            "critical",
            "1m",
            not_suspended(
                f"{of_pipelines('tidemill_pipeline_freshness_age_seconds')}\n"
                f"> on ({PIPELINE}) {of_pipelines('tidemill_pipeline_freshness_limit_seconds')}"
            ),
            "What the pipeline @pipeline loads is older than promised",
            "The newest successful run of @pipeline ended {{ $value | humanizeDuration }} ago, which is more than "
            "its `freshness.within`.",
        ),
        Rule(
            "TidemillPipelineStalled",
            "warning",
            "15m",
            f'max by ({PIPELINE}, reason) (tidemill_pipeline_condition{{type="Stalled", status="True"}}) == 1',
            "The pipeline @pipeline needs an edit: {{ $labels.reason }}",
            "The operator can't bring @pipeline to what its spec says ({{ $labels.reason }}), and nothing but an "
            "edit helps. What was there before the last edit still runs.",
        ),
        Rule(
            "TidemillScheduleDriftReturns",
            "warning",
            "0m",
            f"sum by ({PIPELINE}) (increase(tidemill_pipeline_drift_repaired_total[1h])) >= <driftRepairs>",
            "Somebody keeps changing the Schedule of the pipeline @pipeline",
            'The operator has put the Schedule of @pipeline right {{ $value | printf "%.0f" }} times in an hour, '
            "and somebody or something changes it again.",
        ),
    ),
)
