"""How a run is carried out: chunks, parallelism, retries, and how many bad rows it may have."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._types import ZERO_DURATION, ByteSize, Duration, parse_bytes, parse_duration


class Chunking(Model):
    """How much is worked on in one piece."""

    max_rows: Annotated[int, Field(ge=1, le=10_000_000)] = 1_000_000
    """Most rows in a chunk."""
    max_bytes: ByteSize = "64Mi"
    """Most bytes of a file in a chunk, about."""

    rules = (
        Rule(
            cel="!has(self.maxBytes) || !self.maxBytes.matches('^0+[A-Za-z]*$')",
            message="maxBytes must be more than 0, such as 64Mi",
            holds=lambda s: parse_bytes(s.max_bytes) > 0,
            field=".maxBytes",
        ),
    )


class Retry(Model):
    """How a chunk is tried again after an error that a retry can mend. The names are Temporal's."""

    initial_interval: Duration = "1s"
    """Wait before the first retry."""
    backoff_coefficient: Annotated[float, Field(ge=1, le=10)] = 2.0
    """Each wait is this many times the one before."""
    maximum_interval: Duration = "1m"
    """Longest wait."""
    maximum_attempts: Annotated[int, Field(ge=0, le=1000)] = 0
    """Most attempts; 0: as long as `timeout` allows."""

    rules = (
        Rule(
            cel=f"!has(self.initialInterval) || !self.initialInterval.matches('{ZERO_DURATION}')",
            message="initialInterval must be longer than 0, such as 1s",
            holds=lambda s: parse_duration(s.initial_interval) > timedelta(0),
            field=".initialInterval",
        ),
        Rule(
            cel=None,  # CEL's own durations know no days
            message="maximumInterval can't be shorter than initialInterval",
            holds=lambda s: parse_duration(s.maximum_interval) >= parse_duration(s.initial_interval),
            field=".maximumInterval",
        ),
    )


class ErrorTolerance(Model):
    """How many bad rows a run may have. More of them fail it; a run whose rows are all bad always fails."""

    max_percent: Annotated[float, Field(ge=0, le=100)] | None = None
    """Most bad rows, in percent of the rows read."""
    max_rows: Annotated[int, Field(ge=0, le=10**15)] | None = None
    """Most bad rows."""

    rules = (
        Rule(
            cel="has(self.maxPercent) || has(self.maxRows)",
            message="errorTolerance needs maxPercent, maxRows or both",
            holds=lambda s: s.max_percent is not None or s.max_rows is not None,
        ),
    )


class Execution(Model):
    """How a run is carried out."""

    chunk: Chunking = Chunking()
    """How much is worked on in one piece."""
    parallelism: Annotated[int, Field(ge=1, le=1000)] = 8
    """Most chunks of a run that are worked on at once, over all workers."""
    timeout: Duration = "2h"
    """A run that takes longer is ended as failed."""
    retry: Retry = Retry()
    """How a chunk is tried again."""
    error_tolerance: ErrorTolerance | None = None
    """How many bad rows a run may have; without it any number, but never all."""

    rules = (
        Rule(
            cel=f"!has(self.timeout) || !self.timeout.matches('{ZERO_DURATION}')",
            message="timeout must be longer than 0, such as 2h",
            holds=lambda s: parse_duration(s.timeout) > timedelta(0),
            field=".timeout",
        ),
    )
