"""What is measured of a pipeline: all of it from its manifest and status. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from tidemill_api.metrics import operator as metrics
from tidemill_api.v1alpha1 import parse_duration, parse_timestamp
from tidemill_operator.clients import Object
from tidemill_operator.reading import name_at, status_of
from tidemill_operator.series import Sample

RESULTS: Final = ("Succeeded", "Failed", "Skipped", "Cancelled")
OUTCOMES: Final = ("read", "loaded", "rejected", "skipped")
LETTERS: Final = 10_000_000
"""`spec.deadLetter.maxRows`, if it isn't given."""


def figures(manifest: Object, now: datetime) -> Iterator[Sample]:
    """The series of a pipeline at a moment."""
    metadata, spec, status = manifest["metadata"], manifest["spec"], status_of(manifest)
    whose = (metadata["namespace"], metadata["name"])
    yield metrics.PIPELINE_INFO, (*whose, name_at(spec, "workerPoolRef") or ""), 1.0
    made = _moment(metadata.get("creationTimestamp"))
    if made is not None:
        yield metrics.PIPELINE_CREATED, whose, made
    for said in status.get("conditions") or ():
        yield metrics.PIPELINE_CONDITION, (*whose, said["type"], said["status"], said["reason"]), 1.0
    yield metrics.PIPELINE_SUSPENDED, whose, float(spec.get("suspend") is True)
    yield metrics.PIPELINE_PAUSED, whose, float("paused" in status)
    yield metrics.PIPELINE_MISSED, whose, float(status.get("missedRuns") or 0)
    yield metrics.PIPELINE_DRIFT, whose, float((status.get("schedule") or {}).get("driftRepaired") or 0)
    yield from _times(whose, status, made, now)
    yield from _promises(whose, spec)
    yield from _last_run(whose, status.get("lastRun") or {})
    yield from _totals(whose, status.get("totals") or {})


def _times(whose: tuple[str, str], status: Mapping[str, Any], made: float | None, now: datetime) -> Iterator[Sample]:
    coming = next((moment for each in status.get("nextRuns") or () if (moment := _moment(each)) is not None), None)
    if coming is not None:
        yield metrics.PIPELINE_NEXT_RUN, whose, coming
    active = status.get("activeRuns") or ()
    yield metrics.PIPELINE_ACTIVE_RUNS, whose, float(len(active))
    begun = [moment for run in active if (moment := _moment(run.get("startedAt"))) is not None]
    if begun:
        yield metrics.PIPELINE_OLDEST_RUN, whose, min(begun)
    success = _moment((status.get("totals") or {}).get("lastSuccessAt"))
    if success is not None:
        yield metrics.PIPELINE_LAST_SUCCESS, whose, success
    loaded = success if success is not None else made
    if loaded is not None:
        yield metrics.PIPELINE_FRESHNESS_AGE, whose, max(0.0, now.timestamp() - loaded)


def _promises(whose: tuple[str, str], spec: Mapping[str, Any]) -> Iterator[Sample]:
    within = (spec.get("freshness") or {}).get("within")
    if isinstance(within, str):
        yield metrics.PIPELINE_FRESHNESS_LIMIT, whose, parse_duration(within).total_seconds()
    percent = ((spec.get("execution") or {}).get("errorTolerance") or {}).get("maxPercent")
    if percent is not None:
        yield metrics.PIPELINE_TOLERANCE, whose, float(percent) / 100
    yield metrics.PIPELINE_LETTERS_LIMIT, whose, float((spec.get("deadLetter") or {}).get("maxRows") or LETTERS)


def _last_run(whose: tuple[str, str], run: Mapping[str, Any]) -> Iterator[Sample]:
    started, finished = _moment(run.get("startedAt")), _moment(run.get("finishedAt"))
    if finished is None:
        return
    yield metrics.PIPELINE_LAST_RUN, whose, finished
    if started is not None:
        yield metrics.PIPELINE_LAST_RUN_DURATION, whose, max(0.0, finished - started)
    yield metrics.PIPELINE_LAST_RUN_RESULT, (*whose, run["result"]), 1.0
    for outcome in OUTCOMES:
        yield metrics.PIPELINE_LAST_RUN_ROWS, (*whose, outcome), float(run.get(f"rows{outcome.title()}") or 0)


def _totals(whose: tuple[str, str], totals: Mapping[str, Any]) -> Iterator[Sample]:
    for result in RESULTS:
        yield metrics.PIPELINE_RUNS, (*whose, result), float(totals.get(result.lower()) or 0)
    for outcome in OUTCOMES:
        yield metrics.PIPELINE_ROWS, (*whose, outcome), float(totals.get(f"rows{outcome.title()}") or 0)
    yield metrics.PIPELINE_RUN_SECONDS, whose, float(totals.get("seconds") or 0)
    yield metrics.PIPELINE_FAILURES, whose, float(totals.get("failuresInRow") or 0)
    letters = totals.get("deadLetters")
    if letters is not None:
        yield metrics.PIPELINE_LETTERS, whose, float(letters)


def _moment(text: object) -> float | None:
    """Seconds since 1970 of an RFC 3339 time."""
    try:
        return parse_timestamp(text).timestamp() if isinstance(text, str) else None
    except ValueError:
        return None
