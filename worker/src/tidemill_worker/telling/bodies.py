"""The bodies of notifications: JSON, Slack's, or a template's. Pure.

What is told of a run is what its status tells: counts, names, and errors in words that hold no data of rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from tidemill_api.v1alpha1.notification import PLACEHOLDER, HTTPNotification
from tidemill_worker.workflows.report_messages import Draft, Reported

LONGEST_TEXT = 2000
"""Characters of the sentence; receivers cut longer ones anyhow."""


def message_id(reported: Reported, draft: Draft) -> str:
    """The same for each attempt at a message, and of no other: by pipeline, run key, execution, event and notification.

    Two notifications about one event may go to the same receiver, which drops what it has had.
    """
    result = reported.result
    told = json.dumps([reported.uid, result.run_key, result.execution, draft.events[0], draft.number])
    return f"tm_{hashlib.sha256(told.encode()).hexdigest()[:32]}"


def body(to: HTTPNotification, reported: Reported, draft: Draft) -> bytes:
    """The body as UTF-8 JSON."""
    if to.template is not None:
        said: object = _filled(json.loads(to.template), _values(reported, draft))
    elif to.format == "Slack":
        said = {"text": sentence(reported, draft, _slack)}
    else:
        said = _whole(reported, draft)
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def joined(*paths: str) -> str:
    """Paths below one another."""
    there = [path for path in paths if path.strip("/")]
    return "/".join([*(path.strip("/") for path in there[:-1]), *(path.lstrip("/") for path in there[-1:])])


def sentence(reported: Reported, draft: Draft, quoted: Callable[[str], str] = str) -> str:
    """What has happened, in a sentence. `quoted` is done to what comes from elsewhere."""
    result = reported.result
    run = f"{reported.namespace}/{reported.pipeline}: run {result.run_key}"
    parts = [f"{run} {result.result.lower()}"]
    if result.error is not None:
        step = f" (step {result.error.step})" if result.error.step else ""
        parts = [f"{parts[0]}: {result.error.type}{step}: {result.error.message}"]
    elif "Recovered" in draft.events:
        parts = [f"{parts[0]}, after the one before had failed"]
    if result.failed_checks and "CheckFailed" in draft.events:
        names = ", ".join(f"{check.check} ({check.severity})" for check in result.failed_checks)
        parts.append(f"checks that don't hold: {names}")
    if result.result == "Succeeded":
        parts.append(f"{result.rows_loaded} rows loaded, {result.rows_rejected} rejected")
    if draft.note:
        parts.append("the schedule is paused")
    text = "; ".join(parts)
    return quoted(text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…")


def _slack(text: str) -> str:
    """Slack's own three signs, by which a text could make links and call people."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _whole(reported: Reported, draft: Draft) -> dict[str, Any]:
    told = reported.result.model_dump(mode="json", by_alias=True, exclude={"pipeline", "steps", "sinks"})
    return {
        "id": message_id(reported, draft),
        "event": draft.events[0],
        "events": list(draft.events),
        "text": sentence(reported, draft),
        "pipeline": {"namespace": reported.namespace, "name": reported.pipeline, "uid": reported.uid},
        "run": {"key": told.pop("runKey"), "time": reported.run_time, "trigger": reported.trigger, **told},
        "paused": draft.note or None,
    }


def _values(reported: Reported, draft: Draft) -> dict[str, str]:
    """All that a template can name, as text; what there is none of is empty."""
    result, error = reported.result, reported.result.error
    values = {
        "event": draft.events[0],
        "events": ", ".join(draft.events),
        "id": message_id(reported, draft),
        "text": sentence(reported, draft),
        "namespace": reported.namespace,
        "pipeline": reported.pipeline,
        "run_key": result.run_key,
        "execution": result.execution,
        "trigger": reported.trigger,
        "run_time": reported.run_time,
        "result": result.result,
        "error_type": error.type if error else "",
        "error": error.message if error else "",
        "step": (error.step if error else None) or "",
        "failed_checks": ", ".join(check.check for check in result.failed_checks),
        "rows_read": result.rows_read,
        "rows_loaded": result.rows_loaded,
        "rows_rejected": result.rows_rejected,
        "rows_skipped": result.rows_skipped,
        "chunks": result.chunks,
        "duration_seconds": result.duration_seconds,
        "note": draft.note,
    }
    return {name: str(value) for name, value in values.items()}


def _filled(template: object, values: Mapping[str, str]) -> object:
    """The template with values in its texts. One pass: a name within a value stays what it is."""
    match template:
        case str():
            return PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)
        case dict():
            return {name: _filled(item, values) for name, item in template.items()}
        case list():
            return [_filled(item, values) for item in template]
        case _:
            return template
