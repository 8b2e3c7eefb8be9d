"""A promise of a pipeline: how old what it has loaded may be."""

from __future__ import annotations

from datetime import timedelta

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._types import ZERO_DURATION, Duration, parse_duration


class Freshness(Model):
    """How old what the pipeline has loaded may be. Whether that holds shows as condition Fresh, and in metrics."""

    within: Duration
    """The newest run that succeeded must have ended no longer ago than this (whatever started it); before the first
    one the pipeline itself must be no older."""

    rules = (
        Rule(
            cel=f"!self.within.matches('{ZERO_DURATION}')",
            message="within must be longer than 0, such as 2h",
            holds=lambda s: parse_duration(s.within) > timedelta(0),
            field=".within",
        ),
    )
