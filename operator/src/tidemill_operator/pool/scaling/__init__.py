"""How many workers a pool should have: a pure decision from signals, what went before, and the time. No I/O here."""

from tidemill_operator.pool.scaling.decide import decide
from tidemill_operator.pool.scaling.signals import (
    HORIZON,
    REASONS,
    Backlog,
    Decision,
    Due,
    History,
    Idle,
    Mode,
    Reason,
    ScalingSpec,
    Signals,
    WorkerSeen,
)

__all__ = [
    "HORIZON",
    "REASONS",
    "Backlog",
    "Decision",
    "Due",
    "History",
    "Idle",
    "Mode",
    "Reason",
    "ScalingSpec",
    "Signals",
    "WorkerSeen",
    "decide",
]
