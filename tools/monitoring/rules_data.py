"""Alerts of rows: what was rejected, and what waits to be looked after."""

from __future__ import annotations

from typing import Final

from tools.monitoring.model import Group, Rule
from tools.monitoring.promql import PIPELINE, of_pipelines, since

_LETTERS: Final = "tidemill_pipeline_dead_letters"
_REJECTED: Final = of_pipelines('tidemill_pipeline_last_run_rows{outcome="rejected"}')
_READ: Final = of_pipelines('tidemill_pipeline_last_run_rows{outcome="read"}')

GROUP: Final = Group(
    "tidemill-data",
    (
        Rule(
            "TidemillDeadLettersGrow",
            "warning",
            "0m",
            f"{since(_LETTERS, '1h')} > <deadLetterGrowth>",
            "The dead letters of the pipeline @pipeline grow",
            '{{ $value | printf "%.0f" }} more rows of @pipeline lie among its dead letters than an hour ago. '
            "They were not loaded.",
        ),
        Rule(
            "TidemillDeadLettersFull",
            "critical",
            "0m",
            f"{of_pipelines(_LETTERS)}\n/ on ({PIPELINE}) {of_pipelines(f'{_LETTERS}_limit')} >= <deadLetterFill>",
            "The dead letters of the pipeline @pipeline are nearly full",
            "@pipeline has {{ $value | humanizePercentage }} of the dead letters that `deadLetter.maxRows` allows. A "
            "run that needs room for more fails.",
        ),
        Rule(
            "TidemillToleranceNear",
            "warning",
            "0m",
            f"({_REJECTED}\n  / ({_READ} > 0))\n"
            f"/ on ({PIPELINE}) ({of_pipelines('tidemill_pipeline_tolerated_rejects_ratio')} > 0) >= <toleranceShare>",
            "The pipeline @pipeline rejects nearly more rows than it tolerates",
            "The last run of @pipeline used {{ $value | humanizePercentage }} of "
            "`execution.errorTolerance.maxPercent`. Beyond 100% a run fails.",
        ),
    ),
)
