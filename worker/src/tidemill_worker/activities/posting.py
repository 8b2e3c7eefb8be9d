"""One message to a web server of the pool, signed; and what its answer means for the activity that sends it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from tidemill_api.errors import HTTPUnavailable, NotificationRefused, TidemillError
from tidemill_worker.connections import PoolConnections
from tidemill_worker.telling.answers import Later, Refused, Taken, Verdict, judged
from tidemill_worker.telling.bodies import joined
from tidemill_worker.workflows.report import MOST_ATTEMPTS

ANSWER_WITHIN = 10.0
"""Seconds of silence that a receiver is allowed."""


async def posted(
    connections: PoolConnections, name: str, path: str, message_id: str, content: bytes, *, for_pipelines: bool
) -> Verdict:
    """What became of one attempt. Never raises for what the receiver, the network or the pool are to blame for.

    `for_pipelines`: a pipeline has named the connection, not the pool.
    """
    from tidemill_worker.connections.http import retry_after
    from tidemill_worker.telling.signing import signed

    try:
        place, secret = connections.http(name), connections.webhook(name, for_pipelines=for_pipelines)
        headers = signed(message_id, time.time(), content, secret.key)
        answer = await place.request(
            "POST",
            joined(secret.path, path),
            body=content,
            headers={"content-type": "application/json", **headers},
            seconds=ANSWER_WITHIN,
        )
    except TidemillError as error:
        verdict: Verdict = Later(str(error), None) if error.retryable else Refused(str(error))
    else:
        verdict = judged(answer.status, retry_after(answer.headers, datetime.now(UTC)))
    if isinstance(verdict, Later) and activity.info().attempt >= MOST_ATTEMPTS:
        return Refused(verdict.why)
    return verdict


def insist(name: str, verdict: Verdict) -> None:
    """Raise what says whether, and when, the activity is tried again; nothing if the message has been taken."""
    match verdict:
        case Taken():
            pass
        case Later(why, seconds):
            delay = None if seconds is None else timedelta(seconds=seconds)
            raise ApplicationError(f"connection {name}: {why}", type=HTTPUnavailable.__name__, next_retry_delay=delay)
        case Refused(why):
            raise NotificationRefused(f"connection {name}: {why}")
