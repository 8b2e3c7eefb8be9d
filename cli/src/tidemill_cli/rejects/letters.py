"""Letters read from the metastore."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tidemill_cli.database import Connection
from tidemill_cli.rejects.errors import RejectsError
from tidemill_cli.rejects.filters import Filter
from tidemill_worker.engine.text_layout import TextLayout

_PLAIN: Final = (
    "d.id, d.namespace, d.pipeline, d.run_key, d.execution, d.step, d.reason, d.rules, d.cause, d.source, d.file, "
    "d.line, d.byte_offset, d.status, d.attempts, d.first_seen, d.last_seen"
)
"""Columns without data of rows."""
_WHOLE: Final = (
    f"{_PLAIN}, d.error, d.row_text, d.row_columns, d.row_keys, d.stored, d.redacted, d.edited_text, d.edited_by, "
    "d.edited_at, d.status_note, l.columns AS layout_columns, l.delimiter, l.quote"
)
_WITH_LAYOUT: Final = "tidemill.dead_letters d LEFT JOIN tidemill.dead_letter_layouts l USING (layout)"


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter with all that is kept of its row."""

    record: Mapping[str, Any]

    @property
    def id(self) -> int:
        """Its number."""
        return int(self.record["id"])

    @property
    def layout(self) -> TextLayout | None:
        """How its text is cut; None of letters from before layouts were kept."""
        columns = self.record["layout_columns"]
        return None if columns is None else TextLayout(tuple(columns), self.record["delimiter"], self.record["quote"])

    @property
    def text(self) -> str | None:
        """The row's text as it stands now: as it was mended, or as it was read."""
        edited: str | None = self.record["edited_text"]
        return edited if edited is not None else self.record["row_text"]

    @property
    def made(self) -> dict[str, Any] | None:
        """The row's columns where a query had changed it."""
        return _object(self.record["row_columns"])

    @property
    def keys(self) -> dict[str, Any] | None:
        """Key columns, if only these are kept."""
        return _object(self.record["row_keys"])

    def columns(self, text: str | None) -> dict[str, str] | None:
        """A text's columns by name; fields that the pipeline doesn't read are numbered. None if it can't be cut."""
        layout = self.layout
        fields = layout.cut(text) if layout is not None and text is not None else None
        if layout is None or fields is None:
            return None
        names = (name or f"field {place}" for place, name in enumerate(layout.columns, 1))
        return dict(zip(names, fields, strict=True))

    def to_json(self) -> dict[str, Any]:
        """All of it, by the names of the table's columns."""
        found = {
            **plain(self.record),
            **{name: self.record[name] for name in ("error", "row_text", "stored", "redacted")},
        }
        found |= {"row_columns": self.made, "row_keys": self.keys, "edited_text": self.record["edited_text"]}
        found |= {"edited_by": self.record["edited_by"], "edited_at": _time(self.record["edited_at"])}
        return found | {"status_note": self.record["status_note"], "columns": self.columns(self.text)}


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a list shows of a letter: nothing of its row."""
    names = [part.strip().removeprefix("d.") for part in _PLAIN.split(",")]
    found = {name: record[name] for name in names}
    return found | {"first_seen": _time(record["first_seen"]), "last_seen": _time(record["last_seen"])}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _object(text: str | None) -> dict[str, Any] | None:
    value = None if text is None else json.loads(text)
    return value if isinstance(value, dict) else json.loads(value) if isinstance(value, str) else None


async def listed(connection: Connection, asked: Filter, limit: int) -> list[dict[str, Any]]:
    """The newest letters first, without their rows."""
    condition, values = asked.where()
    rows = await connection.fetch(
        f"SELECT {_PLAIN} FROM tidemill.dead_letters d WHERE {condition} "
        f"ORDER BY d.first_seen DESC, d.id DESC LIMIT {limit:d}",
        *values,
    )
    return [dict(row) for row in rows]


async def count(connection: Connection, asked: Filter) -> int:
    """How many there are."""
    condition, values = asked.where()
    return int(await connection.fetchval(f"SELECT count(*) FROM tidemill.dead_letters d WHERE {condition}", *values))


async def named(connection: Connection, ids: Sequence[int]) -> list[Letter]:
    """Letters by their numbers, in that order. Raises RejectsError for those that aren't there."""
    rows = await connection.fetch(f"SELECT {_WHOLE} FROM {_WITH_LAYOUT} WHERE d.id = ANY ($1::bigint[])", list(ids))
    found = {row["id"]: Letter(dict(row)) for row in rows}
    missing = [str(number) for number in ids if number not in found]
    if missing:
        raise RejectsError(f"there is no letter {', '.join(missing)}: tidemill rejects list shows what there is")
    return [found[number] for number in dict.fromkeys(ids)]


async def each(
    connection: Connection, asked: Filter, *, also: str = "true", values: Sequence[object] = ()
) -> AsyncIterator[Letter]:
    """Letters in the order of their numbers, a few at a time, however many there are.

    `also` is one more condition; its arguments follow those of the filter, `{0}` on.
    """
    condition, bound = asked.where()
    more = also.format(*(f"${len(bound) + place}" for place in range(1, len(values) + 1)))
    query = f"SELECT {_WHOLE} FROM {_WITH_LAYOUT} WHERE {condition} AND {more} ORDER BY d.id"
    async for row in connection.cursor(query, *bound, *values, prefetch=1000):
        yield Letter(dict(row))


BY: Final[Mapping[str, str]] = {
    "namespace": "d.namespace",
    "pipeline": "d.pipeline",
    "run": "d.run_key",
    "type": "d.reason",
    "step": "d.step",
    "rule": "rule",
    "cause": "d.cause",
    "status": "d.status",
    "day": "(d.first_seen AT TIME ZONE 'UTC')::date",
}
"""What letters can be counted by."""


async def counted(connection: Connection, asked: Filter, by: Sequence[str]) -> list[dict[str, Any]]:
    """Letters counted by columns of `BY`, the most first. Of a row that broke two rules each rule is counted."""
    condition, values = asked.where()
    columns = ", ".join(f'{BY[name]} AS "{name}"' for name in by)
    rules = "LEFT JOIN LATERAL unnest(d.rules) AS rule ON true" if "rule" in by else ""
    places = ", ".join(str(place) for place in range(1, len(by) + 1))
    rows = await connection.fetch(
        f"SELECT {columns}, count(*) AS letters, count(*) FILTER (WHERE d.status = 'New') AS open, "
        "count(DISTINCT (d.run_key, d.execution)) AS runs, min(d.first_seen) AS first_seen, "
        f"max(d.last_seen) AS last_seen FROM tidemill.dead_letters d {rules} WHERE {condition} "
        f"GROUP BY {places} ORDER BY letters DESC, {places}",
        *values,
    )
    return [dict(row) for row in rows]
