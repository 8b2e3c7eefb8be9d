"""How many bad rows a run may have."""

from __future__ import annotations

import pytest

from tidemill_api.v1alpha1.execution import ErrorTolerance
from tidemill_worker.tolerance import too_many, verdict

NONE = None
PERCENT = ErrorTolerance(max_percent=1)
ROWS = ErrorTolerance(max_rows=10)
BOTH = ErrorTolerance(max_percent=50, max_rows=10)
ZERO = ErrorTolerance(max_percent=0)


@pytest.mark.parametrize(
    ("tolerance", "read", "rejected", "loaded", "reason"),
    [
        (NONE, 0, 0, 0, None),
        (NONE, 100, 99, 1, None),
        (NONE, 100, 100, 0, "all 100 rows"),
        (NONE, 10, 11, 5, None),  # two steps reject, a third loads
        (NONE, 10, 3, 0, None),  # a query filtered the rest
        (PERCENT, 100, 1, 99, None),
        (PERCENT, 100, 2, 98, "maxPercent allows 1"),
        (PERCENT, 0, 0, 0, None),
        (ZERO, 1_000_000, 1, 999_999, "maxPercent allows 0"),
        (ROWS, 1000, 10, 990, None),
        (ROWS, 1000, 11, 989, "maxRows allows 10"),
        (BOTH, 18, 10, 8, "maxPercent allows 50"),
        (BOTH, 100, 11, 89, "maxRows allows 10"),
        (BOTH, 10, 10, 0, "all 10 rows"),
    ],
)
def test_verdict(tolerance: ErrorTolerance | None, read: int, rejected: int, loaded: int, reason: str | None) -> None:
    error = verdict(tolerance, read=read, rejected=rejected, loaded=loaded)

    assert (error is None) == (reason is None)
    assert error is None or (reason is not None and reason in str(error) and not error.retryable)


@pytest.mark.parametrize(
    ("tolerance", "rejected", "stops"), [(NONE, 99, 0), (PERCENT, 99, 0), (ROWS, 10, 0), (ROWS, 11, 1)]
)
def test_a_run_stops_early_only_for_what_later_rows_cannot_mend(
    tolerance: ErrorTolerance | None, rejected: int, stops: int
) -> None:
    assert (too_many(tolerance, rejected) is not None) == bool(stops)
