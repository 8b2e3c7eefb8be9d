"""What a measurement is, and how ratios are made from interleaved rounds."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Measurement:
    """One line of a benchmark's output."""

    name: str
    value: float
    unit: str
    against: str = ""
    """What it is compared with; empty if with nothing."""
    ratio: float | None = None
    """Value divided by what it is compared with, both of the same round; the median of all rounds."""
    n: int = 1
    """Rounds, of which `value` is the median too; of the operator's figures, the number of pipelines."""

    def to_json(self) -> str:
        """One line."""
        rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}
        return json.dumps(rounded)


def compared(name: str, values: Sequence[float], unit: str, against: str, others: Sequence[float]) -> Measurement:
    """A measurement from interleaved rounds: `values[i]` and `others[i]` were taken one right after the other."""
    ratios = [value / other for value, other in zip(values, others, strict=True)]
    return Measurement(name, statistics.median(values), unit, against, statistics.median(ratios), len(values))


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)
