"""What the worker says on stderr: one JSON object a line in a pod, plain lines for people at a terminal.

What is said while a run is worked on carries `workflow`, the run's Temporal workflow id: `kubectl tidemill logs` and
log stores find a run's lines by it.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

PLAIN: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message; of a run its workflow, activity, attempt; details."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_where(record),
            **getattr(record, "details", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _where(record: logging.LogRecord) -> dict[str, object]:
    """The run that was worked on: an activity knows its own, a workflow's logger gives it along."""
    activity = sys.modules.get("temporalio.activity")  # where it isn't imported yet, nothing of it is going on
    if activity is not None and activity.in_activity():
        info = activity.info()
        return {"workflow": info.workflow_id, "activity": info.activity_type, "attempt": info.attempt}
    told = getattr(record, "temporal_workflow", None)
    return {"workflow": told.get("workflow_id")} if isinstance(told, dict) else {}


def log_to_stderr(level: str, style: str) -> None:
    """Set logging up; `style` is json or text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else logging.Formatter(PLAIN))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    # Failures of activities are logged where they are translated, once, and without stacks that tell nothing.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    # Its warnings quote URLs, with queries and cursors.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
