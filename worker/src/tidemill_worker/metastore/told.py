"""What is told of dead letters when they are written: how many rows which rule of which step has rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tidemill_worker.engine.model import RunRef

if TYPE_CHECKING:
    import pyarrow as pa

Rejected = Mapping[tuple[str, str], int]
"""Rows by step and rule."""
Tell = Callable[[RunRef, Rejected], None]


def by_rule(letters: pa.Table) -> Rejected:
    """Letters (schema `engine.letters.SCHEMA`) by step, and by each rule that a row broke, or else the reason."""
    columns = (letters.column(name).to_pylist() for name in ("step", "reason", "rules"))
    return Counter((step, rule) for step, reason, rules in zip(*columns, strict=True) for rule in rules or (reason,))


def nobody(_run: RunRef, _rejected: Rejected) -> None:
    """Nobody counts."""
