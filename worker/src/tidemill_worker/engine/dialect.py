"""How the bytes of a CSV file are cut into rows, as the manifest says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tidemill_api.errors import SpecError
from tidemill_api.v1alpha1.datapipeline import CSV, Format, JSONLines, Source

MAX_ROW: Final = 4 << 20
"""Most bytes of a row. A longer one is a dead letter; so is the line of a quote that isn't closed within as much."""
BLOCK: Final = 4 << 20
"""Bytes that are parsed at once: larger blocks cost memory, smaller ones time."""


READ_AS_THEY_ARE: Final = ("utf-8", "latin-1")
"""Encodings in which rows are cut and parsed; files in others become UTF-8 before."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Delimiter and quote are one ASCII byte each."""

    delimiter: bytes
    quote: bytes
    quoted_newlines: bool
    encoding: str
    nulls: tuple[str, ...]
    written_in: str = "UTF-8"
    """The encoding of the file, in words."""
    quoted_nulls: bool = True
    """A text that means a missing value does so in quotes too."""


NULL: Final = "\\N"
"""What stands for NULL where Postgres writes CSV; a text that is the same stands in quotes."""
TABLE: Final = Format(csv=CSV(header=False, null_values=(NULL,)))
"""The format in which rows of a table come."""


PAGES: Final = Format(json_lines=JSONLines())
"""The format in which rows of an API, or of a function, come."""


def format_of(source: Source) -> Format:
    """The format in which the rows of a source come."""
    if source.http is not None or source.python is not None:
        return PAGES
    return TABLE if source.files is None else source.files.format


def dialect_of(csv: CSV, field: str) -> Dialect:
    """The dialect of a source. Raises SpecError, below `field`, for characters that are more than a byte."""
    for name, character in (("delimiter", csv.delimiter), ("quote", csv.quote)):
        if not character.isascii():
            raise SpecError(f"{field}.{name}", f"{character!r} is not ASCII: the {name} must be one ASCII character")
    if csv.delimiter == csv.quote:
        raise SpecError(f"{field}.quote", "delimiter and quote must differ")
    encoding = csv.encoding if csv.encoding in READ_AS_THEY_ARE else "utf-8"
    return Dialect(
        csv.delimiter.encode(), csv.quote.encode(), csv.quoted_newlines, encoding, csv.null_values, csv.encoding.upper()
    )
