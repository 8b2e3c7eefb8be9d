"""What all runs of a pipeline came to, as its status keeps it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tidemill_api.v1alpha1._base import Model

Count = Annotated[int, Field(ge=0)]
Moment = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]


class RunTotals(Model):
    """Sums over all runs that ended while the operator looked after the pipeline (and in the day before), each once."""

    succeeded: Count = 0
    """Runs that succeeded."""
    failed: Count = 0
    """Runs that failed."""
    skipped: Count = 0
    """Runs that the overlap policy left out, or whose key had completed."""
    cancelled: Count = 0
    """Runs that were cancelled."""
    rows_read: Count = 0
    """Rows read from the sources that drive stages."""
    rows_loaded: Count = 0
    """Rows written to sinks."""
    rows_rejected: Count = 0
    """Rows that became dead letters."""
    rows_skipped: Count = 0
    """Rows left out by rules with `onError: Skip`."""
    seconds: Annotated[float, Field(ge=0)] = 0
    """Time of the runs."""
    failures_in_row: Count = 0
    """Runs that failed since the last one that succeeded."""
    dead_letters: Count | None = None
    """Dead letters of the pipeline in the metastore when the newest run ended."""
    last_success_at: Moment | None = None
    """When the newest run that succeeded has ended."""
    counted_until: Moment | None = None
    """All runs that ended up to then are counted."""
    counted: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=64)] = ()
    """Marks of the runs that are counted and ended later: the time, and the beginning of Temporal's run id."""
