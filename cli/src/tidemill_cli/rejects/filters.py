"""Which letters are meant: options as conditions of SQL, values bound."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tidemill_api.v1alpha1 import parse_duration
from tidemill_cli.rejects.errors import UsageError

TYPES: Final = ("BadValue", "BadRow", "RuleBroken", "BadKey", "RunFailed")
STATUSES: Final = ("New", "Replayed", "Discarded", "Erased")
ALL: Final = "All"


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is given must hold; of `ids` any."""

    ids: tuple[int, ...] = ()
    namespace: str | None = None
    pipeline: str | None = None
    run: str | None = None
    step: str | None = None
    rule: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    status: str | None = None

    @property
    def given(self) -> bool:
        """Whether anything is asked for besides a status."""
        return any(self.to_json()[name] for name in self.to_json() if name != "status")

    def where(self) -> tuple[str, list[object]]:
        """A condition over `tidemill.dead_letters d`, and its arguments from $1 on."""
        values: list[object] = []
        conditions = []
        for value, condition in (
            (list(self.ids) or None, "d.id = ANY (${}::bigint[])"),
            (self.namespace, "d.namespace = ${}"),
            (self.pipeline, "d.pipeline = ${}"),
            (self.run, "d.run_key = ${0} AND d.uid IN (SELECT uid FROM tidemill.runs WHERE run_key = ${0})"),
            (self.step, "d.step = ${}"),
            (self.rule, "${} = ANY (d.rules)"),
            (self.type, "d.reason = ${}"),
            (self.since, "d.first_seen >= ${}"),
            (self.until, "d.first_seen < ${}"),
            (self.status, "d.status = ${}"),
        ):
            if value is not None:
                values.append(value)
                conditions.append(condition.format(len(values)))
        return " AND ".join(conditions) or "true", values

    def to_json(self) -> dict[str, Any]:
        """What was asked for, without what wasn't."""
        found = {
            "ids": list(self.ids),
            "namespace": self.namespace,
            "pipeline": self.pipeline,
            "run": self.run,
            "step": self.step,
            "rule": self.rule,
            "type": self.type,
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
            "status": self.status,
        }
        return {name: value for name, value in found.items() if value}

    def to_text(self) -> str:
        """As `to_json`, for a column of the database."""
        return json.dumps(self.to_json())


def moment(text: str | None, option: str, now: datetime) -> datetime | None:
    """`24h` before now, `2026-01-31`, or an RFC 3339 time; without an offset it is UTC. Raises UsageError."""
    if text is None:
        return None
    if re.fullmatch(r"([0-9]{1,6}(ms|s|m|h|d))+", text):
        try:
            return now - parse_duration(text)
        except OverflowError:
            raise UsageError(f"{option} {text}: that is before all times") from None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        message = f"{option} {text}: write a time (2026-01-31, 2026-01-31T12:00:00Z) or how long ago (24h, 7d)"
        raise UsageError(message) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def one_of(text: str | None, option: str, known: tuple[str, ...]) -> str | None:
    """The word as it is written properly, whatever its case. Raises UsageError."""
    if text is None:
        return None
    for word in known:
        if word.lower() == text.lower():
            return word
    raise UsageError(f"{option} {text}: it is one of {', '.join(known)}")
