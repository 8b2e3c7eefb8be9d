"""The nominal time of a rehearsed run."""

from __future__ import annotations

from datetime import UTC, datetime

from tidemill_check.parameters import typed_value
from tidemill_cli.dev.reading import UsageError


def run_time(text: str | None) -> datetime:
    """The time given on the command line (UTC if it has no offset), or now. Raises UsageError."""
    if text is None:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        found = typed_value("timestamp", text)
    except ValueError as error:
        raise UsageError(f"--run-time: {error}") from None
    assert isinstance(found, datetime)
    return found
