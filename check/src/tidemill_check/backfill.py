"""A backfill: whether its pipeline can be run for times of the past, and which times these are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tidemill_api import conditions
from tidemill_api.v1alpha1 import DataPipelineSpec, parse_duration, parse_timestamp
from tidemill_api.v1alpha1.datapipelinerun import Backfill
from tidemill_check.problem import Problem
from tidemill_check.schedule import LONGEST, length


def check_backfill(spec: DataPipelineSpec, backfill: Backfill) -> tuple[Problem, ...]:
    """What stands in the way of a backfill; fields are those of the DataPipelineRun."""
    return (*_times(spec, backfill), *check_sinks(spec))


def check_sinks(spec: DataPipelineSpec) -> Iterator[Problem]:
    """Sinks that can't take a run for the past."""
    for index, sink in enumerate(spec.sinks):
        why = ""
        if sink.write_disposition == "Replace" and not sink.partition_by:
            whole = "table" if sink.files is None else "folder"
            why = (
                f"replaces the whole {whole} with each run, so only the last interval would be left: "
                "set partitionBy, or use Append or Merge"
            )
        elif sink.history is not None:
            why = "keeps versions in the order of their runs (SCD2), and one of the past can't be put in between"
        if why:
            yield _problem("spec.backfill", f"the sink {sink.name} (the pipeline's spec.sinks[{index}]) {why}")


def times_json(backfill: Backfill) -> dict[str, Any] | None:
    """The times of a backfill by `every`, as those of a schedule; None: they are the schedule's own."""
    if backfill.every is None:
        return None
    every = parse_duration(backfill.every)
    offset = (first_second(backfill.start) - datetime(1970, 1, 1, tzinfo=UTC)) % every
    return {"intervals": [{"every": backfill.every, "offset": f"{offset.days}d{offset.seconds}s"}]}


def first_second(moment: str) -> datetime:
    """The first whole second that isn't before a moment, in UTC: times have whole seconds."""
    exact = parse_timestamp(moment).astimezone(UTC)
    whole = exact.replace(microsecond=0)
    return whole if whole == exact else whole + timedelta(seconds=1)


def _times(spec: DataPipelineSpec, backfill: Backfill) -> Iterator[Problem]:
    names_times = spec.schedule is not None and spec.schedule.names_times
    if not names_times and backfill.every is None:
        yield _problem(
            "spec.backfill.every", "is missing: the pipeline has no schedule that names times, so say every: 1d, say"
        )
    if names_times and backfill.every is not None:
        yield _problem("spec.backfill.every", "the times are those of the pipeline's schedule: leave it out")
    if backfill.every is not None and length(backfill.every) is None:
        yield _problem("spec.backfill.every", f"{backfill.every} is too long: at most {LONGEST.days}d")


def _problem(field: str, message: str) -> Problem:
    return Problem(field, conditions.INVALID_SPEC, message)
