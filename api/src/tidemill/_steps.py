"""Batches, whole inputs, and what a function says of rows."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

RowsLike: TypeAlias = "Sequence[bool] | Sequence[int] | pa.Array | pa.ChunkedArray | Any"
"""Some rows of a batch: true or false for each of them (null is false), or their places from 0."""

_RULE: Final = re.compile(r"[a-z]([-a-z0-9_]*[a-z0-9])?")
_LONGEST_RULE: Final = 63
LONGEST_MESSAGE: Final = 500
"""Characters of a message that are kept."""
_BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)


class Unavailable(Exception):
    """Raise it when something that the function needs doesn't answer: the rows are tried again later.

    Any other exception fails the run. The message is shown to people, so it should hold nothing of the rows.
    """


@dataclass(frozen=True, slots=True)
class Context:
    """What a function may know besides its rows. Nothing of it differs between two attempts at the same rows."""

    step: str = "step"
    """Name of the step or source."""
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """The pipeline's parameters, with this run's values: str, int, float, bool, date or datetime (in UTC)."""
    run_time: datetime = _BEGINNING
    """Nominal time of the run, in UTC; its interval ends here."""
    interval_start: datetime = _BEGINNING
    """Where its interval begins, in UTC."""
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("tidemill.python"))
    """Goes to the worker's log: nothing of the rows should."""

    @property
    def interval_end(self) -> datetime:
        """Where the run's interval ends; it isn't in it any more."""
        return self.run_time


@dataclass(frozen=True, slots=True)
class Rejection:
    """Rows that break a rule."""

    rows: pa.Int64Array
    """Places in the batch, from 0, ascending."""
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Rows:
    """An answer that has other rows than the batch: fewer, more, or in another order."""

    table: pa.Table
    origin: Sequence[int] | pa.Array | pa.ChunkedArray
    """For each row of `table`, the place (from 0) of the batch's row that it comes from."""


class Batch:
    """Some rows of a step's first input."""

    def __init__(
        self, rows: pa.Table, others: Mapping[str, pa.Table] | None = None, context: Context | None = None
    ) -> None:
        """`rows` is what the step works on, `others` has its other inputs."""
        self.rows = rows
        """The rows, at least one."""
        self.others: Mapping[str, pa.Table] = others or {}
        """The step's other inputs, whole, by their names."""
        self.context = context or Context()
        """Parameters, times, log."""
        self._rejections: list[Rejection] = []
        self._skipped: list[pa.Int64Array] = []

    def reject(self, rows: RowsLike, rule: str, message: str = "") -> None:
        """These rows break a rule: they become dead letters, and what the answer has of them is left out.

        `rule` (small letters, digits, - and _) is what rejected rows are counted by; `message` (at most 500 characters)
        says what is wrong with each of them, and should hold nothing of a single one. Raises ValueError.
        """
        if not _RULE.fullmatch(rule) or len(rule) > _LONGEST_RULE:
            raise ValueError(f"reject: {rule!r} is no name of a rule: small letters, digits, - and _, such as too-fast")
        chosen = self._places("reject", rows)
        if len(chosen):
            self._rejections.append(Rejection(chosen, rule, message[:LONGEST_MESSAGE]))

    def skip(self, rows: RowsLike) -> None:
        """Leave these rows out and count them, but keep no dead letters. Raises ValueError."""
        self._skipped.append(self._places("skip", rows))

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """What was rejected so far."""
        return tuple(self._rejections)

    @property
    def skipped(self) -> pa.Int64Array:
        """Places of the rows that were skipped so far, ascending."""
        return _distinct(pa.chunked_array(self._skipped, pa.int64()))

    def _places(self, what: str, rows: RowsLike) -> pa.Int64Array:
        total = self.rows.num_rows
        given: Any = rows if isinstance(rows, pa.Array | pa.ChunkedArray) else pa.array(rows)
        if not len(given):
            return pa.array([], pa.int64())
        if pa.types.is_boolean(given.type):
            if len(given) != total:
                raise ValueError(f"{what}: a mask has a value for each of the {total} rows, this one has {len(given)}")
            return pc.indices_nonzero(given).cast(pa.int64())
        if pa.types.is_integer(given.type) and not given.null_count:
            bounds = pc.min_max(given).as_py()
            if bounds["min"] < 0 or bounds["max"] >= total:
                raise ValueError(f"{what}: rows go from 0 to {total - 1}, not {bounds['min']} to {bounds['max']}")
            return _distinct(given.cast(pa.int64()))
        raise ValueError(f"{what}: say which rows by true and false for each, or by their places, not by {given.type}")


class Whole:
    """All rows of all inputs of a step."""

    def __init__(self, tables: Mapping[str, pa.Table], context: Context | None = None) -> None:
        """`tables` are the inputs by name, in the manifest's order. Not empty."""
        self.tables = tables
        """The inputs by their names. The order of rows is none to rely on."""
        self.context = context or Context()
        """Parameters, times, log."""

    @property
    def rows(self) -> pa.Table:
        """The first input."""
        return next(iter(self.tables.values()))


def _distinct(places: pa.Array | pa.ChunkedArray) -> pa.Int64Array:
    found = pc.unique(places)
    return found.take(pc.sort_indices(found))
