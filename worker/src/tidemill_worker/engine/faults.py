"""What is wrong with the rows of a piece: rows that are bad, and values that become NULL by the contract."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from tidemill_worker.engine.model import PlannedColumn

_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row is bad."""

    reason: Literal["BadValue", "BadRow"]
    error: str
    cause: str = ""
    """The error without the value at fault, if it quotes one."""


@dataclass(slots=True)
class Faults:
    """What is found while columns are made. The first fault of a row is kept."""

    null_values: bool = False
    """`contract.badValues: SetNull`: a value of the wrong type is NULL, where its column may be."""
    rows: dict[int, Fault] = field(default_factory=dict[int, Fault])
    """By row of the piece."""
    _nulled: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def values(self, column: PlannedColumn, found: Iterable[tuple[int, str]]) -> None:
        """Values that aren't of their column's type: the rows, and what stands there, for people."""
        if self.null_values and not column.required:
            self._nulled[column.name] = [row for row, _ in found]
            return
        cause = f"{column.name} is not of type {column.type}"
        for row, shown in found:
            self.rows.setdefault(row, Fault("BadValue", f"{column.name}: {shown} is not of type {column.type}", cause))

    def missing(self, column: PlannedColumn, rows: Iterable[int]) -> None:
        """Rows without a value in a column that is required."""
        for row in rows:
            self.rows.setdefault(row, Fault("BadValue", f"{column.name} is required and has no value"))

    @property
    def nulled(self) -> dict[str, int]:
        """How many values of each column are NULL now, in rows that are good. To be asked when all is found."""
        counts = {name: sum(row not in self.rows for row in rows) for name, rows in self._nulled.items()}
        return {name: count for name, count in counts.items() if count}


def shortened(text: str) -> str:
    """A value for people: quoted, and not too long."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
