"""Expected rejects against the dead letters that came."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill_api.v1alpha1.datapipeline import Source
from tidemill_cli.rehearse.folders import stand_in
from tidemill_cli.testing.inputs import header_of
from tidemill_cli.testing.model import Reject, Rows

Letter = Mapping[str, Any]
"""A dead letter, by the columns of `letters.SCHEMA`."""


@dataclass(frozen=True, slots=True)
class Fields:
    """How the text of a source's row becomes fields."""

    header: tuple[str, ...]
    declared: Mapping[str, str]
    """Column -> its name in the file."""
    delimiter: str
    quote: str
    nulls: tuple[str, ...]

    def hold(self, text: str, columns: Mapping[str, Any]) -> bool:
        """Whether the row of this text has these values, by the names of columns or of the file."""
        values = next(csv.reader([text], delimiter=self.delimiter, quotechar=self.quote), [])
        cells = dict(zip(self.header, values, strict=False))
        return all(self._has(cells.get(self.declared.get(name, name)), value) for name, value in columns.items())

    def _has(self, cell: str | None, value: Any) -> bool:
        if value is None:
            return cell is None or cell in self.nulls
        return cell == (value if isinstance(value, str) else json.dumps(value))


def fields_of(source: Source, rows: Rows, folder: Path) -> Fields | None:
    """The fields of what a case gives a source; None if its rows are no CSV (their text is JSON)."""
    form = stand_in(source).csv
    if form is None:
        return None
    declared = {column.name: column.from_ or column.name for column in source.columns} if form.header else {}
    if rows.rows is not None or not form.header:
        header = header_of(source, form, rows.rows or ())
    else:
        text = rows.csv or ""
        if rows.file is not None and not rows.file.endswith((".gz", ".zip")):
            text = (folder / rows.file).read_text(encoding=form.encoding, errors="replace")
        header = tuple(next(csv.reader(text.splitlines(), delimiter=form.delimiter, quotechar=form.quote), []))
    return Fields(header, declared, form.delimiter, form.quote, form.null_values)


def match(
    expected: Sequence[Reject], letters: Sequence[Letter], fields: Mapping[str, Fields | None]
) -> tuple[tuple[tuple[int, Reject], ...], tuple[Letter, ...]]:
    """The expected rejects that no letter fits, with their places; and the letters that no reject fits.

    Each letter fits one reject at most; those that say the most choose first.
    """
    left = list(letters)
    missing = []
    for place in sorted(range(len(expected)), key=lambda one: -len(expected[one].model_fields_set)):
        reject = expected[place]
        fitting = next((letter for letter in left if _is(reject, letter, fields[letter["source"]])), None)
        if fitting is None:
            missing.append((place, reject))
        else:
            left.remove(fitting)
    return tuple(sorted(missing, key=lambda each: each[0])), tuple(left)


def _is(reject: Reject, letter: Letter, fields: Fields | None) -> bool:
    return (
        reject.step == letter["step"]
        and (reject.rule is None or reject.rule in letter["rules"])
        and reject.reason in (None, letter["reason"])
        and (reject.error is None or reject.error in letter["error"])
        and reject.line in (None, letter["line"])
        and _is_row(reject.row, letter, fields)
    )


def _is_row(row: str | Mapping[str, Any] | None, letter: Letter, fields: Fields | None) -> bool:
    text: str = letter["row_text"] or ""
    if row is None or isinstance(row, str):
        return row is None or row == text
    if letter["row_columns"] is None and fields is not None:
        return fields.hold(text, row)
    columns = json.loads(letter["row_columns"] or text)
    return all(name in columns and columns[name] == value for name, value in row.items())
