"""Who is told what a run came to, and what else happens when runs fail."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._types import PartName

Event = Literal["RunFailed", "ToleranceExceeded", "CheckFailed", "SchedulePaused", "Recovered", "RunSucceeded"]

EVENTS: Final[tuple[Event, ...]] = get_args(Event)

TEMPLATE_NAMES: Final = frozenset(
    {
        *("event", "events", "id", "text", "namespace", "pipeline", "run_key", "execution", "trigger", "run_time"),
        *("result", "error_type", "error", "step", "failed_checks", "rows_read", "rows_loaded", "rows_rejected"),
        *("rows_skipped", "chunks", "duration_seconds", "note"),
    }
)
"""What a template can name."""

PLACEHOLDER: Final = re.compile(r"\{([a-z_]*)\}")
"""A named value within a text of a template."""


def texts(value: object) -> Iterator[str]:
    """All texts within a JSON value, but names of fields."""
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from texts(item)
        case list():
            for item in value:
                yield from texts(item)
        case _:
            pass


def _unknown_names(template: str) -> list[str]:
    """Names that no value has. Raises ValueError for what isn't JSON."""
    found = (name for text in texts(json.loads(template)) for name in PLACEHOLDER.findall(text))
    return [name for name in dict.fromkeys(found) if name not in TEMPLATE_NAMES]


def _is_json(template: str) -> bool:
    try:
        json.loads(template)
    except (ValueError, RecursionError):
        return False
    return True


class HTTPNotification(Model):
    """A POST to an http connection of the pool."""

    connection: PartName
    """An http connection of the pool; its headers and its signing key go with the message."""
    path: Annotated[str, Field(pattern=r"^[!-~]*$", max_length=1024, examples=["hooks/data"])] = ""
    """Path below the connection's URL."""
    format: Literal["JSON", "Slack"] = "JSON"
    """JSON: an object with all there is to say. Slack: `{"text": …}`, as Slack, Mattermost and others take it."""
    template: Annotated[str, Field(min_length=2, max_length=8192, examples=['{"summary": "{text}"}'])] | None = None
    """The body instead: JSON, in whose texts names in braces (`{pipeline}`, `{error}`) stand for values. A value is
    put where its name stands, and is never read as JSON or as a template itself."""

    rules = (
        Rule(
            cel="!has(self.path) || !self.path.startsWith('/') && !self.path.contains('//') && "
            "!self.path.split('/').exists(p, p == '..')",
            message="path must be relative and stay below the connection's URL: no leading slash, no '//', no '..'",
            holds=lambda s: not s.path.startswith("/") and "//" not in s.path and ".." not in s.path.split("/"),
            field=".path",
        ),
        Rule(
            cel="!has(self.template) || !has(self.format) || self.format == 'JSON'",
            message="template is a body of its own: it can't go with format: Slack",
            holds=lambda s: s.template is None or s.format == "JSON",
            field=".template",
        ),
        Rule(
            cel=None,
            message='template must be JSON, such as {"summary": "{text}"}',
            holds=lambda s: s.template is None or _is_json(s.template),
            field=".template",
        ),
        Rule(
            cel=None,
            message=f"template can name only: {', '.join(sorted(TEMPLATE_NAMES))}",
            holds=lambda s: s.template is None or not _is_json(s.template) or not _unknown_names(s.template),
            field=".template",
        ),
    )


class Notification(Model):
    """A message about runs. It is sent when the run has ended, and is never a reason for a run to fail."""

    events: Annotated[tuple[Event, ...], Field(min_length=1, max_length=6)]
    """What it is about; one message a run, even if several hold. RunFailed: a run has failed, for any reason.
    ToleranceExceeded: it had more bad rows than `execution.errorTolerance` allows. CheckFailed: a check, of either
    severity, didn't hold. SchedulePaused: `onFailure.pauseAfter` has paused the schedule. Recovered: the first run that
    succeeds after one that has failed. RunSucceeded: a run has succeeded."""
    http: HTTPNotification
    """Where it goes."""

    rules = (
        Rule(
            cel="self.events.all(e, self.events.exists_one(o, o == e))",
            message="events names one twice",
            holds=lambda s: len(set(s.events)) == len(s.events),
            field=".events",
        ),
    )


class OnFailure(Model):
    """What happens when a run has failed for good: when an error is one that no retry helps, or retries are used up.

    Whatever it says, the run leaves a dead letter (`RunFailed`), and `notifications` tell of it.
    """

    pause_after: Annotated[int, Field(ge=1, le=1000)]
    """So many scheduled runs that failed one after the other pause the schedule. It stays paused until somebody lifts
    that in Temporal; runs by hand work."""
