"""`draft_notifications` and `notify`: what there is to tell of a run, and one message of it, once.

`draft_notifications` also pauses the Schedule of a pipeline whose runs fail again and again, if its spec says so.
"""

from __future__ import annotations

import logging

from pydantic import ValidationError
from temporalio import activity
from temporalio.service import RPCError, RPCStatusCode

from tidemill_api.errors import SpecError, TemporalUnavailable, TidemillError
from tidemill_api.names import PipelineId
from tidemill_api.v1alpha1.notification import HTTPNotification, Notification
from tidemill_worker.activities.posting import insist, posted
from tidemill_worker.activities.resources import Resources
from tidemill_worker.activities.translation import translated
from tidemill_worker.metastore import RunId, notifications
from tidemill_worker.telling.answers import Later, Refused, Taken
from tidemill_worker.telling.bodies import body, message_id
from tidemill_worker.telling.events import drafts, happened, in_a_row, pause_note
from tidemill_worker.workflows.report import MOST_ATTEMPTS
from tidemill_worker.workflows.report_messages import DRAFT, NOTIFY, Drafts, Reported, Sending

_log = logging.getLogger(__name__)

ANSWER_WITHIN = 10.0
"""Seconds that a receiver may take for its answer."""
MOST_BODY = 1 << 20
"""Bytes of an answer, of which nothing is used."""
_NO = frozenset(
    {
        RPCStatusCode.PERMISSION_DENIED,
        RPCStatusCode.UNAUTHENTICATED,
        RPCStatusCode.INVALID_ARGUMENT,
        RPCStatusCode.FAILED_PRECONDITION,
        RPCStatusCode.UNIMPLEMENTED,
    }
)
"""What Temporal says to a pause that it will never make."""


class Notify:
    """The activities and what they need."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @activity.defn(name=DRAFT)
    async def draft_notifications(self, reported: Reported) -> Drafts:
        """The messages to send. Pauses the Schedule first, if it has to be. A repetition comes to the same."""
        with translated():
            note = await self._paused(reported)
            recovered = await self._recovered(reported)
            events = happened(reported.result, recovered=recovered, paused=bool(note))
            return Drafts(drafts=drafts(_declared(reported), events, note))

    @activity.defn(name=NOTIFY)
    async def notify(self, sending: Sending) -> None:
        """Send one message. Fails if it wasn't taken; then it says whether another attempt can help, and when."""
        with translated():
            to = _declared(sending.reported)[sending.draft.number].http
            content = body(to, sending.reported, sending.draft)
            message = message_id(sending.reported, sending.draft)
            connections = self._resources.connections
            verdict = await posted(connections, to.connection, to.path, message, content, for_pipelines=True)
            match verdict:
                case Taken():
                    await self._note(sending, to, "Sent", None)
                case Later(why):
                    await self._note(sending, to, "Waiting", why)
                case Refused(why):
                    await self._note(sending, to, "Unsent", why)
            insist(to.connection, verdict)

    async def _note(self, sending: Sending, to: HTTPNotification, state: notifications.State, why: str | None) -> None:
        """Count it, and keep it where people can ask for it. A message that has gone isn't sent again for that."""
        self._resources.measures.notification(state)
        result = sending.reported.result
        run = RunId(sending.reported.uid, result.run_key, result.execution)
        draft = sending.draft
        if state == "Unsent":
            _log.error("run %s: notification to %s couldn't be sent: %s", result.run_key, to.connection, why)
        try:
            await notifications.keep(
                self._resources.store, run, draft.number, draft.events, (to.connection, to.path), state, why
            )
        except TidemillError as error:
            _log.warning("what became of a notification isn't kept: %s", error)

    async def _recovered(self, reported: Reported) -> bool:
        """Whether the run before this one has failed, of those that tell how the pipeline does."""
        if reported.replay or reported.result.result != "Succeeded":
            return False
        before = await notifications.ended_before(self._resources.store, _run(reported), 1, scheduled=False)
        return before == ("Failed",)

    async def _paused(self, reported: Reported) -> str:
        """The note of the pause that this run's failure is reason for; empty if it is none."""
        after, failed = reported.pause_after, reported.result.result == "Failed"
        if after is None or not failed or reported.trigger != "Schedule":
            return ""
        before = await notifications.ended_before(self._resources.store, _run(reported), after - 1, scheduled=True)
        failures = 1 + in_a_row(before)
        if failures < after:
            return ""
        error = reported.result.error
        note = pause_note(reported.result.run_key, error.type if error is not None else "", failures)
        pipeline = PipelineId(reported.installation, reported.namespace, reported.pipeline)
        return note if await _pause(pipeline.schedule, note) else ""


async def _pause(schedule: str, note: str) -> bool:
    """Pause the Schedule. False if there is none, somebody else has paused it, or it can't be: the rest is told then.

    Raises TemporalUnavailable.
    """
    handle = activity.client().get_schedule_handle(schedule)
    try:
        state = (await handle.describe()).schedule.state
        if state.paused:
            return state.note == note
        await handle.pause(note=note)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return False
        if in_vain(error.status, activity.info().attempt):
            _log.error("the Schedule can't be paused (%s)", error.status.name)
            return False
        raise TemporalUnavailable(f"Temporal didn't answer ({error.status.name})") from error
    _log.warning("paused the Schedule: %s", note)
    return True


def in_vain(status: RPCStatusCode, attempt: int) -> bool:
    """Whether to pause once more is in vain: Temporal says no, or has said nothing often enough."""
    return status in _NO or attempt >= MOST_ATTEMPTS


def _declared(reported: Reported) -> list[Notification]:
    """Raises SpecError: the spec of a run may be what the run has failed for."""
    try:
        return [Notification.model_validate(each) for each in reported.notifications]
    except ValidationError as error:
        raise SpecError("spec.notifications", f"{error.error_count()} faults") from None


def _run(reported: Reported) -> RunId:
    return RunId(reported.uid, reported.result.run_key, reported.result.execution)
