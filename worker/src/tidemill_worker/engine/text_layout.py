"""How a rejected row's text is cut into columns, and joined again. Light: imports no columnar library.

The text is a row of a CSV file, or a JSON object: of rows that come as columns.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tidemill_api.names import content_hash
from tidemill_worker.engine.json_text import dumps, loads


@dataclass(frozen=True)
class TextLayout:
    """How a row's text is cut into columns.

    Without delimiter it is a JSON object; `quote` then lists its keys (as JSON), if these aren't the columns' names.
    """

    columns: tuple[str | None, ...]
    """Name of each field; None for one that the pipeline doesn't read."""
    delimiter: str
    quote: str
    types: tuple[str | None, ...] | None = None
    """Type of each field that is read, when it was read; None of layouts from before types were kept."""

    @cached_property
    def id(self) -> str:
        """The same for the same layout."""
        return content_hash([self.columns, self.delimiter, self.quote, self.types])

    @property
    def json(self) -> bool:
        """The text is a JSON object."""
        return not self.delimiter

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Of a JSON object: where each column is found."""
        return tuple(json.loads(self.quote)) if self.quote else tuple(name or "" for name in self.columns)

    def cut(self, text: str) -> list[Any] | None:
        """The fields of a row, or None where it isn't one: texts, or what JSON has as values (nothing as None)."""
        if self.json:
            return self._values(text)
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, quotechar=self.quote))
        except csv.Error:
            return None
        return rows[0] if len(rows) == 1 and len(rows[0]) == len(self.columns) else None

    def _values(self, text: str) -> list[Any] | None:
        try:
            row = loads(text)
        except (ValueError, RecursionError):
            return None
        return [row.get(key) for key in self.keys] if isinstance(row, dict) else None

    def joined(self, fields: Sequence[Any]) -> str:
        """The inverse of `cut`; what needn't be quoted isn't."""
        if self.json:
            return dumps(dict(zip(self.keys, fields, strict=True)))
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self.delimiter, quotechar=self.quote, lineterminator="\r\n").writerow(fields)
        return text.getvalue().removesuffix("\r\n")
