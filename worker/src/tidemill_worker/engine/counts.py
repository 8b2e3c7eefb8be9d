"""Adding up what steps and sinks have counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tidemill_api.contract import StepCount


def total(counts: Iterable[StepCount]) -> tuple[StepCount, ...]:
    """One count a step, in the order in which the steps first appear."""
    sums: dict[str, list[int]] = {}
    nulled: dict[str, Counter[str]] = {}
    for count in counts:
        held = sums.setdefault(count.step, [0, 0, 0, 0])
        for place, rows in enumerate((count.rows_in, count.rows_out, count.rejected, count.skipped)):
            held[place] += rows
        nulled.setdefault(count.step, Counter()).update(count.nulled)
    return tuple(
        StepCount(
            step=step,
            rows_in=rows_in,
            rows_out=rows_out,
            rejected=rejected,
            skipped=skipped,
            nulled=dict(nulled[step]),
        )
        for step, (rows_in, rows_out, rejected, skipped) in sums.items()
    )
