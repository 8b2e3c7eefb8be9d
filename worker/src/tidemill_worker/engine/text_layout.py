"""How a rejected row's text is cut into columns, and joined again. Light: imports no columnar library."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tidemill_api.names import content_hash


@dataclass(frozen=True)
class TextLayout:
    """How a row's text is cut into columns."""

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

    def cut(self, text: str) -> list[str] | None:
        """The fields of a row, or None where there aren't as many as there should be."""
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, quotechar=self.quote))
        except csv.Error:
            return None
        return rows[0] if len(rows) == 1 and len(rows[0]) == len(self.columns) else None

    def joined(self, fields: Sequence[str]) -> str:
        """The inverse of `cut`; what needn't be quoted isn't."""
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self.delimiter, quotechar=self.quote, lineterminator="\r\n").writerow(fields)
        return text.getvalue().removesuffix("\r\n")
