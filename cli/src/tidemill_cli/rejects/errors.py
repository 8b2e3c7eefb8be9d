"""What makes a command of `tidemill rejects` end with one line."""

from __future__ import annotations


class RejectsError(Exception):
    """It came to nothing; the message is one line and says what to do."""


class UsageError(RejectsError):
    """The command line is wrong."""
