"""Asking a web server again: as long as it says, or a little longer each time, but not for ever."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from tidemill_api.errors import HTTPUnavailable

ATTEMPTS: Final = 5
"""So often one thing is asked for; then the chunk fails, and is tried again as `execution.retry` says."""
LONGEST_WAIT: Final = 60.0
"""Seconds. A server that asks for more is left alone: the chunk is tried again later."""

FIRST_WAIT: Final = 0.5
"""Seconds before the second attempt; doubled each time after it."""

T = TypeVar("T")
Wait = Callable[[float], None]
"""Waits so many seconds, or raises what ends the reading."""


def pause(seconds: float) -> None:
    """The plain `Wait`."""
    threading.Event().wait(seconds)


def patiently(ask: Callable[[], T], wait: Wait = pause) -> T:
    """What `ask` gives, which is called again when it raises HTTPUnavailable. Raises the last one; blocks."""
    for attempt in range(1, ATTEMPTS):
        try:
            return ask()
        except HTTPUnavailable as error:
            if (error.wait or 0.0) > LONGEST_WAIT:
                raise
            wait(max(error.wait or 0.0, _backoff(attempt)))
    return ask()


def _backoff(attempt: int) -> float:
    """Seconds before the next attempt, jittered so that workers don't come back all at once."""
    return FIRST_WAIT * float(1 << (attempt - 1)) * random.uniform(0.5, 1.5)
