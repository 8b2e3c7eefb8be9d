"""How many bad rows a run may have: a pure decision over counts, while chunks end and before publishing."""

from __future__ import annotations

from tidemill_api.errors import ToleranceExceeded
from tidemill_api.v1alpha1.execution import ErrorTolerance


def too_many(tolerance: ErrorTolerance | None, rejected: int) -> ToleranceExceeded | None:
    """The verdict that holds whatever the rows still to come are like, or None. `rejected`: bad rows so far."""
    if tolerance is None or tolerance.max_rows is None or rejected <= tolerance.max_rows:
        return None
    return ToleranceExceeded(
        f"{rejected} bad rows: spec.execution.errorTolerance.maxRows allows {tolerance.max_rows}; "
        "tidemill.dead_letters in the metastore holds them"
    )


def verdict(tolerance: ErrorTolerance | None, *, read: int, rejected: int, loaded: int) -> ToleranceExceeded | None:
    """The verdict over all rows of a run, or None if it may be published.

    `read` counts rows of driving sources, `rejected` bad rows of all steps, `loaded` rows handed to sinks. A run
    whose rows are all bad is never a success, tolerance or not: otherwise a broken file would empty a table.
    """
    if read > 0 and loaded == 0 and rejected >= read:
        return ToleranceExceeded(f"all {read} rows are bad; tidemill.dead_letters in the metastore holds them")
    early = too_many(tolerance, rejected)
    if early is not None or tolerance is None or tolerance.max_percent is None or read == 0:
        return early
    percent = 100 * rejected / read
    if percent <= tolerance.max_percent:
        return None
    return ToleranceExceeded(
        f"{rejected} of {read} rows are bad ({percent:.3g} %): spec.execution.errorTolerance.maxPercent allows "
        f"{tolerance.max_percent:g}; tidemill.dead_letters in the metastore holds them"
    )
