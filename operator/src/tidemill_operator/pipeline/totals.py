"""What all runs of a pipeline came to, each counted once: `status.totals`. Pure.

The sums and the mark of what is counted in them are written together, in one write that is refused if somebody wrote
in between. So each run is counted once, whatever becomes of the operator meanwhile: a restart, a new leader, or a
write that came through without an answer. Listings are a moment behind, and not in order; so the mark is a moment
that lies `LATE` back, and the ids of the runs that are counted though they ended after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tidemill_api.contract import RunResult
from tidemill_api.v1alpha1 import parse_timestamp
from tidemill_operator.pipeline.runs import phase
from tidemill_operator.views import RunSeen

LATE: Final = timedelta(minutes=2)
"""So long after its end a run may show up in a listing; the sweep asks again for as long."""
MOST_MARKS: Final = 64
"""Ids that are kept. Of more runs in `LATE`, one that shows up late *and* out of order isn't counted."""

Totals = Mapping[str, Any]


def is_counted(totals: Totals | None, run: RunSeen) -> bool:
    """Whether a run that ended is in the sums."""
    if totals is None or run.closed is None:
        return run.closed is None
    until = totals.get("countedUntil")
    return (until is not None and run.closed <= parse_timestamp(until)) or _mark(run) in (totals.get("counted") or ())


def add_up(totals: Totals | None, ended: Iterable[RunSeen], now: datetime) -> Totals | None:
    """The sums with these runs, as JSON. What is in them already isn't added again."""
    new = sorted(
        {run.run_id: run for run in ended if not is_counted(totals, run)}.values(),
        key=lambda run: (run.closed or now, run.run_id),
    )
    if not new:
        return totals
    told = dict(totals or {})
    for run in new:
        _add(told, run)
    _move_mark(told, new, now)
    return told


def seconds(run: RunSeen) -> float:
    """How long a run took."""
    return max(0.0, (run.closed - run.started).total_seconds()) if run.closed is not None else 0.0


def _add(told: dict[str, Any], run: RunSeen) -> None:
    result = phase(run)
    told[result.lower()] = told.get(result.lower(), 0) + 1
    told["seconds"] = round(told.get("seconds", 0) + seconds(run), 3)
    if run.result is not None:
        for name, rows in _rows(run.result):
            told[name] = told.get(name, 0) + rows
        if run.result.dead_letters is not None:
            told["deadLetters"] = run.result.dead_letters
    if result == "Succeeded":
        told["failuresInRow"] = 0
        told["lastSuccessAt"] = max(told.get("lastSuccessAt", ""), _text(run.closed))
    elif result == "Failed":
        told["failuresInRow"] = told.get("failuresInRow", 0) + 1


def _rows(result: RunResult) -> tuple[tuple[str, int], ...]:
    return (
        ("rowsRead", result.rows_read),
        ("rowsLoaded", result.rows_loaded),
        ("rowsRejected", result.rows_rejected),
        ("rowsSkipped", result.rows_skipped),
    )


def _move_mark(told: dict[str, Any], new: Iterable[RunSeen], now: datetime) -> None:
    """Marks are `<seconds since 1970>-<id>`, so that they sort and can be dropped by age."""
    marks = sorted({*(told.get("counted") or ()), *(_mark(run) for run in new)})
    settled = (now - LATE).timestamp()
    kept = [mark for mark in marks if float(mark.partition("-")[0]) > settled][-MOST_MARKS:]
    gone = [mark for mark in marks if mark not in kept]
    if gone:
        last = max(float(mark.partition("-")[0]) for mark in gone)
        before = told.get("countedUntil")
        moment = datetime.fromtimestamp(last, UTC)
        told["countedUntil"] = _text(moment if before is None else max(moment, parse_timestamp(before)))
    told["counted"] = kept


def _mark(run: RunSeen) -> str:
    closed = run.closed.timestamp() if run.closed is not None else 0.0
    return f"{closed:.6f}-{run.run_id[:8]}"


def _text(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
