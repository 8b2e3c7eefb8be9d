"""What must hold of a sink's table after a run: measured by the database, judged before the run becomes visible."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._types import ZERO_DURATION, Duration, Identifier, PartName, parse_duration

_Number = Annotated[float, Field(ge=-(10**15), le=10**15)]


class RecentRuns(Model):
    """A bound that moves with what former runs came to."""

    runs: Annotated[int, Field(ge=1, le=100)] = 7
    """How many: the last ones before this run's nominal time that succeeded."""
    percent: Annotated[float, Field(ge=0, le=10**6)]
    """How far the value may be from the median of theirs, in percent of it."""


class Check(Model):
    """What must hold of a sink's table after a run."""

    name: PartName
    """Name of the check."""
    sink: PartName
    """The sink whose table is looked at; of mergeStrategy SCD2 only the newest versions are."""
    metric: Literal["rowCount", "rowsLoaded", "duplicateRows", "nullRows", "unacceptedRows", "failedRows", "freshness"]
    """What is measured. rowCount: rows of the table; rowsLoaded: rows that this run loads; duplicateRows: rows
    beyond the first with the same values in `columns`; nullRows: rows without a value in one of `columns`;
    unacceptedRows: rows with a value in `columns` that isn't one of `acceptedValues`; failedRows: rows for which
    `expression` isn't true; freshness: seconds since the latest moment in `columns`."""
    columns: Annotated[tuple[Identifier, ...], Field(max_length=16)] = ()
    """The columns: one or more for duplicateRows and nullRows, exactly one for unacceptedRows and freshness."""
    accepted_values: Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=256)] = ()
    """For unacceptedRows: the values that are accepted, as Postgres writes them."""
    expression: Annotated[str, Field(min_length=1, max_length=4096, examples=["dep_delay < 2000"])] | None = None
    """For failedRows: a condition over the columns of a row, as in a rule, but of comparisons, arithmetic, CASE and a
    few functions only, since Postgres computes it."""
    at_least: _Number | None = None
    """The value must not be less."""
    at_most: _Number | None = None
    """The value must not be more; 0 for duplicateRows, nullRows, unacceptedRows and failedRows that have no bound."""
    within: Duration | None = None
    """For freshness: the latest moment must not be older."""
    within_percent_of_last: RecentRuns | None = None
    """The value must be near those of the last runs. A run that has none before it passes."""
    severity: Literal["Error", "Warn"] = "Error"
    """Error: the run fails, and what hasn't been visible yet (Merge, Replace, Append with `commit: AtEnd`) never
    becomes so. Warn: the run's result says it."""

    rules = (
        Rule(
            cel="!(self.metric in ['rowCount', 'rowsLoaded']) || has(self.atLeast) || has(self.atMost) || "
            "has(self.withinPercentOfLast)",
            message="rowCount and rowsLoaded need a bound: atLeast, atMost or withinPercentOfLast",
            holds=lambda s: s.metric not in {"rowCount", "rowsLoaded"} or s.bounded,
        ),
        Rule(
            cel="!has(self.atLeast) || !has(self.atMost) || self.atLeast <= self.atMost",
            message="atLeast can't be more than atMost",
            holds=lambda s: s.at_least is None or s.at_most is None or s.at_least <= s.at_most,
            field=".atLeast",
        ),
        Rule(
            cel="self.metric in ['duplicateRows', 'nullRows', 'unacceptedRows', 'freshness'] == "
            "(has(self.columns) && size(self.columns) > 0)",
            message="columns belong to duplicateRows, nullRows, unacceptedRows and freshness, which need them",
            holds=lambda s: (
                (s.metric in {"duplicateRows", "nullRows", "unacceptedRows", "freshness"}) == (len(s.columns) > 0)
            ),
            field=".columns",
        ),
        Rule(
            cel="!(self.metric in ['unacceptedRows', 'freshness']) || !has(self.columns) || size(self.columns) < 2",
            message="unacceptedRows and freshness are of one column",
            holds=lambda s: s.metric not in {"unacceptedRows", "freshness"} or len(s.columns) < 2,
            field=".columns",
        ),
        Rule(
            cel="(self.metric == 'unacceptedRows') == (has(self.acceptedValues) && size(self.acceptedValues) > 0)",
            message="acceptedValues belong to unacceptedRows, which needs them",
            holds=lambda s: (s.metric == "unacceptedRows") == (len(s.accepted_values) > 0),
            field=".acceptedValues",
        ),
        Rule(
            cel="(self.metric == 'failedRows') == has(self.expression)",
            message="expression belongs to failedRows, which needs it",
            holds=lambda s: (s.metric == "failedRows") == (s.expression is not None),
            field=".expression",
        ),
        Rule(
            cel="(self.metric == 'freshness') == has(self.within)",
            message="within belongs to freshness, which needs it",
            holds=lambda s: (s.metric == "freshness") == (s.within is not None),
            field=".within",
        ),
        Rule(
            cel="self.metric != 'freshness' || "
            "!(has(self.atLeast) || has(self.atMost) || has(self.withinPercentOfLast))",
            message="freshness has one bound: within",
            holds=lambda s: s.metric != "freshness" or not s.bounded,
            field=".within",
        ),
        Rule(
            cel=f"!has(self.within) || !self.within.matches('{ZERO_DURATION}')",
            message="within must be longer than 0, such as 2h",
            holds=lambda s: s.within is None or parse_duration(s.within) > timedelta(0),
            field=".within",
        ),
    )

    @property
    def bounded(self) -> bool:
        """Whether a bound of numbers is given."""
        return not (self.at_least is None and self.at_most is None and self.within_percent_of_last is None)
