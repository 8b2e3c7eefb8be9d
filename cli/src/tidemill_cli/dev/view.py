"""A run as a person sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from tidemill_api.contract import RunProgress, RunResult


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as it is shown. `result` is None while it is open."""

    pipeline: str
    run: str
    started: datetime
    progress: RunProgress = field(default_factory=lambda: RunProgress(phase="Waiting"))
    result: RunResult | None = None
    trouble: str = ""
    """What made a part of it fail, while it is tried again."""


Show = Callable[[RunView], None]
