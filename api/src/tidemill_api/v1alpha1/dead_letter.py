"""What is kept of rejected rows, for how long, and how many."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._types import ZERO_DURATION, Duration, Identifier, parse_duration


class DeadLetter(Model):
    """What is kept of rejected rows, for how long, and how many."""

    retention: Duration = "30d"
    """Letters are removed when their row was last rejected so long ago; runs see to it when they end. A change counts
    for older letters too, once a run has ended."""
    store: Literal["Full", "KeysOnly", "None"] = "Full"
    """Full: the row as it stands in the file. KeysOnly: where it stood, and the values of the sinks' primary keys as
    far as they can be told. None: where it stood, nothing of the row. Errors quote values with Full only."""
    redact_columns: Annotated[tuple[Identifier, ...], Field(max_length=64)] = ()
    """Columns whose values are never kept: they are replaced in the row, and errors quote no values. Name the columns
    that queries make of them too. Fields of the file that the pipeline doesn't read, and rows that can't be cut into
    columns, aren't kept either then."""
    max_rows: Annotated[int, Field(ge=1, le=10**12)] = 10_000_000
    """Most letters of the pipeline. When there are as many, those that are done with (not `New`) make room; a run that
    rejects yet more rows fails with DeadLetterFull: a row is never dropped."""

    rules = (
        Rule(
            cel=f"!has(self.retention) || !self.retention.matches('{ZERO_DURATION}')",
            message="retention must be longer than 0, such as 30d",
            holds=lambda s: parse_duration(s.retention) > timedelta(0),
            field=".retention",
        ),
        Rule(
            cel="!has(self.redactColumns) || self.redactColumns.all(c, self.redactColumns.exists_one(o, o == c))",
            message="redactColumns names a column twice",
            holds=lambda s: len(set(s.redact_columns)) == len(s.redact_columns),
            field=".redactColumns",
        ),
    )
