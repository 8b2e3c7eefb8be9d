"""What a backfill's workflow and its activities say to each other: moments and numbers."""

from __future__ import annotations

from typing import Final

from tidemill_api.contract import BackfillInput, BackfillProgress, Message, RunError

BACKFILL_SIZE: Final = "backfill_size"
BACKFILL_TIMES: Final = "backfill_times"
"""Names of the activities."""


class Range(Message):
    """The times of a backfill from a moment on. Moments are RFC 3339 in UTC."""

    order: BackfillInput
    begun: str
    """When the backfill began: times that hadn't come then aren't in it."""
    following: str
    """The first moment that counts."""


class Size(Message):
    """How many times there are in a range."""

    total: int
    first: str


class Window(Message):
    """The next times of a range."""

    keys: tuple[str, ...]
    """Of the runs to be started, in order."""
    skipped: int = 0
    """Times before and between them that are left out."""
    following: str | None = None
    """Where to go on; None: there is nothing behind them."""


class Rows(Message):
    """Rows and chunks of all runs that have ended."""

    rows_read: int = 0
    rows_loaded: int = 0
    rows_rejected: int = 0
    rows_skipped: int = 0
    chunks: int = 0


class CarriedBackfill(Message):
    """What a backfill takes along when it continues as new."""

    begun: str
    started: float
    """Unix time."""
    keys: tuple[str, ...] = ()
    """Of the runs to start next, before any other."""
    following: str | None = None
    """Where the times after these begin; None: there are none."""
    progress: BackfillProgress = BackfillProgress()
    rows: Rows = Rows()
    first_error: RunError | None = None
    first_failed: str = ""
    """Key of the first run that failed, and why it did."""
