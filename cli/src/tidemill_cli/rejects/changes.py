"""Letters changed: discarded, mended, or their data removed. Each with its entry in the audit, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tidemill_cli.database import Connection
from tidemill_cli.rejects import letters
from tidemill_cli.rejects.errors import RejectsError
from tidemill_cli.rejects.filters import Filter
from tidemill_cli.rejects.letters import Letter
from tidemill_cli.rejects.store import audit

_BATCH: Final = 5_000


async def discard(connection: Connection, asked: Filter, who: str, note: str | None) -> int:
    """Mark open letters as not needed any more; returns how many."""
    condition, values = asked.where()
    rows = await connection.fetch(
        f"UPDATE tidemill.dead_letters d SET status = 'Discarded', status_note = ${len(values) + 1} "
        f"WHERE {condition} AND d.status = 'New' RETURNING d.id",
        *values,
        note,
    )
    if rows:
        await audit(connection, "Discard", who, asked, sorted(row["id"] for row in rows), note=note)
    return len(rows)


def changed(letter: Letter, values: Mapping[str, str]) -> str:
    """The letter's text with other values in some columns. Raises RejectsError."""
    layout, text = letter.layout, letter.text
    fields = layout.cut(text) if layout is not None and text is not None else None
    if layout is None or fields is None:
        raise RejectsError(
            f"the row of letter {letter.id} can't be cut into columns: mend its text instead (without --set)"
        )
    for name, value in values.items():
        if name not in layout.columns:
            has = ", ".join(column for column in layout.columns if column)
            raise RejectsError(f"the row of letter {letter.id} has no column {name}; it has {has}")
        fields[layout.columns.index(name)] = value
    return layout.joined(fields)


def refuse(letter: Letter, text: str) -> None:
    """Raises RejectsError for a text that can't be the row of this letter."""
    if "\0" in text:
        raise RejectsError("a row can't hold a NUL character")
    layout = letter.layout
    if not text.strip("\r\n"):
        raise RejectsError("an empty line is no row: discard the letter if the row isn't needed")
    if layout is not None and layout.json and layout.cut(text) is None:
        raise RejectsError("that isn't a JSON object, as rows of its source are kept")
    if layout is not None and layout.cut(text) is None:
        raise RejectsError(
            f"that isn't one row of {len(layout.columns)} fields set apart by {layout.delimiter!r}, as its file has "
            "them; quote a value that holds it"
        )


def refuse_editing(letter: Letter) -> None:
    """Raises RejectsError for a letter that has no row to mend, or is done with."""
    if letter.record["status"] != "New":
        raise RejectsError(f"letter {letter.id} is {letter.record['status']}: only new ones can be mended")
    if letter.record["stored"] != "Full" or letter.record["reason"] == "RunFailed":
        why = "it is of a failed run" if letter.record["reason"] == "RunFailed" else "its row wasn't kept"
        raise RejectsError(f"letter {letter.id} has no row to mend: {why} (spec.deadLetter.store)")


async def edit(connection: Connection, letter: Letter, text: str | None, who: str) -> None:
    """Keep another text beside the original; None takes it back. Raises RejectsError if somebody else was faster."""
    done: str = await connection.execute(
        "UPDATE tidemill.dead_letters SET edited_text = $2, edited_by = CASE WHEN $2::text IS NULL THEN NULL ELSE "
        "$3::text END, edited_at = CASE WHEN $2::text IS NULL THEN NULL ELSE now() END "
        "WHERE id = $1 AND status = 'New' AND edited_text IS NOT DISTINCT FROM $4",
        *(letter.id, text, who, letter.record["edited_text"]),
    )
    if not done.endswith(" 1"):
        raise RejectsError(f"somebody changed letter {letter.id} at the same moment: look at it again")
    note = "taken back" if text is None else None
    await audit(connection, "Edit", who, Filter(ids=(letter.id,)), [letter.id], note=note)


async def holding(connection: Connection, asked: Filter, column: str, value: str) -> list[int]:
    """Letters whose row has this value in this column, or may have it, where that can't be told."""
    quoted = any(character in value for character in "\"'\n\r")  # then it may be written otherwise
    also = (
        "d.status <> 'Erased' AND num_nonnulls(d.row_text, d.edited_text, d.row_columns, d.row_keys) > 0 AND ("
        "{0} OR strpos(d.row_text, {1}) > 0 OR strpos(d.edited_text, {1}) > 0 OR d.row_columns ->> {2} IS NOT NULL "
        "OR d.row_keys ->> {2} IS NOT NULL OR jsonb_typeof(d.row_columns) = 'string')"
    )
    candidates = letters.each(connection, asked, also=also, values=(quoted, value, column))
    return [letter.id async for letter in candidates if _holds(letter, column, value)]


def _holds(letter: Letter, column: str, value: str) -> bool:
    for known in (letter.made, letter.keys):
        if known is not None and column in known and _text(known[column]) == value:
            return True
    return any(
        _text_holds(letter, text, column, value)
        for text in (letter.record["row_text"], letter.record["edited_text"])
        if text is not None
    )


def _text_holds(letter: Letter, text: str, column: str, value: str) -> bool:
    layout = letter.layout
    fields = layout.cut(text) if layout is not None else None
    if layout is None or fields is None:
        return value in text
    if column in layout.columns:
        return _text(fields[layout.columns.index(column)]) == value
    return any(field == value for name, field in zip(layout.columns, fields, strict=True) if name is None)


def _text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case None:
            return ""
        case _:
            return str(value)


async def erase(connection: Connection, asked: Filter, ids: Sequence[int], column: str, who: str) -> None:
    """Remove all data of these letters' rows for good; that they were there, where and why stays."""
    for start in range(0, len(ids), _BATCH):
        await connection.execute(
            "UPDATE tidemill.dead_letters SET row_text = NULL, row_columns = NULL, row_keys = NULL, "
            "edited_text = NULL, error = cause, status = 'Erased', status_note = $2 WHERE id = ANY ($1::bigint[])",
            ids[start : start + _BATCH],
            f"by its {column}",
        )
    await audit(connection, "Erase", who, asked, ids, note=f"by {column}")
