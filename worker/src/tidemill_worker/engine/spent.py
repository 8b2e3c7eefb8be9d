"""Time that a chunk takes, by phase. Whoever begins a chunk sets where it is added; its parts find it there."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal

Phase = Literal["read", "check", "transform", "load"]


class Spent:
    """Sums of seconds. Several threads add to it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def on(self, phase: Phase) -> Iterator[None]:
        """Around what is done for a phase."""
        began = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - began
            with self._lock:
                self.seconds[phase] = self.seconds.get(phase, 0.0) + took


_SPENT: ContextVar[Spent] = ContextVar("tidemill_spent")


def begin() -> Spent:
    """Where the time of what this task does from now on is added."""
    spent = Spent()
    _SPENT.set(spent)
    return spent


def here() -> Spent:
    """Where this task's time is added. Threads don't see it: whoever hands them work hands it to them."""
    return _SPENT.get(None) or Spent()
