"""Errors of ours as Temporal's: by type, with a sentence, and whether a retry can help. Nothing else leaves the worker.

A failure's message and stack are kept by Temporal, in the clear where nothing encrypts them; an unexpected error's own
words may quote a row, so only its type and place are told.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Iterator
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from tidemill_api.errors import HTTPUnavailable, Internal, TidemillError

_log = logging.getLogger(__name__)

_LONGEST_ASKED = 3600.0
"""Seconds that a server may ask to wait; one that asks for more is asked again as `execution.retry` says."""
_ATTEMPTS = 3
"""So often an unexpected error or an Internal one is tried; what it comes from is rather a bug than an outage."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise ApplicationError for any error of the body; cancellation passes."""
    try:
        yield
    except ApplicationError:
        raise
    except TidemillError as error:
        step = getattr(error, "step", None)
        details = (step,) if isinstance(step, str) else ()
        info = activity.info()
        _log.warning(
            "%s of %s, attempt %d: %s: %s", info.activity_type, info.workflow_id, info.attempt, error.type, error
        )
        final = not error.retryable or (isinstance(error, Internal) and info.attempt >= _ATTEMPTS)
        raise ApplicationError(
            str(error), *details, type=error.type, non_retryable=final, next_retry_delay=_asked(error)
        ) from None
    except Exception as error:  # noqa: BLE001 - what isn't typed must not leave the worker as it is
        place = _place(error)
        _log.error(
            "unexpected %s at %s\n%s", type(error).__name__, place, "".join(traceback.format_tb(error.__traceback__))
        )
        raise ApplicationError(
            f"unexpected {type(error).__name__} at {place}; the worker's log has the stack",
            type=Internal.__name__,
            non_retryable=activity.info().attempt >= _ATTEMPTS,
        ) from None


def _asked(error: TidemillError) -> timedelta | None:
    """How long to wait before the next attempt, where a server has said so and it isn't for ever."""
    wait = error.wait if isinstance(error, HTTPUnavailable) else None
    return timedelta(seconds=wait) if wait is not None and wait <= _LONGEST_ASKED else None


def _place(error: BaseException) -> str:
    """Module and line of the innermost frame that is ours."""
    place = "?"
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", "?"))
        if module.startswith("tidemill_"):
            place = f"{module}:{line}"
    return place
